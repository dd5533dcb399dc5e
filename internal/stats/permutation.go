// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat/combin"
)

// maxArrangements is how many ways of dealing values to two samples are all looked at: two samples of 9 have 48,620.
const maxArrangements = 50_000

// PermutationTest is the outcome of a permutation test.
type PermutationTest struct {
	Difference float64 // statistic of the first sample less that of the second
	P          float64 // two-sided: twice the smaller tail
	Exact      bool    // every arrangement was looked at; else P is from Resamples of them, drawn by chance
}

// Permutation tests whether the labels of two samples matter to the difference of a statistic, such as Median: Pitman,
// "Significance tests which may be applied to samples from any populations", 1937. Drawn arrangements count the observed
// one among them, so that P is never 0: Phipson and Smyth, "Permutation P-values should never be zero", 2010.
// It returns ErrFew when a sample has fewer than MinTrials values, and ErrNaN for a NaN.
func Permutation(a, b []float64, statistic func([]float64) float64, seed uint64) (PermutationTest, error) {
	if err := testable(a, b); err != nil {
		return PermutationTest{}, err
	}
	return permutation(a, b, statistic, seed), nil
}

func permutation(a, b []float64, statistic func([]float64) float64, seed uint64) PermutationTest {
	all := append(append(make([]float64, 0, len(a)+len(b)), a...), b...)
	out := PermutationTest{Difference: statistic(a) - statistic(b)}
	// Sums in another order differ in the last digits: an arrangement as extreme as the observed one counts for both tails.
	slack := 100 * 0x1p-52 * math.Abs(out.Difference)
	least, most, n := 0.0, 0.0, 0.0
	first, second := make([]float64, len(a)), make([]float64, len(b))
	count := func() {
		d := statistic(first) - statistic(second)
		n++
		if d <= out.Difference+slack {
			least++
		}
		if d >= out.Difference-slack {
			most++
		}
	}
	if arrangements(len(a), len(b)) <= maxArrangements {
		out.Exact = true
		chosen := make([]int, len(a))
		for g := combin.NewCombinationGenerator(len(all), len(a)); g.Next(); {
			g.Combination(chosen)
			i, k := 0, 0
			for at, v := range all {
				if i < len(chosen) && chosen[i] == at {
					first[i] = v
					i++
				} else {
					second[k] = v
					k++
				}
			}
			count()
		}
	} else {
		least, most, n = 1, 1, 1
		rng := rand.New(rand.NewPCG(seed, 0xbf58476d1ce4e5b9))
		for range Resamples {
			rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			copy(first, all)
			copy(second, all[len(a):])
			count()
		}
	}
	out.P = min(1, 2*min(least, most)/n)
	return out
}

// arrangements is the number of ways to deal n1+n2 values to two samples.
func arrangements(n1, n2 int) float64 {
	return math.Round(combin.GeneralizedBinomial(float64(n1+n2), float64(n1)))
}
