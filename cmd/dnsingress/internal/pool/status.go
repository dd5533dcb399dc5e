// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"slices"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// ConnectObserver has observe called whenever something has changed of what Status says. It must not block, nor call
// the engine.
func (e *Engine) ConnectObserver(observe func(model.Ref)) { e.observe = observe }

// Status says in short what was last decided on the object's pool; false: nothing was yet, or it has no name.
func (e *Engine) Status(ref model.Ref) (model.Status, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	s := e.pools[ref]
	if s == nil || !e.live {
		return model.Status{}, false
	}
	if s.Zone != nil || s.Delegation != nil {
		return e.zoneStatus(s)
	}
	i := slices.IndexFunc(s.names, func(h string) bool {
		owner, ok := e.claims.Owner(h)
		return ok && owner == ref
	})
	if i < 0 {
		return model.Status{}, false
	}
	a, d := e.zoneOf(s.names[i]).answers[s.names[i]], &s.decision
	x := model.Status{FailOpen: d.FailOpen, TTL: a.ttl, TTLRule: d.TTLRule, Selection: a.selection.Kind.String(), In: len(a.addresses)}
	_, x.Ready = s.count() // In is of what is served
	for _, p := range s.problems {
		if p.Reason == uselessMetric {
			x.Problem = p.Message
		}
	}
	for _, in := range []bool{false, true} {
		for _, v := range d.Members {
			if v.In == in && len(x.Members) < model.MostMembers {
				x.Members = append(x.Members, s.status(v))
			}
		}
	}
	return x, true
}

func (s *state) status(v steer.Verdict) model.MemberStatus {
	m := model.MemberStatus{Address: v.Address, In: v.In, Reason: string(v.Reason), Rule: v.Rule, Since: v.Since}
	if known := s.member(v.Address); known != nil {
		m.Pod = known.Pod
	}
	return m
}

// changed tells the observer, once there is something to see.
func (e *Engine) changed(ref model.Ref) {
	if e.observe != nil && e.live && ref.Kind != peers {
		e.observe(ref)
	}
}
