// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

const (
	longest     = 365 * 24 * time.Hour // of what a policy waits for or remembers
	leastGrowth = 0.001                // of TTLCalm
)

// Problem is a contradiction in a policy.
type Problem struct {
	Path string // of the key in a policy document, such as "rules[0].readmit"
	Text string // what is wrong
	Hint string // how to mend it
}

func (p Problem) Error() string { return fmt.Sprintf("%s: %s (hint: %s)", p.Path, p.Text, p.Hint) }

// Check returns everything that is wrong with p, in the order of a policy document, where signals are the names of the
// signals that there are.
func (p *Policy) Check(signals []string) []Problem {
	c := check{signals: signals}
	names := map[string]bool{}
	for i := range p.Rules {
		path := fmt.Sprintf("rules[%d]", i)
		c.rule(path, &p.Rules[i])
		if name := p.Rules[i].Name; name != "" && names[name] {
			c.add(path+".name", fmt.Sprintf("another rule is called %q too", name), "explanations name the rule: each its own name, or none")
		}
		names[p.Rules[i].Name] = true
	}
	c.together(p.Rules)
	c.guards(&p.Guards)
	c.weight(&p.Weight)
	c.selection(&p.Selection, p.Weight.measured() || p.Guards.SlowStart > 0)
	c.ttl("ttl", &p.TTL)
	c.ttl("negativeTTL", &p.NegativeTTL)
	c.duration("churnWindow", p.ChurnWindow)
	return c.problems
}

type check struct {
	signals  []string
	problems []Problem
}

func (c *check) add(path, text, hint string) {
	c.problems = append(c.problems, Problem{path, text, hint})
}

func (c *check) known(path, name string) {
	if !slices.Contains(c.signals, name) {
		hint := "the policy has none"
		if len(c.signals) > 0 {
			hint = "one of " + strings.Join(c.signals, ", ")
		}
		c.add(path, fmt.Sprintf("there is no signal %q", name), hint)
	}
}

// expr checks the signals and the type of an expression, unless it is zero.
func (c *check) expr(path string, e Expr, condition bool) {
	for _, s := range e.signals {
		c.known(path, s)
	}
	switch {
	case e.IsZero() || e.condition == condition:
	case condition:
		c.add(path, fmt.Sprintf("%q is a number, where a condition is needed", e), `compare it, as in "load < 0.8"`)
	default:
		c.add(path, fmt.Sprintf("%q is a condition, where a number is needed", e), "conditions go into keepIf and readmitIf of a rule")
	}
}

// measured checks what a rule, a weight or a TTL reads: a signal or an expression.
func (c *check) measured(path, signal string, value Expr) {
	switch {
	case value.IsZero():
		c.known(path+".signal", signal)
	case signal != "":
		c.add(path+".value", "both signal and value are set", "one of them: value is calculated from signals")
	}
	c.expr(path+".value", value, false)
}

func (c *check) share(path string, s Share) {
	if !(s >= 0 && s <= 1) {
		c.add(path, fmt.Sprintf("%g is no share", float64(s)), "25% or 0.25")
	}
}

func (c *check) duration(path string, d time.Duration) {
	switch {
	case d < 0:
		c.add(path, fmt.Sprintf("%v is negative", d), "such as 30s, or 0s for none")
	case d > longest:
		c.add(path, fmt.Sprintf("%v is more than a year", d), "at most 8760h")
	}
}

func (c *check) number(path string, n int) {
	if n < 0 {
		c.add(path, fmt.Sprintf("%d is negative", n), "a whole number, 0 for the default")
	}
}

// finite checks a number that is compared with values.
func (c *check) finite(path string, f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		c.add(path, fmt.Sprintf("%g is not a finite number", f), "such as 0.8")
	}
}

func oneOf[T ~string](c *check, path string, kind T, known ...T) {
	if kind != "" && !slices.Contains(known, kind) {
		names := make([]string, len(known))
		for i, k := range known {
			names[i] = string(k)
		}
		c.add(path, fmt.Sprintf("%q is unknown", string(kind)), "one of "+strings.Join(names, ", "))
	}
}

