// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestBoundLimit(t *testing.T) {
	values := []float64{1, 2, 3, 4, 10}
	for _, c := range []struct {
		in, text string
		limit    float64
	}{
		{"< 8", "< 8", 8},
		{"<=0.5", "<= 0.5", 0.5},
		{">= -1e-3", ">= -0.001", -0.001},
		{"> 1e+2", "> 100", 100},
		{"< mean", "< mean", 4},
		{"< 1.5*mean", "< 1.5 * mean", 6},
		{"< 2 * median + 1", "< 2 * median + 1", 7},
		{"<= median + 3 * mad", "<= median + 3 * mad", 6},
		{"> mean - 1 * stddev", "> mean - stddev", 4 - math.Sqrt(10)},
		{"< p100", "< p100", 10},
		{"< p50", "< p50", 3},
		{"< p25 - -1", "< p25 + 1", 3},
	} {
		b, err := ParseBound(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if b.String() != c.text {
			t.Errorf("%s: printed as %q, want %q", c.in, b, c.text)
		}
		if got := b.limit(values); math.Abs(got-c.limit) > 1e-12 {
			t.Errorf("%s: limit %v, want %v", c.in, got, c.limit)
		}
	}
}

// TestQuantileBesideInfinity: a value that is infinite, as of a division by zero, does not spoil the limit of the others.
func TestQuantileBesideInfinity(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		bound  string
		values []float64
		limit  float64
	}{
		{"< median", []float64{1, 2, inf}, 2},
		{"< p0", []float64{1, inf}, 1},
		{"< median", []float64{1, inf, inf}, inf},
		{"< median + 3 * mad", []float64{1, 2, inf}, 5},
	} {
		b, err := ParseBound(c.bound)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.limit(c.values); got != c.limit {
			t.Errorf("%s of %v: limit %v, want %v", c.bound, c.values, got, c.limit)
		}
	}
}

func TestBoundErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":               "does not begin with an operator",
		"8":              "does not begin with an operator",
		"= 8":            "does not begin with an operator",
		"<":              "a number or a statistic is missing",
		"< 8 +":          "a number or a statistic is missing",
		"< average":      `"average" is neither a number nor a statistic`,
		"< 2 * p101":     `"p101" is not a statistic`,
		"< 2 * 3":        `"3" is not a statistic`,
		"< 8 9":          `unexpected "9"`,
		"< NaN":          "not a finite number",
		"< 1e999":        "neither a number nor a statistic",
		"< mean * 1.5 ?": `unexpected "* 1.5 ?"`,
	} {
		_, err := ParseBound(in)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hint:") {
			t.Errorf("%q: %v, want %q and a hint", in, err, want)
		}
	}
}

func FuzzParseBound(f *testing.F) {
	for _, s := range []string{"< 8", "<= 1.5 * mean", "> median - 3*mad + 1e-3", ">=p95", "< - 1", "<+1e+5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseBound(s)
		if err != nil {
			return
		}
		again, err := ParseBound(b.String())
		if err != nil {
			t.Fatalf("%q printed as %q: %v", s, b, err)
		}
		if again.String() != b.String() || again.op != b.op || !slices.Equal(again.terms, b.terms) {
			t.Fatalf("%q printed as %q, which reads as %q", s, b, again)
		}
	})
}
