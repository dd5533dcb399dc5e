// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/serial"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

// served is one zone and what its names are answered with.
type served struct {
	origin   string
	by       model.Ref // the object that has it served; zero: the configuration
	own      model.Zone
	reserved map[string]bool // names that the zone itself gives data to
	zone     *zone.Zone
	serials  *serial.Counter
	unkept   bool              // it has been said that serials are not kept
	answers  map[string]answer // by name as claimed
}

// newServed makes the zone with nothing but its own records.
func newServed(own model.Zone, serials *serial.Counter, first uint32) (*served, error) {
	s := &served{origin: own.Origin, own: own, serials: serials, reserved: record.Reserved(&own), answers: map[string]answer{}}
	var err error
	if s.zone, err = zone.New(own.Origin, record.ZoneRecords(&own, first)); err != nil {
		return nil, fmt.Errorf("making zone %s: %w", own.Origin, err)
	}
	return s, nil
}

// barred says why a name is not an object's, as far as the zone decides.
func (s *served) barred(of *state, name string) (model.Problem, bool) {
	return record.Barred(&s.own, s.reserved, of.Ref.Namespace, name, of.Delegation != nil || of.isServer())
}

// keep notes the serial that is about to be shown.
func (e *Engine) keep(z *served, next uint32) {
	if err := z.serials.Use(next); err != nil && !z.unkept {
		z.unkept = true
		e.options.Log.Error("the zone's serial may go back at the next start", "zone", z.origin, "error", err)
	}
}

// change is what happens to a name, as it is claimed, in a zone.
type change struct {
	key string
	zone.Change
}

// compile changes the zones where the answers for names are other than before, and returns the changed zones, children
// before those above them.
func (e *Engine) compile(names map[string]bool) []*served {
	changes := map[*served]map[string]change{} // by owner
	add := func(z *served, c change) {
		if changes[z] == nil {
			changes[z] = map[string]change{}
		}
		// One name may be claimed in two ways, of which one goes when the other comes.
		if _, other := changes[z][c.Owner]; !other || !c.Remove {
			changes[z][c.Owner] = c
		}
	}
	for z, left := range e.left {
		for _, name := range left {
			add(z, change{name, zone.Change{Owner: name, Remove: true}})
		}
	}
	e.left = nil
	for key := range names {
		z := e.zoneOf(key)
		if z == nil {
			continue
		}
		want, wanted := e.answerFor(key, z)
		have, had := z.answers[key]
		name := plain(key)
		switch {
		case wanted && (!had || !have.equal(want)):
			if had && have.ttl > want.ttl {
				e.shorter(key, have.ttl)
			}
			z.answers[key] = want
			add(z, change{key, want.change(name)})
		case !wanted && had:
			delete(z.answers, key)
			// The apex exists as long as its zone does.
			add(z, change{key, zone.Change{Owner: name, Remove: name != z.origin}})
		}
	}
	var changed []*served
	for z := range e.fresh {
		if changes[z] == nil {
			changed = append(changed, z)
		}
	}
	for z, list := range changes {
		next := e.change(z, slices.SortedFunc(maps.Values(list), func(a, b change) int { return strings.Compare(a.Owner, b.Owner) }))
		if next == z.zone && !e.fresh[z] {
			continue
		}
		e.keep(z, next.Serial())
		z.zone = next
		changed = append(changed, z)
	}
	e.fresh = nil
	slices.SortFunc(changed, func(a, b *served) int {
		return cmp.Or(dns.CountLabel(b.origin)-dns.CountLabel(a.origin), strings.Compare(a.origin, b.origin))
	})
	return changed
}

// change makes the changes. What has been checked can all be made; should one be refused all the same, the name that it
// is of stays as it was and its owner is told, so that it holds up nobody else.
func (e *Engine) change(z *served, list []change) *zone.Zone {
	all := make([]zone.Change, len(list))
	for i, c := range list {
		all[i] = c.Change
	}
	next, err := z.zone.With(all...)
	if err == nil {
		for _, c := range list {
			e.refuse(c.key, nil)
		}
		return next
	}
	next = z.zone
	for _, c := range list {
		one, err := next.With(c.Change)
		e.refuse(c.key, err)
		if err != nil {
			e.options.Log.Error("changing a name; it stays as it was", "zone", z.origin, "name", c.Owner, "error", err)
			continue
		}
		next = one
	}
	return next
}
