// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// exactLimit is the largest sample for which the null distribution is enumerated.
const exactLimit = 50

// RankTest is the outcome of a Mann-Whitney test.
type RankTest struct {
	U     float64 // pairs in which a value of the first sample exceeds one of the second; ties count half
	P     float64 // two-sided
	Delta float64 // Cliff's delta, -1 to 1: P(first > second) - P(first < second)
	Exact bool    // P is from the exact distribution, not the normal one
}

// MannWhitney tests whether values of a tend to be larger or smaller than those of b: Mann and Whitney, "On a
// test of whether one of two random variables is stochastically larger than the other", 1947. Without
// ties and up to 50 values a sample P is exact; else it is from the normal distribution
// with correction for ties and continuity. Cliff's delta: Cliff, "Dominance statistics", 1993.
// It returns ErrFew when a sample has fewer than MinTrials values, and ErrNaN for a NaN.
func MannWhitney(a, b []float64) (RankTest, error) {
	if err := testable(a, b); err != nil {
		return RankTest{}, err
	}
	return mannWhitney(a, b), nil
}

func mannWhitney(a, b []float64) RankTest {
	type ranked struct {
		v     float64
		first bool
	}
	all := make([]ranked, 0, len(a)+len(b))
	for _, v := range a {
		all = append(all, ranked{v, true})
	}
	for _, v := range b {
		all = append(all, ranked{v, false})
	}
	slices.SortFunc(all, func(x, y ranked) int { return cmp.Compare(x.v, y.v) })

	rankSum, tieTerm := 0.0, 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].v == all[i].v {
			j++
		}
		rank := float64(i+1+j) / 2 // the mean of ranks i+1 to j
		for _, r := range all[i:j] {
			if r.first {
				rankSum += rank
			}
		}
		t := float64(j - i)
		tieTerm += t*t*t - t
		i = j
	}
	n1, n2 := float64(len(a)), float64(len(b))
	u := rankSum - n1*(n1+1)/2
	out := RankTest{U: u, Delta: 2*u/(n1*n2) - 1}
	larger := max(u, n1*n2-u)
	if tieTerm == 0 && len(a) <= exactLimit && len(b) <= exactLimit {
		out.Exact = true
		out.P = min(1, 2*tailU(len(a), len(b), int(larger)))
		return out
	}
	n := n1 + n2
	sd := math.Sqrt(n1 * n2 / 12 * (n + 1 - tieTerm/(n*(n-1))))
	if sd == 0 { // every value is the same
		out.P = 1
		return out
	}
	z := (larger - n1*n2/2 - 0.5) / sd
	out.P = min(1, 2*distuv.UnitNormal.Survival(z))
	return out
}

// tailU is P(U ≥ u) when both samples come from one distribution without ties. The number of
// arrangements with a given U is the coefficient of q^U in the Gaussian binomial coefficient
// (n1+n2 choose n1): Mann and Whitney (1947), §2. The distribution is symmetric, so the lower tail is
// summed: its coefficients need none beyond themselves and lose nothing to rounding.
func tailU(n1, n2, u int) float64 {
	size := n1*n2 - u + 1
	counts := make([]float64, size)
	counts[0] = 1
	for i := 1; i <= n1; i++ { // times (1 - q^(n2+i)) / (1 - q^i)
		for k := size - 1; k >= n2+i; k-- {
			counts[k] -= counts[k-n2-i]
		}
		for k := i; k < size; k++ {
			counts[k] += counts[k-i]
		}
	}
	tail := 0.0
	for _, c := range counts {
		tail += c
	}
	return tail / arrangements(n1, n2)
}

// Holm adjusts p-values of a family of tests so that the chance of any false finding stays below
// the level: Holm, "A simple sequentially rejective multiple test procedure", 1979. The order is kept.
func Holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(p[i], p[j]) })
	out := make([]float64, len(p))
	highest := 0.0
	for rank, i := range order {
		highest = max(highest, min(1, p[i]*float64(len(p)-rank)))
		out[i] = highest
	}
	return out
}
