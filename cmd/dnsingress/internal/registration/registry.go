// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
)

// Options of a Registry. Zones, Sink, Serves and Log are required.
type Options struct {
	// Zones are those that leaves may register with, by canonical origin.
	Zones map[string]Policy
	// Sink takes what has changed. It must not block.
	Sink func([]model.Update)
	// Serves reports whether a zone is served here at all.
	Serves func(origin string) bool
	// Static reports whether an object delegates a child as well; nil: none does.
	Static func(child string) bool
	// Refers are the name servers that children are referred to, of leases and objects, nil for those that are not; nil: that
	// is told to nobody.
	Refers func(children []string) [][]model.Nameserver
	// State is a directory that keeps what is registered over restarts; "": none.
	State string
	// Replaced is the cause with which Run's ctx ends where another process has taken over what State holds; nil: none.
	Replaced   error
	Registerer prometheus.Registerer // nil: no metrics
	Log        *slog.Logger
}

// Registry takes registrations for upper zones. It is a transfer.Updater.
type Registry struct {
	options Options
	metrics *registryMetrics
	started int64 // Unix time: what was signed before may be a replay of what another process has taken
	kick    chan struct{}
	settled chan struct{}
	waiting []string // zones that wait for leaves, until settled is closed
	within  time.Duration

	mu       sync.Mutex
	books    map[string]*book
	refusals refusals
	unkept   map[string]bool // zones whose state is to be written
	next     time.Time       // no lease ends before, nor does anything else; zero: never
}

// keepShare bounds the time that writing state takes: one part in so many.
const keepShare = 10

// New reads what is kept, and gives it to the sink: each lease that was running has its whole time once more.
func New(o Options) (*Registry, error) {
	r := &Registry{
		options: o, started: time.Now().Unix(), kick: make(chan struct{}, 1), settled: make(chan struct{}), books: map[string]*book{},
		refusals: refusals{}, unkept: map[string]bool{},
	}
	now := time.Now()
	for _, origin := range slices.Sorted(maps.Keys(o.Zones)) {
		b := newBook(origin, o.Zones[origin])
		if o.Static != nil {
			b.static = o.Static
		}
		r.books[origin] = b
		found, err := b.load(o.State, now)
		if err != nil {
			o.Log.Error("reading what leaves have registered; they will do so again", "zone", origin, "error", err)
		}
		if !found {
			r.waiting = append(r.waiting, origin)
			r.within = max(r.within, b.policy.Settle)
			continue
		}
		t := newTouched()
		for name := range b.hosts {
			t.hosts[name] = true
		}
		for child := range b.children {
			t.children[child] = true
		}
		o.Sink(b.updates(t, now))
		o.Log.Info("leaves stay registered as before the start", "zone", origin, "children", len(b.children), "nameservers", len(b.hosts))
	}
	if r.within == 0 {
		r.waiting = nil
		close(r.settled)
	}
	var err error
	r.metrics, err = newRegistryMetrics(r, o.Registerer)
	return r, err
}

// Waiting are the zones that nothing is known of from before, and what is closed when leaves have had the time to register:
// until then their children do not exist as far as this process knows, and nobody should be told so.
func (r *Registry) Waiting() ([]string, <-chan struct{}) { return r.waiting, r.settled }

// Run ends leases in time, and keeps what is registered, until ctx ends.
func (r *Registry) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	settle := time.NewTimer(r.within)
	defer settle.Stop()
	r.mu.Lock()
	r.next = time.Now() // what was kept from before is to be looked at
	r.mu.Unlock()
	var rested time.Time // when state may be written again
	for {
		select {
		case <-ctx.Done():
			if r.options.Replaced == nil || context.Cause(ctx) != r.options.Replaced {
				r.keep()
			}
			return nil
		case <-settle.C:
			if r.within > 0 {
				close(r.settled)
			}
			continue
		case <-r.kick:
		case <-timer.C:
		}
		next := r.expire(time.Now())
		if began := time.Now(); began.Before(rested) {
			next = sooner(next, rested)
		} else if r.keep() {
			rested = time.Now().Add(keepShare * time.Since(began))
		}
		if wait := time.Until(next); next.IsZero() {
			timer.Reset(time.Hour)
		} else {
			timer.Reset(max(wait, 0))
		}
	}
}

// sooner is the earlier one of two times, of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// expire ends what has come to its end in all zones, if it is time, and tells when to look again; zero: never.
func (r *Registry) expire(now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next.IsZero() || now.Before(r.next) {
		return r.next
	}
	r.next = time.Time{}
	for origin, b := range r.books {
		t, at := b.expire(now)
		r.next = sooner(r.next, at)
		if !t.any() {
			continue
		}
		r.unkept[origin] = true
		gone, kept := map[string]int{}, map[string]int{} // children by name server: a line each would be thousands
		for child := range t.children {
			for _, d := range b.left[child] {
				if d.at.Equal(now) {
					gone[d.host]++
				}
			}
			for _, c := range b.children[child] {
				if c.ended.Equal(now) {
					kept[c.host]++
				}
			}
		}
		for host, n := range gone {
			r.metrics.ended.WithLabelValues(origin).Add(float64(n))
			r.options.Log.Warn("leases have ended", "zone", origin, "nameserver", host, "children", n, "ttl", b.policy.TTL)
		}
		for host, n := range kept {
			r.metrics.ended.WithLabelValues(origin).Add(float64(n))
			r.options.Log.Warn("leases of children's last name server have ended; it stays there", "zone", origin, "nameserver", host, "children", n, "for", b.policy.KeepLast)
		}
		r.options.Sink(b.updates(t, now))
	}
	return r.next
}

