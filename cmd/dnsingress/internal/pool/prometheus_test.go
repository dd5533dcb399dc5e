// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/promql"
)

// fake is a Prometheus whose values are a function of time, behind a real HTTP server that can be killed and made to
// misbehave.
type fake struct {
	t       *testing.T
	address string
	client  *promql.Evaluator
	hasty   *promql.Evaluator // of one that never ends
	server  *httptest.Server

	mu     sync.Mutex
	values func(expr string, at time.Time) map[string]string // by pod
	labels func(pod string) []map[string]string              // of its series; nil: one, with a label pod
	serve  http.HandlerFunc                                  // nil: as a healthy Prometheus would
	stuck  bool                                              // no answer will ever be whole
	asked  int                                               // requests so far
}

func newFake(t *testing.T, values func(expr string, at time.Time) map[string]string) *fake {
	t.Helper()
	f := &fake{t: t, values: values}
	f.start("[::1]:0")
	f.address = f.server.Listener.Addr().String()
	t.Cleanup(func() { f.server.Close() })
	f.client, f.hasty = f.evaluator(30*time.Second), f.evaluator(50*time.Millisecond)
	return f
}

// evaluator is one that asks f, and waits so long for an answer.
func (f *fake) evaluator(timeout time.Duration) *promql.Evaluator {
	f.t.Helper()
	registry, log := prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	client, err := promql.NewClient(config.Prometheus{URLs: []string{"http://" + f.address}, Timeout: timeout}, registry, log)
	if err != nil {
		f.t.Fatal(err)
	}
	e, err := promql.New(promql.Options{Client: client, Patience: time.Minute, Deliver: func(promql.Result) {}, Registerer: registry, Log: log})
	if err != nil {
		f.t.Fatal(err)
	}
	return e
}

// evaluate asks as the engine's own evaluator would.
func (f *fake) evaluate(ctx context.Context, q promql.Query, due time.Time, back time.Duration) promql.Result {
	f.mu.Lock()
	client := f.client
	if f.stuck {
		client = f.hasty
	}
	f.mu.Unlock()
	return client.Evaluate(ctx, q, due, promql.Samples{}, back)
}

// start listens, again if need be.
func (f *fake) start(address string) {
	f.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: f}}
	f.server.Start()
}

// kill ends the server with all its connections.
func (f *fake) kill() {
	f.server.CloseClientConnections()
	f.server.Close()
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	h := f.serve
	f.asked++
	f.mu.Unlock()
	if h == nil {
		h = f.wellbehaved
	}
	h(w, r)
}

// result is the data of a successful answer.
type result struct {
	Type   string   `json:"resultType"`
	Result []series `json:"result"`
}

type series struct {
	Metric map[string]string `json:"metric"`
	Value  *[2]any           `json:"value,omitempty"`
	Values [][2]any          `json:"values,omitempty"`
}

func (f *fake) wellbehaved(w http.ResponseWriter, r *http.Request) {
	number := func(key string) float64 {
		n, err := strconv.ParseFloat(r.FormValue(key), 64)
		if err != nil {
			f.t.Errorf("%s=%q", key, r.FormValue(key))
		}
		return n
	}
	switch r.URL.Path {
	case "/api/v1/query":
		write(w, result{"vector", f.vector(r.FormValue("query"), number("time"))})
	case "/api/v1/query_range":
		by := map[string]*series{}
		out := []series{}
		var order []string
		for at := number("start"); at <= number("end")+1e-6; at += number("step") {
			for _, s := range f.vector(r.FormValue("query"), at) {
				key := fmt.Sprint(s.Metric)
				if by[key] == nil {
					by[key] = &series{Metric: s.Metric}
					order = append(order, key)
				}
				by[key].Values = append(by[key].Values, *s.Value)
			}
		}
		for _, key := range order {
			out = append(out, *by[key])
		}
		write(w, result{"matrix", out})
	default:
		http.NotFound(w, r)
	}
}

func (f *fake) vector(expr string, at float64) []series {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []series{}
	instant := time.UnixMilli(int64(at*1000 + 0.5)).UTC()
	for pod, value := range f.values(expr, instant) {
		labels := []map[string]string{{"pod": pod}}
		if f.labels != nil {
			labels = f.labels(pod)
		}
		for _, l := range labels {
			out = append(out, series{Metric: l, Value: &[2]any{json.Number(strconv.FormatFloat(at, 'f', 3, 64)), value}})
		}
	}
	return out
}

func write(w http.ResponseWriter, data result) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data})
}

// say answers every request with a text.
func say(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}
}

// hang answers nothing for as long as somebody waits.
func hang(_ http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm() // the end of the connection is noticed only when the body has been read
	<-r.Context().Done()
}

// drip sends an answer so slowly that it never ends.
func drip(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[`)
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// tick is one instant at which all queries of the bench are evaluated and what they gave is delivered.
func (b *bench) tick(f *fake) {
	b.t.Helper()
	b.now = b.now.Add(interval)
	var m mail
	for _, q := range b.queries {
		m.results = append(m.results, f.evaluate(b.t.Context(), q, promql.Instant(b.now, q.Interval), b.back[q]))
	}
	b.step(b.t.Context(), m, b.now.Add(20*time.Millisecond)) // what asking takes
}

const interval = 5 * time.Second // of queries that set none

// states prints who is in, and why.
func (b *bench) states(name string) string {
	x, ok := b.Explain(name)
	if !ok {
		return "nobody"
	}
	var out []string
	for _, m := range x.Members {
		out = append(out, fmt.Sprintf("%s:%s:%s", m.Pod, m.State, m.Reason))
	}
	return strings.Join(out, " ")
}
