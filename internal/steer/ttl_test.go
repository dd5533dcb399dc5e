// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"math"
	"testing"
	"time"
)

func TestTTLRules(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	linear := TTLRule{Kind: TTLLinear, Signal: "load", Low: 0, High: 10}
	steps := TTLRule{Kind: TTLSteps, Signal: "load", Of: "p100", Steps: []Step{{5, 30 * time.Second}, {8, 5 * time.Second}}}
	bounds := func(rules ...TTLRule) TTL {
		return TTL{Floor: 5 * time.Second, Ceiling: 65 * time.Second, Rules: rules}
	}
	fixed := func(name string, d time.Duration) TTLRule { return TTLRule{Name: name, Kind: TTLFixed, TTL: d} }
	for _, c := range []struct {
		name   string
		ttl    TTL
		values []float64 // of ready members; nil: no signal
		want   time.Duration
		rule   string
	}{
		{"no rule", TTL{}, nil, 40 * time.Second, "pool"},
		{"no rule, floor", TTL{Floor: time.Minute}, nil, time.Minute, "floor"},
		{"no rule, ceiling", TTL{Ceiling: 7 * time.Second}, nil, 7 * time.Second, "ceiling"},
		{"fixed", bounds(fixed("", 13*time.Second)), nil, 13 * time.Second, "fixed"},
		{"fixed below the floor", bounds(fixed("", time.Second)), nil, 5 * time.Second, "floor"},
		{"fixed above the ceiling", bounds(fixed("", time.Hour)), nil, 65 * time.Second, "ceiling"},
		{"fixed above what the pool says", TTL{Rules: []TTLRule{fixed("", time.Hour)}}, nil, 40 * time.Second, "ceiling"},
		{"the least of two", bounds(fixed("a", 20*time.Second), fixed("b", 10*time.Second)), nil, 10 * time.Second, "b"},
		{"linear, low", bounds(linear), []float64{0, 0}, 65 * time.Second, "linear"},
		{"linear, beyond low", bounds(linear), []float64{-5}, 65 * time.Second, "linear"},
		{"linear, half", bounds(linear), []float64{4, 6}, 32 * time.Second, "linear"}, // 35 s
		{"linear, high", bounds(linear), []float64{10}, 5 * time.Second, "linear"},
		{"linear, beyond high", bounds(linear), []float64{inf}, 5 * time.Second, "linear"},
		{"linear, no value", bounds(linear), []float64{nan}, 40 * time.Second, "pool"},
		{"linear, no signal", bounds(linear), nil, 40 * time.Second, "pool"},
		{"linear, no signal, beside a fixed one", bounds(linear, fixed("", 50*time.Second)), nil, 50 * time.Second, "fixed"},
		{"linear, falling", bounds(TTLRule{Kind: TTLLinear, Signal: "load", Low: 10, High: 0}), []float64{10}, 65 * time.Second, "linear"},
		{"linear, of the greatest", bounds(TTLRule{Kind: TTLLinear, Signal: "load", Of: "p100", High: 10}), []float64{0, 0, 10}, 5 * time.Second, "linear"},
		{"exponential, half", TTL{Floor: 4 * time.Second, Ceiling: 64 * time.Second, Rules: []TTLRule{{Kind: TTLExponential, Signal: "load", High: 10}}}, []float64{5}, 16 * time.Second, "exponential"},
		{"exponential of an expression", bounds(TTLRule{Kind: TTLExponential, Value: mustExpr(t, "load * 2"), High: 10}), []float64{5}, 5 * time.Second, "exponential"},
		{"steps, none", bounds(steps), []float64{4.9}, 65 * time.Second, "steps"},
		{"steps, first", bounds(steps), []float64{1, 5}, 30 * time.Second, "steps"},
		{"steps, last", bounds(steps), []float64{1, 8}, 5 * time.Second, "steps"},
		{"steps, no value", bounds(steps), []float64{nan}, 40 * time.Second, "pool"},
		{"churn, never changed", bounds(TTLRule{Kind: TTLChurn}), nil, 65 * time.Second, "churn"},
		{"calm, decided for the first time", bounds(TTLRule{Name: "quiet", Kind: TTLCalm}), nil, 5 * time.Second, "quiet"},
	} {
		states := make([]byte, max(1, len(c.values)))
		for i := range states {
			states[i] = 'r'
		}
		p := Policy{TTL: c.ttl, NegativeTTL: c.ttl}
		if problems := p.Check([]string{"load"}); problems != nil {
			t.Fatal(problems)
		}
		var s map[string]Signal
		if c.values != nil {
			s = signals(start(), c.values...)
		}
		d := Decide(Pool{Members: members(string(states)), Policy: p, TTL: 40 * time.Second, NegativeTTL: 40 * time.Second}, s, Decision{}, start())
		if d.TTL != c.want || d.TTLRule != c.rule || d.NegativeTTL != c.want || d.NegativeTTLRule != c.rule {
			t.Errorf("%s: TTL %v by %q, negative %v by %q; want %v by %q", c.name, d.TTL, d.TTLRule, d.NegativeTTL, d.NegativeTTLRule, c.want, c.rule)
		}
	}
}

