// SPDX-License-Identifier: Apache-2.0

package table_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/table"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// around makes n values near a middle.
func around(seed uint64, n int, middle, spread float64) table.Cell {
	rng := rand.New(rand.NewPCG(seed, 1))
	v := make([]float64, n)
	for i := range v {
		v[i] = middle + spread*rng.NormFloat64()
	}
	return table.Over(stats.Summarize(v, seed))
}

func ranked(cells ...[]table.Cell) *table.Table {
	return &table.Table{
		Name: "r", Caption: "R",
		Columns: []table.Column{
			{Head: "system", Key: "system"},
			{Head: "p99 (ms)", Key: "p99_ms", Right: true, Spread: true, Better: table.Lower},
			{Head: "answered (1/s)", Key: "answered", Right: true, Spread: true, Better: table.Higher},
			{Head: "note", Key: "note", Right: true, Spread: true},
		},
		Rows: cells,
	}
}

// A best value is marked when it differs from all others, and only then.
func TestMarkBest(t *testing.T) {
	row := func(name string, low, high table.Cell) []table.Cell {
		return []table.Cell{table.Text(name), low, high, around(9, 10, 1, 0.1)}
	}
	for _, tc := range []struct {
		name  string
		rows  [][]table.Cell
		apart []int
		want  string // row.column of the marks
		note  bool
	}{
		{"apart", [][]table.Cell{row("a", around(1, 10, 5, .1), around(2, 10, 50, 1)), row("b", around(3, 10, 7, .1), around(4, 10, 90, 1)), row("c", around(5, 10, 9, .1), around(6, 10, 60, 1))}, nil, "0.1 1.2", true},
		{"two are alike", [][]table.Cell{row("a", around(1, 10, 5, .5), around(2, 10, 50, 9)), row("b", around(3, 10, 5.05, .5), around(4, 10, 51, 9)), row("c", around(5, 10, 9, .1), around(6, 10, 10, 1))}, nil, "", true},
		{"few trials", [][]table.Cell{row("a", around(1, 5, 5, .1), around(2, 10, 90, 1)), row("b", around(3, 10, 7, .1), around(4, 10, 50, 1))}, nil, "0.2", true},
		{"a system without a value", [][]table.Cell{row("a", around(1, 10, 5, .1), around(2, 10, 90, 1)), row("b", around(3, 10, 7, .1), around(4, 10, 50, 1)), row("c", around(5, 0, 0, 0), around(6, 10, 40, 1))}, nil, "0.2", true},
		{"the floor", [][]table.Cell{row("direct", around(1, 10, 1, .1), around(2, 10, 99, 1)), row("a", around(3, 10, 5, .1), around(4, 10, 50, 1)), row("b", around(5, 10, 7, .1), around(6, 10, 40, 1))}, []int{0}, "1.1 1.2", true},
		{"alone", [][]table.Cell{row("a", around(1, 10, 5, .1), around(2, 10, 50, 1))}, nil, "", false},
		{"three trials each", [][]table.Cell{row("a", around(1, 3, 5, .1), around(2, 3, 50, 1)), row("b", around(3, 3, 7, .1), around(4, 3, 90, 1))}, nil, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := ranked(tc.rows...)
			x.MarkBest(tc.apart...)
			var got []string
			for i, r := range x.Rows {
				for j, c := range r {
					if c.Best() {
						got = append(got, string(rune('0'+i))+"."+string(rune('0'+j)))
					}
				}
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("marked %v, want %s", got, tc.want)
			}
			if note := len(x.Notes) == 1 && strings.HasPrefix(x.Notes[0], "Bold: better than every other, p < 0.05"); note != tc.note {
				t.Errorf("notes %q", x.Notes)
			}
		})
	}
}

// A mark is seen in every format.
func TestMarksInFormats(t *testing.T) {
	x := ranked([]table.Cell{table.Text("a"), around(1, 10, 5, .1), around(2, 10, 90, 1), table.Text("")}, []table.Cell{table.Text("b"), around(3, 10, 7, .1), around(4, 10, 50, 1), table.Text("")})
	x.MarkBest()
	for want, write := range map[string]func(*bytes.Buffer) error{
		"| **5.02** (":               func(b *bytes.Buffer) error { return x.Markdown(b) },
		`\textbf{5.02}`:              func(b *bytes.Buffer) error { return x.LaTeX(b) },
		"p99_ms_ci_high,p99_ms_best": func(b *bytes.Buffer) error { return x.CSV(b) },
		`"p99_ms_best": true`:        func(b *bytes.Buffer) error { return x.JSON(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%v: no %q in\n%s", err, want, b.String())
		}
		if strings.Contains(b.String(), "note_best") {
			t.Error("a column without an order has a best value")
		}
	}
}
