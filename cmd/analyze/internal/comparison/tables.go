// SPDX-License-Identifier: Apache-2.0

package comparison

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/numbers"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/table"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// Tables lays the comparison out for people: what differs, then a table for each quantity.
func (c *Comparison) Tables() []*table.Table {
	var out []*table.Table
	if len(c.Differences) > 0 {
		t := &table.Table{Name: "differences", Caption: "What differs between the runs", Columns: []table.Column{
			{Head: "", Key: "what"}, {Head: "A", Key: "a"}, {Head: "B", Key: "b"},
		}}
		for _, d := range c.Differences {
			t.Rows = append(t.Rows, []table.Cell{table.Text(d.What), table.Text(d.A), table.Text(d.B)})
		}
		out = append(out, t)
	}
	levels := slices.ContainsFunc(c.Pairs, func(p Pair) bool { return p.A.Levels != "" })
	for _, group := range c.groups() {
		out = append(out, quantity(group, levels))
	}
	if len(out) > 0 {
		last := out[len(out)-1]
		last.Notes = append(last.Notes, c.notes()...)
	}
	return out
}

// groups returns the pairs by quantity and fault, in the order in which they first come.
func (c *Comparison) groups() [][]Pair {
	type name struct{ quantity, fault string }
	var order []name
	by := map[name][]Pair{}
	for _, p := range c.Pairs {
		n := name{p.A.Name, p.A.Fault}
		if by[n] == nil {
			order = append(order, n)
		}
		by[n] = append(by[n], p)
	}
	var out [][]Pair
	for _, n := range order {
		out = append(out, by[n])
	}
	return out
}

func title(q *numbers.Quantity) string {
	s := q.Name
	if q.Unit != "" {
		s += " (" + q.Unit + ")"
	}
	if q.Fault != "" {
		s += " under " + q.Fault
	}
	return s
}

func quantity(pairs []Pair, levels bool) *table.Table {
	first := &pairs[0].A
	t := &table.Table{
		Name: strings.Trim("compare-"+first.Name+"-"+first.Fault, "-"), Caption: title(first) + ": " + first.Means,
		Columns: []table.Column{{Head: "system", Key: "system"}},
	}
	if levels {
		t.Columns = append(t.Columns, table.Column{Head: "levels", Key: "levels"})
	}
	t.Columns = append(t.Columns, []table.Column{
		{Head: "A", Key: "a", Right: true, Spread: true},
		{Head: "B", Key: "b", Right: true, Spread: true},
		{Head: "B/A", Key: "ratio", Right: true},
		{Head: "B against A", Key: "change", Right: true},
	}...)
	a, b, n := 0.0, 0.0, 0 // sums of logarithms
	for i := range pairs {
		p := &pairs[i]
		row := []table.Cell{table.Text(p.A.System)}
		if levels {
			row = append(row, table.Text(p.A.Levels))
		}
		t.Rows = append(t.Rows, append(row, over(&p.A), over(&p.B), table.Number(p.Ratio()), table.Text(p.change())))
		if p.A.Median > 0 && p.B.Median > 0 {
			a, b, n = a+math.Log(p.A.Median), b+math.Log(p.B.Median), n+1
		}
	}
	if n > 1 {
		row := []table.Cell{table.Text("geometric mean")}
		if levels {
			row = append(row, table.Text(""))
		}
		a, b = math.Exp(a/float64(n)), math.Exp(b/float64(n))
		t.Rows = append(t.Rows, append(row, table.Number(a), table.Number(b), table.Number(b/a), table.Text(percent(b/a))))
		if n < len(pairs) {
			t.Notes = append(t.Notes, "The geometric mean leaves out rows with a 0.")
		}
	}
	return t
}

// over is the cell of a quantity; a lower bound says so.
func over(q *numbers.Quantity) table.Cell {
	if q.IsCut() {
		return table.AtLeast(q.Median)
	}
	return table.Over(q.Summary)
}

// change says what became of A's value in B: by how much where that is more than chance, ~ where it is not, and without a
// test the bare figure.
func (p *Pair) change() string {
	few := fmt.Sprintf("n=%d+%d", p.A.N(), p.B.N())
	switch {
	case p.Test == nil && p.A.Median == p.B.Median:
		return "= (" + few + ", no test)"
	case p.Test == nil:
		return percent(p.Ratio()) + " (" + few + ", no test)"
	case !p.Differs():
		return fmt.Sprintf("~ (p=%.3f %s)", p.P, few)
	default:
		return fmt.Sprintf("%s (p=%.3f %s)", percent(p.Ratio()), p.P, few)
	}
}

