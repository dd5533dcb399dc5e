// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"errors"
	"math"
	"testing"
)

// Expected with scipy 1.17.1: scipy.stats.mannwhitneyu(a, b, method='exact') without ties,
// method='asymptotic' with ties or more than 50 values. "published" is the example in SciPy's manual,
// whose p is 1/9 by hand.
func TestMannWhitney(t *testing.T) {
	long, longer := make([]float64, 60), make([]float64, 55)
	for i := range long {
		long[i] = float64(i + 1)
	}
	for i := range longer {
		longer[i] = float64(i+1) + 7.5
	}
	for _, tc := range []struct {
		name  string
		a, b  []float64
		u, p  float64
		exact bool
	}{
		{"published", []float64{19, 22, 16, 29, 24}, []float64{20, 11, 17, 12}, 17, 0.1111111111111111, true},
		{
			"exact",
			[]float64{4.12, 3.98, 4.40, 4.05, 4.22, 4.31, 3.87},
			[]float64{4.55, 4.61, 4.35, 4.72, 4.48, 4.90, 4.66, 4.28},
			3, 0.0021756021756021756, true,
		},
		{"ties", []float64{1, 2, 2, 3, 4, 5, 5, 6}, []float64{2, 3, 3, 4, 6, 7, 8}, 19, 0.32047134937445265, false},
		{"large", long, longer, 1378, 0.12848379227750423, false},
		{"equal", []float64{1, 1, 1}, []float64{1, 1, 1}, 4.5, 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := mannWhitney(tc.a, tc.b)
			if got.U != tc.u || math.Abs(got.P-tc.p) > 1e-12 || got.Exact != tc.exact {
				t.Errorf("got U=%v p=%v exact=%v, want U=%v p=%v exact=%v", got.U, got.P, got.Exact, tc.u, tc.p, tc.exact)
			}
			mirror := mannWhitney(tc.b, tc.a)
			if math.Abs(mirror.P-got.P) > 1e-12 || math.Abs(mirror.Delta+got.Delta) > 1e-12 {
				t.Errorf("swapped: p=%v delta=%v, want p=%v delta=%v", mirror.P, mirror.Delta, got.P, -got.Delta)
			}
		})
	}
}

// Cliff's delta by its definition: pairs above less pairs below.
func TestCliffsDelta(t *testing.T) {
	a, b := []float64{1, 2, 2, 3, 4, 5, 5, 6}, []float64{2, 3, 3, 4, 6, 7, 8}
	want := 0.0
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				want++
			case x < y:
				want--
			}
		}
	}
	want /= float64(len(a) * len(b))
	if got := mannWhitney(a, b).Delta; math.Abs(got-want) > 1e-12 {
		t.Errorf("delta %v, want %v", got, want)
	}
}

// Every arrangement of small samples counted one by one.
func TestTailUEnumerated(t *testing.T) {
	const n1, n2 = 4, 5
	counts := make([]int, n1*n2+1)
	total := 0
	for mask := range 1 << (n1 + n2) {
		ones, u, zeros := 0, 0, 0
		for i := range n1 + n2 {
			if mask>>i&1 == 1 {
				ones++
				u += zeros
			} else {
				zeros++
			}
		}
		if ones == n1 {
			counts[u]++
			total++
		}
	}
	tail := 0
	for u := n1 * n2; u >= 0; u-- {
		tail += counts[u]
		if got, want := tailU(n1, n2, u), float64(tail)/float64(total); math.Abs(got-want) > 1e-14 {
			t.Errorf("P(U ≥ %d) = %v, want %v", u, got, want)
		}
	}
}

func TestMannWhitneyRefusesFewValues(t *testing.T) {
	if _, err := MannWhitney([]float64{1, 2, 3}, []float64{4, 5, 6}); !errors.Is(err, ErrFew) {
		t.Errorf("three values each: error %v, want ErrFew", err)
	}
}

// Holm's step-down on the p-values .01, .04, .03, .005: as R's p.adjust(p, "holm") prints.
func TestHolm(t *testing.T) {
	got := Holm([]float64{0.01, 0.04, 0.03, 0.005})
	want := []float64{0.03, 0.06, 0.06, 0.02}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-12 {
			t.Errorf("adjusted %v, want %v", got, want)
			break
		}
	}
}

// A NaN is told, and neither ranked nor drawn.
func TestNaN(t *testing.T) {
	good, bad := []float64{1, 2, 3, 4, 5, 6}, []float64{1, 2, math.NaN(), 4, 5, 6}
	for name, err := range map[string]error{
		"Mann-Whitney": second(MannWhitney(good, bad)),
		"permutation":  second(Permutation(bad, good, Median, 1)),
		"comparison":   second(Compare(good, bad, 1)),
		"interval":     second(BCa(bad, Median, 0.95, 10, 1)),
	} {
		if !errors.Is(err, ErrNaN) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
