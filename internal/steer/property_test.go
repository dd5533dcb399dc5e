// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// moment is one step of a random world: a decision and what it was made from.
type moment struct {
	pool     Pool
	signals  map[string]Signal
	previous Decision
	d        Decision
	now      time.Time
}

// worlds plays random policies on random members and values, and calls check after each decision. What comes at random:
// members in any order, some twice; no values, too few values, NaN, infinities, zero and below; signals that are late,
// come twice, expire, never were.
func worlds(t *testing.T, check func(t *testing.T, m moment)) {
	t.Helper()
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		policy := randomPolicy(t, r)
		if problems := policy.Check([]string{"load", "errors", "size"}); problems != nil {
			t.Fatalf("seed %d: %v", seed, problems)
		}
		var d Decision
		signals := map[string]Signal{}
		now := start()
		for range 30 {
			now = now.Add(time.Duration(r.IntN(10_000)) * time.Millisecond)
			pool := Pool{Members: randomMembers(r), Policy: policy, TTL: 20 * time.Second, NegativeTTL: 5 * time.Second}
			for _, name := range []string{"load", "errors", "size"} {
				switch r.IntN(6) {
				case 0:
				case 1:
					delete(signals, name)
				default:
					signals[name] = randomSignal(r, len(pool.Members), now)
				}
			}
			m := moment{pool: pool, signals: clone(signals), previous: d, now: now}
			m.d = Decide(pool, signals, d, now)
			check(t, m)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
			d = m.d
		}
	}
}

func clone(signals map[string]Signal) map[string]Signal {
	out := map[string]Signal{}
	for name, s := range signals {
		s.Values = slices.Clone(s.Values)
		out[name] = s
	}
	return out
}

func randomMembers(r *rand.Rand) []Member {
	states := make([]byte, r.IntN(14))
	for i := range states {
		states[i] = "rrrrrrrntd"[r.IntN(10)]
	}
	all := members(string(states))
	switch r.IntN(4) {
	case 0:
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	case 1:
		if len(all) > 1 {
			all[r.IntN(len(all))].Address = all[0].Address
		}
	}
	return all
}

func randomSignal(r *rand.Rand, members int, now time.Time) Signal {
	s := Signal{At: now.Add(-time.Duration(r.IntN(6)) * time.Second), Values: make([]float64, max(0, members-r.IntN(2)))}
	s.Expires = s.At.Add(time.Duration(3+r.IntN(30)) * time.Second)
	if r.IntN(5) == 0 {
		s.Expires = time.Time{}
	}
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, -3, math.MaxFloat64, 5e-324, 5, 5, 5}
	for i := range s.Values {
		s.Values[i] = 10 * r.Float64()
		if r.IntN(5) == 0 {
			s.Values[i] = odd[r.IntN(len(odd))]
		}
	}
	return s
}