func (c *check) rule(path string, r *Rule) {
	const ways = "one of keep, keepIf, lowest, highest, shed"
	set := 0
	for _, is := range []bool{!r.Keep.IsZero(), !r.KeepIf.IsZero(), r.Lowest != 0, r.Highest != 0, r.Shed != nil} {
		if is {
			set++
		}
	}
	switch {
	case set == 0 && !r.Readmit.IsZero():
		c.add(path+".readmit", "readmit is set and keep is not", "readmit is the way back after keep put a member out")
	case set == 0 && !r.ReadmitIf.IsZero():
		c.add(path+".readmitIf", "readmitIf is set and keepIf is not", "readmitIf is the way back after keepIf put a member out")
	case set == 0:
		c.add(path, "the rule keeps everybody", ways)
	case set > 1:
		c.add(path, "the rule says more than one thing", ways+"; others belong into rules of their own")
	}
	switch {
	case set == 0:
	case r.KeepIf.IsZero():
		c.measured(path, r.Signal, r.Value)
	case r.Signal != "" || !r.Value.IsZero():
		c.add(path+".keepIf", "keepIf stands beside signal or value", "keepIf names its signals itself")
	}
	c.expr(path+".keepIf", r.KeepIf, true)
	c.expr(path+".readmitIf", r.ReadmitIf, true)
	if !r.ReadmitIf.IsZero() && r.KeepIf.IsZero() && set > 0 {
		c.add(path+".readmitIf", "readmitIf without keepIf", "it is the way back after keepIf put a member out")
	}
	c.bounds(path, r.Keep, r.Readmit, set)
	oneOf(c, path+".over", r.Over, OverReady, OverIn)
	if r.Over == OverIn && set > 0 && !r.relative() {
		c.add(path+".over", "over: in, and the rule has no statistic", "it says of whose values mean, median, … are")
	}
	c.number(path+".lowest", r.Lowest)
	c.number(path+".highest", r.Highest)
	c.share(path+".margin", r.Margin)
	if r.Margin != 0 && r.Lowest == 0 && r.Highest == 0 {
		c.add(path+".margin", "margin without lowest or highest", "the other rules have readmit, readmitIf or the watermarks")
	}
	c.watermarks(path+".shed", r.Shed)
}

func (c *check) bounds(path string, keep, readmit Bound, set int) {
	if readmit.IsZero() || keep.IsZero() {
		if !readmit.IsZero() && set > 0 {
			c.add(path+".readmit", "readmit without keep", "it is the way back after keep put a member out")
		}
		return
	}
	switch {
	case keep.upper() != readmit.upper():
		c.add(path+".readmit", fmt.Sprintf("keep %q and readmit %q bound the value from opposite sides", keep, readmit), "both with < or both with >")
	case readmit.looser(keep):
		c.add(path+".readmit", fmt.Sprintf("readmit %q is looser than keep %q, so that a member would come back only to leave", readmit, keep), "make readmit the stricter one")
	}
}

func (c *check) watermarks(path string, m *Watermarks) {
	if m == nil {
		return
	}
	c.finite(path+".low", m.Low)
	c.finite(path+".high", m.High)
	if m.Low == m.High {
		c.add(path+".high", fmt.Sprintf("both watermarks are %g", m.Low), "nothing is shed at low, all at high")
	}
}

func (c *check) guards(g *Guards) {
	oneOf(c, "guards.noData", g.NoData, NoDataKeep, NoDataDrop, NoDataReadiness)
	c.duration("guards.hold", g.Hold)
	c.duration("guards.holdMax", g.HoldMax)
	c.number("guards.votes", g.Votes)
	c.number("guards.of", g.Of)
	switch {
	case g.Of > 64 || g.Votes > 64:
		c.add("guards.of", fmt.Sprintf("%d evaluations are more than are remembered", max(g.Of, g.Votes)), "at most 64")
	case g.Of > 0 && g.Votes == 0:
		c.add("guards.of", "of without votes", "votes: 3 and of: 5 means three of the last five")
	case g.Of > 0 && g.Votes > g.Of:
		c.add("guards.votes", fmt.Sprintf("%d of %d evaluations never agree", g.Votes, g.Of), "votes at most of")
	}
	c.share("guards.maxStep", g.MaxStep)
	c.share("guards.maxOut", g.MaxOut)
	c.number("guards.minMembers", g.MinMembers)
	c.share("guards.minShare", g.MinShare)
	c.duration("guards.slowStart", g.SlowStart)
	c.share("guards.slowStartFrom", g.SlowStartFrom)
}

