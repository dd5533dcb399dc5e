// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"math"
	"slices"
)

// ChangePoints returns where the level of a series changes, ascending: each is the index of the first value of a new
// level. The levels minimise the squared deviations from their means plus the penalty for each change, over all ways to
// cut the series into pieces of at least shortest values: optimal partitioning with the pruning of Killick, Fearnhead
// and Eckley, "Optimal detection of changepoints with a linear computational cost", JASA 107 (2012).
// A penalty of 0 stands for Penalty(values).
func ChangePoints(values []float64, shortest int, penalty float64) []int {
	n := len(values)
	shortest = max(shortest, 1)
	if n < 2*shortest {
		return nil
	}
	if penalty <= 0 {
		penalty = Penalty(values)
	}
	// Sums of deviations from the series' mean: squares of large levels would cancel.
	mean := Mean(values)
	sums, squares := make([]float64, n+1), make([]float64, n+1)
	for i, v := range values {
		sums[i+1], squares[i+1] = sums[i]+(v-mean), squares[i]+(v-mean)*(v-mean)
	}
	cost := func(from, to int) float64 {
		s := sums[to] - sums[from]
		return max(0, squares[to]-squares[from]-s*s/float64(to-from))
	}
	best, last := make([]float64, n+1), make([]int, n+1)
	best[0] = -penalty
	for i := range best[1:] {
		best[i+1] = math.Inf(1)
	}
	type start struct{ at, outdone int } // outdone: from so many values beyond it on, another start is never worse
	starts := []start{{0, math.MaxInt}}
	for to := shortest; to <= n; to++ {
		if from := to - shortest; from >= shortest {
			starts = append(starts, start{from, math.MaxInt})
		}
		for _, s := range starts {
			if c := best[s.at] + cost(s.at, to) + penalty; c < best[to] {
				best[to], last[to] = c, s.at
			}
		}
		for i, s := range starts {
			// A piece from `to` on can only begin to be used once it is long enough.
			if s.outdone == math.MaxInt && best[s.at]+cost(s.at, to) > best[to] {
				starts[i].outdone = to + shortest
			}
		}
		starts = slices.DeleteFunc(starts, func(s start) bool { return s.outdone <= to+1 })
	}
	var out []int
	for at := last[n]; at > 0; at = last[at] {
		out = append(out, at)
	}
	slices.Reverse(out)
	return out
}

// Penalty is that of Schwarz's criterion for a change of level: 2·σ²·ln n, for the place and the size of the change.
// σ is estimated by the median absolute difference of neighbours, which changes of level hardly touch, or by their mean
// square where most neighbours are equal. It is 0 only for a series of one value.
func Penalty(values []float64) float64 {
	if len(values) < 2 {
		return 0
	}
	steps := make([]float64, len(values)-1)
	for i := range steps {
		steps[i] = math.Abs(values[i+1] - values[i])
	}
	sigma := Median(steps) / (math.Sqrt2 * 0.6744897501960817) // the normal law's third quartile
	if sigma == 0 {
		for _, d := range steps {
			sigma += d * d / 2
		}
		sigma = math.Sqrt(sigma / float64(len(steps)))
	}
	return 2 * sigma * sigma * math.Log(float64(len(values)))
}

// WarmUp returns how many values at the begin of a series belong to its warm-up: those without which the standard error
// of the rest's mean is least, in means of batch values (MSER-5 for a batch of 5): White, "An effective truncation
// heuristic for bias reduction in simulation output", 1997; White, Cobb and Spratt, "A comparison of five steady-state
// truncation heuristics", WSC 2000. settled is false when that is more than half of the series, or when there are
// fewer than 10 means: then the series does not show that it has settled.
func WarmUp(values []float64, batch int) (cut int, settled bool) {
	batch = max(batch, 1)
	n := len(values) / batch
	means := make([]float64, n)
	for i := range means {
		means[i] = Mean(values[i*batch : (i+1)*batch])
	}
	const leastMeans = 10
	least := math.Inf(1)
	// From the end: sums of the rest grow by one mean a step (Welford, 1962).
	mean, squares := 0.0, 0.0
	for d := n - 1; d >= 0; d-- {
		rest := float64(n - d)
		delta := means[d] - mean
		mean += delta / rest
		squares += delta * (means[d] - mean)
		if rest < 5 { // of fewer means, two that happen to be near have no error at all
			continue
		}
		if mser := squares / (rest * rest); mser <= least {
			least, cut = mser, d
		}
	}
	return cut * batch, n >= leastMeans && 2*cut <= n
}
