// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/serial"
)

// Serving is closed when there has been a zone to answer for.
func (e *Engine) Serving() <-chan struct{} { return e.serving }

// serve notes that there is a zone.
func (e *Engine) serve() {
	select {
	case <-e.serving:
	default:
		if len(e.zones) > 0 {
			close(e.serving)
		}
	}
}

// open makes a zone that is not served yet, with its own records alone. Its serial is beyond all that it had before.
func (e *Engine) open(own model.Zone) (*served, error) {
	serials, err := serial.Open(e.options.Config.State, own.Origin, time.Now(), e.options.Beside && !e.live)
	if err != nil {
		return nil, err
	}
	first := serials.Start()
	if next, ok := e.begun[own.Origin]; ok && int32(next-first) > 0 { // RFC 1982 §3.2
		first = next
	}
	return e.make(own, serials, first)
}

// make makes a zone, signed where it is to be.
func (e *Engine) make(own model.Zone, serials *serial.Counter, first uint32) (*served, error) {
	s, err := newServed(own, serials, first)
	if err == nil && e.options.Sign != nil {
		s.zone, err = e.options.Sign(s.zone)
	}
	if err != nil {
		return nil, err
	}
	e.keep(s, s.zone.Serial())
	return s, nil
}

// rezone has the zones served that objects want now, and takes up again the objects that have names in those that come,
// go or change: a name is in the zone with the longest origin.
func (e *Engine) rezone(updates []model.Update, adopted map[string][]model.Nameserver, dirty causes, hosts map[string]bool) {
	touched := map[string]bool{}
	for origin, servers := range adopted {
		e.adopted[origin], touched[origin] = servers, true
	}
	for _, u := range updates {
		e.want(u, touched)
	}
	if len(touched) == 0 {
		return
	}
	moved := map[string]bool{}
	for _, origin := range slices.Sorted(maps.Keys(touched)) {
		if e.settle(origin) {
			moved[origin] = true
		}
		for _, ref := range e.claimants(origin) {
			dirty.add(ref, byCluster, time.Time{})
		}
	}
	if len(moved) == 0 {
		return
	}
	e.onZones()
	newer := map[model.Ref]bool{}
	for _, u := range updates {
		newer[u.Ref] = true
	}
	var again []model.Ref
	for ref, s := range e.pools {
		if !newer[ref] && s.isBelow(moved) {
			again = append(again, ref)
		}
	}
	slices.SortFunc(again, model.Ref.Compare)
	for _, ref := range again {
		pool := e.pools[ref].Pool
		e.take(model.Update{Ref: ref, Pool: &pool}, dirty, hosts)
	}
}

// want notes the zone of an object, and in touched which origins that concerns.
func (e *Engine) want(u model.Update, touched map[string]bool) {
	old := e.asking[u.Ref]
	var now *model.Zone
	var created time.Time
	if u.Pool != nil {
		if now, created = u.Pool.Zone, u.Pool.Created; u.Pool.KeepZone {
			now = old
		}
	}
	if old == nil && now == nil {
		return
	}
	var origins []string
	if now != nil {
		origins = []string{now.Origin}
		touched[now.Origin] = true
		e.asking[u.Ref] = now
	} else {
		delete(e.asking, u.Ref)
	}
	if old != nil {
		touched[old.Origin] = true
	}
	delete(e.unmade, u.Ref)
	e.origins.Set(u.Ref, created, origins)
}

// settle makes the zone of an origin what the object that has it wants, and tells whether that changes anything.
func (e *Engine) settle(origin string) (changed bool) {
	have := e.zones[origin]
	own, owner, ok := e.wantedZone(origin)
	switch {
	case !ok && have == nil:
		return false
	case !ok:
		delete(e.zones, origin)
		delete(e.fresh, have)
		delete(e.left, have)
		e.begun[origin] = have.zone.Serial() + 1
		e.gone = append(e.gone, origin)
		e.options.Log.Info("zone ends", "zone", origin, "object", have.by.String())
		return true
	case have != nil && have.by == owner && have.own.Equal(&own):
		return false
	}
	next, err := e.renew(have, own)
	if err != nil {
		e.unmade[owner] = err.Error()
		e.options.Log.Error("making a zone; what was there stays", "zone", origin, "object", owner.String(), "error", err)
		return false
	}
	next.by = owner
	if have == nil {
		e.leave(origin)
		e.options.Log.Info("zone begins", "zone", origin, "object", owner.String(), "serial", next.zone.Serial())
	} else {
		delete(e.fresh, have)
		delete(e.left, have)
	}
	e.gone = slices.DeleteFunc(e.gone, func(o string) bool { return o == origin })
	e.zones[origin] = next
	if e.fresh == nil {
		e.fresh = map[*served]bool{}
	}
	e.fresh[next] = true
	return true
}

