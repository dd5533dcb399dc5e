// SPDX-License-Identifier: Apache-2.0

package dnssec

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

const (
	tick = 10 * time.Second
	// between is how long it is at most from one look at everything to the next: what is due before that is made again.
	between = time.Hour
	// slack is how many entries there may be beside twice those that the last look at everything left.
	slack = 4096
)

// Follow has the signer make the signatures of what a catalog publishes of its zone. Run does the work, publishing does
// not wait for it.
func (s *Signer) Follow(catalog *zone.Catalog) {
	catalog.Follow(func(_, after *zone.Zone) {
		if after != nil && after.Signer() == zone.Signer(s) {
			s.publish(after)
		}
	})
	if z := catalog.Zone(s.origin); z != nil && z.Signer() == zone.Signer(s) {
		s.publish(z)
	}
}

func (s *Signer) publish(z *zone.Zone) {
	s.mu.Lock()
	s.latest = z
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run makes signatures ahead of the questions until ctx ends: for what changed when it changes, and for everything
// whose time has come, again.
func (s *Signer) Run(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	r := &rounds{Signer: s}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-ticker.C:
		}
		s.Tick()
		r.step(ctx)
	}
}

// rounds is the state of looking at everything.
type rounds struct {
	*Signer
	since *zone.Zone // what signatures have been made for
	round uint32
	last  time.Time
	left  int // entries after the last round
}

// step does all that is to be done.
func (r *rounds) step(ctx context.Context) {
	r.mu.Lock()
	z := r.latest
	r.mu.Unlock()
	if z == nil {
		return
	}
	now := r.now()
	switch {
	case r.since == nil || now.Before(r.last) || now.Sub(r.last) >= between || r.kept.len() > 2*r.left+slack:
		if r.everything(ctx, z, now) {
			r.since, r.last = z, now
		}
	case z != r.since:
		if r.changes(ctx, z) {
			r.since = z
		}
	}
}

// everything makes what is missing and what is due of the whole zone and forgets what is not in it. It tells whether
// it came to the end.
func (r *rounds) everything(ctx context.Context, z *zone.Zone, now time.Time) bool {
	r.round++
	ok := true
	oldest := now.Unix() + r.validity
	z.Signables(func(set zone.Signable, extra bool) bool {
		if due := r.ahead(set, extra); due != 0 {
			oldest = min(oldest, due)
		}
		ok = ctx.Err() == nil
		return ok
	})
	if ok {
		r.left = r.kept.sweep(r.round)
		r.count.oldest.Store(oldest + r.validity/2)
	}
	return ok
}

// changes makes what is missing at the names that a zone changed, and tells whether it came to the end.
func (r *rounds) changes(ctx context.Context, z *zone.Zone) bool {
	ok := true
	z.SignablesSince(r.since, func(set zone.Signable, extra bool) bool {
		r.ahead(set, extra)
		ok = ctx.Err() == nil
		return ok
	})
	return ok
}

// ahead sees to it that there are signatures of a set that are not due before the next look, and returns when they are, or 0 for none. What
// is extra is made again but not made.
func (r *rounds) ahead(set zone.Signable, extra bool) (due int64) {
	r.original(set)
	hash := maphash.Bytes(r.seed, set)
	now := r.now().Unix()
	next := now + int64(between/time.Second)
	e := r.kept.mark(hash, set, r.round)
	switch {
	case e != nil && r.begun(e, now) && next < e.due:
		return e.due
	case e == nil && extra:
		return 0
	}
	fresh := r.made.get(hash, set)
	if fresh == nil || next >= fresh.due || !r.begun(fresh, now) {
		if fresh = r.sign(hash, set, next); fresh == nil {
			return 0
		}
		r.count.ahead.Add(1)
	}
	own := *fresh
	own.round = r.round
	r.kept.put(&own)
	return own.due
}
