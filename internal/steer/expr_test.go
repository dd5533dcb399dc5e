// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func mustExpr(t testing.TB, s string) Expr {
	t.Helper()
	e, err := ParseExpr(s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// calculate gives the expression's value for each member, by way of a decision.
func calculate(t testing.TB, e Expr, columns map[string][]float64) []float64 {
	t.Helper()
	n := 0
	all := map[string]Signal{}
	for name, values := range columns {
		n = max(n, len(values))
		all[name] = Signal{At: start(), Values: values}
	}
	rule := Rule{Value: e, Keep: mustBound(t, "< 0")}
	if e.IsCondition() {
		rule = Rule{KeepIf: e}
	}
	w := newWork(Pool{Members: members(strings.Repeat("r", n)), Policy: Policy{Rules: []Rule{rule}}}, all, Decision{}, start())
	w.byReadiness()
	values, ok := w.evaluate(&e, OverReady)
	if !ok {
		t.Fatalf("%s: a signal is not live", e)
	}
	return values
}

func TestExpr(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	columns := map[string][]float64{"a": {1, 2, 3}, "b": {10, nan, 30}, "z": {0, 0, inf}}
	for _, c := range []struct {
		in        string
		condition bool
		want      []float64
	}{
		{"a", false, []float64{1, 2, 3}},
		{"a + b * 2", false, []float64{21, nan, 63}},
		{"(a + b) * 2", false, []float64{22, nan, 66}},
		{"a - 1 - 1", false, []float64{-1, 0, 1}},
		{"-a + 4 / 2 / 2", false, []float64{0, -1, -2}},
		{"--a", false, []float64{1, 2, 3}},
		{"a / z", false, []float64{inf, inf, 0}},
		{"z / z", false, []float64{nan, nan, nan}},
		{"mean(a)", false, []float64{2, 2, 2}},
		{"mean(b)", false, []float64{20, 20, 20}},
		{"a / p100(a)", false, []float64{1. / 3, 2. / 3, 1}},
		{"p0(a * mean(a))", false, []float64{2, 2, 2}},
		{"mean(a - mean(a))", false, []float64{0, 0, 0}},
		{"stddev(b) + mad(b)", false, []float64{20, 20, 20}},
		{"median(z / z)+a", false, []float64{nan, nan, nan}},
		{"abs(a - 2)", false, []float64{1, 0, 1}},
		{"min(a, 2, 9) + max(a, 2)", false, []float64{3, 4, 5}},
		{"default(b, 7) + a", false, []float64{11, 9, 33}},
		{"1e2 * a + .5", false, []float64{100.5, 200.5, 300.5}},
		{"1e-2*a", false, []float64{0.01, 0.02, 0.03}},
		{"a < 2", true, []float64{1, 0, 0}},
		{"a<=2", true, []float64{1, 1, 0}},
		{"2 > a", true, []float64{1, 0, 0}},
		{"a >= 2 * median(a) - 1", true, []float64{0, 0, 1}},
		{"a < 3 and b < 20", true, []float64{1, nan, 0}},
		{"a < 2 and b < 20", true, []float64{1, 0, 0}}, // false and unknown
		{"a > 1 or b > 20", true, []float64{0, 1, 1}},  // true or unknown
		{"a > 2 or b > 20", true, []float64{0, nan, 1}},
		{"not b < 20", true, []float64{0, nan, 1}},
		{"not (a < 2 or a > 2)", true, []float64{0, 1, 0}},
		{"not not a < 2", true, []float64{1, 0, 0}},
		{"a < 2 or a < 3 and a < 1", true, []float64{1, 0, 0}}, // and binds closer
	} {
		e, err := ParseExpr(" " + c.in + "\n")
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if e.String() != c.in || e.IsCondition() != c.condition {
			t.Errorf("%s: printed %q, condition %t", c.in, e, e.IsCondition())
		}
		got := calculate(t, e, columns)
		if !slices.EqualFunc(got, c.want, func(a, b float64) bool {
			return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) < 1e-12
		}) {
			t.Errorf("%s: %v, want %v", c.in, got, c.want)
		}
	}
	if got := mustExpr(t, "b + a * b").Signals(); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("signals %v", got)
	}
}

