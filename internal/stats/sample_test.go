// SPDX-License-Identifier: Apache-2.0

package stats_test

import (
	"math"
	"testing"

	"github.com/dnsingress/dnsingress/internal/stats"
)

// Expected: numpy.quantile(x, [0, .1, .25, .5, .9, 1]).
func TestQuantile(t *testing.T) {
	x := []float64{10.1, 11.4, 9.8, 12.7, 10.9, 11.0, 13.3, 10.4}
	for p, want := range map[float64]float64{0: 9.8, 0.1: 10.01, 0.25: 10.325, 0.5: 10.95, 0.9: 12.879999999999999, 1: 13.3} {
		if got := stats.Quantile(x, p); math.Abs(got-want) > 1e-12 {
			t.Errorf("quantile %v = %v, want %v", p, got, want)
		}
	}
	if x[0] != 10.1 {
		t.Error("the argument was sorted in place")
	}
	if got := stats.Quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v, want NaN", got)
	}
}

func TestSummarize(t *testing.T) {
	for _, tc := range []struct {
		name             string
		values           []float64
		n                int
		median, min, max float64
		interval         bool
		warnings         int
	}{
		{"none", nil, 0, math.NaN(), math.NaN(), math.NaN(), false, 0},
		{"three: points and range only", []float64{3, 1, 2}, 3, 2, 1, 3, false, 0},
		{"not finite", []float64{math.NaN(), 5, math.Inf(1)}, 1, 5, 5, 5, false, 2},
		{"six: flagged interval", []float64{1, 2, 3, 4, 5, 6}, 6, 3.5, 1, 6, true, 1},
		{"ten: interval", []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 10, 5.5, 1, 10, true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := stats.Summarize(tc.values, 1)
			same := func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
			if s.N() != tc.n || !same(s.Median, tc.median) || !same(s.Min, tc.min) || !same(s.Max, tc.max) {
				t.Errorf("got n=%d %v [%v, %v]", s.N(), s.Median, s.Min, s.Max)
			}
			if (s.Interval != nil) != tc.interval {
				t.Errorf("interval %v, want one: %v", s.Interval, tc.interval)
			}
			if len(s.Warnings) != tc.warnings {
				t.Errorf("warnings %q, want %d", s.Warnings, tc.warnings)
			}
		})
	}
}

func TestOutage(t *testing.T) {
	var o stats.Outage
	if o.DurationNs() != 0 {
		t.Error("an outage without failures has a length")
	}
	const begin = 1000
	o.Add(begin, 900, 50)   // over before the fault
	o.Add(begin, 1200, 10)  // after
	o.Add(begin, 990, 30)   // in flight when it struck
	o.Add(begin, 1100, 500) // the last to be seen, not the last to be sent
	want := stats.Outage{FirstNs: 990, LastSentNs: 1200, LastNs: 1600, Failed: 3, Before: 1}
	if o != want || o.DurationNs() != 610 {
		t.Errorf("got %+v of %d ns, want %+v of 610 ns", o, o.DurationNs(), want)
	}
}