func randomPolicy(t *testing.T, r *rand.Rand) Policy {
	rules := []Rule{
		{Signal: "load", Keep: mustBound(t, "< 8")},
		{Signal: "load", Keep: mustBound(t, "< 8"), Readmit: mustBound(t, "< 4")},
		{Signal: "errors", Keep: mustBound(t, "> 3")},
		{Signal: "load", Keep: mustBound(t, "< 1.5 * mean"), Readmit: mustBound(t, "< mean"), Over: OverIn},
		{Signal: "load", Keep: mustBound(t, "<= median + 2 * mad")},
		{Signal: "errors", Keep: mustBound(t, "< mean + stddev")},
		{Value: mustExpr(t, "load / errors"), Keep: mustBound(t, "< p80")},
		{KeepIf: mustExpr(t, "load < 8 and errors < 2 * median(errors)"), ReadmitIf: mustExpr(t, "load < 5")},
		{Signal: "load", Lowest: 3, Margin: 0.2},
		{Signal: "size", Highest: 5},
		{Signal: "load", Shed: &Watermarks{4, 9}},
		{Value: mustExpr(t, "max(load, default(errors, 0)) - mean(load)"), Shed: &Watermarks{9, 4}},
	}
	shares := []Share{0, 0.1, 0.25, 0.5, 1}
	p := Policy{Guards: Guards{
		NoData: []NoData{"", NoDataKeep, NoDataDrop, NoDataReadiness}[r.IntN(4)],
		Hold:   time.Duration(r.IntN(30)) * time.Second, HoldMax: time.Duration(r.IntN(90)) * time.Second,
		Votes: r.IntN(4), MaxStep: shares[r.IntN(5)], MaxOut: shares[r.IntN(5)], MinMembers: r.IntN(6), MinShare: shares[r.IntN(5)],
	}}
	for range 1 + r.IntN(3) {
		p.Rules = append(p.Rules, rules[r.IntN(len(rules))])
	}
	if p.Guards.Votes > 0 {
		p.Guards.Of = p.Guards.Votes + r.IntN(3)
	}
	p.Weight.By = []WeightKind{"", WeightEqual, WeightInverse, WeightProportional, WeightShed, WeightBalance}[r.IntN(6)]
	if p.Weight.measured() {
		p.Weight.Signal, p.Weight.Gain = "load", shares[r.IntN(5)]
		if p.Weight.By == WeightShed {
			p.Weight.Shed = &Watermarks{3, 9}
		}
		p.Guards.SlowStart = time.Duration(r.IntN(40)) * time.Second
		p.Selection.Kind = SelectWeighted
	}
	ttls := []TTLRule{
		{Kind: TTLFixed, TTL: 7 * time.Second},
		{Kind: TTLChurn},
		{Kind: TTLCalm},
		{Kind: TTLLinear, Signal: "load", Low: 2, High: 8},
		{Kind: TTLExponential, Value: mustExpr(t, "load * errors"), Of: "p90", Low: 50, High: 10},
		{Kind: TTLSteps, Signal: "errors", Of: "p100", Steps: []Step{{3, 10 * time.Second}, {6, 3 * time.Second}}},
	}
	most := r.IntN(3)
	for k, at := range r.Perm(len(ttls))[:2*most] {
		if k < most {
			p.TTL.Rules = append(p.TTL.Rules, ttls[at])
		} else {
			p.NegativeTTL.Rules = append(p.NegativeTTL.Rules, ttls[at])
		}
	}
	p.TTL.Floor, p.TTL.Ceiling = 2*time.Second, time.Minute
	return p
}

// same compares what two decisions say, and all that they remember; NaN is the same as NaN.
func same(a, b Decision) bool { return reflect.DeepEqual(countable(a), countable(b)) }

// countable puts a number in place of each NaN.
func countable(d Decision) Decision {
	number := func(f float64) float64 {
		if math.IsNaN(f) {
			return -12345.678
		}
		return f
	}
	all := func(values []float64) []float64 {
		values = slices.Clone(values)
		for i := range values {
			values[i] = number(values[i])
		}
		return values
	}
	d.Members, d.Limits = slices.Clone(d.Members), all(d.Limits)
	for i := range d.Members {
		v := &d.Members[i]
		detail := *v.Detail
		v.Detail = &detail
		v.Value, v.Limit, v.Values = number(v.Value), number(v.Limit), all(v.Values)
	}
	return d
}

func TestMinimumIsNeverUndercut(t *testing.T) {
	worlds(t, func(t *testing.T, m moment) {
		ready, in, serving, out := 0, 0, 0, 0
		addresses := map[any]Member{}
		for _, member := range m.pool.Members {
			if old, twice := addresses[member.Address]; !twice || member.available() || member.Serving && !old.available() {
				addresses[member.Address] = member
			}
		}
		if len(m.d.Members) != len(addresses) {
			t.Fatalf("%d verdicts on %d addresses", len(m.d.Members), len(addresses))
		}
		for _, v := range m.d.Members {
			member := addresses[v.Address]
			switch {
			case member.available() && v.In:
				ready, in = ready+1, in+1
			case member.available():
				ready, out = ready+1, out+1
			case v.In && v.Reason != LastResort:
				t.Errorf("%v is in and not ready: %s", member, show(m.d))
			}
			if member.Serving && v.In {
				serving++
			}
		}
		if in < m.pool.Policy.Guards.minimum(ready) {
			t.Errorf("minimum of %d members and %v undercut: %s", m.pool.Policy.Guards.MinMembers, m.pool.Policy.Guards.MinShare, show(m.d))
		}
		if serving == 0 && slices.ContainsFunc(m.pool.Members, func(m Member) bool { return m.Serving }) {
			t.Errorf("somebody serves, but the answer is empty: %s", show(m.d))
		}
		if m.d.FailOpen && out > 0 {
			t.Errorf("failed open with somebody out: %s", show(m.d))
		}
	})
}