func (c *check) weight(t *Weight) {
	oneOf(c, "weight.by", t.By, WeightEqual, WeightInverse, WeightProportional, WeightShed, WeightBalance)
	switch {
	case t.measured():
		c.measured("weight", t.Signal, t.Value)
	case t.Signal != "" || !t.Value.IsZero():
		c.add("weight.by", "a signal is named, but weights are equal", "by: inverse, proportional, shed or balance")
	}
	if (t.By == WeightShed) != (t.Shed != nil) {
		c.add("weight.shed", "the watermarks go with by: shed, and by: shed needs them", "shed: {low: 0.6, high: 0.9}")
	}
	c.watermarks("weight.shed", t.Shed)
	c.share("weight.gain", t.Gain)
	c.share("weight.floor", t.Floor)
	c.share("weight.deadband", t.Deadband)
}

func (c *check) selection(s *Selection, weighted bool) {
	oneOf(c, "selection.kind", s.Kind, SelectWindow, SelectAll, SelectRandom, SelectWeighted, SelectRotate, SelectSticky, SelectNear, SelectTwoChoices, SelectSubsetting)
	heeds := s.Kind == SelectWeighted || s.Kind == SelectSticky || s.Kind == SelectNear || s.Kind == SelectTwoChoices
	if weighted && !heeds {
		c.add("selection.kind", fmt.Sprintf("%q heeds no weights, and the policy gives some", cmp.Or(s.Kind, SelectWindow)), "weighted, sticky, near or two-choices")
	}
	if s.Bits4 < 0 || s.Bits4 > 32 {
		c.add("selection.bits4", fmt.Sprintf("%d is no length of an IPv4 prefix", s.Bits4), "1 to 32, 0 for 24")
	}
	if s.Bits6 < 0 || s.Bits6 > 128 {
		c.add("selection.bits6", fmt.Sprintf("%d is no length of an IPv6 prefix", s.Bits6), "1 to 128, 0 for 56")
	}
	c.number("selection.least", s.Least)
}

func (c *check) ttl(path string, t *TTL) {
	c.seconds(path+".floor", t.Floor)
	c.seconds(path+".ceiling", t.Ceiling)
	if t.Ceiling > 0 && t.Floor > t.Ceiling {
		c.add(path+".ceiling", fmt.Sprintf("the ceiling %v is below the floor %v", t.Ceiling, t.Floor), "floor at most ceiling")
	}
	names := map[string]bool{}
	for i := range t.Rules {
		at := fmt.Sprintf("%s.rules[%d]", path, i)
		c.ttlRule(at, &t.Rules[i])
		switch name := t.Rules[i].name(); {
		case name == ttlPool || name == ttlFloor || name == ttlCeiling:
			c.add(at+".name", fmt.Sprintf("explanations say %q where no rule sets the TTL", name), "another name, or none")
		case name != "" && names[name]:
			c.add(at+".name", fmt.Sprintf("another rule is called %q too", name), "explanations name the rule: each its own name; without one it is the kind")
		default:
			names[name] = true
		}
	}
}

// seconds checks a TTL: whole seconds that fit into 31 bits (RFC 2181 §8).
func (c *check) seconds(path string, d time.Duration) {
	if d < 0 || d%time.Second != 0 || d/time.Second > math.MaxInt32 {
		c.add(path, fmt.Sprintf("%v is no TTL", d), "whole seconds, such as 5s or 1m")
	}
}