// TestTTLOfThoseThatAreIn: the members that are out have no part in it.
func TestTTLOfThoseThatAreIn(t *testing.T) {
	p := Policy{
		Rules: []Rule{{Signal: "load", Keep: mustBound(t, "< 5")}},
		TTL:   TTL{Floor: time.Second, Ceiling: 10 * time.Second, Rules: []TTLRule{{Kind: TTLLinear, Signal: "load", Of: "p100", High: 5}}},
	}
	if d := Decide(Pool{Members: members("rrr"), Policy: p}, signals(start(), 0, 9, 0), Decision{}, start()); d.TTL != 10*time.Second {
		t.Errorf("TTL %v", d.TTL)
	}
}

// TestTTLStays: a value that wanders about the edge of a rung changes nothing.
func TestTTLStays(t *testing.T) {
	p := Policy{TTL: TTL{Floor: time.Second, Ceiling: 100 * time.Second, Rules: []TTLRule{{Kind: TTLLinear, Signal: "load", Low: 100, High: 0}}}}
	var d Decision
	for i, c := range []struct {
		value float64
		want  time.Duration
	}{{25, 24}, {23, 24}, {22, 24}, {20.5, 16}, {24.5, 16}, {25.5, 16}, {27, 24}, {34, 24}, {36, 32}, {0, 1}, {100, 100}} {
		now := start().Add(time.Duration(i) * time.Second)
		if d = Decide(Pool{Members: members("r"), Policy: p}, signals(now, c.value), d, now); d.TTL != c.want*time.Second {
			t.Errorf("value %v: TTL %v, want %v", c.value, d.TTL, c.want*time.Second)
		}
	}
}

// TestCalmIsSeenFirst: who has seen no change has not seen that there was none. That members come to a pool without any is a change, though
// they need no slow start.
func TestCalmIsSeenFirst(t *testing.T) {
	calm := TTL{Floor: time.Second, Ceiling: time.Minute, Rules: []TTLRule{{Kind: TTLCalm}}}
	p := Policy{TTL: calm, NegativeTTL: calm, Guards: Guards{SlowStart: time.Minute}}
	var d Decision
	for _, c := range []struct {
		after   time.Duration // of the first decision
		members string
		want    time.Duration
	}{
		{0, "", 1 * time.Second},
		{time.Second, "", 1 * time.Second},
		{8 * time.Second, "", 4 * time.Second},
		{time.Hour, "", time.Minute},
		{time.Hour, "rr", 1 * time.Second},
		{time.Hour + 10*time.Second, "rr", 4 * time.Second},
		{2 * time.Hour, "rr", time.Minute},
		{2 * time.Hour, "rn", 1 * time.Second},
	} {
		now := start().Add(c.after)
		d = Decide(Pool{Members: members(c.members), Policy: p}, nil, d, now)
		if d.TTL != c.want || d.NegativeTTL != c.want {
			t.Errorf("%v, %q: TTL %v, negative %v; want %v", c.after, c.members, d.TTL, d.NegativeTTL, c.want)
		}
		for _, m := range d.Members {
			if !m.Memory.Entered.IsZero() {
				t.Errorf("%v: %v entered at %v, want without slow start", c.after, m.Address, m.Memory.Entered)
			}
		}
	}
	// A clock that was set back makes the last change unknown (package pool).
	d.Changed = time.Time{}
	if d = Decide(Pool{Members: members("rn"), Policy: p}, nil, d, start()); d.TTL != time.Second || !d.Changed.Equal(start()) {
		t.Errorf("after the clock was set back: TTL %v, changed %v", d.TTL, d.Changed)
	}
}

