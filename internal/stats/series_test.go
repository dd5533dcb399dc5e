// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The cuts are the best of all that there are, counted out for short series.
func TestChangePointsAreTheBest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	for range 200 {
		values := make([]float64, 2+rng.IntN(11))
		level := 0.0
		for i := range values {
			if rng.Float64() < 0.2 {
				level = 4 * rng.Float64()
			}
			values[i] = level + rng.NormFloat64()/3
		}
		shortest, penalty := 1+rng.IntN(3), 0.2+rng.Float64()
		cost := func(cuts []int) float64 {
			sum, from := 0.0, 0
			for _, to := range append(slices.Clone(cuts), len(values)) {
				if to-from < shortest {
					return math.Inf(1)
				}
				mean := Mean(values[from:to])
				for _, v := range values[from:to] {
					sum += (v - mean) * (v - mean)
				}
				from = to
			}
			return sum + penalty*float64(len(cuts))
		}
		best := cost(nil)
		for mask := range 1 << (len(values) - 1) {
			var cuts []int
			for i := 1; i < len(values); i++ {
				if mask>>(i-1)&1 == 1 {
					cuts = append(cuts, i)
				}
			}
			best = min(best, cost(cuts))
		}
		if len(values) < 2*shortest {
			best = cost(nil)
		}
		if got := cost(ChangePoints(values, shortest, penalty)); got > best+1e-9 && len(values) >= shortest {
			t.Fatalf("%v, at least %d, penalty %v: cost %v, the best is %v", values, shortest, penalty, got, best)
		}
	}
}

func TestSeriesWithoutAnything(t *testing.T) {
	flat := make([]float64, 50)
	step := append(make([]float64, 50), slices.Repeat([]float64{3}, 30)...)
	for _, tc := range []struct {
		name   string
		values []float64
		want   []int
	}{{"none", nil, nil}, {"one", []float64{3}, nil}, {"flat", flat, nil}, {"a step without noise", step, []int{50}}} {
		if got := ChangePoints(tc.values, 2, 0); !slices.Equal(got, tc.want) {
			t.Errorf("%s: changes %v, want %v", tc.name, got, tc.want)
		}
	}
	for n := range 12 {
		if cut, settled := WarmUp(flat[:n], 5); cut != 0 || settled {
			t.Errorf("%d values: warm-up %d, settled %v", n, cut, settled)
		}
	}
	for _, f := range []func([]float64) float64{Gini, Jain} {
		for _, values := range [][]float64{nil, {0, 0}, {1, -1, 3}} {
			if got := f(values); !math.IsNaN(got) {
				t.Errorf("the imbalance of %v is %v", values, got)
			}
		}
	}
	if g, j := Gini([]float64{0, 0, 0, 8}), Jain([]float64{0, 0, 0, 8}); g != 0.75 || j != 0.25 {
		t.Errorf("one of four has everything: Gini %v, Jain %v", g, j)
	}
}

func TestKneeInterval(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	var points []Point
	for rate := 100.0; rate <= 1000; rate += 100 {
		for range 8 {
			points = append(points, Point{rate, 1 + 0.01*max(0, rate-640) + 0.1*rng.NormFloat64()})
		}
	}
	k, err := FindKnee(points)
	if err != nil || !k.Clear {
		t.Fatalf("knee %+v, %v", k, err)
	}
	ci, err := KneeInterval(points, 0.95, 400, 1)
	if err != nil || ci.Low > 640 || ci.High < 640 || ci.Low > k.X || ci.High < k.X || ci.High-ci.Low > 60 {
		t.Errorf("knee at %v, interval %+v, %v; it was put at 640", k.X, ci, err)
	}
	if at := k.At(1000); math.Abs(at-4.6) > 0.2 {
		t.Errorf("the fit at 1,000 is %v, want 4.6", at)
	}
	if _, err := KneeInterval(points[3:], 0.95, 10, 1); !errors.Is(err, ErrFew) {
		t.Errorf("five trials at one rate: %v", err)
	}
	if _, err := FindKnee(points[:24]); !errors.Is(err, ErrFew) {
		t.Errorf("three rates: %v", err)
	}
	if k, err := FindKnee([]Point{{1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}}); err != nil || k.Clear {
		t.Errorf("a flat line has a knee: %+v, %v", k, err)
	}
}

func TestCompare(t *testing.T) {
	a, b := []float64{2, 2.1, 2.2, 2.3, 2.4, 2.5}, []float64{1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6}
	c, err := Compare(a, b, 1)
	if err != nil || c.Delta != 1 || math.Abs(c.Ratio-2.25/1.3) > 1e-12 || c.RatioCI == nil || c.RatioCI.Low > c.Ratio || c.RatioCI.High < c.Ratio || !c.Medians.Exact {
		t.Errorf("%+v, %v", c, err)
	}
	if len(c.Warnings) != 1 {
		t.Errorf("six trials: warnings %q", c.Warnings)
	}
	if _, err := Compare(a[1:], b, 1); !errors.Is(err, ErrFew) {
		t.Errorf("five trials: %v", err)
	}
	zeros := make([]float64, 10)
	if c, err := Compare(append(a, 3, 3, 3, 3), zeros, 1); err != nil || c.RatioCI != nil || !math.IsNaN(c.Ratio) || len(c.Warnings) != 1 {
		t.Errorf("a ratio to nothing: %+v, %v", c, err)
	}
}

func TestPermutationIsNeverZero(t *testing.T) {
	low, high := make([]float64, 30), make([]float64, 30)
	for i := range low {
		low[i], high[i] = float64(i), 1000+float64(i)
	}
	p, err := Permutation(low, high, Mean, 1)
	if err != nil || p.Exact || p.P <= 0 || p.P > 3.0/Resamples {
		t.Errorf("%+v, %v", p, err)
	}
	if again, _ := Permutation(low, high, Mean, 1); again != p {
		t.Errorf("the same seed gave %+v and %+v", p, again)
	}
	if _, err := Permutation(low[:5], high, Mean, 1); !errors.Is(err, ErrFew) {
		t.Errorf("five values: %v", err)
	}
}

func TestOutages(t *testing.T) {
	got := Outages([]Failure{{5000, 10}, {100, 50}, {140, 300}, {445, 5}, {9000, 1}}, 100)
	want := []Outage{
		{FirstNs: 100, LastSentNs: 445, LastNs: 450, Failed: 3},
		{FirstNs: 5000, LastSentNs: 5000, LastNs: 5010, Failed: 1},
		{FirstNs: 9000, LastSentNs: 9000, LastNs: 9001, Failed: 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if Outages(nil, 1) != nil {
		t.Error("no failure is an outage")
	}
}
