// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// shares prints the weights of a decision in per cent.
func shares(d Decision) string {
	var out []string
	for _, v := range d.Members {
		out = append(out, fmt.Sprintf("%.0f", 100*v.Weight))
	}
	return strings.Join(out, " ")
}

func TestWeights(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	by := func(kind WeightKind, change ...func(*Weight)) Policy {
		p := Policy{Weight: Weight{By: kind, Signal: "load", Gain: 1}, Selection: Selection{Kind: SelectWeighted}}
		for _, f := range change {
			f(&p.Weight)
		}
		return p
	}
	marks := func(w *Weight) { w.Shed = &Watermarks{Low: 0.5, High: 1} }
	for _, c := range []struct {
		name   string
		policy Policy
		steps  []step // want in per cent
	}{
		{"equal", Policy{}, []step{load("rrnr", "33 33 0 33", 1, 2, 3, 4)}},
		{"nobody", Policy{}, []step{load("nn", "0 0")}},
		{"proportional", by(WeightProportional), []step{load("rrr", "50 33 17", 3, 2, 1)}},
		{"proportional, odd values", by(WeightProportional), []step{load("rrrr", "33 33 33 2", inf, 1, 1, -5)}},
		{"inverse", by(WeightInverse), []step{load("rrr", "57 29 14", 1, 2, 4)}},
		{"inverse, odd values", by(WeightInverse), []step{load("rrrr", "39 39 20 2", 0, 1, 2, inf)}},
		{"inverse of an expression", by(WeightInverse, func(w *Weight) { w.Signal, w.Value = "", mustExpr(t, "load * 2 + 1") }), []step{load("rr", "75 25", 0, 1)}},
		{"all idle", by(WeightInverse), []step{load("rr", "50 50", 0, 0)}},
		{"no value has the mean of the others", by(WeightProportional), []step{load("rrr", "50 17 33", 3, 1, nan)}},
		{"no values", by(WeightProportional), []step{load("rr", "50 50", nan, nan), load("rr", "50 50")}},
		{"shed", by(WeightShed, marks), []step{load("rrr", "57 40 3", 0.2, 0.65, 1)}},
		{"shed all to the floor", by(WeightShed, marks), []step{load("rr", "50 50", 2, 2)}},
		{"the floor", by(WeightProportional, func(w *Weight) { w.Floor = 0.5 }), []step{load("rr", "67 33", 100, 1)}},
		{"gain goes a part of the way", by(WeightProportional, func(w *Weight) { w.Gain = 0.5 }), []step{
			load("rr", "50 50", 1, 1),
			load("rr", "67 33", 4, 1), // √4 : √1
			{"rr", nil, nil, "67 33"}, // no evaluation
			load("rr", "74 26", 4, 1),
		}},
		{"deadband", by(WeightProportional, func(w *Weight) { w.Deadband = 0.2 }), []step{
			load("rr", "50 50", 1, 1),
			load("rr", "50 50", 1.2, 1),
			load("rr", "62 38", 1.6, 1),
			load("rrr", "44 28 28", 1.6, 1, 1), // another member is no deadband
		}},
		{"balance moves against the value", by(WeightBalance, func(w *Weight) { w.Gain = 0.5 }), []step{
			load("rr", "50 50", 1, 1),
			load("rr", "38 62", 1.6, 0.6),
			load("rr", "38 62", 1, 1),
			load("rr", "38 62", nan, 1),
		}},
		{"balance pushes no harder than it may", by(WeightBalance), []step{
			load("rr", "50 50", 1, 1),
			load("rr", "11 89", 100, 0),
			load("rr", "5 95", 100, 0), // the floor
			load("rr", "5 95", inf, 0),
		}},
		{"who is out does not move", Policy{
			Rules: []Rule{{Signal: "load", Keep: mustBound(t, "< 5")}}, Weight: Weight{By: WeightBalance, Signal: "load", Gain: 1}, Selection: Selection{Kind: SelectWeighted},
		}, []step{
			load("rrr", "33 33 33", 1, 1, 1),
			load("rrr", "50 50 0", 1, 1, 9),
			load("rrr", "50 50 0", 1, 1, 9),
			load("rrr", "47 47 5", 1, 1, 0),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if problems := c.policy.Check([]string{"load"}); problems != nil {
				t.Fatal(problems)
			}
			var d Decision
			s := map[string]Signal{}
			for i, step := range c.steps {
				now := start().Add(time.Duration(i) * 10 * time.Second)
				if step.load != nil {
					s["load"] = Signal{At: now, Expires: now.Add(time.Minute), Values: step.load}
				}
				d = Decide(Pool{Members: members(step.states), Policy: c.policy}, s, d, now)
				if got := shares(d); got != step.want {
					t.Errorf("step %d: %s, want %s", i, got, step.want)
				}
			}
		})
	}
}