// TestChurnIsBounded: one evaluation puts out no more than MaxStep, however often it is decided on, and never are more
// than MaxOut newly out in all.
func TestChurnIsBounded(t *testing.T) {
	put := 0
	worlds(t, func(t *testing.T, m moment) {
		if !m.d.At.Equal(m.previous.At) || m.previous.At.IsZero() {
			put = 0
		}
		for _, s := range m.signals {
			if s.state() {
				return // states are not held back
			}
		}
		guards := m.pool.Policy.Guards
		ready, newly, out := 0, 0, 0
		for _, v := range m.d.Members {
			if v.Reason == NotReady || v.Reason == Terminating || v.Reason == LastResort {
				continue
			}
			ready++
			old, _ := m.previous.verdict(v.Address)
			if v.Memory.Excluded {
				out++
				if !old.Memory.Excluded {
					newly++
				}
			}
			if v.In == v.Memory.Excluded {
				t.Errorf("what is remembered of %v is not what is served: %+v", v.Address, v)
			}
		}
		put += newly
		if most := guards.step(guards.MaxStep, ready); newly > 0 && put > most {
			t.Errorf("%d newly out by one evaluation, want at most %d: %s", put, most, show(m.d))
		}
		if most := guards.step(guards.MaxOut, ready); newly > 0 && out > most {
			t.Errorf("%d out, want at most %d: %s", out, most, show(m.d))
		}
	})
}

// TestHoldIsKept: no member's verdict changes twice within Hold, unless it stops being ready or all are let in.
func TestHoldIsKept(t *testing.T) {
	worlds(t, func(t *testing.T, m moment) {
		for _, v := range m.d.Members {
			old, known := m.previous.verdict(v.Address)
			if !known || m.d.FailOpen || v.Reason == NoSignal || v.Memory.Excluded == old.Memory.Excluded || old.Memory.Turned.IsZero() || v.Memory.Turned.IsZero() {
				continue
			}
			if gap := v.Memory.Turned.Sub(old.Memory.Turned); gap < m.pool.Policy.Guards.Hold {
				t.Errorf("%v turned after %v, want at least %v: %+v", v.Address, gap, m.pool.Policy.Guards.Hold, v)
			}
		}
	})
}

func TestWeightsSumUp(t *testing.T) {
	worlds(t, func(t *testing.T, m moment) {
		sum := 0.0
		for _, v := range m.d.Members {
			if v.In != (v.Weight > 0) || v.Weight > 1 || math.IsNaN(v.Weight) {
				t.Errorf("weight %v of %+v", v.Weight, v)
			}
			sum += v.Weight
		}
		in := m.d.In()
		if len(in) > 0 && math.Abs(sum-1) > 1e-9 {
			t.Errorf("weights sum up to %v: %+v", sum, m.d.Members)
		}
		whole := m.d.Weights()
		if whole == nil {
			return
		}
		units := uint32(0)
		for _, w := range whole {
			units += w
			if w == 0 {
				t.Errorf("a member that is in weighs nothing: %v", whole)
			}
		}
		if len(whole) != len(in) || math.Abs(float64(units)-WeightUnits) > float64(len(in)) {
			t.Errorf("%d whole weights of %d members sum up to %d", len(whole), len(in), units)
		}
	})
}

func TestTTLIsBounded(t *testing.T) {
	worlds(t, func(t *testing.T, m moment) {
		if ttl := m.d.TTL; ttl < 2*time.Second || ttl > time.Minute || ttl%time.Second != 0 {
			t.Errorf("TTL %v by %s", ttl, m.d.TTLRule)
		}
		if ttl := m.d.NegativeTTL; ttl < time.Second || ttl > 7*time.Second || ttl%time.Second != 0 {
			t.Errorf("negative TTL %v by %s", ttl, m.d.NegativeTTLRule)
		}
		if !m.d.Next.IsZero() && !m.d.Next.After(m.now) {
			t.Errorf("next %v is not after now %v", m.d.Next, m.now)
		}
	})
}

// TestIdenticalInput: replicas decide alike, whatever the order in which they hold members and signals.
func TestIdenticalInput(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	worlds(t, func(t *testing.T, m moment) {
		if again := Decide(m.pool, m.signals, m.previous, m.now); !same(again, m.d) {
			t.Errorf("the same input decided otherwise:\n%+v\n%+v", again, m.d)
		}
		seen := map[any]bool{}
		for _, member := range m.pool.Members {
			if seen[member.Address] {
				return // which one's value counts is open
			}
			seen[member.Address] = true
		}
		order := r.Perm(len(m.pool.Members))
		shuffled, signals := m.pool, map[string]Signal{}
		shuffled.Members = make([]Member, len(order))
		for i, at := range order {
			shuffled.Members[i] = m.pool.Members[at]
		}
		for name, s := range m.signals {
			values := make([]float64, len(order))
			for i, at := range order {
				values[i] = s.value(at)
			}
			s.Values = values
			signals[name] = s
		}
		if again := Decide(shuffled, signals, m.previous, m.now); !same(again, m.d) {
			t.Errorf("shuffled members decided otherwise:\n%+v\n%+v", again, m.d)
		}
	})
}

