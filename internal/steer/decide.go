// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"
)

// Decide applies the pool's policy to its members. signals are the policy's, by name; those that are missing count as
// never evaluated. previous is the pool's last decision (zero: none, and then nobody is new), now the time of this one,
// which must not run backwards. No argument is kept or changed, but for the decision before it, whose memory goes on.
//
// State moves with evaluations, not with calls: deciding again on signals of the same instant, because readiness or the
// time has changed, counts for nothing in votes, holds, steps and weights. So a state is rebuilt by deciding anew on
// recorded signals, oldest first, from a zero decision: as far back as Policy.Memory says.
func Decide(pool Pool, signals map[string]Signal, previous Decision, now time.Time) Decision {
	w := newWork(pool, signals, previous, now)
	w.byReadiness()
	w.byRules()
	w.remember()
	w.weigh()
	w.cache()
	return w.d
}

// work is one decision in the making.
type work struct {
	pool     *Pool
	policy   *Policy
	previous *Decision
	now      time.Time
	plain    bool      // nothing but readiness decides
	fresh    bool      // an evaluation has come in since the previous decision; where there are but states, one of them
	states   bool      // all that is live and moves the state are states
	onStates bool      // so is all that the rule at hand has read
	sameSet  bool      // the same members are in as in the previous decision
	clock    time.Time // that memory goes by: of the newest evaluation, or now where there are but states

	members []Member    // in the order of their addresses, distinct
	old     []*Verdict  // of the members in the previous decision; nil: not in it
	ready   []int       // indices of the members that are available
	columns []Signal    // parallel to d.Signals
	judged  []judgement // parallel to ready

	scratch, vector []float64
	candidates      []candidate
	order           []int

	d Decision
}

func newWork(pool Pool, signals map[string]Signal, previous Decision, now time.Time) *work {
	w := &work{pool: &pool, policy: &pool.Policy, previous: &previous, now: now}
	order := w.arrange()
	n := len(w.members)
	names, moving := w.policy.signals()
	w.d = Decision{Members: make([]Verdict, n), Signals: names, At: previous.At, Opened: previous.Opened}
	w.columns = make([]Signal, len(w.d.Signals))
	w.states = true
	for k, name := range w.d.Signals {
		if s := signals[name]; s.live(now) {
			w.columns[k] = s
			if k < moving {
				w.evaluated(s)
			}
			w.d.Next = earlier(w.d.Next, s.Expires)
		}
	}
	if w.clock = w.d.At; w.states {
		w.clock, w.fresh = now, !w.d.Told.Equal(previous.Told)
	}
	if w.d.At.Equal(previous.At) {
		w.d.Put = previous.Put
	}
	width := len(w.columns)
	values := make([]float64, n*width)
	w.old, w.ready = make([]*Verdict, n), make([]int, 0, n)
	before := previous.Members
	w.plain = w.policy.plain() && len(names) == 0
	var details []Detail
	if w.plain {
		details = []Detail{{Value: math.NaN(), Limit: math.NaN()}}
	} else {
		details = make([]Detail, n)
	}
	for i := range w.members {
		v := &w.d.Members[i]
		v.Address = w.members[i].Address
		if w.plain {
			v.Detail = &details[0]
		} else {
			v.Detail = &details[i]
			v.Value, v.Limit = math.NaN(), math.NaN()
			v.Values = values[i*width : (i+1)*width : (i+1)*width]
		}
		at := i
		if order != nil {
			at = order[i]
		}
		for k := range w.columns {
			v.Values[k] = w.columns[k].value(at)
		}
		for len(before) > 0 && before[0].Address.Less(v.Address) {
			before = before[1:]
		}
		if len(before) > 0 && before[0].Address == v.Address {
			w.old[i] = &before[0]
			if !w.plain {
				v.Memory = before[0].Memory
			}
		}
	}
	return w
}

// evaluated notes a live signal that moves the state. Evaluations are of metrics alone: a state turns for one member at a
// time, at any time, and says nothing new of the others.
func (w *work) evaluated(s Signal) {
	switch {
	case !s.state():
		w.states = false
		if s.At.After(w.d.At) {
			w.d.At, w.fresh = s.At, true
		}
	case s.At.After(w.d.Told):
		w.d.Told = s.At
	}
}

// value is that of the member at an index of the pool's members.
func (s Signal) value(i int) float64 {
	if i >= len(s.Values) || s.At.IsZero() {
		return math.NaN()
	}
	return s.Values[i]
}

// arrange puts the members in order and returns at which indices of the pool's they were; nil: at the same ones. Of two
// with the same address the one that readiness thinks more of counts.
func (w *work) arrange() []int {
	given := w.pool.Members
	w.members = given
	sorted := true
	for i := 1; i < len(given) && sorted; i++ {
		sorted = given[i-1].Address.Less(given[i].Address)
	}
	if sorted {
		return nil
	}
	rank := func(m Member) int {
		switch {
		case m.available():
			return 0
		case m.Serving:
			return 1
		}
		return 2
	}
	order := make([]int, len(given))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(given[a].Address.Compare(given[b].Address), cmp.Compare(rank(given[a]), rank(given[b])), cmp.Compare(a, b))
	})
	order = slices.CompactFunc(order, func(a, b int) bool { return given[a].Address == given[b].Address })
	w.members = make([]Member, len(order))
	for i, at := range order {
		w.members[i] = given[at]
	}
	return order
}