func percent(ratio float64) string {
	if math.IsNaN(ratio) || math.IsInf(ratio, 0) {
		return "from 0"
	}
	return fmt.Sprintf("%+.1f %%", 100*(ratio-1))
}

// notes says how the tables are read.
func (c *Comparison) notes() []string {
	tested, flagged := 0, false
	for i := range c.Pairs {
		if t := c.Pairs[i].Test; t != nil {
			tested++
			flagged = flagged || len(t.Warnings) > 0
		}
	}
	out := []string{"Medians over valid trials, in brackets their 95 % interval from 6 trials on, else their range."}
	if tested < len(c.Pairs) {
		out = append(out, fmt.Sprintf("No test: fewer than %d trials on a side.", stats.MinTrials))
	}
	if tested > 0 {
		out = append(out, fmt.Sprintf("p: Mann-Whitney, corrected for %d tests (Holm); ~: no difference at p < %.2f.", tested, Alpha))
	}
	if flagged {
		out = append(out, fmt.Sprintf("Some tests rest on fewer than %d trials.", stats.FewTrials))
	}
	if c.A.Manifest.Substrate != c.B.Manifest.Substrate {
		out = append(out, fmt.Sprintf("A ran on %s, B on %s: compare ratios between systems, not the systems' own figures.", c.A.Manifest.Substrate, c.B.Manifest.Substrate))
	}
	return append(out, c.Alone...)
}

// Rows is the comparison as one table, a row a pair, for programs.
func (c *Comparison) Rows() *table.Table {
	t := &table.Table{
		Name:    "compare",
		Caption: fmt.Sprintf("%s %s (A) against %s %s (B)", c.A.Manifest.Experiment, c.A.Manifest.RunID, c.B.Manifest.Experiment, c.B.Manifest.RunID),
		Columns: []table.Column{
			{Head: "system", Key: "system"},
			{Head: "levels", Key: "levels", Wide: true},
			{Head: "fault", Key: "fault", Wide: true},
			{Head: "quantity", Key: "quantity"},
			{Head: "unit", Key: "unit"},
			{Head: "A", Key: "a", Right: true, Spread: true},
			{Head: "B", Key: "b", Right: true, Spread: true},
			{Head: "B/A", Key: "ratio", Right: true},
			{Head: "low", Key: "ratio_ci_low", Right: true, Wide: true},
			{Head: "high", Key: "ratio_ci_high", Right: true, Wide: true},
			{Head: "p (Holm)", Key: "p_holm", Right: true},
			{Head: "Cliff's delta", Key: "cliffs_delta", Right: true},
			{Head: "differs", Key: "differs", Wide: true},
		},
		Notes: c.notes(),
	}
	for i := range c.Pairs {
		p := &c.Pairs[i]
		low, high, delta := math.NaN(), math.NaN(), math.NaN()
		differs := table.Text("") // not tested: nobody knows
		if p.Test != nil {
			delta, differs = p.Test.Delta, table.Text(fmt.Sprint(p.Differs()))
			if ci := p.Test.RatioCI; ci != nil {
				low, high = ci.Low, ci.High
			}
		}
		t.Rows = append(t.Rows, []table.Cell{
			table.Text(p.A.System), table.Text(p.A.Levels), table.Text(p.A.Fault), table.Text(p.A.Name), table.Text(p.A.Unit), over(&p.A), over(&p.B),
			table.Number(p.Ratio()), table.Number(low), table.Number(high), table.Number(p.P), table.Number(delta), differs,
		})
	}
	return t
}

// Headlines says the result in sentences: what differs, and how much was looked at.
func (c *Comparison) Headlines() []string {
	var out []string
	tested := 0
	for i := range c.Pairs {
		p := &c.Pairs[i]
		if p.Test != nil {
			tested++
		}
		if p.Differs() {
			out = append(out, fmt.Sprintf("%s: %s in A, %s in B, %s.", &p.A, value(p.A.Median, p.A.Unit), value(p.B.Median, p.B.Unit), p.change()))
		}
	}
	switch {
	case tested == 0:
		out = append(out, fmt.Sprintf("%d quantities are in both runs; none has the %d trials on both sides that a test needs.", len(c.Pairs), stats.MinTrials))
	case len(out) == 0:
		out = append(out, fmt.Sprintf("In none of %d quantities that were tested do the runs differ by more than chance.", tested))
	default:
		out = append(out, fmt.Sprintf("In %d of %d quantities that were tested the runs differ by more than chance.", len(out), tested))
	}
	return out
}

func value(v float64, unit string) string { return strings.TrimSpace(table.Round(v) + " " + unit) }
