// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/alias"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/promql"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// Reporter is told all that is wrong with an object, each time that changes. It must not block.
type Reporter interface {
	Report(ref model.Ref, problems []model.Problem)
	// Tell is told once of something that has just happened to what the object publishes.
	Tell(ref model.Ref, p model.Problem)
}

// Prober makes the health checks of an object's members and gives their outcomes to Engine.Checked. It must not block.
type Prober interface {
	// Set makes these all that is checked for the object; nothing: it is left alone.
	Set(ref model.Ref, checks []model.HealthCheck, addresses []netip.Addr)
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
	// Sign gives a new zone its signer, which it keeps through changes; nil: no zone is signed.
	Sign func(*zone.Zone) (*zone.Zone, error)
	// Beside tells that the process whose place this one takes still changes the zones.
	Beside bool
	Log    *slog.Logger
}

// Engine is the control loop. Apply, Synced and Deliver may be called from any goroutine.
type Engine struct {
	options   Options
	evaluator Evaluator
	prober    Prober   // nil: no checks are made
	follower  Follower // nil: no host names are followed
	reporter  Reporter
	observe   func(model.Ref) // nil: nobody does
	metrics   *metrics

	peering
	leasing
	inbox inbox
	ready chan struct{} // closed when the zones have been published first

	mu       sync.RWMutex               // guards the rest, which only the loop changes
	zones    map[string]*served         // by origin
	asking   map[model.Ref]*model.Zone  // zones of objects, also those that another has
	origins  model.Claims               // of these
	unmade   map[model.Ref]string       // why a zone cannot be made
	begun    map[string]uint32          // by origin, the next serial of zones that have been served and are not
	fresh    map[*served]bool           // zones that have not been published as they are
	left     map[*served][]string       // names that zones do not hold any more, as a child zone has them
	gone     []string                   // origins to withdraw
	cuts     map[string]model.Ref       // names as claimed that are delegations
	under    map[string]string          // names as claimed, each with the delegation that it is below
	below    map[string]map[string]bool // these, by delegation
	pools    map[model.Ref]*state
	claims   model.Claims
	queries  map[promql.Query]*signal
	serving  chan struct{}               // closed when there has been a zone to answer for
	asked    bool                        // queries has other keys than the evaluator knows
	canon    map[string]string           // expressions as Prometheus writes them
	follows  map[string]*followed        // by host name
	loops    map[string][]string         // names whose CNAMEs lead back to them, each with the names on the way, itself the first
	pointing map[string]map[pointer]bool // CNAMEs of objects, by the names in the zones that they point to
	wakeups  map[model.Ref]time.Time     // when a pool must be decided again though nothing comes in
	synced   time.Time                   // zero: not yet
	live     bool
	now      time.Time // of the step that is being taken
}

// state is one pool and what was last decided on it.
type state struct {
	model.Pool
	hosts     []string                     // those of the pool that can be published
	sets      []model.RecordSet            // likewise
	setsAt    map[string][]int             // in sets, by name
	names     []string                     // all that it claims
	cut       string                       // of a delegation: the child, as claimed
	made      map[string]string            // those of them that follow from its ports, each with the host that it is for
	wrong     []model.Problem              // with what it wants to publish
	refused   map[string]string            // by name, why the zone does not take what it should hold
	follows   []string                     // host names whose addresses its records have, in order
	confused  []model.Problem              // with the signals of its policy
	portSets  map[string][]model.RecordSet // of its ports, by name, as decided; nil: not made yet
	queries   []promql.Query               // of the policy's signals, in their order
	finders   []promql.Finder              // of the signals' values
	checks    map[string]checked           // what health checks found, by name
	decision  steer.Decision
	decided   time.Time // for when the decision is
	gathering gathering
	history   history
	problems  []model.Problem // all of them, as last reported
	triggered time.Time       // the newest change in the cluster that has been served
	drain     drain
}

// checked is the outcome of a health check.
type checked struct {
	at     time.Time
	values map[netip.Addr]float64
}

// New prepares an engine; call Connect before Run.
func New(o Options) (*Engine, error) {
	e := &Engine{
		options:  o,
		leasing:  newLeasing(),
		inbox:    inbox{wake: make(chan struct{}, 1)},
		ready:    make(chan struct{}),
		serving:  make(chan struct{}),
		zones:    map[string]*served{},
		asking:   map[model.Ref]*model.Zone{},
		unmade:   map[model.Ref]string{},
		begun:    map[string]uint32{},
		cuts:     map[string]model.Ref{},
		under:    map[string]string{},
		below:    map[string]map[string]bool{},
		pools:    map[model.Ref]*state{},
		queries:  map[promql.Query]*signal{},
		canon:    map[string]string{},
		follows:  map[string]*followed{},
		loops:    map[string][]string{},
		pointing: map[string]map[pointer]bool{},
		wakeups:  map[model.Ref]time.Time{},
	}
	for _, z := range o.Config.Zones {
		s, err := e.open(z.Model())
		if err != nil {
			return nil, err
		}
		e.zones[s.origin] = s
	}
	var err error
	if e.metrics, err = newMetrics(e, o.Registerer); err != nil {
		return nil, err
	}
	return e, nil
}