// byReadiness decides as if there were no rules. When no member is ready, those that still serve while terminating are
// the last resort.
func (w *work) byReadiness() {
	for i, m := range w.members {
		v := &w.d.Members[i]
		switch {
		case m.Terminating:
			v.Reason = Terminating
		case !m.Ready:
			v.Reason = NotReady
		default:
			v.In, v.Reason = true, Ready
			w.ready = append(w.ready, i)
		}
	}
	if len(w.ready) > 0 {
		return
	}
	for i, m := range w.members {
		if m.Terminating && m.Serving {
			v := &w.d.Members[i]
			v.In, v.Reason = true, LastResort
		}
	}
}

// byRules lets the signals have their say on the members that are ready.
func (w *work) byRules() {
	if len(w.policy.Rules) == 0 || w.judge() == 0 {
		w.silence()
		return
	}
	panicked := w.tooFew() || w.previous.FailOpen && w.previous.Opened.Equal(w.clock)
	for r, i := range w.ready {
		w.turn(&w.judged[r], &w.d.Members[i].Memory)
	}
	if panicked || w.tooFew() {
		w.failOpen()
	} else {
		w.limit()
	}
	w.settle()
}

// silence leaves the ready members in, as no rule speaks. Those that had been excluded have returned with the last
// evaluation.
func (w *work) silence() {
	for _, i := range w.ready {
		v := &w.d.Members[i]
		if len(w.policy.Rules) > 0 {
			v.Reason = NoSignal
		}
		if v.Memory.Excluded {
			v.Memory.Excluded, v.Memory.Turned = false, w.d.At
		}
	}
}

// turn makes a judgement a verdict, as far as missing values, votes and hold let it. What was until now is still in the
// member's memory.
func (w *work) turn(j *judgement, m *Memory) {
	if j.missing && !j.out {
		w.noData(j, m)
	}
	if !j.missing {
		m.Heard = w.clock
	}
	w.vote(j, m)
	sure := j.measured && w.confirmed(m, true)
	if !m.Excluded {
		m.Stated = j.settled
	}
	m.Stated = m.Stated && !sure
	released := m.Excluded && m.Stated && !j.settled
	if released && j.out {
		j.out, j.reason = false, Unconfirmed
	}
	if j.out == m.Excluded {
		return
	}
	switch {
	case !w.states && !released && !(j.out && j.settled) && !w.confirmed(m, j.out):
		j.out, j.reason = m.Excluded, Unconfirmed
	case w.held(m):
		j.out, j.reason = m.Excluded, Held
	}
}

// vote notes what the metrics say in this evaluation. States are not voted on.
func (w *work) vote(j *judgement, m *Memory) {
	if w.states {
		return
	}
	if w.fresh || m.Cast == 0 {
		m.Votes <<= 1
		m.Cast = min(m.Cast+1, 64)
	}
	m.Votes &^= 1
	if j.measured {
		m.Votes |= 1
	}
}

// noData decides on a member that no rule puts out and some rule has no value for.
func (w *work) noData(j *judgement, m *Memory) {
	switch w.policy.Guards.NoData {
	case NoDataDrop:
		j.out = true
	case NoDataReadiness:
		return
	default:
		life, ends := w.life()
		j.out = m.Excluded && (!m.Stated || j.unstated) && (!ends || w.clock.Before(m.Heard.Add(life)))
	}
	if j.out {
		j.reason, j.rule, j.value, j.limit = NoValue, -1, math.NaN(), math.NaN()
		j.settled = w.states || j.unstated && m.Excluded && m.Stated
		j.measured = !j.settled
	}
}

// life is how long a value counts, by the live signal that counts shortest; false: for ever.
func (w *work) life() (life time.Duration, ends bool) {
	for _, s := range w.columns {
		if s.At.IsZero() || s.Expires.IsZero() {
			continue
		}
		if d := s.Expires.Sub(s.At); !ends || d < life {
			life, ends = d, true
		}
	}
	return life, ends
}

// confirmed reports whether enough of the last evaluations say out, or in. The first one that a pool has is believed:
// nothing else is known.
func (w *work) confirmed(m *Memory, out bool) bool {
	need := max(1, w.policy.Guards.Votes)
	if w.previous.At.IsZero() {
		need = 1
	}
	of := min(max(need, w.policy.Guards.Of), m.Cast)
	said := bits.OnesCount64(m.Votes << (64 - of))
	if !out {
		said = of - said
	}
	return said >= need
}

// hold is how long a member keeps its verdict. One that relapses stays out longer each time.
func (g *Guards) hold(m *Memory) time.Duration {
	hold := g.Hold
	if m.Excluded {
		for range m.Relapses {
			if hold >= g.HoldMax {
				break
			}
			hold = min(2*hold, g.HoldMax)
		}
	}
	return hold
}