// configured is the zone of an origin as the configuration says it.
func (e *Engine) configured(origin string) (own model.Zone, ok bool) {
	for _, z := range e.options.Config.Zones {
		if z.Origin == origin {
			return z.Model(), true
		}
	}
	return own, false
}

// wantedZone is the zone of an origin as it should be, and who has it served; zero: the configuration.
func (e *Engine) wantedZone(origin string) (own model.Zone, owner model.Ref, ok bool) {
	if own, ok = e.configured(origin); !ok {
		if owner, ok = e.origins.Owner(origin); !ok {
			return own, owner, false
		}
		own = *e.asking[owner]
	}
	if servers := e.adopted[origin]; servers != nil {
		own.Nameservers = servers
	}
	return own, owner, true
}

// renew makes a zone with other records of its own, which answers for all names as before; nil: it was none.
func (e *Engine) renew(have *served, own model.Zone) (*served, error) {
	if have == nil {
		return e.open(own)
	}
	next, err := e.make(own, have.serials, have.zone.Serial()+1)
	if err != nil {
		return nil, err
	}
	var list []change
	for key, a := range have.answers {
		if name := plain(key); !next.reserved[name] {
			next.answers[key] = a
			list = append(list, change{key, a.change(name)})
		}
	}
	slices.SortFunc(list, func(a, b change) int { return strings.Compare(a.Owner, b.Owner) })
	if len(list) > 0 {
		next.zone = e.change(next, list)
		e.keep(next, next.zone.Serial())
	}
	return next, nil
}

// leave takes from the zone above the names that an origin, which is served from now on, is at or above.
func (e *Engine) leave(origin string) {
	above := e.zoneOf(origin)
	if above == nil {
		return
	}
	for key := range above.answers {
		if key == plain(key) && within(origin, key) {
			delete(above.answers, key)
			if e.left == nil {
				e.left = map[*served][]string{}
			}
			e.left[above] = append(e.left[above], key)
		}
	}
}

// isBelow reports whether an object has names at or below one of the origins, or delegates one of them.
func (s *state) isBelow(origins map[string]bool) bool {
	below := func(name string) bool {
		for {
			if origins[name] {
				return true
			}
			if name = record.Parent(name); name == "" {
				return false
			}
		}
	}
	if d := s.Delegation; d != nil {
		return below(d.Child)
	}
	return slices.ContainsFunc(s.Hosts, below) || slices.ContainsFunc(s.Records, func(r model.RecordSet) bool { return below(r.Name) })
}

// claimants are the objects that want a zone of that origin.
func (e *Engine) claimants(origin string) []model.Ref {
	owner, ok := e.origins.Owner(origin)
	if !ok {
		return nil
	}
	return append([]model.Ref{owner}, e.origins.Rivals(origin)...)
}

// zoneConflicts says why an object's zone is not served as it says.
func (e *Engine) zoneConflicts(s *state) []model.Problem {
	origin := s.Zone.Origin
	if z := e.zones[origin]; z != nil && z.by == (model.Ref{}) {
		return []model.Problem{{Reason: "Configured", Path: "spec.origin", Message: fmt.Sprintf(
			"zone %s is in the configuration, which counts more (hint: one of them)", origin)}}
	}
	if owner, _ := e.origins.Owner(origin); owner != s.Ref {
		return []model.Problem{record.OriginTaken(origin, owner)}
	}
	if why := e.unmade[s.Ref]; why != "" {
		return []model.Problem{{Reason: "Refused", Message: why}}
	}
	return nil
}

// zoneOf returns the zone with the longest origin that a name, as claimed, is in, or nil.
func (e *Engine) zoneOf(key string) *served {
	name, origin := record.Place(key)
	if origin != "" {
		return e.zones[origin]
	}
	for ; name != ""; name = record.Parent(name) {
		if z := e.zones[name]; z != nil {
			return z
		}
	}
	return nil
}

// served are the origins of all zones, in order.
func (e *Engine) served() []string { return slices.Sorted(maps.Keys(e.zones)) }

// hint says in which zones names can be: those that do not come and go.
func (e *Engine) hint() string {
	var origins []string
	for _, z := range e.options.Config.Zones {
		origins = append(origins, z.Origin)
	}
	if len(origins) == 0 {
		return "a DNSZone, or zones in the configuration"
	}
	return strings.Join(origins, ", ")
}

// zoneStatus is Status for a zone or a delegation.
func (e *Engine) zoneStatus(s *state) (model.Status, bool) {
	var z *served
	if s.Zone != nil {
		if z = e.zones[s.Zone.Origin]; z != nil && z.by != s.Ref {
			z = nil
		}
	} else if e.has(s.Ref, s.cut) {
		z = e.zoneOf(s.cut)
	}
	if z == nil {
		return model.Status{}, false
	}
	return model.Status{Zone: z.origin, Serial: z.zone.Serial()}, true
}
