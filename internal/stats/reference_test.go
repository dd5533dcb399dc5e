// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
)

// reference is what scipy, statsmodels and ruptures say: testdata/reference.json, made by `make stats-reference`.
type reference struct {
	Sets []struct {
		Name             string
		A, B             []float64
		Quantiles        []float64
		Mean             float64
		U, P, Delta      float64
		PermutationExact bool      `json:"permutation_exact"`
		MedianDifference float64   `json:"median_difference"`
		MedianP          float64   `json:"median_p"`
		MeanP            float64   `json:"mean_p"`
		MeanCI           []float64 `json:"mean_ci"`
		MedianCI         []float64 `json:"median_ci"`
		Ratio            float64
		RatioCI          []float64 `json:"ratio_ci"`
		Gini, Jain       *float64
	}
	Holm   []float64
	Series []struct {
		Name     string
		Values   []float64
		Shortest int
		Penalty  float64
		Changes  []int
		WarmUp   int `json:"warm_up"`
		Settled  bool
	}
	Knees []struct {
		Name    string
		X, Y    []float64
		KneeX   float64 `json:"knee_x"`
		SSE     float64 `json:"knee_sse"`
		LineSSE float64 `json:"knee_line_sse"`
	}
}

func readReference(t *testing.T) (r reference) {
	t.Helper()
	b, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Sets) != 20 || len(r.Series) < 8 || len(r.Knees) < 4 {
		t.Fatalf("%d data sets, %d series, %d knees", len(r.Sets), len(r.Series), len(r.Knees))
	}
	return r
}

// Where nothing is drawn by chance the reference is met to 1e-9 of its size.
func TestAgainstReferenceExactly(t *testing.T) {
	r := readReference(t)
	var p []float64
	for _, s := range r.Sets {
		t.Run(s.Name, func(t *testing.T) {
			check := func(what string, got, want float64) {
				t.Helper()
				if !(math.Abs(got-want) <= 1e-9*max(math.Abs(want), 1e-3)) {
					t.Errorf("%s is %v, the reference has %v", what, got, want)
				}
			}
			for i, q := range []float64{0, 0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1} {
				check("quantile", Quantile(s.A, q), s.Quantiles[i])
			}
			check("mean", Mean(s.A), s.Mean)
			rank := mannWhitney(s.A, s.B)
			check("U", rank.U, s.U)
			check("p of U", rank.P, s.P)
			check("Cliff's delta", rank.Delta, s.Delta)
			p = append(p, rank.P)
			medians := permutation(s.A, s.B, Median, 1)
			if check("difference of medians", medians.Difference, s.MedianDifference); medians.Exact != s.PermutationExact {
				t.Errorf("exact: %v, the reference %v", medians.Exact, s.PermutationExact)
			}
			if s.PermutationExact {
				check("p of medians", medians.P, s.MedianP)
				check("p of means", permutation(s.A, s.B, Mean, 1).P, s.MeanP)
			}
			if s.RatioCI != nil {
				ratio, _, err := RatioOfMedians(s.A, s.B, 0.95, 10, 1)
				if err != nil {
					t.Error(err)
				}
				check("ratio of medians", ratio, s.Ratio)
			}
			if s.Gini != nil {
				check("Gini", Gini(s.A), *s.Gini)
				check("Jain", Jain(s.A), *s.Jain)
			}
		})
	}
	for i, got := range Holm(p) {
		if math.Abs(got-r.Holm[i]) > 1e-9 {
			t.Errorf("Holm's p of %q is %v, the reference has %v", r.Sets[i].Name, got, r.Holm[i])
		}
	}
}

// Where chance draws, the reference's limits lie between ours at levels that differ from theirs by two percentage points:
// five standard errors of what Resamples draws know of a level and of the bias, on either side.
func TestAgainstReferenceWithinMonteCarloError(t *testing.T) {
	for _, s := range readReference(t).Sets {
		t.Run(s.Name, func(t *testing.T) {
			within := func(what string, want []float64, draw func(level float64) (Interval, error)) {
				t.Helper()
				if want == nil {
					return
				}
				narrow, err := draw(0.93)
				if err != nil {
					t.Fatal(err)
				}
				wide, err := draw(0.97)
				if err != nil {
					t.Fatal(err)
				}
				slack := 1e-9 * max(math.Abs(want[0]), math.Abs(want[1]))
				if want[0] < wide.Low-slack || want[0] > narrow.Low+slack || want[1] < narrow.High-slack || want[1] > wide.High+slack {
					t.Errorf("%s: the reference has %v, ours is %v at 93 %% and %v at 97 %%", what, want, narrow, wide)
				}
			}
			within("mean", s.MeanCI, func(level float64) (Interval, error) { return BCa(s.A, Mean, level, Resamples, 1) })
			within("median", s.MedianCI, func(level float64) (Interval, error) { return BCa(s.A, Median, level, Resamples, 1) })
			within("ratio of medians", s.RatioCI, func(level float64) (Interval, error) {
				_, ci, err := RatioOfMedians(s.A, s.B, level, Resamples, 1)
				return ci, err
			})
			if s.PermutationExact {
				return
			}
			for what, pair := range map[string][2]float64{
				"medians": {permutation(s.A, s.B, Median, 1).P, s.MedianP},
				"means":   {permutation(s.A, s.B, Mean, 1).P, s.MeanP},
			} {
				// Twice a tail's share of Resamples draws, and of the reference's.
				tail := pair[1] / 2
				if room := 5*2*math.Sqrt(tail*(1-tail)/Resamples) + 4.0/Resamples; math.Abs(pair[0]-pair[1]) > room {
					t.Errorf("p of %s is %v, the reference has %v ± %v", what, pair[0], pair[1], room)
				}
			}
		})
	}
}

func TestSeriesAgainstReference(t *testing.T) {
	for _, s := range readReference(t).Series {
		if got := Penalty(s.Values); math.Abs(got-s.Penalty) > 1e-9*s.Penalty {
			t.Errorf("%s: penalty %v, the reference has %v", s.Name, got, s.Penalty)
		}
		if got := ChangePoints(s.Values, s.Shortest, s.Penalty); !slices.Equal(got, s.Changes) {
			t.Errorf("%s: changes at %v, the reference has %v", s.Name, got, s.Changes)
		}
		if cut, settled := WarmUp(s.Values, 5); cut != s.WarmUp || settled != s.Settled {
			t.Errorf("%s: warm-up of %d, settled %v; the reference has %d, %v", s.Name, cut, settled, s.WarmUp, s.Settled)
		}
	}
}

func TestKneesAgainstReference(t *testing.T) {
	for _, s := range readReference(t).Knees {
		var points []Point
		for i, x := range s.X {
			points = append(points, Point{x, s.Y[i]})
		}
		k, err := FindKnee(points)
		if err != nil {
			t.Fatal(err)
		}
		// The sum of squares is flat at its least: its place is known to the root of what the sum is.
		if math.Abs(k.SSE-s.SSE) > 1e-9*s.SSE || math.Abs(k.LineSSE-s.LineSSE) > 1e-9*s.LineSSE || math.Abs(k.X-s.KneeX) > 1e-5*s.KneeX {
			t.Errorf("%s: knee at %v with %v (a line: %v), the reference has %v, %v, %v", s.Name, k.X, k.SSE, k.LineSSE, s.KneeX, s.SSE, s.LineSSE)
		}
		if want := s.Name != "no bend"; k.Clear != want {
			t.Errorf("%s: clear %v", s.Name, k.Clear)
		}
	}
}