// ConnectProber gives the engine the one that makes health checks.
func (e *Engine) ConnectProber(p Prober) { e.prober = p }

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

// Checked says that the outcome of an object's health check is another since at. values gives it for all members that it
// has one for, and is called when the engine comes to it: once, for all that has changed until then. It stands until the next.
func (e *Engine) Checked(ref model.Ref, name string, at time.Time, values func() map[netip.Addr]float64) {
	e.inbox.add(func(m *mail) {
		if m.checks == nil {
			m.checks = map[check]outcome{}
		}
		m.checks[check{ref, name}] = outcome{at.Round(0), values}
	})
}

// inbox collects what comes in between two steps.
type inbox struct {
	mu   sync.Mutex
	mail mail
	wake chan struct{}
}

type mail struct {
	updates  []model.Update
	results  []promql.Result
	checks   map[check]outcome        // the newest of each
	followed map[string]alias.Outcome // likewise, by host name
	peers    []model.PeerNews
	synced   bool
	leaseMail
}

// check is a health check of one object.
type check struct {
	ref  model.Ref
	name string
}

// outcome is that of one check.
type outcome struct {
	at     time.Time
	values func() map[netip.Addr]float64
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

// cause says why a pool is decided anew, and for when.
type cause struct {
	why trigger
	due time.Time // of byMetrics: the instant that replicas have in common
}

// causes are the pools to decide anew. News of the cluster count more than those of metrics, and these more than time.
type causes map[model.Ref]cause

func (c causes) add(ref model.Ref, why trigger, due time.Time) {
	if old, ok := c[ref]; !ok || why < old.why || why == old.why && due.After(old.due) {
		c[ref] = cause{why, due}
	}
}

// step takes in m, decides and publishes, and returns when to step again at the latest.
func (e *Engine) step(ctx context.Context, m mail, now time.Time) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	began := time.Now()
	now = now.Round(0) // a monotonic clock, which the times that are kept would compare by, does not tell when it was set
	e.now = now
	dirty := make(causes, len(m.updates))
	hosts := make(map[string]bool, 2*len(m.updates))
	if len(e.pools) == 0 {
		e.pools = make(map[model.Ref]*state, len(m.updates))
	}
	e.rezone(m.updates, m.adopted, dirty, hosts)
	for _, u := range m.updates {
		e.take(e.lease(u), dirty, hosts)
		e.besides(u, dirty, hosts)
	}
	e.heed(m, dirty)
	if e.asked {
		e.asked = false
		e.evaluator.Set(ctx, e.wanted())
	}
	for _, r := range m.results {
		e.hear(r, dirty, now)
	}
	for c, found := range m.checks {
		if s := e.pools[c.ref]; s.probes(c.name) {
			if s.checks == nil {
				s.checks = map[string]checked{}
			}
			s.checks[c.name] = checked{found.at, found.values()}
			dirty.add(c.ref, byCheck, time.Time{})
		}
	}
	for name, found := range m.followed {
		e.found(name, found, dirty)
	}
	for _, n := range m.peers {
		e.hearPeer(n, dirty, hosts)
	}
	e.relink(hosts, dirty)
	e.recut(hosts, dirty)
	for ref, at := range e.wakeups {
		if now.Before(at) {
			continue
		}
		if g := e.pools[ref].gathering; !g.until.IsZero() && !now.Before(g.until) {
			dirty.add(ref, byMetrics, g.due)
		} else {
			dirty.add(ref, byTime, time.Time{})
		}
	}
	for ref, c := range dirty {
		e.decide(ref, c, now)
	}
	for ref := range dirty {
		if s := e.pools[ref]; s != nil {
			for _, h := range s.names {
				hosts[h] = true
			}
		}
	}
	if m.settled {
		e.unwait()
	}
	if m.synced && e.synced.IsZero() {
		e.synced = now
	}
	if e.mayGoLive(now) {
		e.rebuild(now, hosts)
		e.publish(e.compile(hosts))
		e.goLive()
		e.offerAll()
	} else {
		e.publish(e.compile(hosts))
		e.offer(hosts)
	}
	e.recount()
	if e.live {
		e.metrics.programmed(e, m.updates, time.Now())
	}
	for _, u := range m.updates {
		e.changed(u.Ref)
	}
	if len(dirty) > 0 {
		e.metrics.step.Observe(time.Since(began).Seconds())
	}
	return e.nextStep(now)
}

