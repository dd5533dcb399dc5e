// SPDX-License-Identifier: Apache-2.0

package promql

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Query is an expression that is evaluated periodically.
type Query struct {
	Expr     string
	Interval time.Duration
	Timeout  time.Duration // of one request to one server; 0: the default
	Match    model.Match
}

// Result is the outcome of one evaluation.
type Result struct {
	Query   Query
	Due     time.Time // the multiple of the interval that the evaluation is for
	At      time.Time // the instant that the values are of: Due, or earlier by the configured delay
	Samples Samples
	Err     error
	Took    time.Duration // from asking to all values or the error
	Past    []Past        // of a first evaluation: what earlier ones would have given, oldest first
}

// Past is what an evaluation would have given.
type Past struct {
	Due, At time.Time
	Samples Samples
}

// Options of an Evaluator.
type Options struct {
	Client     *Client
	Delay      time.Duration // how far behind the present values are asked for
	Patience   time.Duration // how long the past is of use after a query was set, and a request for it may take
	Deliver    func(Result)  // called from several goroutines; must not block
	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// Evaluator evaluates a changing set of queries.
type Evaluator struct {
	options Options

	mu      sync.Mutex
	running map[Query]context.CancelFunc
	wait    sync.WaitGroup

	duration    prometheus.Histogram
	evaluations *prometheus.CounterVec
	queries     prometheus.Gauge
}

// New makes an evaluator with no queries.
func New(o Options) (*Evaluator, error) {
	e := &Evaluator{
		options: o,
		running: map[Query]context.CancelFunc{},
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dnsingress_promql_evaluation_duration_seconds", Help: "Time from asking for a policy's metric until its values or the error.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		evaluations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dnsingress_promql_evaluations_total", Help: "Evaluations of policies' metrics by outcome; missed ones were skipped because the one before took too long.",
		}, []string{"outcome"}),
		queries: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dnsingress_promql_queries", Help: "Different queries that all policies together need.",
		}),
	}
	for _, outcome := range []string{"ok", "error", "missed"} {
		e.evaluations.WithLabelValues(outcome)
	}
	for _, c := range []prometheus.Collector{e.duration, e.evaluations, e.queries} {
		if err := o.Registerer.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return e, nil
}

// Set makes queries all that is evaluated, until ctx ends. A query that runs already goes on undisturbed; with the
// first result of any other comes its past, as far back as queries says.
func (e *Evaluator) Set(ctx context.Context, queries map[Query]time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for q, stop := range e.running {
		if _, ok := queries[q]; !ok {
			stop()
			delete(e.running, q)
		}
	}
	for q, back := range queries {
		if _, ok := e.running[q]; ok {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		e.running[q] = stop
		e.wait.Go(func() { e.run(ctx, q, back) })
	}
	e.queries.Set(float64(len(e.running)))
}

// Wait returns when every query has ended, after the context given to Set has.
func (e *Evaluator) Wait() { e.wait.Wait() }

// run evaluates q at the last instant that has passed and then at each one to come.
func (e *Evaluator) run(ctx context.Context, q Query, back time.Duration) {
	// Its own part of the jitter spreads the queries of one process, too.
	delay := min(time.Duration(rand.Float64()*float64(q.Interval)/10), 500*time.Millisecond)
	due := Instant(time.Now(), q.Interval)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last Samples
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if time.Since(began) > e.options.Patience {
			back = 0 // nobody waits for it any more
		}
		r := e.Evaluate(ctx, q, due, last, back)
		if ctx.Err() != nil {
			return
		}
		if r.Err == nil {
			last, back = r.Samples, 0
		}
		e.options.Deliver(r)
		now := time.Now()
		next, missed := following(due, now, q.Interval)
		e.evaluations.WithLabelValues("missed").Add(float64(missed))
		timer.Reset(next.Add(delay).Sub(now))
		due = next
	}
}

// following is the instant to evaluate at after that of at, and how many were missed in between. Of a clock that
// was set back, it follows the new time.
func following(at, now time.Time, interval time.Duration) (next time.Time, missed int) {
	next, latest := at.Add(interval), Instant(now, interval)
	switch {
	case latest.After(next):
		return latest, int(latest.Sub(next) / interval)
	case latest.Before(at):
		return latest.Add(interval), 0
	}
	return next, 0
}

// Instant is the last multiple of interval at or before t.
func Instant(t time.Time, interval time.Duration) time.Time {
	n := t.UnixNano()
	return time.Unix(0, n-n%int64(interval)).UTC()
}

// Evaluate asks once, for the instant that is due. last may be what the query gave before, or zero; back is how much of the
// past is wanted, too.
func (e *Evaluator) Evaluate(ctx context.Context, q Query, due time.Time, last Samples, back time.Duration) Result {
	r := Result{Query: q, Due: due, At: due.Add(-e.options.Delay)}
	began := time.Now()
	r.Samples, r.Err = e.options.Client.Instant(ctx, q, r.At, last)
	r.Took = time.Since(began)
	e.duration.Observe(r.Took.Seconds())
	if r.Err != nil {
		e.evaluations.WithLabelValues("error").Inc()
		return r
	}
	e.evaluations.WithLabelValues("ok").Inc()
	var err error
	if r.Past, err = e.past(ctx, r, back); err != nil && ctx.Err() == nil {
		e.options.Log.Warn("the past of a policy's metric is unknown; its pools begin anew", "expr", q.Expr, "error", err)
	}
	return r
}

// past asks for what earlier evaluations would have given, for so long back or as many as memory and server bear.
func (e *Evaluator) past(ctx context.Context, r Result, back time.Duration) ([]Past, error) {
	q := r.Query
	count := min(int((back+q.Interval-1)/q.Interval), maxSteps, maxPoints/max(1, r.Samples.Series))
	if count <= 0 {
		return nil, nil
	}
	first := time.Duration(count) * q.Interval
	all, err := e.options.Client.Range(ctx, q, r.At.Add(-first), count, e.options.Patience, r.Samples)
	if err != nil {
		return nil, err
	}
	past := make([]Past, count)
	for i, samples := range all {
		ago := first - time.Duration(i)*q.Interval
		past[i] = Past{r.Due.Add(-ago), r.At.Add(-ago), samples}
	}
	return past, nil
}
