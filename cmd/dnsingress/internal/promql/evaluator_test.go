// SPDX-License-Identifier: Apache-2.0

package promql

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct{ expr, want string }{
		{`backend_inflight_requests`, ""},
		{`sum by (namespace, pod) (rate(http_requests_total{code=~"5.."}[1m]))`, ""},
		{`sum by (pod`, "1:12: parse error"},
		{``, "parse error"},
		{`1 + 1`, "gives a scalar"},
		{`up[5m]`, "gives a range vector"},
		{`"x"`, "gives a string"},
	} {
		err := Check(c.expr)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.expr, err, c.want)
		}
	}
}

func TestExpressions(t *testing.T) {
	if a, b := Canonical("sum by(pod)( rate(x[1m]) )"), Canonical("sum by (pod) (rate(x[60s]))"); a != b {
		t.Errorf("%s and %s", a, b)
	}
	for expr, want := range map[string]bool{
		`x`: false, `x > 5`: true, `x > bool 5`: false, `sum by (pod) (x) / sum by (pod) (y)`: false, `x unless y`: true, `x and y`: true, `x or y`: false,
		`max by (pod) (x == 1)`: true, `sum by (`: false,
	} {
		if Filters(expr) != want {
			t.Errorf("%s: %v", expr, !want)
		}
	}
}

func newEvaluator(t *testing.T, c config.Prometheus, deliver func(Result)) *Evaluator {
	t.Helper()
	registry, log := prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	client, err := NewClient(c, registry, log)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Options{Client: client, Delay: c.Delay, Patience: c.FirstPass, Registerer: registry, Log: log, Deliver: deliver})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// set is what Evaluator.Set takes, without any past.
func set(queries ...Query) map[Query]time.Duration {
	m := map[Query]time.Duration{}
	for _, q := range queries {
		m[q] = 0
	}
	return m
}

// every makes a query.
func every(expr string, interval time.Duration) Query { return Query{Expr: expr, Interval: interval} }

// start runs an evaluator for queries against servers and returns its results.
func start(t *testing.T, timeout time.Duration, urls []string, queries ...Query) <-chan Result {
	t.Helper()
	results := make(chan Result, 1000)
	e := newEvaluator(t, config.Prometheus{URLs: urls, Timeout: timeout}, func(r Result) { results <- r })
	e.Set(t.Context(), set(queries...))
	t.Cleanup(e.Wait)
	return results
}

// answer is a Prometheus that gives the same body to each query.
func answer(t *testing.T, status int, body string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func vector(series ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `]}}`
}

func TestAnswers(t *testing.T) {
	address := netip.MustParseAddr("fd00::1")
	for _, c := range []struct {
		name, body string
		status     int
		err        string // of the evaluation
		series     int    // that name the pod
		value      string
	}{
		{name: "pod and namespace", body: vector(`{"metric":{"pod":"web-1","namespace":"shop"},"value":[1,"2.5"]}`), series: 1, value: "2.5"},
		{name: "pod alone", body: vector(`{"metric":{"pod":"web-1"},"value":[1,"2.5"]}`), series: 1, value: "2.5"},
		{name: "other namespace", body: vector(`{"metric":{"pod":"web-1","namespace":"x"},"value":[1,"2.5"]}`)},
		{name: "instance", body: vector(`{"metric":{"instance":"[fd00::1]:9100"},"value":[1,"7"]}`), series: 1, value: "7"},
		{name: "address", body: vector(`{"metric":{"address":"fd00:0::1"},"value":[1,"7"]}`), series: 1, value: "7"},
		{name: "mapped address", body: vector(`{"metric":{"ip":"10.0.0.1"},"value":[1,"7"]}`)},
		{name: "pod wins over instance", body: vector(`{"metric":{"pod":"web-2","instance":"[fd00::1]:9100"},"value":[1,"7"]}`)},
		{name: "duplicates", body: vector(`{"metric":{"pod":"web-1","a":"1"},"value":[1,"1"]}`, `{"metric":{"pod":"web-1","a":"2"},"value":[1,"2"]}`), series: 2},
		{name: "NaN", body: vector(`{"metric":{"pod":"web-1"},"value":[1,"NaN"]}`), series: 1, value: "NaN"},
		{name: "infinite", body: vector(`{"metric":{"pod":"web-1"},"value":[1,"+Inf"]}`), series: 1, value: "+Inf"},
		{name: "empty", body: vector()},
		{name: "stray", body: vector(`{"metric":{"job":"x"},"value":[1,"1"]}`)},
		{name: "scalar", body: `{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`, err: "is a scalar"},
		{name: "matrix", body: `{"status":"success","data":{"resultType":"matrix","result":[]}}`, err: "is a matrix"},
		{name: "garbage", body: `<html>`, err: "asking Prometheus"},
		{name: "cut short", body: vector(`{"metric":{"pod":"web-1"},"va`), err: "asking Prometheus"},
		{name: "no data at all", body: ``, err: "asking Prometheus"},
		{name: "refused", status: 400, body: `{"status":"error","errorType":"bad_data","error":"no"}`, err: "bad_data"},
		{name: "unwell", status: 503, body: `{}`, err: "503"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := answer(t, max(c.status, 200), c.body)
			r := <-start(t, 10*time.Second, []string{url}, every("x", time.Hour))
			if (r.Err == nil) != (c.err == "") || r.Err != nil && !strings.Contains(r.Err.Error(), c.err) {
				t.Fatalf("error %v, want %q", r.Err, c.err)
			}
			value, series := r.Samples.Value("shop", "web-1", address)
			if series != c.series || series == 1 && strconv.FormatFloat(value, 'g', -1, 64) != c.value {
				t.Errorf("value %v from %d series, want %s from %d", value, series, c.value, c.series)
			}
		})
	}
}

