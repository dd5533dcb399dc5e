// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"errors"
	"fmt"
	"math"
)

// Comparison sets two samples of one value a trial beside each other.
type Comparison struct {
	RankTest                  // whether values of the first tend to be larger, and how often (Cliff's delta)
	Medians   PermutationTest // whether the medians differ
	Ratio     float64         // median of the first by that of the second
	RatioCI   *Interval       // 95 %; nil where a median of a resample is 0
	Warnings  []string
	SmallestN int // trials of the smaller sample
}

// Compare compares a with b. The seed makes bootstrap and permutations repeatable.
// It returns ErrFew when a sample has fewer than MinTrials values: then there are points and a range only.
func Compare(a, b []float64, seed uint64) (Comparison, error) {
	test, err := MannWhitney(a, b)
	if err != nil {
		return Comparison{}, err
	}
	out := Comparison{RankTest: test, Medians: permutation(a, b, Median, seed), SmallestN: min(len(a), len(b))}
	var ci Interval
	switch out.Ratio, ci, err = RatioOfMedians(a, b, 0.95, Resamples, seed); {
	case err == nil:
		out.RatioCI = &ci
	case errors.Is(err, errRatio):
		out.Warnings = append(out.Warnings, "a median of 0 has no ratio")
	default:
		return Comparison{}, err
	}
	if out.SmallestN < FewTrials {
		out.Warnings = append(out.Warnings, fmt.Sprintf("%d trials are few for a test (%d or more are wanted)", out.SmallestN, FewTrials))
	}
	return out, nil
}

var errRatio = errors.New("stats: a ratio to a median that is not positive")

// RatioOfMedians returns the median of a by that of b with its BCa interval; both samples are resampled.
// It returns ErrFew when a sample has fewer than MinTrials values.
func RatioOfMedians(a, b []float64, level float64, resamples int, seed uint64) (float64, Interval, error) {
	bad := false
	ratio := func(s [][]float64) float64 {
		x, y := Median(s[0]), Median(s[1])
		if !(y > 0) {
			bad = true
			return 0
		}
		return x / y
	}
	estimate := ratio([][]float64{a, b})
	ci, err := bca([][]float64{a, b}, ratio, level, resamples, seed)
	if err != nil {
		return math.NaN(), Interval{}, err
	}
	if bad {
		return math.NaN(), Interval{}, errRatio
	}
	return estimate, ci, nil
}
