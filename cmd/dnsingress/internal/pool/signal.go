// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/promql"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// uselessMetric is the reason of a problem: a signal has values, and none is a pod's.
const uselessMetric = "UselessMetric"

// signal is what one query last gave. All pools that ask the same share it.
type signal struct {
	users       map[model.Ref]bool
	filters     bool      // an empty result says something
	due         time.Time // of the last evaluation; zero: there was none yet
	promql.Past           // the last one that gave values; its Due is zero when there was none yet
	before      promql.Past
	err         error // of the last evaluation
	misfit      bool  // the last result named neither pods nor addresses
	past        []promql.Past
}

// gathering is how far a pool has heard its signals.
type gathering struct {
	seen  time.Time // the last instant that was decided on
	due   time.Time // the next one, of which some signals have been heard and others not yet
	until time.Time // when the others are waited for no longer; zero: nothing is
}

// of returns what the pool knows of a signal: nothing newer than what it has heard of all.
func (g gathering) of(s *signal) promql.Past {
	if !g.until.IsZero() && s.Due.After(g.seen) {
		return s.before
	}
	return s.Past
}

// use moves the object from the queries of its old policy to those of its new one.
func (e *Engine) use(ref model.Ref, old *state) {
	var left []promql.Query
	if old != nil {
		left = old.queries
	}
	for _, q := range left {
		delete(e.queries[q].users, ref)
	}
	if s := e.pools[ref]; s != nil && s.Policy != nil {
		s.queries = make([]promql.Query, len(s.Policy.Signals))
		s.finders = make([]promql.Finder, len(s.Policy.Signals))
		for i, m := range s.Policy.Signals {
			q := e.query(m)
			s.queries[i] = q
			if e.queries[q] == nil {
				e.queries[q] = &signal{users: map[model.Ref]bool{}, filters: promql.Filters(q.Expr)}
				e.asked = true
			}
			e.queries[q].users[ref] = true
		}
	}
	for _, q := range left {
		if s := e.queries[q]; s != nil && len(s.users) == 0 {
			delete(e.queries, q)
			e.asked = true
		}
	}
}

// query is what is asked for a signal. Expressions that differ in how they are written alone are the same.
func (e *Engine) query(m model.Signal) promql.Query {
	if len(e.canon) > 10*len(e.queries)+1000 {
		clear(e.canon) // of policies that are gone
	}
	expr, ok := e.canon[m.Query]
	if !ok {
		expr = promql.Canonical(m.Query)
		e.canon[m.Query] = expr
	}
	return promql.Query{Expr: expr, Interval: cmp.Or(m.Interval, e.options.Config.Prometheus.Interval), Timeout: m.Timeout, Match: m.Match}
}

// wanted is what the evaluator shall evaluate. At the start it shall find the past, too.
func (e *Engine) wanted() map[promql.Query]time.Duration {
	queries := make(map[promql.Query]time.Duration, len(e.queries))
	horizon := e.horizon()
	for q, s := range e.queries {
		queries[q] = e.memory(q, s, horizon)
	}
	return queries
}

// replays bounds how often a start decides on a member before it shows anything: some two seconds' work.
const replays = 2_000_000

// horizon is for how many instants of the past a start may decide.
func (e *Engine) horizon() int {
	values := 0
	for _, s := range e.pools {
		values += len(s.Members) * len(s.queries)
	}
	return max(1, replays/max(1, values))
}

// memory is how far back a start must look for what the query gave.
func (e *Engine) memory(q promql.Query, s *signal, horizon int) time.Duration {
	back := *e.options.Config.Prometheus.Rebuild
	if e.live || back == 0 {
		return 0
	}
	for ref := range s.users {
		remembered, evaluations := e.pools[ref].Policy.Steer.Memory()
		back = max(back, remembered, time.Duration(evaluations)*q.Interval)
	}
	return min(back, time.Duration(horizon)*q.Interval)
}

// hear takes the result of a query. A failed one changes nothing but what is reported.
func (e *Engine) hear(r promql.Result, dirty causes, now time.Time) {
	s := e.queries[r.Query]
	if s == nil {
		return
	}
	s.misfit = r.Err == nil && r.Samples.Series > 0 && r.Samples.Strays == r.Samples.Series
	switch {
	case s.misfit:
		r.Err = errors.New("no series has a label pod or a pod's address")
	case r.Err == nil && r.Samples.Series == 0 && s.Samples.Series > 0 && !s.filters:
		r.Err = errors.New("no series any more")
	}
	if (r.Err == nil) != (s.err == nil) {
		if r.Err != nil {
			e.options.Log.Warn("a policy's metric is away; its last values count until they are stale", "expr", r.Query.Expr, "error", r.Err)
		} else {
			e.options.Log.Info("a policy's metric is back", "expr", r.Query.Expr)
		}
	}
	s.err, s.due = r.Err, r.Due
	if r.Err == nil {
		s.before, s.Past = s.Past, promql.Past{Due: r.Due, At: r.At, Samples: r.Samples}
		if r.Past != nil && !e.live {
			s.past = r.Past
		}
	}
	for ref := range s.users {
		e.gather(ref, r.Due, now, dirty)
	}
}

