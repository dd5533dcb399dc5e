// SPDX-License-Identifier: Apache-2.0

package table

import (
	"fmt"
	"math"
	"slices"

	"github.com/dnsingress/dnsingress/internal/stats"
)

// Order says which values of a column are the better ones.
type Order int

// Orders of a column; without one nothing in it is marked.
const (
	NoOrder Order = iota
	Lower
	Higher
)

// significance is the level below which a difference counts.
const significance = 0.05

// MarkBest marks in each column with an Order the best median, if its trials differ from those of every other row: Mann-Whitney
// tests, their p corrected by Holm's method over all tests of the table. A column in which some row has fewer than
// stats.MinTrials trials has no mark. Rows named in apart take no part: a floor is no competitor. A note says what a mark means.
func (t *Table) MarkBest(apart ...int) {
	type candidate struct {
		column, row int
		tests       []int // places in p
	}
	var best []candidate
	var p []float64
columns:
	for column, c := range t.Columns {
		if c.Better == NoOrder {
			continue
		}
		winner, rows := -1, []int{}
		for row := range t.Rows {
			s := t.Rows[row][column].summary
			if slices.Contains(apart, row) {
				continue
			}
			if s == nil || s.N() < stats.MinTrials { // of a system that has no value nobody knows whether it is worse
				continue columns
			}
			rows = append(rows, row)
			if winner < 0 || c.Better.beats(s.Median, t.Rows[winner][column].summary.Median) {
				winner = row
			}
		}
		if len(rows) < 2 {
			continue
		}
		found := candidate{column: column, row: winner}
		var own []float64
		for _, row := range rows {
			if row == winner {
				continue
			}
			test, err := stats.MannWhitney(t.Rows[winner][column].summary.Values, t.Rows[row][column].summary.Values)
			if err != nil {
				continue columns
			}
			// A test that tells the samples apart the other way round is no proof of the better median.
			if better := test.Delta < 0; better != (c.Better == Lower) {
				test.P = 1
			}
			found.tests = append(found.tests, len(p)+len(own))
			own = append(own, test.P)
		}
		p = append(p, own...)
		best = append(best, found)
	}
	if len(best) == 0 {
		return
	}
	adjusted := stats.Holm(p)
	for _, c := range best {
		least := !slices.ContainsFunc(c.tests, func(i int) bool { return !(adjusted[i] < significance) })
		t.Rows[c.row][c.column].best = least
	}
	t.Notes = append(t.Notes, fmt.Sprintf("Bold: better than every other, p < %g (Mann-Whitney, Holm over %d tests).", significance, len(p)))
}

func (o Order) beats(a, b float64) bool {
	if math.IsNaN(b) {
		return true
	}
	if o == Lower {
		return a < b
	}
	return a > b
}

// Best reports whether the cell holds its column's best value, by a significant difference from every other.
func (c Cell) Best() bool { return c.best }