// publish shows the changed zones to the world, once it may see them.
func (e *Engine) publish(changed []*served) {
	if !e.live {
		return
	}
	for _, s := range changed {
		if !e.waiting[s.origin] {
			e.options.Catalog.Publish(s.zone)
		}
	}
	for _, origin := range e.gone {
		e.options.Catalog.Withdraw(origin)
	}
	e.gone = nil
	e.serve()
}

// take replaces what is known of an object.
func (e *Engine) take(u model.Update, dirty causes, hosts map[string]bool) {
	old := e.pools[u.Ref]
	var claimed []string
	var created time.Time
	if u.Pool != nil {
		s := &state{Pool: *u.Pool}
		if old != nil {
			s.decision, s.decided, s.history, s.problems, s.triggered = old.decision, old.decided, old.history, old.problems, old.triggered
			s.gathering, s.checks, s.drain = old.gathering, old.checks, old.drain
			if u.Pool.KeepPolicy {
				s.Policy = old.Policy
			}
			if u.Pool.KeepZone {
				s.Zone, s.Delegation = old.Zone, old.Delegation
			}
		}
		e.pools[u.Ref] = s
		e.arrange(s)
		dirty.add(u.Ref, byCluster, time.Time{})
		claimed, created = e.servable(s), s.Created
	} else {
		delete(e.pools, u.Ref)
		delete(e.wakeups, u.Ref)
		if old != nil && u.Ref.Kind != peers {
			e.reporter.Report(u.Ref, nil)
		}
	}
	e.missed(old, e.pools[u.Ref])
	e.use(u.Ref, old)
	e.probe(u.Ref, old)
	e.follow(u.Ref, old)
	e.point(u.Ref, old)
	touched, rivals := e.claims.Set(u.Ref, created, claimed)
	for _, h := range touched {
		hosts[h] = true
	}
	for _, r := range rivals {
		dirty.add(r, byCluster, time.Time{})
	}
}

// probe tells the prober what to check of an object from now on.
func (e *Engine) probe(ref model.Ref, old *state) {
	s := e.pools[ref]
	if s != nil { // what is gone says nothing any more
		maps.DeleteFunc(s.checks, func(name string, _ checked) bool { return !s.probes(name) })
	}
	before, after := old.probed(), s.probed()
	if e.prober == nil || len(before) == 0 && len(after) == 0 {
		return
	}
	var addresses []netip.Addr
	if len(after) > 0 {
		for _, m := range s.Members {
			addresses = append(addresses, m.Address)
		}
	}
	e.prober.Set(ref, after, addresses)
}

func (s *state) probed() []model.HealthCheck {
	if s == nil || s.Policy == nil {
		return nil
	}
	return s.Policy.Checks
}

// probes reports whether the pool has a check of that name.
func (s *state) probes(name string) bool {
	return slices.ContainsFunc(s.probed(), func(c model.HealthCheck) bool { return c.Name == name })
}

// mayGoLive reports whether the first publication's time has come.
func (e *Engine) mayGoLive(now time.Time) bool {
	if e.live || e.synced.IsZero() {
		return false
	}
	return !e.awaited() || !now.Before(e.synced.Add(e.options.Config.Prometheus.FirstPass))
}

// awaited reports whether some policy has not had its first values, or some host name its first addresses.
func (e *Engine) awaited() bool {
	if len(e.options.Config.Prometheus.URLs) > 0 {
		for _, s := range e.queries {
			if s.Due.IsZero() {
				return true
			}
		}
	}
	if e.follower != nil {
		for _, f := range e.follows {
			if !f.known {
				return true
			}
		}
	}
	if e.unheard() {
		return true
	}
	if e.prober == nil {
		return false
	}
	for _, s := range e.pools {
		for _, c := range s.probed() {
			if _, known := s.checks[c.Name]; !known && slices.ContainsFunc(s.Members, func(m model.Member) bool { return m.Ready }) {
				return true
			}
		}
	}
	return false
}

func (e *Engine) goLive() {
	if len(e.zones) == 0 {
		e.options.Log.Warn("nothing to answer for yet: the configuration has no zones (hint: DNSZones)")
	}
	e.onZones()
	for _, s := range e.zones {
		if e.waiting[s.origin] {
			continue
		}
		e.options.Catalog.Publish(s.zone)
		e.options.Log.Info("publishing", "zone", s.origin, "names", len(s.answers), "serial", s.zone.Serial())
	}
	e.live, e.gone = true, nil
	e.serve()
	for ref := range e.pools {
		e.changed(ref)
	}
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
