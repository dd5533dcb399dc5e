// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/promql"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// Reporter is told all that is wrong with an object, each time that changes. It must not block.
type Reporter interface {
	Report(ref model.Ref, problems []model.Problem)
}

// Evaluator evaluates queries periodically and gives the results to Engine.Deliver.
type Evaluator interface {
	// Set makes queries all that is evaluated; of new ones it also finds the past, as far back as queries says.
	Set(ctx context.Context, queries map[promql.Query]time.Duration)
}

// Options of an Engine.
type Options struct {
	Config     *config.Config
	Catalog    *zone.Catalog
	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// Engine is the control loop. Apply, Synced and Deliver may be called from any goroutine.
type Engine struct {
	options   Options
	evaluator Evaluator
	reporter  Reporter
	metrics   *metrics

	inbox inbox
	ready chan struct{} // closed when the zones have been published first

	mu      sync.RWMutex // guards the rest, which only the loop changes
	zones   []*served
	pools   map[model.Ref]*state
	claims  model.Claims
	queries map[promql.Query]*signal
	asked   bool                    // queries has other keys than the evaluator knows
	wakeups map[model.Ref]time.Time // when a pool must be decided again though nothing comes in
	synced  time.Time               // zero: not yet
	live    bool
}

// state is one pool and what was last decided on it.
type state struct {
	model.Pool
	decision  steer.Decision
	problems  []model.Problem // all of them, as last reported
	triggered time.Time       // the newest change in the cluster that has been served
}

// signal is what one query last gave.
type signal struct {
	users   map[model.Ref]bool
	at      time.Time // of the samples; zero: there were none yet
	samples promql.Samples
	err     error // of the last evaluation
	misfit  bool  // the last result named neither pods nor addresses
}

// New prepares an engine; call Connect before Run.
func New(o Options) (*Engine, error) {
	e := &Engine{
		options: o,
		inbox:   inbox{wake: make(chan struct{}, 1)},
		ready:   make(chan struct{}),
		pools:   map[model.Ref]*state{},
		queries: map[promql.Query]*signal{},
		wakeups: map[model.Ref]time.Time{},
	}
	for _, z := range o.Config.Zones {
		s, err := newServed(z, time.Now())
		if err != nil {
			return nil, err
		}
		e.zones = append(e.zones, s)
	}
	var err error
	if e.metrics, err = newMetrics(e, o.Registerer); err != nil {
		return nil, err
	}
	return e, nil
}

// Connect gives the engine those that it speaks to.
func (e *Engine) Connect(evaluator Evaluator, reporter Reporter) {
	e.evaluator, e.reporter = evaluator, reporter
}

// Ready is closed when the zones are being answered from.
func (e *Engine) Ready() <-chan struct{} { return e.ready }

// Apply takes news of objects.
func (e *Engine) Apply(updates []model.Update) {
	e.inbox.add(func(m *mail) { m.updates = append(m.updates, updates...) })
}

// Synced says that every object there is has been given to Apply once.
func (e *Engine) Synced() { e.inbox.add(func(m *mail) { m.synced = true }) }

// Deliver takes the result of a query.
func (e *Engine) Deliver(r promql.Result) {
	e.inbox.add(func(m *mail) { m.results = append(m.results, r) })
}

// inbox collects what comes in between two steps.
type inbox struct {
	mu   sync.Mutex
	mail mail
	wake chan struct{}
}

type mail struct {
	updates []model.Update
	results []promql.Result
	synced  bool
}

func (b *inbox) add(put func(*mail)) {
	b.mu.Lock()
	put(&b.mail)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *inbox) take() mail {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.mail
	b.mail = mail{}
	return m
}

// Run works until ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.inbox.wake:
		case <-timer.C:
		}
		next := e.step(ctx, e.inbox.take(), time.Now())
		timer.Reset(max(time.Until(next), 0))
	}
}

// step takes in m, decides and publishes, and returns when to step again at the latest.
func (e *Engine) step(ctx context.Context, m mail, now time.Time) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	dirty := map[model.Ref]bool{}
	hosts := map[string]bool{}
	for _, u := range m.updates {
		e.take(u, dirty, hosts)
	}
	if e.asked {
		e.asked = false
		e.evaluator.Set(ctx, e.wanted())
	}
	for _, r := range m.results {
		e.hear(r, dirty)
	}
	for ref, at := range e.wakeups {
		if !now.Before(at) {
			dirty[ref] = true
		}
	}
	for ref := range dirty {
		e.decide(ref, now)
	}
	for ref := range dirty {
		if s := e.pools[ref]; s != nil {
			for _, h := range s.Hosts {
				hosts[h] = true
			}
		}
	}
	if m.synced && e.synced.IsZero() {
		e.synced = now
	}
	changed := e.compile(hosts)
	if e.mayGoLive(now) {
		e.goLive()
	}
	if e.live {
		for _, s := range changed {
			e.options.Catalog.Publish(s.zone)
		}
		e.metrics.programmed(e, m.updates, time.Now())
	}
	return e.nextStep(now)
}

