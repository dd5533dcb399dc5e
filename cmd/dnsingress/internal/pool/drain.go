// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// drain knows for how long answers with members of a pool that have left it may still be held: resolvers keep them for
// their TTL, and clients come on.
type drain struct {
	expires time.Time                // of answers that were handed out with a longer TTL than they have now
	left    map[netip.Addr]time.Time // members that are out of the answers, and until when answers with them may be held
}

// longest is the longest TTL with which the pool's names are answered now.
func (e *Engine) longest(s *state) time.Duration {
	var ttl uint32
	for _, name := range s.names {
		if z := e.zoneOf(name); z != nil {
			if a, ok := z.answers[name]; ok && e.has(s.Ref, name) {
				ttl = max(ttl, a.ttl)
			}
		}
	}
	return time.Duration(ttl) * time.Second
}

// has reports whether an object has a name.
func (e *Engine) has(ref model.Ref, name string) bool {
	owner, ok := e.claims.Owner(name)
	return ok && owner == ref
}

// held is until when answers with members that are in them now may be held.
func (e *Engine) held(s *state) time.Time {
	until := e.now.Add(e.longest(s))
	if s.drain.expires.After(until) {
		return s.drain.expires
	}
	return until
}

// shorter notes that a name is answered with a shorter TTL than before from now on.
func (e *Engine) shorter(name string, before uint32) {
	owner, ok := e.claims.Owner(name)
	if s := e.pools[owner]; ok && s != nil {
		if at := e.now.Add(time.Duration(before) * time.Second); at.After(s.drain.expires) {
			s.drain.expires = at
		}
	}
}

// moved notes that a member has left the answers, or has come back.
func (e *Engine) moved(s *state, v *steer.Verdict) {
	if v.In {
		delete(s.drain.left, v.Address)
		return
	}
	if s.drain.left == nil {
		s.drain.left = map[netip.Addr]time.Time{}
	}
	for a, until := range s.drain.left {
		if e.now.After(until) {
			delete(s.drain.left, a)
		}
	}
	s.drain.left[v.Address] = e.held(s)
}

// missed tells of pods that are not there any more though answers with their addresses may still be held.
func (e *Engine) missed(old, s *state) {
	if !e.live || old == nil || s == nil {
		return
	}
	now := s.Members
	for i := range old.Members {
		m := &old.Members[i]
		for len(now) > 0 && now[0].Address.Less(m.Address) {
			now = now[1:]
		}
		if m.Pod == "" || len(now) > 0 && now[0].Address == m.Address && now[0].Pod == m.Pod {
			continue
		}
		until, ok := s.drain.left[m.Address]
		if !ok && old.answered(m.Address) {
			until = e.held(old)
		}
		delete(s.drain.left, m.Address)
		if !e.now.Before(until) {
			continue
		}
		e.metrics.early.WithLabelValues(strconv.FormatBool(m.Terminating)).Inc()
		ttl := until.Sub(e.now)
		if longest := e.longest(old); longest > ttl {
			ttl = longest
		}
		how := "without having begun to terminate"
		if m.Terminating {
			how = "too soon after it began to terminate"
		}
		e.reporter.Tell(s.Ref, model.Problem{Reason: "PodGoneEarly", Notice: true, Message: fmt.Sprintf(
			"pod %s (%s) is gone %s: answers with its address are held for up to %v (hint: a preStop hook that sleeps so long, and a longer terminationGracePeriodSeconds)",
			m.Pod, m.Address, how, ttl.Round(time.Second))})
	}
}

// answered reports whether a member was in the answers.
func (s *state) answered(a netip.Addr) bool {
	for i := range s.decision.Members {
		if v := &s.decision.Members[i]; v.Address == a {
			return v.In
		}
	}
	return false
}
