// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A law that samples are drawn from, with what their medians and means estimate.
type law struct {
	name         string
	draw         func(*rand.Rand) float64
	median, mean float64
}

func laws() []law {
	return []law{
		{"normal", func(r *rand.Rand) float64 { return 10 + r.NormFloat64() }, 10, 10},
		{"uniform", (*rand.Rand).Float64, 0.5, 0.5},
		{"lognormal, sigma 1", func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) }, 1, math.Exp(0.5)},
		{"exponential", (*rand.Rand).ExpFloat64, math.Ln2, 1},
	}
}

// coverage is the share of intervals of n values that hold what they estimate.
func coverage(l law, n, repetitions, resamples int, statistic func([]float64) float64, truth float64) float64 {
	rng := rand.New(rand.NewPCG(uint64(n), uint64(len(l.name))))
	covered := 0
	values := make([]float64, n)
	for r := range repetitions {
		for i := range values {
			values[i] = l.draw(rng)
		}
		if ci, err := BCa(values, statistic, 0.95, resamples, uint64(r)); err == nil && ci.Low <= truth && truth <= ci.High {
			covered++
		}
	}
	return float64(covered) / float64(repetitions)
}

// The intervals that are published, those of medians, cover what they say, simulated: with 10 trials and more, which are
// not flagged, and roughly with 6 to 9, which are. 5 standard errors of 300 repetitions are 6 percentage points.
func TestCoverage(t *testing.T) {
	for _, l := range laws() {
		for n, least := range map[int]float64{6: 0.85, 10: 0.87, 20: 0.89} {
			if got := coverage(l, n, 300, 400, Median, l.median); got < least {
				t.Errorf("%s, %d trials: 95 %% intervals cover the median in %.1f %%", l.name, n, 100*got)
			}
		}
	}
}

// TestCoverageTable writes the table of docs/figures.md.
func TestCoverageTable(t *testing.T) {
	repetitions, err := strconv.Atoi(os.Getenv("STATS_COVERAGE"))
	if err != nil {
		t.Skip("STATS_COVERAGE is no number of repetitions (make stats-coverage)")
	}
	var b strings.Builder
	b.WriteString("| law | statistic | 6 | 8 | 10 | 15 | 20 | 30 | 50 |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, l := range laws() {
		for _, s := range []struct {
			name      string
			statistic func([]float64) float64
			truth     float64
		}{{"median", Median, l.median}, {"mean", Mean, l.mean}} {
			fmt.Fprintf(&b, "| %s | %s ", l.name, s.name)
			for _, n := range []int{6, 8, 10, 15, 20, 30, 50} {
				fmt.Fprintf(&b, "| %.1f ", 100*coverage(l, n, repetitions, 999, s.statistic, s.truth))
			}
			b.WriteString("|\n")
		}
	}
	fmt.Fprintf(&b, "\nPer cent of %d intervals of so many trials; the standard error of 95 %% is %.1f percentage points.\n", repetitions, 100*math.Sqrt(0.95*0.05/float64(repetitions)))
	t.Log("\n" + b.String())
	if err := os.WriteFile(filepath.Join("..", "..", "build", "stats-coverage.md"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