// take replaces what is known of an object.
func (e *Engine) take(u model.Update, dirty map[model.Ref]bool, hosts map[string]bool) {
	old := e.pools[u.Ref]
	var claimed []string
	var created time.Time
	if u.Pool != nil {
		s := &state{Pool: *u.Pool}
		if old != nil {
			s.decision, s.problems, s.triggered = old.decision, old.problems, old.triggered
			if u.Pool.KeepPolicy {
				s.Policy = old.Policy
			}
		}
		e.pools[u.Ref] = s
		dirty[u.Ref] = true
		claimed, created = e.servable(s.Hosts), s.Created
	} else {
		delete(e.pools, u.Ref)
		delete(e.wakeups, u.Ref)
		if old != nil {
			e.reporter.Report(u.Ref, nil)
		}
	}
	e.use(u.Ref, old)
	touched, rivals := e.claims.Set(u.Ref, created, claimed)
	for _, h := range touched {
		hosts[h] = true
	}
	for _, r := range rivals {
		dirty[r] = true
	}
}

// use moves the object from the query of its old policy to that of its new one.
func (e *Engine) use(ref model.Ref, old *state) {
	if old != nil && old.Policy != nil {
		q := e.query(old.Policy)
		if delete(e.queries[q].users, ref); len(e.queries[q].users) == 0 {
			defer func() { // after the new policy, which may ask the same
				if s := e.queries[q]; s != nil && len(s.users) == 0 {
					delete(e.queries, q)
					e.asked = true
				}
			}()
		}
	}
	if s := e.pools[ref]; s != nil && s.Policy != nil {
		q := e.query(s.Policy)
		if e.queries[q] == nil {
			e.queries[q] = &signal{users: map[model.Ref]bool{}}
			e.asked = true
		}
		e.queries[q].users[ref] = true
	}
}

// wanted is what the evaluator shall evaluate.
func (e *Engine) wanted() map[promql.Query]time.Duration {
	queries := make(map[promql.Query]time.Duration, len(e.queries))
	for q := range e.queries {
		queries[q] = 0
	}
	return queries
}

func (e *Engine) query(p *model.Policy) promql.Query {
	q := promql.Query{Expr: p.Signals[0].Query, Interval: p.Signals[0].Interval}
	if q.Interval == 0 {
		q.Interval = e.options.Config.Prometheus.Interval
	}
	return q
}

// hear takes the result of a query. A failed one changes nothing but what is reported.
func (e *Engine) hear(r promql.Result, dirty map[model.Ref]bool) {
	s := e.queries[r.Query]
	if s == nil {
		return
	}
	s.misfit = r.Err == nil && r.Samples.Series > 0 && r.Samples.Strays == r.Samples.Series
	if s.misfit {
		r.Err = errors.New("no series has a label pod or a pod's address")
	}
	if (r.Err == nil) != (s.err == nil) {
		if r.Err != nil {
			e.options.Log.Warn("a policy's metric is away; its last values count until they are stale", "expr", r.Query.Expr, "error", r.Err)
		} else {
			e.options.Log.Info("a policy's metric is back", "expr", r.Query.Expr)
		}
	}
	s.err = r.Err
	if r.Err == nil {
		s.at, s.samples = r.At, r.Samples
	}
	for ref := range s.users {
		dirty[ref] = true
	}
}

// mayGoLive reports whether the first publication's time has come.
func (e *Engine) mayGoLive(now time.Time) bool {
	if e.live || e.synced.IsZero() {
		return false
	}
	if len(e.options.Config.Prometheus.URLs) == 0 {
		return true
	}
	for _, s := range e.queries {
		if s.at.IsZero() {
			return !now.Before(e.synced.Add(e.options.Config.Prometheus.FirstPass))
		}
	}
	return true
}

func (e *Engine) goLive() {
	for _, s := range e.zones {
		e.options.Catalog.Publish(s.zone)
		e.options.Log.Info("publishing", "zone", s.origin, "names", len(s.answers), "serial", s.zone.Serial())
	}
	e.live = true
	close(e.ready)
}

// nextStep is when time alone may change something.
func (e *Engine) nextStep(now time.Time) time.Time {
	next := now.Add(time.Hour)
	for _, at := range e.wakeups {
		if at.Before(next) {
			next = at
		}
	}
	if first := e.synced.Add(e.options.Config.Prometheus.FirstPass); !e.live && !e.synced.IsZero() && first.Before(next) {
		next = first
	}
	return next
}

// servable returns the hosts that are in a zone and not the zone's own.
func (e *Engine) servable(hosts []string) []string {
	return slices.DeleteFunc(slices.Clone(hosts), func(h string) bool {
		z := e.zoneOf(h)
		return z == nil || z.reserved[h]
	})
}

// zoneOf returns the zone with the longest origin that host is in, or nil.
func (e *Engine) zoneOf(host string) *served {
	var best *served
	for _, z := range e.zones {
		if dns.IsSubDomain(z.origin, host) && (best == nil || len(z.origin) > len(best.origin)) {
			best = z
		}
	}
	return best
}