// held reports whether it is too early for the member's verdict to change: after its last change, or after all were let
// in. Where there are but states, nothing but the time ends it.
func (w *work) held(m *Memory) bool {
	var until time.Time
	guards, opened := &w.policy.Guards, w.previous.Opened
	if !m.Turned.IsZero() {
		until = m.Turned.Add(guards.hold(m))
	}
	if !m.Excluded && !opened.IsZero() && opened.Before(w.clock) && until.Before(opened.Add(guards.Hold)) {
		until = opened.Add(guards.Hold)
	}
	if !w.clock.Before(until) {
		return false
	}
	if w.states {
		w.d.Next = earlier(w.d.Next, until)
	}
	return true
}

// tooFew reports whether the judgements leave fewer ready members than the minimum.
func (w *work) tooFew() bool {
	left := 0
	for r := range w.judged {
		if !w.judged[r].out {
			left++
		}
	}
	return left < w.policy.Guards.minimum(len(w.ready))
}

// failOpen puts every ready member in: if nearly all are bad it is not they that are, and the few others would get all of
// the load.
func (w *work) failOpen() {
	w.d.FailOpen, w.d.Opened = true, w.clock
	for r := range w.judged {
		if j := &w.judged[r]; j.out {
			j.out, j.reason = false, FailOpen
		}
	}
}

// limit takes back exclusions beyond the shares that may be put out by one evaluation and in all, the mildest first.
func (w *work) limit() {
	guards := &w.policy.Guards
	leaving, out := w.order[:0], 0
	for r, i := range w.ready {
		switch {
		case !w.judged[r].out:
		case w.excluded(i) || w.judged[r].settled:
			out++
		default:
			leaving = append(leaving, r)
		}
	}
	allowed := min(len(leaving), guards.step(guards.MaxStep, len(w.ready))-w.d.Put, guards.step(guards.MaxOut, len(w.ready))-out)
	allowed = max(0, allowed)
	w.d.Put += allowed
	if allowed == len(leaving) {
		return
	}
	slices.SortFunc(leaving, func(a, b int) int {
		return cmp.Or(cmp.Compare(w.judged[b].severity, w.judged[a].severity), cmp.Compare(a, b))
	})
	for _, r := range leaving[allowed:] {
		w.judged[r].out, w.judged[r].reason = false, Limited
	}
}

// settle writes the judgements down, and remembers what has turned.
func (w *work) settle() {
	for r, i := range w.ready {
		j, v := &w.judged[r], &w.d.Members[i]
		v.In, v.Reason, v.Value, v.Limit = !j.out, j.reason, j.value, j.limit
		if j.rule >= 0 {
			rule := &w.policy.Rules[j.rule]
			v.Rule, v.Signal = rule.name(), rule.Signal
		}
		m := &v.Memory
		if j.out == m.Excluded {
			continue
		}
		if j.out {
			if m.Turned.IsZero() || w.clock.Sub(m.Turned) >= w.policy.Guards.HoldMax {
				m.Relapses = 0
			} else {
				m.Relapses = min(m.Relapses+1, 30)
			}
		}
		m.Excluded, m.Turned = j.out, w.clock
	}
}

// excluded reports whether the signals had excluded the i-th member until now.
func (w *work) excluded(i int) bool { return w.old[i] != nil && w.old[i].Memory.Excluded }

// step is how many of so many members a share is, at least one; without a share all.
func (*Guards) step(share Share, ready int) int {
	if share <= 0 {
		return ready
	}
	return max(1, int(float64(float64(share)*float64(ready))+1e-9))
}

// minimum is how many of so many ready members must be left.
func (g *Guards) minimum(ready int) int {
	share := int(math.Ceil(float64(float64(g.MinShare)*float64(ready)) - 1e-9))
	return min(max(1, g.MinMembers, share), ready)
}

// remember compares with the previous decision: since when, who entered, what changed.
func (w *work) remember() {
	first := len(w.previous.Members) == 0 && w.previous.At.IsZero() && w.previous.Churn == 0
	changed := false
	kept := 0
	for i := range w.d.Members {
		v, old := &w.d.Members[i], w.old[i]
		v.Since = w.now
		if old != nil && old.In == v.In && old.Reason == v.Reason {
			v.Since = old.Since
		}
		was := old != nil && old.In
		switch {
		case was && v.In:
			kept++
		case v.In && !first && !w.plain:
			v.Memory.Entered = w.now
		}
		changed = changed || was != v.In
	}
	for i := range w.previous.Members {
		if w.previous.Members[i].In {
			kept--
		}
	}
	changed = changed || kept != 0
	w.sameSet = !changed && !first
	w.d.Changed, w.d.Churn = w.previous.Changed, w.previous.Churn
	if changed && !first {
		w.d.Churn = w.churn() + 1
	}
	if changed || w.d.Changed.IsZero() { // nobody knows for how long it was so before
		w.d.Changed = w.now
	}
}

// earlier returns the first of two times; the zero time is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
