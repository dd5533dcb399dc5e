// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"math"
	"slices"
)

// Gini is how unevenly a whole is shared: 0 when all have alike, (n-1)/n when one of n has everything. Gini,
// "Variabilità e mutabilità", 1912; computed from ranks: Dixon et al., "Bootstrapping the Gini coefficient of
// inequality", 1987. It is NaN for no shares, for a negative one, and when there is nothing to share.
func Gini(shares []float64) float64 {
	sum, weighted := 0.0, 0.0
	n := float64(len(shares))
	for i, v := range slices.Sorted(slices.Values(shares)) {
		if v < 0 {
			return math.NaN()
		}
		sum += v
		weighted += (2*float64(i+1) - n - 1) * v
	}
	return weighted / (n * sum)
}

// Jain is the fairness index of Jain, Chiu and Hawe, "A quantitative measure of fairness and discrimination for resource
// allocation in shared computer systems", DEC-TR-301, 1984: 1 when all have alike, 1/n when one of n has everything.
// It is NaN for no shares, for a negative one, and when there is nothing to share.
func Jain(shares []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, v := range shares {
		if v < 0 {
			return math.NaN()
		}
		sum += v
		squares += v * v
	}
	return sum * sum / (float64(len(shares)) * squares)
}