func TestNextServerIsAskedAndRemembered(t *testing.T) {
	asked := make(chan string, 1000)
	serve := func(name string, status int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked <- name
			w.WriteHeader(status)
			fmt.Fprint(w, vector())
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	results := start(t, 10*time.Second, []string{gone.URL, serve("sick", 500), serve("well", 200)}, every("x", 20*time.Millisecond))
	for range 3 {
		if r := <-results; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	for i, want := range []string{"sick", "well", "well", "well"} {
		if got := <-asked; got != want {
			t.Errorf("request %d went to the %s server, want %s", i, got, want)
		}
	}
}

func TestSlowQueryDelaysNoOther(t *testing.T) {
	release := make(chan struct{})
	slow := make(chan struct{}, 1000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("query") == "slow" {
			slow <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		fmt.Fprint(w, vector())
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(release) })
	results := start(t, time.Hour, []string{s.URL}, every("slow", 20*time.Millisecond), every("quick", 20*time.Millisecond))
	<-slow
	for range 5 {
		if r := <-results; r.Query.Expr != "quick" || r.Err != nil {
			t.Errorf("got %+v while the slow query hangs", r)
		}
	}
}

func TestTimeout(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		r.FormValue("query") // the end of the connection is noticed only when the body has been read
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	r := <-start(t, 50*time.Millisecond, []string{s.URL}, every("x", time.Hour))
	if r.Err == nil || !strings.Contains(r.Err.Error(), "deadline") {
		t.Errorf("error %v, want a deadline", r.Err)
	}
}

func TestInstantsAreAligned(t *testing.T) {
	times := make(chan string, 1000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		times <- r.FormValue("time")
		fmt.Fprint(w, vector())
	}))
	t.Cleanup(s.Close)
	const interval = 50 * time.Millisecond
	results := start(t, 10*time.Second, []string{s.URL}, every("x", interval))
	for range 3 {
		r := <-results
		if r.At.UnixNano()%int64(interval) != 0 {
			t.Errorf("evaluated at %v, no multiple of %v", r.At, interval)
		}
		sent, err := strconv.ParseFloat(<-times, 64)
		if err != nil || time.Duration(sent*1e9).Round(time.Millisecond) != time.Duration(r.At.UnixNano()) {
			t.Errorf("sent time %v for %v: %v", sent, r.At, err)
		}
	}
}

func TestFollowing(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		took, next time.Duration // from at
		missed     int
	}{
		{10 * time.Millisecond, 5 * time.Second, 0},
		{4 * time.Second, 5 * time.Second, 0},
		{7 * time.Second, 5 * time.Second, 0}, // it is due now
		{12 * time.Second, 10 * time.Second, 1},
		{time.Hour, time.Hour, 719},
		{-time.Hour, -time.Hour + 5*time.Second, 0}, // the clock was set back
		{-time.Second, 0, 0},
	} {
		next, missed := following(at, at.Add(c.took), 5*time.Second)
		if !next.Equal(at.Add(c.next)) || missed != c.missed {
			t.Errorf("after %v: %v and %d missed, want %v and %d", c.took, next.Sub(at), missed, c.next, c.missed)
		}
	}
}

func TestPasswordIsNotShown(t *testing.T) {
	url := strings.Replace(answer(t, 503, "{}"), "http://", "http://user:secret@", 1)
	r := <-start(t, 10*time.Second, []string{url}, every("x", time.Hour))
	if r.Err == nil || strings.Contains(r.Err.Error(), "secret") || !strings.Contains(r.Err.Error(), "user:") {
		t.Errorf("error %v", r.Err)
	}
}

func TestSetStopsWhatIsGone(t *testing.T) {
	url := answer(t, 200, vector())
	results := make(chan Result, 1000)
	e := newEvaluator(t, config.Prometheus{URLs: []string{url}, Timeout: 10 * time.Second}, func(r Result) { results <- r })
	e.Set(t.Context(), set(every("a", 10*time.Millisecond)))
	<-results
	e.Set(t.Context(), nil)
	e.Wait() // returns only if the query has ended
}

func TestWithoutServers(t *testing.T) {
	if r := <-start(t, time.Second, nil, every("x", time.Hour)); r.Err == nil || !strings.Contains(r.Err.Error(), "hint:") {
		t.Errorf("error %v", r.Err)
	}
}
