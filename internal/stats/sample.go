// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"math"
	"slices"
)

// Summary describes a sample of one value a trial.
type Summary struct {
	Values   []float64 // in the order given, without those that are not finite
	Median   float64   // NaN when there is no value
	Min, Max float64   // the range; NaN when there is no value
	// Interval is the 95 % interval of the median; nil below MinTrials.
	Interval *Interval
	Warnings []string
}

// Summarize describes values, one a trial. Values that are not finite are left out with a warning.
// The seed makes the bootstrap repeatable.
func Summarize(values []float64, seed uint64) Summary {
	s := Summary{Median: math.NaN(), Min: math.NaN(), Max: math.NaN()}
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			s.Warnings = append(s.Warnings, "a value that is not a finite number was left out")
			continue
		}
		s.Values = append(s.Values, v)
	}
	if len(s.Values) == 0 {
		return s
	}
	s.Median, s.Min, s.Max = Median(s.Values), slices.Min(s.Values), slices.Max(s.Values)
	if len(s.Values) < MinTrials {
		return s
	}
	if ci, err := BCa(s.Values, Median, 0.95, Resamples, seed); err == nil {
		s.Interval = &ci
	}
	if len(s.Values) < FewTrials {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%d trials are few for an interval (%d or more are wanted)", len(s.Values), FewTrials))
	}
	return s
}

// N is the number of values.
func (s Summary) N() int { return len(s.Values) }

// Median returns the middle value, or the mean of the two middle values; NaN for none.
func Median(values []float64) float64 {
	return Quantile(values, 0.5)
}

// Quantile returns the p-quantile, 0 ≤ p ≤ 1, by linear interpolation between order statistics:
// definition 7 of Hyndman and Fan, "Sample quantiles in statistical packages", 1996 (the default of
// R and NumPy). It returns NaN for no values.
func Quantile(values []float64, p float64) float64 {
	if len(values) == 0 || math.IsNaN(p) {
		return math.NaN()
	}
	var few [32]float64 // a bootstrap of trials asks ten thousand times
	s := append(few[:0], values...)
	slices.Sort(s)
	return quantileSorted(s, p)
}

// quantileSorted is Quantile of at least one value in ascending order.
func quantileSorted(s []float64, p float64) float64 {
	h := float64(len(s)-1) * min(max(p, 0), 1)
	i := int(h)
	if i+1 >= len(s) {
		return s[len(s)-1]
	}
	return s[i] + (h-float64(i))*(s[i+1]-s[i])
}

// Mean returns the arithmetic mean; NaN for no values.
func Mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