// TestOrderOfRules: it says which rule is named, not who is in.
func TestOrderOfRules(t *testing.T) {
	worlds(t, func(t *testing.T, m moment) {
		turned := m.pool
		turned.Policy.Rules, turned.Policy.TTL.Rules = slices.Clone(m.pool.Policy.Rules), slices.Clone(m.pool.Policy.TTL.Rules)
		slices.Reverse(turned.Policy.Rules)
		slices.Reverse(turned.Policy.TTL.Rules)
		again := Decide(turned, m.signals, m.previous, m.now)
		for i, v := range again.Members {
			if w := m.d.Members[i]; v.In != w.In || v.Memory != w.Memory && !math.IsNaN(w.Memory.Pull) || v.Weight != w.Weight {
				t.Errorf("with the rules in another order %v is %+v instead of %+v", v.Address, v, w)
			}
		}
		if again.TTL != m.d.TTL || again.FailOpen != m.d.FailOpen {
			t.Errorf("with the rules in another order TTL %v and fail open %t instead of %v and %t", again.TTL, again.FailOpen, m.d.TTL, m.d.FailOpen)
		}
	})
}

// TestDecidingAgain: state moves with evaluations, not with calls.
func TestDecidingAgain(t *testing.T) {
	worlds(t, func(t *testing.T, m moment) {
		if usesState(m.pool.Policy) || m.previous.At.IsZero() { // the first evaluation is believed at once, but once
			return
		}
		again := Decide(m.pool, m.signals, m.d, m.now)
		for i, v := range again.Members {
			w := m.d.Members[i]
			if v.In != w.In || v.Weight != w.Weight || v.Memory.Cast != w.Memory.Cast || v.Memory.Turned != w.Memory.Turned {
				t.Errorf("decided again, %v is %+v instead of %+v", v.Address, v, w)
			}
		}
	})
}

// usesState reports whether a rule's judgement depends on who is in, so that it may go on from its own outcome.
func usesState(p Policy) bool {
	return slices.ContainsFunc(p.Rules, func(r Rule) bool {
		return r.Over == OverIn || r.Margin > 0 || r.Shed != nil || !r.Readmit.IsZero() || !r.ReadmitIf.IsZero() || r.Highest > 0
	})
}

// TestReplay: the state is rebuilt from the recorded signals alone. A replica that has not been there from the beginning
// decides as one that has, as soon as it has replayed what Memory says.
func TestReplay(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		p := Defaults()
		p.Guards.HoldMax = time.Minute
		p.Rules = []Rule{{Signal: "load", Keep: mustBound(t, "< 8")}}
		p.Weight, p.Selection.Kind = Weight{By: WeightInverse, Signal: "load", Gain: 0.3}, SelectWeighted
		back, evaluations := p.Memory()
		recorded := max(int(back/(5*time.Second)), evaluations) + 20
		pool := Pool{Members: members("rrrrrrrrrr"), Policy: p, TTL: 20 * time.Second}
		var old, young Decision
		for i := range 500 {
			now := start().Add(time.Duration(i) * 5 * time.Second)
			values := make([]float64, 10)
			for k := range values {
				values[k] = 5 + r.Float64()
				if k == 3 && i/40%2 == 0 {
					values[k] = 12
				}
			}
			s := signals(now, values...)
			old = Decide(pool, s, old, now)
			if i >= 500-recorded {
				young = Decide(pool, s, young, now)
			}
		}
		if show(old) != show(young) {
			t.Errorf("seed %d: %s, replayed: %s", seed, show(old), show(young))
		}
		for i := range old.Members {
			if a, b := old.Members[i].Weight, young.Members[i].Weight; math.Abs(a/b-1) > 0.12 {
				t.Errorf("seed %d: weight %v, replayed: %v", seed, a, b)
			}
		}
	}
}

// TestEmpty: nothing there is no harm.
func TestEmpty(t *testing.T) {
	for _, pool := range []Pool{{}, {Policy: Defaults()}, {Policy: Policy{Rules: []Rule{{}, {Signal: "x", Lowest: 1}}}}, {Members: make([]Member, 3)}} {
		d := Decide(pool, nil, Decision{}, time.Time{})
		if len(d.In()) != 0 || d.FailOpen || d.Weights() != nil {
			t.Errorf("%+v of %+v", d, pool)
		}
	}
}
