// SPDX-License-Identifier: Apache-2.0

package stats_test

import (
	"errors"
	"math"
	"testing"

	"github.com/dnsingress/dnsingress/internal/stats"
)

func variance(v []float64) float64 {
	m, s := stats.Mean(v), 0.0
	for _, x := range v {
		s += (x - m) * (x - m)
	}
	return s / float64(len(v))
}

// The spatial test data of Efron and Tibshirani (1993), table 14.1, and their BCa interval in table 14.2.
// The second expectation, and those of the other samples:
//
//	scipy.stats.bootstrap((x,), np.var|np.mean|np.median, n_resamples=200000, method='BCa', rng=np.random.default_rng(1))
//
// with scipy 1.17.1. Tolerances are what the limits of 20,000 resamples vary by.
func TestBCa(t *testing.T) {
	spatial := []float64{48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41}
	eight := []float64{10.1, 11.4, 9.8, 12.7, 10.9, 11.0, 13.3, 10.4}
	for _, tc := range []struct {
		name      string
		values    []float64
		statistic func([]float64) float64
		level     float64
		low, high float64
		tolerance float64
	}{
		{"published", spatial, variance, 0.90, 115.8, 259.6, 4},
		{"variance", spatial, variance, 0.90, 115.42159763313609, 260.2878585909807, 3},
		{"mean", eight, stats.Mean, 0.95, 10.525, 12.1375, 0.05},
		{"median", eight, stats.Median, 0.95, 10.1, 12.7, 0.3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := stats.BCa(tc.values, tc.statistic, tc.level, 20000, 1)
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(got.Low-tc.low) > tc.tolerance || math.Abs(got.High-tc.high) > tc.tolerance {
				t.Errorf("got [%v, %v], want [%v, %v] ± %v", got.Low, got.High, tc.low, tc.high, tc.tolerance)
			}
			again, _ := stats.BCa(tc.values, tc.statistic, tc.level, 20000, 1)
			if again != got {
				t.Errorf("the same seed gave %v and %v", got, again)
			}
		})
	}
}

func TestBCaRefusesFewValues(t *testing.T) {
	if _, err := stats.BCa([]float64{1, 2, 3, 4, 5}, stats.Median, 0.95, 100, 1); !errors.Is(err, stats.ErrFew) {
		t.Errorf("five values: error %v, want ErrFew", err)
	}
}

func TestBCaOfOneValue(t *testing.T) {
	got, err := stats.BCa([]float64{3, 3, 3, 3, 3, 3}, stats.Median, 0.95, 100, 1)
	if err != nil || got.Low != 3 || got.High != 3 {
		t.Errorf("got %v, %v; want the point 3", got, err)
	}
}

// The interval's promise, simulated: of samples from a known law the stated share must cover its mean.
// The bounds are 5 standard errors of 600 repetitions around BCa's known slight undercoverage at n = 20.
func TestBCaCoverage(t *testing.T) {
	state := uint64(42)
	uniform := func() float64 { // SplitMix64, so that the test needs no other generator than this
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return float64((z^z>>31)>>11) / (1 << 53)
	}
	const repetitions = 600
	covered := 0
	for r := range repetitions {
		sample := make([]float64, 20)
		for i := range sample {
			sample[i] = uniform()
		}
		ci, err := stats.BCa(sample, stats.Mean, 0.95, 500, uint64(r))
		if err != nil {
			t.Fatal(err)
		}
		if ci.Low <= 0.5 && 0.5 <= ci.High {
			covered++
		}
	}
	if share := float64(covered) / repetitions; share < 0.88 || share > 0.985 {
		t.Errorf("95 %% intervals cover the mean in %.1f %% of samples", 100*share)
	}
}