// TestWeightsAreEqualWithoutSignal: what is not known cannot be weighed.
func TestWeightsAreEqualWithoutSignal(t *testing.T) {
	pool := Pool{Members: members("rr"), Policy: Policy{Weight: Weight{By: WeightProportional, Signal: "load"}}}
	s := signals(start(), 3, 1)
	d := Decide(pool, s, Decision{}, start())
	if got := shares(d); got != "75 25" {
		t.Errorf("live: %s", got)
	}
	if d = Decide(pool, s, d, s["load"].Expires); shares(d) != "50 50" {
		t.Errorf("expired: %s", shares(d))
	}
}

// TestWeightsWithoutSignalAreNobodyElsesMatter: while the weights' signal is not live they are equal, whether or not there
// are rules, on signals that live; and then they go on from where they were.
func TestWeightsWithoutSignalAreNobodyElsesMatter(t *testing.T) {
	for name, rules := range map[string][]Rule{
		"no rule": nil, "a rule on another signal": {{Signal: "errors", Keep: mustBound(t, "< 1")}},
		"a rule on the same signal": {{Signal: "load", Keep: mustBound(t, "< 99")}},
	} {
		p := Policy{Rules: rules, Weight: Weight{By: WeightProportional, Signal: "load", Gain: 0.5}, Selection: Selection{Kind: SelectWeighted}}
		var d Decision
		var load Signal
		for i, want := range []string{"75 25", "50 50", "50 50", "63 37"} {
			now := start().Add(time.Duration(i) * time.Minute)
			switch i {
			case 0:
				load = Signal{At: now, Expires: now.Add(time.Minute), Values: []float64{3, 1}}
			case 3:
				load = Signal{At: now, Expires: now.Add(time.Minute), Values: []float64{1, 1}}
			}
			s := map[string]Signal{"load": load, "errors": {At: now, Expires: now.Add(time.Minute), Values: []float64{0, 0}}}
			if d = Decide(Pool{Members: members("rr"), Policy: p}, s, d, now); shares(d) != want {
				t.Errorf("%s: minute %d: %s, want %s", name, i, shares(d), want)
			}
		}
	}
}

func TestSlowStart(t *testing.T) {
	p := Policy{Guards: Guards{SlowStart: 100 * time.Second, SlowStartFrom: 0.2}, Selection: Selection{Kind: SelectWeighted}}
	at := func(seconds float64) time.Time { return start().Add(time.Duration(seconds * float64(time.Second))) }
	d := Decide(Pool{Members: members("rr"), Policy: p}, nil, Decision{}, at(0))
	if got := shares(d); got != "50 50" || !d.Next.IsZero() {
		t.Errorf("those that are there first do not start: %s, next %v", got, d.Next)
	}
	three := Pool{Members: members("rrr"), Policy: p}
	for _, c := range []struct {
		at, next float64
		want     string
	}{{10, 20, "45 45 9"}, {19.9, 20, "45 45 9"}, {20, 30, "44 44 12"}, {60, 70, "38 38 23"}, {109.9, 110, "34 34 32"}, {110, 0, "33 33 33"}} {
		d = Decide(three, nil, d, at(c.at))
		next := c.next
		if d.Next.IsZero() {
			next = 0
		} else if !d.Next.Equal(at(c.next)) {
			next = -1
		}
		if got := shares(d); got != c.want || next != c.next {
			t.Errorf("%v s: %s, next %v; want %s, next in %v s", c.at, got, d.Next, c.want, c.next)
		}
	}
	// One that leaves and comes back starts again.
	d = Decide(Pool{Members: members("rrn"), Policy: p}, nil, d, at(200))
	if d = Decide(three, nil, d, at(300)); shares(d) != "45 45 9" {
		t.Errorf("after its return: %s", shares(d))
	}
}

func TestWholeWeights(t *testing.T) {
	p := Policy{Weight: Weight{By: WeightProportional, Signal: "load"}}
	d := Decide(Pool{Members: members("rrnr"), Policy: p}, signals(start(), 2, 1, 9, 1), Decision{}, start())
	if got := d.Weights(); !slices.Equal(got, []uint32{WeightUnits / 2, WeightUnits / 4, WeightUnits / 4}) {
		t.Errorf("weights %v of %v", got, d.In())
	}
}
