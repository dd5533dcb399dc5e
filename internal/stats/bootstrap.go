// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Resamples is the number of bootstrap resamples for a published interval. The Monte-Carlo
// standard error of a 2.5 % limit's level is then sqrt(.025·.975/9999) = 0.16 percentage points.
const Resamples = 9999

// Interval is a two-sided confidence interval.
type Interval struct {
	Low, High float64
	Level     float64 // such as 0.95
}

// BCa returns the bias-corrected and accelerated bootstrap interval of statistic over values:
// Efron, "Better bootstrap confidence intervals", JASA 82 (1987); Efron and Tibshirani, "An
// Introduction to the Bootstrap" (1993), §14.3. Ties between resamples and the estimate count half
// in the bias correction, which matters for a median of few values.
// It returns ErrFew below MinTrials values, and ErrNaN for a NaN. When every resample agrees the interval is that point.
func BCa(values []float64, statistic func([]float64) float64, level float64, resamples int, seed uint64) (Interval, error) {
	return bca([][]float64{values}, func(samples [][]float64) float64 { return statistic(samples[0]) }, level, resamples, seed)
}

// bca is BCa of a statistic of one or several independent samples, each of which is resampled by itself.
func bca(samples [][]float64, statistic func([][]float64) float64, level float64, resamples int, seed uint64) (Interval, error) {
	draws := make([][]float64, len(samples))
	for j, values := range samples {
		if n := len(values); n < MinTrials {
			return Interval{}, fmt.Errorf("%w: %d of the %d that an interval needs", ErrFew, n, MinTrials)
		}
		if slices.ContainsFunc(values, math.IsNaN) {
			return Interval{}, ErrNaN
		}
		draws[j] = make([]float64, len(values))
	}
	estimate := statistic(samples)
	rng := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	boot := make([]float64, resamples)
	below := 0.0
	for b := range boot {
		for j, values := range samples {
			for i := range values {
				draws[j][i] = values[rng.IntN(len(values))]
			}
		}
		boot[b] = statistic(draws)
		switch {
		case boot[b] < estimate:
			below++
		case boot[b] == estimate:
			below += 0.5
		}
	}
	slices.Sort(boot)
	if boot[0] == boot[resamples-1] {
		return Interval{Low: boot[0], High: boot[0], Level: level}, nil
	}
	// A share of 0 or 1 would move the interval to infinity; half a resample is the closest that was looked.
	share := min(max(below/float64(resamples), 0.5/float64(resamples)), 1-0.5/float64(resamples))
	z0 := distuv.UnitNormal.Quantile(share)
	a := acceleration(samples, statistic)
	limit := func(p float64) float64 {
		z := z0 + distuv.UnitNormal.Quantile(p)
		adjusted := distuv.UnitNormal.CDF(z0 + z/(1-a*z))
		return quantileSorted(boot, adjusted)
	}
	return Interval{Low: limit((1 - level) / 2), High: limit((1 + level) / 2), Level: level}, nil
}

// acceleration is the jackknife estimate of Efron and Tibshirani (1993), equation 14.15; of several samples that of
// Davison and Hinkley, "Bootstrap Methods and their Application" (1997), equation 5.23, with the influence values
// estimated by the jackknife. It is 0 where leaving a value out changes nothing.
func acceleration(samples [][]float64, statistic func([][]float64) float64) float64 {
	cubes, squares := 0.0, 0.0
	for j, values := range samples {
		n := float64(len(values))
		jack := make([]float64, len(values))
		rest := make([]float64, 0, len(values)-1)
		left := slices.Clone(samples)
		for i := range values {
			rest = append(append(rest[:0], values[:i]...), values[i+1:]...)
			left[j] = rest
			jack[i] = statistic(left)
		}
		mean := Mean(jack)
		for _, v := range jack {
			d := (n - 1) / n * (mean - v)
			squares += d * d
			cubes += d * d * d
		}
	}
	if squares == 0 {
		return 0
	}
	return cubes / (6 * math.Pow(squares, 1.5))
}
