// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"math"
	"strings"
	"testing"
	"time"
)

// play decides step by step, ten seconds apart, and compares with what is wanted.
func play(t *testing.T, p Policy, steps []step) {
	t.Helper()
	if problems := p.Check([]string{"load", "errors"}); problems != nil {
		t.Fatal(problems)
	}
	var d Decision
	s := map[string]Signal{}
	for i, step := range steps {
		now := start().Add(time.Duration(i) * 10 * time.Second)
		if step.load != nil {
			s["load"] = Signal{At: now, Expires: now.Add(time.Minute), Values: step.load}
		}
		if step.errors != nil {
			s["errors"] = Signal{At: now, Expires: now.Add(time.Minute), Values: step.errors}
		}
		d = Decide(Pool{Members: members(step.states), Policy: p}, s, d, now)
		if got := show(d); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
}

type step struct {
	states       string
	load, errors []float64 // nil: nothing new
	want         string
}

func load(states string, want string, values ...float64) step {
	if values == nil {
		values = []float64{}
	}
	return step{states: states, load: values, want: want}
}

func TestRules(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	one := func(r Rule) Policy { return Policy{Rules: []Rule{r}} }
	for _, c := range []struct {
		name   string
		policy Policy
		steps  []step
	}{
		{"percentile", one(Rule{Signal: "load", Keep: mustBound(t, "<= p75")}), []step{
			load("rrrrr", "+within +within +within +within -beyond", 1, 2, 3, 4, 5),
		}},
		{"median of those that are in", one(Rule{Signal: "load", Keep: mustBound(t, "< 2 * median"), Over: OverIn}), []step{
			load("rrrr", "+within +within +within -beyond", 1, 1, 1, 4),
			load("rrrr", "+within +within +within -beyond", 3, 3, 3, 6),
			load("rrrr", "+within +within +within +within", 3, 3, 3, 5.9),
		}},
		{"mean of those that are in, and of new ones", one(Rule{Signal: "load", Keep: mustBound(t, "< 2 * mean"), Over: OverIn}), []step{
			load("rrrr", "+within +within +within -beyond", 1, 1, 1, 9),
			load("rrrr", "+within +within +within +within", 2, 2, 7, 0), // of all ready ones the mean is 2.75
			load("rrrr", "+within +within +within -beyond", 1, 1, 1, 9),
			load("rrrrr", "+within +within +within +within +within", 2, 2, 7, 0, 8), // without the new one it is 3.67
		}},
		{"median of all ready ones follows those that are out", one(Rule{Signal: "load", Keep: mustBound(t, "< 2 * mean")}), []step{
			load("rrr", "+within +within -beyond", 1, 1, 9),
			load("rrr", "+within -beyond +within", 0.9, 4, 0),
		}},
		{"standard deviation", one(Rule{Signal: "load", Keep: mustBound(t, "<= mean + 1.5 * stddev")}), []step{
			load("rrrrr", "+within +within +within +within -beyond", 1, 1, 1, 1, 9),
		}},
		{"value from two signals", one(Rule{Value: mustExpr(t, "load * errors"), Keep: mustBound(t, "< 10")}), []step{
			{"rr", []float64{4, 4}, []float64{2, 3}, "+within -beyond"},
			{"rr", []float64{4, 2}, nil, "+within +within"},
			{"rr", nil, []float64{nan, 5}, "+no-data -beyond"},
		}},
		{"condition", one(Rule{KeepIf: mustExpr(t, "load < 8 and errors < 0.1"), ReadmitIf: mustExpr(t, "load < 6 and errors < 0.1")}), []step{
			{"rrr", []float64{1, 9, 1}, []float64{0, 0, 0.2}, "+within -beyond -beyond"},
			{"rrr", []float64{1, 7, 7}, []float64{0, 0, 0}, "+within -waiting -waiting"},
			{"rrr", []float64{1, 5, 5}, []float64{0, 0, 0}, "+within +within +within"},
			{"rrr", []float64{9, nan, 5}, []float64{nan, 9, 0}, "-beyond -beyond +within"},
		}},
		{"lowest", one(Rule{Signal: "load", Lowest: 2}), []step{
			load("rrrr", "+within -outranked +within -outranked", 1, 3, 2, 4),
			load("rrrr", "+within -outranked +within -outranked", 3, 3, 3, 3), // equals stay
			load("rrrr", "-outranked +within -outranked +within", 3, 2, 3, 2),
			load("rr", "+within +within", 9, 9), // fewer than the places
		}},
		{"lowest of equals goes by address", one(Rule{Signal: "load", Lowest: 1}), []step{
			load("rrr", "+within -outranked -outranked", 1, 1, 1),
		}},
		{"highest", one(Rule{Signal: "load", Highest: 1}), []step{
			load("rrr", "-outranked +within -outranked", 1, inf, inf),
			load("rrr", "-outranked -outranked +within", 1, 5, inf),
		}},
		{"highest, first in order", one(Rule{Signal: "load", Highest: 1}), []step{
			load("rrr", "-outranked +within -outranked", 1, 3, 2),
		}},
		{"lowest with a margin", one(Rule{Signal: "load", Lowest: 1, Margin: 0.2}), []step{
			load("rr", "+within -outranked", 10, 11),
			load("rr", "+within -waiting", 10, 9),
			load("rr", "-outranked +within", 10, 7.9),
			load("rr", "-waiting +within", 7, 7.9),
		}},
		{"highest with a margin below zero", one(Rule{Signal: "load", Highest: 1, Margin: 0.5}), []step{
			load("rr", "+within -outranked", -10, -12),
			load("rr", "+within -waiting", -10, -6),
			load("rr", "-outranked +within", -10, -4),
		}},
		{"a member without a value takes no place", one(Rule{Signal: "load", Lowest: 1}), []step{
			load("rrr", "+no-data -outranked +within", nan, 2, 1),
			load("rrr", "+no-data -no-data +no-data"),
		}},
		{"shedding", one(Rule{Signal: "load", Shed: &Watermarks{10, 20}}), []step{
			load("rrrr", "+within +within +within +within", 10, 12, 14, 13),   // 0.9 of a member
			load("rrrr", "+within +within -shedding +within", 10, 12, 15, 13), // 1.0
			load("rrrr", "+within +within -shedding +within", 10, 16, 12, 13), // the one that is out makes up the number
			load("rrrr", "+within -shedding -shedding +within", 10, 19, 15, 16),
			load("rrrr", "+within +within +within +within", 10, 13, 13, 13), // 0.9
		}},
		{"shedding all beyond the high watermark", one(Rule{Signal: "load", Shed: &Watermarks{10, 20}}), []step{
			load("rrrr", "-beyond -beyond +within +within", 20, inf, 10, 15),
			load("rrrr", "+within +within +within +within", 0, 0, 0, 0),
		}},
		{"shedding when the value is low", one(Rule{Signal: "load", Shed: &Watermarks{Low: 0.5, High: 0.1}}), []step{
			load("rrr", "+within -beyond +within", 0.9, 0.1, 0.4),
		}},
	} {
		t.Run(c.name, func(t *testing.T) { play(t, c.policy, c.steps) })
	}
}

func TestRulesTogether(t *testing.T) {
	p := Policy{Rules: []Rule{{Name: "busy", Signal: "load", Keep: mustBound(t, "< 8")}, {Name: "broken", Signal: "errors", Keep: mustBound(t, "< 0.1")}}}
	s := map[string]Signal{
		"load":   {At: start(), Values: []float64{1, 9, 1, 9}},
		"errors": {At: start(), Values: []float64{0, 0, 1, 1}},
	}
	pool := Pool{Members: members("rrrr"), Policy: p}
	d := Decide(pool, s, Decision{}, start())
	for i, want := range []struct {
		in           bool
		rule, signal string
		value, limit float64
	}{{true, "busy", "load", 1, 8}, {false, "busy", "load", 9, 8}, {false, "broken", "errors", 1, 0.1}, {false, "busy", "load", 9, 8}} {
		v := d.Members[i]
		if v.In != want.in || v.Rule != want.rule || v.Signal != want.signal || v.Value != want.value || v.Limit != want.limit {
			t.Errorf("member %d: %+v, want %+v", i, v, want)
		}
		if v.Values[0] != s["load"].Values[i] || v.Values[1] != s["errors"].Values[i] {
			t.Errorf("member %d: values %v", i, v.Values)
		}
	}
	if d.Limits[0] != 8 || d.Limits[1] != 0.1 || d.Signals[0] != "load" || d.Signals[1] != "errors" {
		t.Errorf("limits %v of %v", d.Limits, d.Signals)
	}
}

func TestGuards(t *testing.T) {
	nan := math.NaN()
	below := func(g Guards) Policy { return bounded(t, g, "< 8") }
	for _, c := range []struct {
		name   string
		policy Policy
		steps  []step
	}{
		{"two of three evaluations", below(Guards{Votes: 2, Of: 3}), []step{
			load("rr", "+within +within", 1, 1),
			load("rr", "+within +unconfirmed", 1, 9),
			load("rr", "+within +within", 1, 1),
			load("rr", "+within -beyond", 1, 9), // 9 1 9
			{"rr", nil, nil, "+within -beyond"}, // no evaluation
			load("rr", "+within -beyond", 1, 9), // 1 9 9
			load("rr", "+within -unconfirmed", 1, 1),
			load("rr", "+within +within", 1, 1),
		}},
		{"the first evaluation is believed", below(Guards{Votes: 2}), []step{
			load("rr", "+within -beyond", 1, 9),
			load("rrr", "+within -beyond +unconfirmed", 1, 9, 9),
			load("rrr", "+within -unconfirmed -beyond", 1, 1, 9),
		}},
		{"an evaluation counts once", below(Guards{Votes: 2}), []step{
			load("rr", "+within +within", 1, 1),
			load("rr", "+within +unconfirmed", 1, 9),
			{"rr", nil, nil, "+within +unconfirmed"},
			{"rrn", nil, nil, "+within +unconfirmed -not-ready"},
			load("rr", "+within -beyond", 1, 9),
		}},
		{"what an event changes in an evaluation counts in its place", Policy{Rules: []Rule{{Signal: "load", Keep: mustBound(t, "< 2 * mean")}}, Guards: Guards{Votes: 2}}, []step{
			load("rrrr", "+within +within +within +within", 1, 1, 1, 1),
			load("rrrr", "+within +within +within +unconfirmed", 1, 1, 1, 3.9),
			{"rrnr", nil, nil, "+within +within -not-ready +within"},
			load("rrrr", "+within +within +within +unconfirmed", 1, 1, 1, 3.9),
			load("rrrr", "+within +within +within -beyond", 1, 1, 1, 3.9),
		}},
		{"a member that relapses stays out twice as long", below(Guards{Hold: 10 * time.Second, HoldMax: 40 * time.Second}), []step{
			load("rr", "+within -beyond", 1, 9),
			load("rr", "+within +within", 1, 1), // 10 s
			load("rr", "+within -beyond", 1, 9),
			load("rr", "+within -held", 1, 1),
			load("rr", "+within +within", 1, 1), // 20 s
			load("rr", "+within -beyond", 1, 9),
			load("rr", "+within -held", 1, 1),
			load("rr", "+within -held", 1, 1),
			load("rr", "+within -held", 1, 1),
			load("rr", "+within +within", 1, 1), // 40 s
			load("rr", "+within -beyond", 1, 9),
			load("rr", "+within -held", 1, 1),
			load("rr", "+within -held", 1, 1),
			load("rr", "+within -held", 1, 1),
			load("rr", "+within +within", 1, 1), // 40 s, the most
			load("rr", "+within +within", 1, 1),
			load("rr", "+within +within", 1, 1),
			load("rr", "+within +within", 1, 1),
			load("rr", "+within -beyond", 1, 9), // after 40 s it is no relapse
			load("rr", "+within +within", 1, 1),
		}},
		{"hold counts evaluations", below(Guards{Hold: 15 * time.Second}), []step{
			load("rr", "+within -beyond", 1, 9),
			load("rr", "+within -held", 1, 1),
			{"rr", nil, nil, "+within -held"},
			load("rr", "+within +within", 1, 1),
		}},
		{"minimum share", below(Guards{MinShare: 0.5}), []step{
			load("rrrr", "+within +within -beyond -beyond", 1, 1, 9, 9),
			load("rrrr", "+within +fail-open +fail-open +fail-open FAIL-OPEN", 1, 9, 9, 9),
			load("rrr", "+within +fail-open +fail-open FAIL-OPEN", 1, 9, 9),
			load("r", "+fail-open FAIL-OPEN", 9),
		}},
		{"minimum of members and share: the greater", below(Guards{MinShare: 0.5, MinMembers: 3}), []step{
			load("rrrr", "+within +within +within -beyond", 1, 1, 1, 9),
			load("rrrr", "+within +within +fail-open +fail-open FAIL-OPEN", 1, 1, 9, 9),
		}},
		{"the worst of several rules goes first", Policy{Guards: Guards{MaxStep: 0.25}, Rules: []Rule{{Signal: "load", Keep: mustBound(t, "< 8")}, {Signal: "errors", Keep: mustBound(t, "< 0.1")}}}, []step{
			{"rrrr", []float64{1, 9, 1, 1}, []float64{0, 0, 1, 0.2}, "+within +limited -beyond +limited"},
			{"rrrr", []float64{1, 9, 1, 1}, []float64{0, 0, 1, 0.2}, "+within +limited -beyond -beyond"},
		}},
		{"no data keeps a verdict for as long as a value lives", below(Guards{}), []step{
			load("rr", "+within -beyond", 1, 9),
			load("rr", "+no-data -no-data", nan, nan),
			load("rr", "+no-data -no-data"),
			load("rr", "+within -no-data", 1),
			load("rr", "+within -no-data", 1),
			load("rr", "+within -no-data", 1),
			load("rr", "+within +no-data", 1), // a minute
			load("rr", "+within -beyond", 1, 9),
		}},
		{"no data follows readiness", below(Guards{NoData: NoDataReadiness}), []step{
			load("rr", "+within -beyond", 1, 9),
			load("rr", "+no-data +no-data", nan, nan),
		}},
		{"no data drops", below(Guards{NoData: NoDataDrop}), []step{
			load("rr", "+within -no-data", 1),
			load("rr", "+fail-open +fail-open FAIL-OPEN"),
		}},
		{"no data for one rule of two", Policy{Rules: []Rule{{Signal: "load", Keep: mustBound(t, "< 8")}, {Signal: "errors", Keep: mustBound(t, "< 0.1")}}}, []step{
			{"rr", []float64{1, 9}, []float64{nan, nan}, "+within -beyond"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) { play(t, c.policy, c.steps) })
	}
}

// TestStates: what stands until something else is said, as a health check does, is not voted on and not limited, and what
// is held because of it is let go in time though nothing comes in.
func TestStates(t *testing.T) {
	p := Defaults()
	p.Guards.MinShare = 0.25
	p.Rules = []Rule{{Signal: "health", Keep: mustBound(t, "> 0")}}
	pool := Pool{Members: members("rrrr"), Policy: p}
	at := func(seconds int) time.Time { return start().Add(time.Duration(seconds) * time.Second) }
	state := func(seconds int, values ...float64) map[string]Signal {
		return map[string]Signal{"health": {At: at(seconds), Values: values}}
	}
	var d Decision
	for _, c := range []struct {
		now  int
		s    map[string]Signal
		want string
		next int // 0: never
	}{
		{0, state(0, 1, 1, 1, math.NaN()), "+within +within +within +no-data", 0},
		{5, state(5, 1, 0, 0, 1), "+within -beyond -beyond +within", 0}, // two at once
		{15, state(15, 1, 1, 0, 1), "+within -held -beyond +within", 35},
		{34, state(15, 1, 1, 0, 1), "+within -held -beyond +within", 35},
		{35, state(15, 1, 1, 0, 1), "+within +within -beyond +within", 0},
		{70, state(70, 0, 0, 0, 0), "+fail-open +fail-open +fail-open +fail-open FAIL-OPEN", 0},
		{75, state(75, 0, 1, 1, 1), "+held +within +within +within", 100},
		{100, state(75, 0, 1, 1, 1), "-beyond +within +within +within", 0},
	} {
		d = Decide(pool, c.s, d, at(c.now))
		if got := show(d); got != c.want || d.Next.IsZero() != (c.next == 0) || c.next > 0 && !d.Next.Equal(at(c.next)) {
			t.Errorf("%d s: %s, next %v; want %s, next in %d s", c.now, got, d.Next, c.want, c.next)
		}
	}

	// Beside a metric the state goes first, and the metric alone is voted on.
	p.Rules = append(p.Rules, Rule{Signal: "load", Keep: mustBound(t, "< 8")})
	d = Decision{}
	for i, want := range []string{"+within +within +within", "-beyond +unconfirmed +within", "-beyond +unconfirmed +within", "-beyond +limited +within"} {
		now := at(5 * i)
		s := state(0, 1, 1, 1)
		s["load"] = Signal{At: now, Expires: now.Add(time.Minute), Values: []float64{1, 1, 1}}
		if i > 0 {
			s["health"].Values[0], s["load"].Values[1] = 0, 9
		}
		if d = Decide(Pool{Members: members("rrr"), Policy: p}, s, d, now); show(d) != want {
			t.Errorf("evaluation %d: %s, want %s", i, show(d), want)
		}
	}
}

func TestPolicyCheck(t *testing.T) {
	expr := func(s string) Expr { return mustExpr(t, s) }
	below := Rule{Signal: "load", Keep: mustBound(t, "< 8")}
	band := func(keep, readmit string) Rule {
		r := Rule{Signal: "load", Keep: mustBound(t, keep)}
		if readmit != "" {
			r.Readmit = mustBound(t, readmit)
		}
		return r
	}
	rules := func(r ...Rule) Policy { return Policy{Rules: r} }
	change := func(f func(*Policy)) Policy { p := Defaults(); f(&p); return p }
	ttl := func(r TTLRule) Policy { return Policy{TTL: TTL{Rules: []TTLRule{r}}} }
	for _, c := range []struct {
		policy Policy
		want   string // path: part of the text; empty: nothing is wrong
	}{
		{Defaults(), ""},
		{rules(below), ""},
		{rules(Rule{Signal: "load", Keep: mustBound(t, "< 8"), Readmit: mustBound(t, "< 2 * mean")}), ""},
		{rules(Rule{KeepIf: expr("load < 8 or errors < 1"), ReadmitIf: expr("load < 1")}), ""},
		{rules(Rule{Value: expr("load / 2"), Lowest: 3, Margin: 0.1}), ""},
		{rules(Rule{Signal: "load", Shed: &Watermarks{1, 2}}), ""},
		{rules(Rule{Signal: "load"}), "rules[0]: the rule keeps everybody"},
		{rules(Rule{Signal: "load", Readmit: mustBound(t, "< 6")}), "rules[0].readmit: readmit is set and keep is not"},
		{rules(Rule{ReadmitIf: expr("load < 1")}), "rules[0].readmitIf: readmitIf is set and keepIf is not"},
		{rules(Rule{Signal: "load", Keep: mustBound(t, "< 8"), Lowest: 2}), "rules[0]: the rule says more than one thing"},
		{rules(Rule{Signal: "load", Lowest: 2, Readmit: mustBound(t, "< 8")}), "rules[0].readmit: readmit without keep"},
		{rules(Rule{Signal: "load", Keep: mustBound(t, "< 8"), Readmit: mustBound(t, "> 6")}), "rules[0].readmit: opposite sides"},
		{rules(Rule{Signal: "load", Keep: mustBound(t, "< 8"), Readmit: mustBound(t, "< 9")}), "rules[0].readmit: looser"},
		{rules(Rule{Signal: "load", Keep: mustBound(t, "> 8"), Readmit: mustBound(t, "> 7")}), "rules[0].readmit: looser"},
		{rules(below, Rule{Signal: "lod", Keep: mustBound(t, "< 8")}), `rules[1].signal: no signal "lod"`},
		{rules(Rule{KeepIf: expr("lod < 8")}), `rules[0].keepIf: no signal "lod"`},
		{rules(Rule{KeepIf: expr("load + 8")}), "rules[0].keepIf: where a condition is needed"},
		{rules(Rule{Value: expr("load < 8"), Lowest: 1}), "rules[0].value: where a number is needed"},
		{rules(Rule{Signal: "load", KeepIf: expr("load < 8")}), "rules[0].keepIf: beside signal or value"},
		{rules(Rule{Signal: "load", Value: expr("load"), Lowest: 1}), "rules[0].value: both signal and value"},
		{rules(Rule{Signal: "load", Lowest: -1}), "rules[0].lowest: negative"},
		{rules(Rule{Signal: "load", Keep: mustBound(t, "< 8"), Margin: 0.1}), "rules[0].margin: without lowest or highest"},
		{rules(Rule{Signal: "load", Keep: mustBound(t, "< 8"), Over: "all"}), `rules[0].over: "all" is unknown`},
		{rules(Rule{Signal: "load", Shed: &Watermarks{2, 2}}), "rules[0].shed.high: both watermarks"},
		{rules(Rule{Signal: "load", Shed: &Watermarks{math.NaN(), 2}}), "rules[0].shed.low: not a finite number"},
		{rules(Rule{Name: "x", Signal: "load", Lowest: 1}, Rule{Name: "x", Signal: "load", Lowest: 1}), "rules[1].name: another rule"},
		{change(func(p *Policy) { p.Guards.NoData = "guess" }), `guards.noData: "guess" is unknown`},
		{change(func(p *Policy) { p.Guards.MinMembers = -1 }), "guards.minMembers: negative"},
		{change(func(p *Policy) { p.Guards.Hold = -1 }), "guards.hold: negative"},
		{change(func(p *Policy) { p.Guards.Hold = 0 }), ""},
		{change(func(p *Policy) { p.Guards.MaxStep = 1.1 }), "guards.maxStep: no share"},
		{change(func(p *Policy) { p.Guards.MinShare = Share(math.NaN()) }), "guards.minShare: no share"},
		{change(func(p *Policy) { p.Guards.Votes, p.Guards.Of = 4, 3 }), "guards.votes: never agree"},
		{change(func(p *Policy) { p.Guards.Votes, p.Guards.Of = 0, 3 }), "guards.of: of without votes"},
		{change(func(p *Policy) { p.Guards.Votes = 65 }), "guards.of: more than are remembered"},
		{change(func(p *Policy) { p.Guards.SlowStart = time.Minute }), `selection.kind: "window" heeds no weights`},
		{change(func(p *Policy) { p.Guards.SlowStart, p.Selection.Kind = time.Minute, SelectWeighted }), ""},
		{change(func(p *Policy) { p.Selection.Kind = "best" }), `selection.kind: "best" is unknown`},
		{change(func(p *Policy) { p.Selection.Bits4 = 33 }), "selection.bits4: no length"},
		{change(func(p *Policy) { p.Weight.Signal = "load" }), "weight.by: weights are equal"},
		{Policy{Weight: Weight{By: WeightInverse, Signal: "lod"}, Selection: Selection{Kind: SelectWeighted}}, `weight.signal: no signal "lod"`},
		{Policy{Weight: Weight{By: WeightShed, Signal: "load"}, Selection: Selection{Kind: SelectWeighted}}, "weight.shed: by: shed needs them"},
		{Policy{Weight: Weight{By: WeightBalance, Signal: "load"}, Selection: Selection{Kind: SelectTwoChoices}}, ""},
		{Policy{TTL: TTL{Floor: 10 * time.Second, Ceiling: 5 * time.Second}}, "ttl.ceiling: below the floor"},
		{Policy{NegativeTTL: TTL{Floor: time.Millisecond}}, "negativeTTL.floor: no TTL"},
		{ttl(TTLRule{Kind: TTLFixed}), "ttl.rules[0].ttl: needs one"},
		{ttl(TTLRule{}), "ttl.rules[0].kind: no kind"},
		{ttl(TTLRule{Kind: TTLCalm, Signal: "load"}), "ttl.rules[0].signal: reads no signal"},
		{ttl(TTLRule{Kind: TTLLinear, Signal: "load", High: 1}), ""},
		{ttl(TTLRule{Kind: TTLLinear, Signal: "load"}), "ttl.rules[0].high: both 0"},
		{ttl(TTLRule{Kind: TTLLinear, Signal: "load", High: 1, Of: "average"}), `ttl.rules[0].of: "average"`},
		{ttl(TTLRule{Kind: TTLSteps, Signal: "load"}), "ttl.rules[0].steps: needs some"},
		{ttl(TTLRule{Kind: TTLSteps, Signal: "load", Steps: []Step{{1, time.Second}, {1, time.Second}}}), "ttl.rules[0].steps[1].from: does not rise"},
		{ttl(TTLRule{Kind: TTLChurn, Risk: 1}), "ttl.rules[0].risk: no bound"},
		{ttl(TTLRule{Kind: TTLCalm, Growth: 1e-10}), "ttl.rules[0].growth: at least 0.1%"},
		{ttl(TTLRule{Name: "pool", Kind: TTLCalm}), `ttl.rules[0].name: "pool"`},
		{ttl(TTLRule{Name: "ceiling", Kind: TTLCalm}), `ttl.rules[0].name: "ceiling"`},
		{Policy{NegativeTTL: TTL{Rules: []TTLRule{{Kind: TTLCalm}, {Kind: TTLCalm, Growth: 0.1}}}}, `negativeTTL.rules[1].name: "calm" too`},
		{Policy{TTL: TTL{Rules: []TTLRule{{Kind: TTLCalm}, {Name: "slow", Kind: TTLCalm, Growth: 0.1}}}}, ""},
		{Policy{ChurnWindow: 2_000_000 * time.Hour}, "churnWindow: more than a year"},
		{change(func(p *Policy) { p.Guards.HoldMax = 2_000_000 * time.Hour }), "guards.holdMax: more than a year"},
		{rules(band("<= 2 * median", "<= 3 * median")), "rules[0].readmit: looser"},
		{rules(band(">= 0.5 * mean", ">= 0.4 * mean")), "rules[0].readmit: looser"},
		{rules(band("< 8", "<= 8")), "rules[0].readmit: looser"},
		{rules(band("< median + 1", "<= median + 1")), "rules[0].readmit: looser"},
		{rules(band("< median", "< p50 + mad")), "rules[0].readmit: looser"},
		{rules(band("<= 8", "< 8")), ""},
		{rules(band("<= median + 5 * mad + 1", "<= median")), ""},
		{rules(band("<= median + 5 * mad", "<= 2 * median")), ""},
		{rules(band("<= mean", "<= 2 * median")), ""},
		{rules(band("< 0", "< 2 * mean")), ""},
		{rules(band("< 0.5", ""), band("> 0.6", "")), "rules[1].keep: never both > 0.6 and < 0.5"},
		{rules(band("<= 0.5", ""), band(">= 0.5", "")), ""},
		{rules(band("< 0.5", ""), band(">= 0.5", "")), "rules[1].keep: no member is kept"},
		{rules(band("> 3", "> 5"), band("< 8", "< 4")), "rules[1].readmit: no member returns"},
		{rules(band("> 3", "> 5"), band("< 8", "< 6")), ""},
		{rules(band("> 3", ""), Rule{Signal: "errors", Keep: mustBound(t, "< 1")}), ""},
		{rules(Rule{Value: expr("load * 2"), Keep: mustBound(t, "< 1")}, Rule{Value: expr("load * 2"), Keep: mustBound(t, "> 1")}), "rules[1].keep: no member is kept"},
		{rules(Rule{Signal: "load", Lowest: 2, Over: OverIn}), "rules[0].over: no statistic"},
		{rules(Rule{Signal: "load", Keep: mustBound(t, "< 8"), Over: OverIn}), "rules[0].over: no statistic"},
		{rules(Rule{Value: expr("load / mean(load)"), Lowest: 2, Over: OverIn}), ""},
		{rules(Rule{Signal: "load", Keep: mustBound(t, "< 8"), Readmit: mustBound(t, "< mean"), Over: OverIn}), ""},
	} {
		problems := c.policy.Check([]string{"load", "errors"})
		switch {
		case c.want == "" && problems != nil:
			t.Errorf("%+v: %v", c.policy, problems)
		case c.want != "" && (len(problems) != 1 || !matches(problems[0], c.want)):
			t.Errorf("%v, want %q alone", problems, c.want)
		}
	}
}

// matches compares a problem with "path: part of the text".
func matches(p Problem, want string) bool {
	path, text, _ := strings.Cut(want, ": ")
	return p.Path == path && strings.Contains(p.Text+" "+p.Hint, text) && p.Hint != ""
}