// Update implements transfer.Updater.
func (r *Registry) Update(u *transfer.Update) transfer.Verdict {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	origin, lease, err := r.update(u, now)
	if err == nil {
		r.metrics.updates.WithLabelValues(origin, "accepted").Inc()
		return transfer.Verdict{Rcode: dns.RcodeSuccess, Lease: lease}
	}
	no := refusalOf(err)
	kind := refused{Zone: origin, Key: u.Key, Reason: no.reason, Why: no.why}
	if r.books[origin] == nil { // anybody could make labels and lines
		kind.Zone, kind.Why = "", "a zone that nobody may register anything with here"
	}
	r.metrics.updates.WithLabelValues(kind.Zone, no.reason).Inc()
	if no.reason != "unknown_state" && r.refusals.add(kind, u.From, now) {
		r.options.Log.Warn("refusing a registration", "zone", origin, "key", u.Key, "from", u.From, "reason", no.reason, "message", no.why)
	}
	return transfer.Verdict{Rcode: no.rcode, Stale: no.reason == "stale", Newest: no.newest, Why: no.why}
}

// update takes one message. origin is the zone that it names, as far as that could be read.
func (r *Registry) update(u *transfer.Update, now time.Time) (origin string, lease *uint32, err error) {
	if len(u.Msg.Question) == 1 {
		origin = dns.CanonicalName(u.Msg.Question[0].Name)
	}
	b := r.books[origin]
	switch {
	case b == nil && !r.options.Serves(origin):
		return origin, nil, refuse(dns.RcodeNotAuth, "unknown_zone", "the zone %s is not served here", origin)
	case b == nil:
		return origin, nil, refuse(dns.RcodeRefused, "not_granted", "nobody may register anything with the zone %s", origin)
	case u.Key == "":
		return origin, nil, refuse(dns.RcodeRefused, "unsigned", "the message is not signed (hint: TSIG)")
	case !b.policy.known(u.Key):
		return origin, nil, refuse(dns.RcodeRefused, "not_granted", "nothing in the zone %s is granted to key %s", origin, u.Key)
	}
	q, err := parse(u.Msg)
	if err != nil {
		return origin, nil, err
	}
	stale, newest := u.Signed < r.started, int64(0)
	if !stale {
		stale, newest = b.stale(b.named(q, u.Key), u.Key, u.Signed, u.MAC)
	}
	if stale {
		return origin, nil, &refusal{dns.RcodeNotAuth, "stale", "the message has been seen, or was signed before one that has been (hint: a replay, or a clock that went back)", newest}
	}
	before := b.accounts()
	t, err := b.apply(q, u.Key, now)
	if err != nil {
		return origin, nil, err
	}
	if t.any() {
		r.unkept[origin] = true
		r.options.Sink(b.updates(t, now))
		if after := b.accounts(); after != before {
			r.options.Log.Info("leaves registered", "zone", origin, "key", u.Key, "children", after.children, "nameservers", after.hosts, "leases", after.leases)
		}
	}
	granted := b.policy.lease(q.lease)
	if q.lease != nil && *q.lease == 0 {
		granted = 0
	}
	// Renewals have nothing end sooner: most messages wake nobody.
	end := now.Add(granted)
	if t.any() { // and who has left, or stays as the last one, has another time
		end = sooner(end, now.Add(time.Duration(b.policy.TTL)*time.Second))
		if b.policy.KeepLast > 0 {
			end = sooner(end, now.Add(b.policy.KeepLast))
		}
	}
	if next := sooner(r.next, end); t.any() || !next.Equal(r.next) {
		r.next = next
		r.wake()
	}
	seconds := uint32(granted / time.Second)
	return origin, &seconds, nil
}

// wake has Run look at the leases again.
func (r *Registry) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// accounts are how much is registered.
type accounts struct{ children, hosts, leases int }

func (b *book) accounts() accounts {
	return accounts{children: len(b.children), hosts: len(b.hosts), leases: b.leases}
}

// keep writes what has changed to the state directory, if anything has.
func (r *Registry) keep() bool {
	if r.options.State == "" {
		return false
	}
	r.mu.Lock()
	files := map[string]state{}
	for origin := range r.unkept {
		files[origin] = r.books[origin].state()
	}
	clear(r.unkept)
	r.mu.Unlock()
	for origin, s := range files {
		if err := s.write(r.options.State, origin); err != nil {
			r.options.Log.Error("keeping what leaves have registered: a restart will wait for them", "zone", origin, "error", err)
			r.metrics.unkept.WithLabelValues(origin).Inc()
		}
	}
	return len(files) > 0
}