// gather has the pool decided when all its signals that are due at one instant have been heard, so that every replica
// decides on the same ones, whichever comes first. A slow one is waited for no longer than half an interval.
func (e *Engine) gather(ref model.Ref, due, now time.Time, dirty causes) {
	s := e.pools[ref]
	s.rewind(now)
	for _, heard := range [...]time.Time{s.gathering.seen, s.gathering.due} { // this one may be seldom, or late
		if due.Before(heard) {
			due = heard
		}
	}
	complete := true
	for _, q := range s.queries {
		complete = complete && !e.queries[q].due.Before(promql.Instant(due, q.Interval))
	}
	until := due.Add(s.shortest() / 2)
	if complete || !now.Before(until) {
		dirty.add(ref, byMetrics, due)
		return
	}
	s.gathering.due, s.gathering.until = due, until
	if at, ok := e.wakeups[ref]; !ok || until.Before(at) {
		e.wakeups[ref] = until
	}
}

// shortest is the interval of the pool's most frequent query.
func (s *state) shortest() time.Duration {
	shortest := time.Duration(math.MaxInt64)
	for _, q := range s.queries {
		shortest = min(shortest, q.Interval)
	}
	return shortest
}

// signalsFor gives the pool's members the values of its policy's signals, by name.
func (e *Engine) signalsFor(s *state) (map[string]steer.Signal, []model.Problem) {
	var problems []model.Problem
	out := make(map[string]steer.Signal, len(s.queries)+len(s.Policy.Checks))
	for i, q := range s.queries {
		m, have := s.Policy.Signals[i], e.queries[q]
		if have.misfit {
			problems = append(problems, model.Problem{Reason: uselessMetric, Message: fmt.Sprintf(
				"no series of the policy's expression has a label %s or a pod's address (hint: sum by (namespace, pod) (...)): %s", cmp.Or(q.Match.Pod, q.Match.Address, "pod"), m.Query)})
		}
		heard := s.gathering.of(have)
		if heard.Due.IsZero() {
			continue
		}
		signal, ambiguous := e.values(s, i, heard)
		out[m.Name] = signal
		if ambiguous {
			problems = append(problems, model.Problem{Reason: "AmbiguousMetric", Message: fmt.Sprintf(
				"the policy's expression gives several series for one pod, which counts as no data (hint: sum by (namespace, pod) (...)): %s", m.Query)})
		}
	}
	for _, check := range s.Policy.Checks {
		c, ok := s.checks[check.Name]
		if !ok {
			continue
		}
		signal := steer.Signal{At: c.at, Values: make([]float64, len(s.Members))}
		for i, m := range s.Members {
			value, ok := c.values[m.Address]
			if !ok {
				value = math.NaN()
			}
			signal.Values[i] = value
		}
		out[check.Name] = signal
	}
	return out, problems
}

// values are those of the pool's i-th signal that samples have for the pool's members; ambiguous: some member has several.
func (e *Engine) values(s *state, i int, heard promql.Past) (signal steer.Signal, ambiguous bool) {
	m := &s.Policy.Signals[i]
	life := m.Life(e.options.Config.Prometheus.Interval, e.options.Config.Prometheus.Staleness)
	signal = steer.Signal{At: heard.At, Expires: heard.Due.Add(life)}
	signal.Values, ambiguous = s.finders[i].Values(heard.Samples, s.Ref.Namespace, s.Members)
	return signal, ambiguous
}

// rebuild decides on all that has a past as if this process had always been there: on what each earlier evaluation would
// have given, oldest first, with the members that there are now.
func (e *Engine) rebuild(now time.Time, hosts map[string]bool) {
	horizon := e.horizon()
	for ref, s := range e.pools {
		if s.Policy == nil {
			continue
		}
		if e.replay(s, horizon) {
			e.decide(ref, cause{why: byRestart}, now)
		}
		for _, h := range s.names {
			hosts[h] = true
		}
	}
	for _, s := range e.queries {
		s.past = nil
	}
}

// replay makes the pool's last decision the one that its signals' past, of so many instants, leads to; false: they have none.
func (e *Engine) replay(s *state, horizon int) bool {
	var instants []time.Time
	for _, q := range s.queries {
		have := e.queries[q]
		first := slices.IndexFunc(have.past, func(p promql.Past) bool { return p.Samples.Series > 0 })
		if first < 0 {
			continue
		}
		for _, p := range have.past[first:] {
			instants = append(instants, p.Due)
		}
		instants = append(instants, have.Due)
	}
	if len(instants) == 0 {
		return false
	}
	slices.SortFunc(instants, time.Time.Compare)
	instants = slices.CompactFunc(instants, time.Time.Equal)
	instants = instants[max(0, len(instants)-horizon):]
	pool := e.steerable(s)
	s.decision = steer.Decision{}
	next := make([]int, len(s.queries))
	known := map[string]steer.Signal{}
	for _, at := range instants {
		for i, q := range s.queries {
			have, m := e.queries[q], s.Policy.Signals[i]
			for ; next[i] < len(have.past) && !have.past[next[i]].Due.After(at); next[i]++ {
				if p := have.past[next[i]]; p.Samples.Series > 0 || have.filters {
					known[m.Name], _ = e.values(s, i, p)
				}
			}
			if have.Due.Equal(at) {
				known[m.Name], _ = e.values(s, i, have.Past)
			}
		}
		s.decision = steer.Decide(pool, known, s.decision, at)
		s.decided, s.portSets = at, nil
	}
	return true
}
