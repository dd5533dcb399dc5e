// SPDX-License-Identifier: Apache-2.0

package promql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/client_golang/prometheus"
)

// maxBody bounds one response in bytes: 100,000 series of 300 bytes fit, and what is made of them fits the memory.
const maxBody = 32 << 20

// Query is an expression that is evaluated periodically.
type Query struct {
	Expr     string
	Interval time.Duration
}

// Result is the outcome of one evaluation.
type Result struct {
	Query   Query
	At      time.Time // the instant that the values are of
	Samples Samples
	Err     error
}

// Options of an Evaluator.
type Options struct {
	URLs       []string      // at least one for any result but errors
	Timeout    time.Duration // of one request to one server
	Deliver    func(Result)  // called from several goroutines; must not block
	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// Evaluator evaluates a changing set of queries.
type Evaluator struct {
	options Options
	servers []server
	best    atomic.Int64 // the server that answered last
	jitter  float64      // 0 to 1, this process's own

	mu      sync.Mutex
	running map[Query]context.CancelFunc
	wait    sync.WaitGroup

	duration    prometheus.Histogram
	evaluations *prometheus.CounterVec
}

type server struct {
	name string // its URL without a password
	api  v1.API
}

// New makes an evaluator with no queries.
func New(o Options) (*Evaluator, error) {
	e := &Evaluator{
		options: o,
		jitter:  rand.Float64(),
		running: map[Query]context.CancelFunc{},
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dnsingress_promql_evaluation_duration_seconds", Help: "Time from asking for a policy's metric until its values or the error.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		evaluations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dnsingress_promql_evaluations_total", Help: "Evaluations of policies' metrics by outcome; missed ones were skipped because the one before took too long.",
		}, []string{"outcome"}),
	}
	for _, outcome := range []string{"ok", "error", "missed"} {
		e.evaluations.WithLabelValues(outcome)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	for _, address := range o.URLs {
		u, err := url.Parse(address)
		if err != nil {
			return nil, fmt.Errorf("reading the address of a Prometheus: %w", err)
		}
		client, err := api.NewClient(api.Config{Address: address, RoundTripper: bounded{transport}})
		if err != nil {
			return nil, fmt.Errorf("preparing Prometheus client for %s: %w", u.Redacted(), err)
		}
		e.servers = append(e.servers, server{u.Redacted(), v1.NewAPI(client)})
	}
	for _, c := range []prometheus.Collector{e.duration, e.evaluations} {
		if err := o.Registerer.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return e, nil
}

// Set makes queries all that is evaluated, until ctx ends. A query that runs already goes on undisturbed.
func (e *Evaluator) Set(ctx context.Context, queries []Query) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for q, stop := range e.running {
		if !slices.Contains(queries, q) {
			stop()
			delete(e.running, q)
		}
	}
	for _, q := range queries {
		if _, ok := e.running[q]; ok {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		e.running[q] = stop
		e.wait.Go(func() { e.run(ctx, q) })
	}
}

// Wait returns when every query has ended, after the context given to Set has.
func (e *Evaluator) Wait() { e.wait.Wait() }

// run evaluates q at the last instant that has passed and then at each one to come.
func (e *Evaluator) run(ctx context.Context, q Query) {
	delay := min(time.Duration(e.jitter*float64(q.Interval)/10), 500*time.Millisecond)
	at := instant(time.Now(), q.Interval)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		e.evaluate(ctx, q, at)
		now := time.Now()
		next, missed := following(at, now, q.Interval)
		e.evaluations.WithLabelValues("missed").Add(float64(missed))
		timer.Reset(next.Add(delay).Sub(now))
		at = next
	}
}

// following is the instant to evaluate at after that of at, and how many were missed in between. Of a clock that
// was set back, it follows the new time.
func following(at, now time.Time, interval time.Duration) (next time.Time, missed int) {
	next, latest := at.Add(interval), instant(now, interval)
	switch {
	case latest.After(next):
		return latest, int(latest.Sub(next) / interval)
	case latest.Before(at):
		return latest.Add(interval), 0
	}
	return next, 0
}

// instant is the last multiple of interval at or before t.
func instant(t time.Time, interval time.Duration) time.Time {
	n := t.UnixNano()
	return time.Unix(0, n-n%int64(interval)).UTC()
}

func (e *Evaluator) evaluate(ctx context.Context, q Query, at time.Time) {
	began := time.Now()
	samples, err := e.ask(ctx, q.Expr, at)
	if ctx.Err() != nil {
		return
	}
	e.duration.Observe(time.Since(began).Seconds())
	outcome := "ok"
	if err != nil {
		outcome = "error"
	}
	e.evaluations.WithLabelValues(outcome).Inc()
	e.options.Deliver(Result{Query: q, At: at, Samples: samples, Err: err})
}

// ask tries the servers in turn, beginning with the one that answered last.
func (e *Evaluator) ask(ctx context.Context, expr string, at time.Time) (Samples, error) {
	if len(e.servers) == 0 {
		return Samples{}, errors.New("no Prometheus server is configured (hint: prometheus.urls)")
	}
	var errs []error
	first := e.best.Load()
	for i := range e.servers {
		n := (int(first) + i) % len(e.servers)
		s := e.servers[n]
		samples, err := askOne(ctx, s.api, expr, at, e.options.Timeout)
		if err == nil {
			e.best.Store(int64(n))
			return samples, nil
		}
		e.options.Log.Debug("asking Prometheus", "url", s.name, "expr", expr, "error", err)
		errs = append(errs, fmt.Errorf("asking Prometheus %s: %w", s.name, err))
	}
	return Samples{}, errors.Join(errs...)
}

func askOne(ctx context.Context, api v1.API, expr string, at time.Time, timeout time.Duration) (Samples, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	value, _, err := api.Query(ctx, expr, at, v1.WithTimeout(timeout))
	if err != nil {
		return Samples{}, err
	}
	return newSamples(value)
}

// bounded cuts off responses that are larger than any sensible one.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r)
	if err == nil {
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(response.Body, maxBody), response.Body}
	}
	return response, err
}
