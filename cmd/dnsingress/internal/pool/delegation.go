// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

// placed is a name in a zone as it is claimed.
func (e *Engine) placed(name string, z *served) string {
	if e.zoneOf(name) == z {
		return name
	}
	return record.Placed(name, z.origin)
}

// plain is a name that is claimed, as it is in its zone.
func plain(key string) string {
	name, _ := record.Place(key)
	return name
}

// above is the zone that a delegation of a child is in, or nil.
func (e *Engine) above(child string) *served {
	if up := record.Parent(child); up != "" {
		return e.zoneOf(up)
	}
	return nil
}

// arrangeCut is arrange for a delegation.
func (e *Engine) arrangeCut(s *state) {
	d := s.Delegation
	z := e.above(d.Child)
	if z == nil {
		s.cut, s.names = d.Child, []string{d.Child}
		return
	}
	pool := s.Pool
	var wrong []model.Problem
	pool.Records, wrong = record.Delegation(d, z.origin, record.Seconds(z.own.InfrastructureTTL))
	if s.Ref.IsRegistered() { // it has been checked, and addresses are published once for all children of a name server
		pool.Records, wrong = atChild(pool.Records, d.Child), nil
	} else if leased := e.leased[d.Child]; leased != nil {
		pool.Records = append(pool.Records, e.leasedRecords(leased, z)...)
		wrong = append(wrong, leased.Problems...)
	}
	_, s.sets, s.wrong = record.Check(&pool, nil)
	s.wrong = append(wrong, s.wrong...)
	for i := range s.sets {
		s.sets[i].Name = e.placed(s.sets[i].Name, z)
	}
	s.names, _ = record.Names(&pool, nil, s.sets)
	s.cut = e.placed(d.Child, z)
}

// isCut reports whether a name is answered with a delegation.
func (e *Engine) isCut(key string) bool {
	owner, ok := e.claims.Owner(key)
	if !ok || plain(key) == e.zoneOf(key).origin {
		return false
	}
	s := e.pools[owner]
	return slices.ContainsFunc(s.setsAt[key], func(i int) bool { return s.sets[i].Type == dns.TypeNS })
}

// cutAbove is the uppermost delegation of another object that a name is below; "": none.
func (e *Engine) cutAbove(key string) (found string) {
	owner, ok := e.claims.Owner(key)
	if !ok {
		return ""
	}
	if s := e.pools[owner]; s.cut != "" && s.cut != key || s.isServer() {
		return "" // glue is asked for at the cut
	}
	z := e.zoneOf(key)
	for up := record.Parent(plain(key)); up != "" && up != z.origin; up = record.Parent(up) {
		cut := e.placed(up, z)
		if by, ok := e.cuts[cut]; ok && by != owner {
			found = cut
		}
	}
	return found
}

// recut finds out which names are below delegations, after the given names have changed. The owners of those that are now
// or were, and of the delegations, are dirty.
func (e *Engine) recut(names map[string]bool, dirty causes) {
	changed := map[string]bool{}
	for key := range names {
		was, before := e.cuts[key]
		now, _ := e.claims.Owner(key)
		switch is := e.isCut(key); {
		case is && (!before || was != now):
			changed[plain(key)], e.cuts[key] = true, now
		case !is && before:
			changed[plain(key)] = true
			delete(e.cuts, key)
		}
	}
	if len(e.cuts) == 0 && len(changed) == 0 {
		return
	}
	for key := range names {
		e.occlude(key, dirty)
	}
	if len(changed) == 0 {
		return
	}
	for ref, s := range e.pools {
		for _, key := range s.names {
			if e.has(ref, key) && belowAny(plain(key), changed) {
				e.occlude(key, dirty)
			}
		}
	}
}

// belowAny reports whether a name is below one of others.
func belowAny(name string, others map[string]bool) bool {
	for name = record.Parent(name); name != ""; name = record.Parent(name) {
		if others[name] {
			return true
		}
	}
	return false
}

// occlude notes the delegation that a name is below. Each tells of the other's owner, who may be another now.
func (e *Engine) occlude(key string, dirty causes) {
	was, now := e.under[key], e.cutAbove(key)
	if was == "" && now == "" {
		return
	}
	if was != "" {
		if delete(e.below[was], key); len(e.below[was]) == 0 {
			delete(e.below, was)
		}
		delete(e.under, key)
	}
	if now != "" {
		if e.below[now] == nil {
			e.below[now] = map[string]bool{}
		}
		e.below[now][key], e.under[key] = true, now
	}
	for _, name := range []string{key, was, now} {
		if owner, ok := e.claims.Owner(name); ok && name != "" {
			dirty.add(owner, byCluster, time.Time{})
		}
	}
}

// occludes says which names of others a delegation hides.
func (e *Engine) occludes(cut string) model.Problem {
	names := slices.Sorted(maps.Keys(e.below[cut]))
	owner, _ := e.claims.Owner(names[0])
	return model.Problem{Reason: "Occludes", Notice: true, Message: fmt.Sprintf(
		"names below %s are not answered for any more, as %s of %s (%d in all) (hint: the child's name servers must have them)", plain(cut), plain(names[0]), owner, len(names))}
}