func TestExprErrors(t *testing.T) {
	for _, c := range []struct {
		in     string
		column int
		cause  string
	}{
		{"", 1, "missing at the end"},
		{"  ", 3, "missing at the end"},
		{"a +", 4, "missing at the end"},
		{"a b", 3, `"b" does not belong here`},
		{"a * / b", 5, `missing before "/"`},
		{"(a", 3, `")" is missing before the end`},
		{"a)", 2, `")" does not belong here`},
		{"foo(a)", 1, `"foo" is no function`},
		{"p101(a)", 1, `"p101" is no function`},
		{"mean()", 6, `missing before ")"`},
		{"mean(a, b)", 1, "has 2 arguments"},
		{"min(a)", 1, "has 1 arguments"},
		{"default(a)", 1, "has 1 arguments"},
		{"a and b < 1", 1, `"and" needs conditions`},
		{"a < 1 or b", 10, `"or" needs conditions`},
		{"not a", 5, `"not" needs conditions`},
		{"1 + (a < 2)", 5, `"+" needs numbers`},
		{"-(a < 2)", 2, `"-" needs numbers`},
		{"mean(a < 2)", 6, `"mean" needs numbers`},
		{"a < 2 < 3", 7, "comparisons do not chain"},
		{"a == 2", 3, `'=' is no part`},
		{"a && b", 3, `'&' is no part`},
		{"a < 5s", 5, `"5s" is no number`},
		{"a < 80%", 7, `'%' is no part`},
		{"a < 1.2.3", 5, `"1.2.3" is no number`},
		{"a < 1e999", 5, `"1e999" is no number`},
		{"a < 0x1p3", 5, `"0x1p3" is no number`},
		{"a < 8 ü", 7, `'ü' is no part`},
		{"1 < 2", 1, "no signal is read"},
		{"a < and", 5, `missing before "and"`},
		{strings.Repeat("(", 65) + "a", 65, "more than 64 levels"},
		{strings.Repeat("-", 65) + "a", 65, "more than 64 levels"},
		{strings.Repeat("a+", 3000) + "a", 4097, "more than 4096 bytes"},
	} {
		_, err := ParseExpr(c.in)
		var at *SyntaxError
		if !errors.As(err, &at) || at.Column != c.column || at.Offset() != c.column-1 || !strings.Contains(at.Cause, c.cause) || at.Hint == "" {
			t.Errorf("%.40q: %v, want column %d: %s", c.in, err, c.column, c.cause)
		}
	}
}

func TestBoundErrorsHavePlaces(t *testing.T) {
	for in, column := range map[string]int{"": 1, "  8": 3, "< ": 3, "< 8 + x": 7, "< 8 9": 5, "< 2 * 3": 7, " < 1 - ": 8} {
		_, err := ParseBound(in)
		var at *SyntaxError
		if !errors.As(err, &at) || at.Column != column {
			t.Errorf("%q: %v, want column %d", in, err, column)
		}
	}
}

func FuzzParseExpr(f *testing.F) {
	for _, s := range []string{
		"load", "latency * queue", "load < 0.8 and errors < 2 * mean(errors)", "not (a >= 1e-3 or default(b, -1) <= p99(a / b))",
		"max(a, b, 3) / stddev(a)", "a < 5s", "((((a))))", "a < b < c", "mean(mean(mean(a)))", "a\t+\nb",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseExpr(s)
		if err != nil {
			var at *SyntaxError
			if !errors.As(err, &at) || at.Column < 1 || at.Column > len(s)+1 {
				t.Fatalf("%q: %v has no place", s, err)
			}
			return
		}
		again, err := ParseExpr(e.String())
		if err != nil || again.IsCondition() != e.IsCondition() || !slices.Equal(again.Signals(), e.Signals()) {
			t.Fatalf("%q printed as %q: %v", s, e, err)
		}
		columns := map[string][]float64{}
		for i, name := range e.Signals() {
			columns[name] = []float64{float64(i), math.NaN(), math.Inf(-1)}
		}
		for _, v := range calculate(t, e, columns) {
			if e.IsCondition() && v != 0 && v != 1 && !math.IsNaN(v) {
				t.Fatalf("condition %q is %v", s, v)
			}
		}
	})
}

func FuzzShare(f *testing.F) {
	for _, s := range []string{"25%", "0.25", "1", "100%", "-1", "NaN", "1e-3%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var share, again Share
		if share.UnmarshalText([]byte(s)) != nil {
			return
		}
		text, err := share.MarshalText()
		if err != nil || again.UnmarshalText(text) != nil || again != share || !(share >= 0 && share <= 1) {
			t.Fatalf("%q is %v, printed as %q", s, share, text)
		}
	})
}

// TestDeadSignalSilencesExpression: an expression over a signal that is not live says nothing.
func TestDeadSignalSilencesExpression(t *testing.T) {
	p := Policy{Rules: []Rule{{KeepIf: mustExpr(t, "load < 8 and errors < 1")}, {Signal: "load", Keep: mustBound(t, "< 20")}}}
	all := map[string]Signal{"load": {At: start(), Values: []float64{9, 30}}}
	pool := Pool{Members: members("rr"), Policy: p}
	if got := show(Decide(pool, all, Decision{}, start())); got != "+within -beyond" {
		t.Error(got)
	}
	all["errors"] = Signal{At: start(), Expires: start().Add(time.Second), Values: []float64{0, 0}}
	if got := show(Decide(pool, all, Decision{}, start())); got != "+fail-open +fail-open FAIL-OPEN" {
		t.Error(got)
	}
}
