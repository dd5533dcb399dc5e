// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// decide makes the pool's decision anew.
func (e *Engine) decide(ref model.Ref, now time.Time) {
	s := e.pools[ref]
	if s == nil {
		return
	}
	in := steer.Pool{Members: make([]steer.Member, len(s.Members))}
	for i, m := range s.Members {
		in.Members[i] = steer.Member{Address: m.Address, Ready: m.Ready, Serving: m.Serving, Terminating: m.Terminating}
	}
	var signals map[string]steer.Signal
	problems := e.conflicts(s)
	if s.Policy != nil {
		in.Policy = s.Policy.Steer
		from, confused := e.signalFor(s)
		signals = map[string]steer.Signal{s.Policy.Signals[0].Name: from}
		problems = append(problems, confused...)
	}
	in.TTL = e.ttl(s)
	previous := s.decision
	s.decision = steer.Decide(in, signals, previous, now)
	e.note(s, previous)
	if s.decision.FailOpen && !previous.FailOpen {
		e.options.Log.Warn("too few members satisfy the policy: all ready ones are answered with", "object", ref.String())
	}
	delete(e.wakeups, ref)
	if !s.decision.Next.IsZero() {
		e.wakeups[ref] = s.decision.Next
	}
	problems = append(slices.Clone(s.Problems), problems...)
	if !slices.Equal(problems, s.problems) {
		s.problems = problems
		e.reporter.Report(ref, problems)
	}
}

// note counts and logs what is other than before.
func (e *Engine) note(s *state, previous steer.Decision) {
	eachPair(previous.Members, s.decision.Members, func(before, after *steer.Verdict) {
		was := before != nil && before.In
		if after == nil {
			if was && e.live {
				e.options.Log.Info("member is gone", "object", s.Ref.String(), "address", before.Address)
			}
			return
		}
		if before != nil && was == after.In && before.Reason == after.Reason {
			return
		}
		e.metrics.decisions.WithLabelValues(stateOf(*after), string(after.Reason)).Inc()
		switch {
		case was == after.In || !e.live:
		case after.In:
			e.options.Log.Info("member enters", "object", s.Ref.String(), "address", after.Address, "reason", after.Reason)
		default:
			e.options.Log.Info("member leaves", "object", s.Ref.String(), "address", after.Address, "reason", after.Reason, "value", after.Value, "limit", after.Limit)
		}
	})
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

// signalFor gives the pool's members the values of its query.
func (e *Engine) signalFor(s *state) (steer.Signal, []model.Problem) {
	q := e.queries[e.query(s.Policy)]
	var problems []model.Problem
	if q.misfit {
		problems = append(problems, model.Problem{Reason: "UselessMetric", Message: fmt.Sprintf(
			"no series of the policy's expression has a label pod or a pod's address (hint: sum by (namespace, pod) (...)): %s", s.Policy.Signals[0].Query)})
	}
	if q.at.IsZero() {
		return steer.Signal{}, problems
	}
	// A policy that is evaluated seldom keeps its values until two evaluations in a row have failed.
	life := max(e.options.Config.Prometheus.Staleness, 2*e.query(s.Policy).Interval)
	out := steer.Signal{At: q.at, Expires: q.at.Add(life), Values: make([]float64, len(s.Members))}
	ambiguous := false
	for i, m := range s.Members {
		out.Values[i] = math.NaN()
		value, series := q.samples.Value(s.Ref.Namespace, m.Pod, m.Address)
		switch {
		case series == 1:
			out.Values[i] = value
		case series > 1 && !ambiguous:
			ambiguous = true
			problems = append(problems, model.Problem{Reason: "AmbiguousMetric", Message: fmt.Sprintf(
				"the policy's expression gives several series for one pod, which counts as no data (hint: sum by (namespace, pod) (...)): %s", s.Policy.Signals[0].Query)})
		}
	}
	return out, problems
}

// conflicts lists the pool's names that it does not get, and why.
func (e *Engine) conflicts(s *state) []model.Problem {
	var problems []model.Problem
	for _, h := range s.Hosts {
		z := e.zoneOf(h)
		switch {
		case z == nil:
			problems = append(problems, model.Problem{Reason: "OutsideZones", Message: fmt.Sprintf("%s is in no zone that is served here (hint: %s)", h, e.origins())})
		case z.reserved[h]:
			problems = append(problems, model.Problem{Reason: "ReservedName", Message: fmt.Sprintf("%s belongs to the zone %s itself (hint: choose another name)", h, z.origin)})
		default:
			if owner, _ := e.claims.Owner(h); owner != s.Ref {
				problems = append(problems, model.Problem{Reason: "NameTaken", Message: fmt.Sprintf("%s is already published for %s, which is older or comes first (hint: one object a name)", h, owner)})
			}
		}
	}
	return problems
}

// ttl is that of the pool's answers.
func (e *Engine) ttl(s *state) time.Duration {
	if s.TTL != nil {
		return time.Duration(*s.TTL) * time.Second
	}
	for _, h := range s.Hosts {
		if z := e.zoneOf(h); z != nil {
			return *z.config.TTL
		}
	}
	return 0
}