func (c *check) ttlRule(path string, r *TTLRule) {
	oneOf(c, path+".kind", r.Kind, TTLFixed, TTLLinear, TTLExponential, TTLSteps, TTLChurn, TTLCalm)
	if r.Kind == "" {
		c.add(path+".kind", "the rule has no kind", "fixed, linear, exponential, steps, churn or calm")
	}
	c.seconds(path+".ttl", r.TTL)
	if (r.Kind == TTLFixed) != (r.TTL > 0) {
		c.add(path+".ttl", "a TTL goes with kind: fixed, which needs one", "kind: fixed, ttl: 30s")
	}
	switch {
	case r.measured():
		c.measured(path, r.Signal, r.Value)
	case r.Signal != "" || !r.Value.IsZero():
		c.add(path+".signal", fmt.Sprintf("kind %s reads no signal", r.Kind), "linear, exponential and steps do")
	}
	if r.Of != "" && !knownStatistic(r.Of) {
		c.add(path+".of", fmt.Sprintf("%q is no statistic", r.Of), "mean, median, stddev, mad, p0 to p100")
	}
	c.finite(path+".low", r.Low)
	c.finite(path+".high", r.High)
	if (r.Kind == TTLLinear || r.Kind == TTLExponential) && r.Low == r.High {
		c.add(path+".high", fmt.Sprintf("low and high are both %g", r.Low), "at low the TTL is the ceiling, at high the floor")
	}
	if (r.Kind == TTLSteps) != (len(r.Steps) > 0) {
		c.add(path+".steps", "steps go with kind: steps, which needs some", "steps: [{from: 0.5, ttl: 30s}, {from: 0.8, ttl: 5s}]")
	}
	for i, s := range r.Steps {
		at := fmt.Sprintf("%s.steps[%d]", path, i)
		c.finite(at+".from", s.From)
		c.seconds(at+".ttl", s.TTL)
		if i > 0 && !(s.From > r.Steps[i-1].From) {
			c.add(at+".from", fmt.Sprintf("%g does not rise above the step before it", s.From), "steps in rising order")
		}
	}
	c.share(path+".risk", r.Risk)
	if r.Risk == 1 {
		c.add(path+".risk", "a certain change is no bound on the TTL", "less than 100%, such as 50%")
	}
	c.share(path+".growth", r.Growth)
	if r.Growth > 0 && r.Growth < leastGrowth {
		c.add(path+".growth", fmt.Sprintf("%g is next to no growth", float64(r.Growth)), "at least 0.1%, such as 50%")
	}
}

// Memory says how far back recorded signals must be replayed, from a zero decision, until what is decided no longer
// depends on what was before, for all practical purposes: the longer one of a time and a number of evaluations. Without
// something like a hold, a member between Keep and Readmit can depend on the whole past.
func (p *Policy) Memory() (time.Duration, int) {
	back, evaluations := max(p.Guards.Hold, twice(p.Guards.HoldMax), p.Guards.SlowStart), max(1, p.Guards.Votes, p.Guards.Of)
	for i := range p.Rules {
		if r := &p.Rules[i]; !r.Readmit.IsZero() || !r.ReadmitIf.IsZero() || r.Margin > 0 || r.Shed != nil {
			evaluations = max(evaluations, 12)
		}
	}
	if p.Weight.measured() {
		// What is left of the old weight after n evaluations is (1-gain)^n: 2 %.
		gain := or(p.Weight.Gain, defaultGain)
		evaluations = max(evaluations, int(math.Ceil(math.Log(0.02)/math.Log(1-min(gain, 0.98)))))
	}
	for _, t := range []*TTL{&p.TTL, &p.NegativeTTL} {
		for i := range t.Rules {
			switch r := &t.Rules[i]; r.Kind {
			case TTLChurn:
				back = max(back, twice(p.churnWindow()))
			case TTLCalm:
				back = max(back, duration(t.Ceiling.Seconds()/or(r.Growth, defaultGrowth)))
			}
		}
	}
	return back, evaluations
}

// twice is two times d, or the longest time that there is.
func twice(d time.Duration) time.Duration { return 2 * min(d, math.MaxInt64/2) }
