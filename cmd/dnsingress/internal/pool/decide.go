// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"slices"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// steerable is the pool as package steer sees it.
func (e *Engine) steerable(s *state) steer.Pool {
	in := steer.Pool{Members: make([]steer.Member, len(s.Members))}
	for i, m := range s.Members {
		in.Members[i] = steer.Member{Address: m.Address, Ready: m.Ready, Serving: m.Serving, Terminating: m.Terminating}
	}
	if s.Policy != nil {
		in.Policy = s.Policy.Steer
	}
	in.TTL, in.NegativeTTL = e.ttls(s)
	return in
}

// decide makes the pool's decision anew.
func (e *Engine) decide(ref model.Ref, c cause, now time.Time) {
	s := e.pools[ref]
	if s == nil {
		return
	}
	s.rewind(now)
	if c.why == byMetrics {
		s.gathering = gathering{seen: c.due}
	}
	var signals map[string]steer.Signal
	var confused []model.Problem
	if s.Policy != nil {
		signals, confused = e.signalsFor(s)
	}
	// For when values are, not when they came: that is the same on every replica.
	at := now
	if c.why == byMetrics {
		at = c.due
	}
	if at.Before(s.decided) {
		at = s.decided
	}
	previous := s.decision
	s.decision = steer.Decide(e.steerable(s), signals, previous, at)
	s.decided, s.portSets = at, nil
	e.note(s, previous, c.why, at)
	if s.decision.FailOpen && !previous.FailOpen {
		e.options.Log.Warn("too few members satisfy the policy: all ready ones are answered with", "object", ref.String())
	}
	delete(e.wakeups, ref)
	for _, at := range [...]time.Time{s.due(s.decision.Next), s.gathering.until} {
		if old, ok := e.wakeups[ref]; !at.IsZero() && (!ok || at.Before(old)) {
			e.wakeups[ref] = at
		}
	}
	s.confused = confused
	e.tell(s)
}

// rewind forgets the times that are still to come, after the clock was set back: they would hold everything until it has
// caught up. Who is in and who is out stays.
func (s *state) rewind(now time.Time) {
	const tolerance = time.Minute // that nobody minds to wait
	end := now.Add(tolerance)
	for name, c := range s.checks {
		if c.at.After(end) {
			s.checks[name] = checked{now, c.values}
		}
	}
	if !s.decided.After(end) && !s.gathering.seen.After(end) {
		return
	}
	s.decided, s.gathering = time.Time{}, gathering{}
	d := &s.decision
	d.Members = slices.Clone(d.Members) // the history of this decision is nobody's, its members may be read
	for _, t := range []*time.Time{&d.At, &d.Changed} {
		if t.After(now) {
			*t = time.Time{}
		}
	}
	for i := range d.Members {
		v := &d.Members[i]
		detail, changed := *v.Detail, false
		for _, t := range []*time.Time{&detail.Memory.Turned, &detail.Memory.Heard, &detail.Memory.Entered} {
			if t.After(now) {
				*t, changed = time.Time{}, true
			}
		}
		if changed {
			v.Detail = &detail
		}
	}
}

// due is when to decide though nothing comes in, if time alone changes something at next. A pool that hears of metrics is
// decided at their instants, which replicas have in common; only when they fail to come, in between.
func (s *state) due(next time.Time) time.Time {
	if next.IsZero() || len(s.queries) == 0 || s.gathering.seen.IsZero() {
		return next
	}
	if patience := s.gathering.seen.Add(s.shortest() * 3 / 2); next.Before(patience) {
		return patience
	}
	return next
}

// note counts, logs and remembers what is other than before.
func (e *Engine) note(s *state, previous steer.Decision, why trigger, at time.Time) {
	var changes []Change
	more := 0
	var counted []moves
	eachPair(previous.Members, s.decision.Members, func(before, after *steer.Verdict) {
		was := before != nil && before.In
		if after != nil && before != nil && was == after.In && before.Reason == after.Reason {
			return
		}
		if len(changes) < mostChanges && (e.live || s.Policy != nil) { // else 100,000 members cost much memory at the start
			changes = append(changes, s.change(before, after))
		} else {
			more++
		}
		if after == nil {
			if was && e.live {
				e.options.Log.Info("member is gone", "object", s.Ref.String(), "address", before.Address)
			}
			return
		}
		if e.live && was != after.In {
			e.moved(s, after)
		}
		counted = count(counted, after)
		switch {
		case was == after.In || !e.live:
		case after.In:
			e.options.Log.Info("member enters", "object", s.Ref.String(), "address", after.Address, "reason", after.Reason)
		default:
			e.options.Log.Info("member leaves", "object", s.Ref.String(), "address", after.Address, "reason", after.Reason,
				"rule", after.Rule, "value", after.Value, "limit", after.Limit)
		}
	})
	for _, c := range counted {
		e.metrics.decisions.WithLabelValues(c.state, string(c.reason)).Add(float64(c.members))
	}
	if previous.TTLRule != s.decision.TTLRule {
		e.changed(s.Ref)
	}
	if len(changes)+more > 0 || previous.TTL != s.decision.TTL || previous.FailOpen != s.decision.FailOpen {
		s.history.add(event(s, why, at, changes, more))
		e.changed(s.Ref)
	}
}

// moves is how many members have come to a state for a reason.
type moves struct {
	state   string
	reason  steer.Reason
	members int
}

// count adds a member; there are few reasons.
func count(all []moves, v *steer.Verdict) []moves {
	state := stateOf(*v)
	for i := range all {
		if all[i].state == state && all[i].reason == v.Reason {
			all[i].members++
			return all
		}
	}
	return append(all, moves{state, v.Reason, 1})
}

// eachPair walks two decisions, both in the order of addresses; nil stands for a member that is only in the other.
func eachPair(before, after []steer.Verdict, do func(before, after *steer.Verdict)) {
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].Address.Less(after[0].Address):
			do(&before[0], nil)
			before = before[1:]
		case len(before) == 0 || after[0].Address.Less(before[0].Address):
			do(nil, &after[0])
			after = after[1:]
		default:
			do(&before[0], &after[0])
			before, after = before[1:], after[1:]
		}
	}
}

// ttls are those of the pool's answers where its policy says nothing: with members, and without.
func (e *Engine) ttls(s *state) (ttl, negative time.Duration) {
	for _, h := range s.names {
		if z := e.zoneOf(h); z != nil {
			ttl, negative = z.own.TTL, z.own.NegativeTTL
			break
		}
	}
	if s.TTL != nil {
		ttl = time.Duration(*s.TTL) * time.Second
	}
	return ttl, negative
}