// TestTTLFollowsTime: after a change the TTL is short and grows again by itself, each time when Next said it would.
func TestTTLFollowsTime(t *testing.T) {
	for kind, rungs := range map[TTLKind][]time.Duration{
		TTLCalm:  {2, 3, 4, 6, 8, 12, 16, 20},
		TTLChurn: {4, 6, 8, 12, 16, 20},
	} {
		p := Policy{
			TTL:         TTL{Floor: 2 * time.Second, Ceiling: 20 * time.Second, Rules: []TTLRule{{Kind: kind}}},
			ChurnWindow: 40 * time.Second,
		}
		now := start()
		d := Decide(Pool{Members: members("rr"), Policy: p}, nil, Decision{}, now)
		first := map[TTLKind]time.Duration{TTLCalm: 2 * time.Second, TTLChurn: 20 * time.Second}[kind]
		if d.TTL != first || d.Next.IsZero() != (kind == TTLChurn) {
			t.Errorf("%s: at first TTL %v, next %v", kind, d.TTL, d.Next)
		}
		for i := range 10 { // ten changes in ten seconds
			now = now.Add(time.Second)
			d = Decide(Pool{Members: members([]string{"rn", "rr"}[i%2]), Policy: p}, nil, d, now)
		}
		for _, want := range rungs {
			if d.TTL != want*time.Second {
				t.Errorf("%s: %v after the last change TTL %v, want %v", kind, now.Sub(d.Changed), d.TTL, want*time.Second)
			}
			if d.Next.IsZero() {
				break
			}
			early := Decide(Pool{Members: members("rr"), Policy: p}, nil, d, d.Next.Add(-10*time.Millisecond))
			if early.TTL != d.TTL {
				t.Errorf("%s: before next the TTL is %v already", kind, early.TTL)
			}
			now = d.Next
			d = Decide(Pool{Members: members("rr"), Policy: p}, nil, d, now)
		}
		if d.TTL != 20*time.Second || !d.Next.IsZero() {
			t.Errorf("%s: at last TTL %v, next %v", kind, d.TTL, d.Next)
		}
	}
}

// TestTTLWakes: however slowly a TTL grows, the next decision is due in time to come, and the memory has an end.
func TestTTLWakes(t *testing.T) {
	for _, p := range []Policy{
		{TTL: TTL{Ceiling: time.Hour, Rules: []TTLRule{{Kind: TTLCalm, Growth: 1e-10}}}},
		{TTL: TTL{Ceiling: time.Hour, Rules: []TTLRule{{Kind: TTLChurn, Risk: 1e-12}}}, ChurnWindow: 2_000_000 * time.Hour},
		{Guards: Guards{HoldMax: 2_000_000 * time.Hour}, TTL: TTL{Ceiling: time.Hour, Rules: []TTLRule{{Kind: TTLCalm}}}},
	} {
		d := Decide(Pool{Members: members("rr"), Policy: p}, nil, Decision{}, start())
		now := start().Add(time.Second)
		d = Decide(Pool{Members: members("rn"), Policy: p}, nil, d, now)
		if !d.Next.After(now) || d.Next.After(now.Add(25*time.Hour)) {
			t.Errorf("%+v: next %v, now %v", p, d.Next, now)
		}
		if back, _ := p.Memory(); back < time.Hour {
			t.Errorf("%+v: memory of %v", p, back)
		}
	}
}

func TestRungs(t *testing.T) {
	want := []float64{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}
	at := 0.5
	for _, w := range want {
		if at = nextRung(at); at != w || lastRung(w) != w || lastRung(w*0.999) == w && w > 1 {
			t.Errorf("rung %v, want %v; %v is on %v", at, w, w, lastRung(w))
		}
	}
}
