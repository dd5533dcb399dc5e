// SPDX-License-Identifier: Apache-2.0

// Package comparison sets two runs beside each other as benchstat does two commits: what differs between them, and for
// every quantity of every system whether B is above or below A by more than chance would have it.
//
//  1. Of pairs the quantities that both runs have: of one name, system, levels and fault.
//  2. Pairs with enough trials on both sides are tested (stats.Compare); Holm's correction is over all tests of the comparison.
//  3. Tables lays them out for people, one table a quantity; Rows is one table for programs.
package comparison

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/numbers"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/table"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// Alpha is the level below which a corrected p says that two runs differ.
const Alpha = 0.05

// Comparison is what two runs show beside each other.
type Comparison struct {
	A, B        *digest.Run
	Pairs       []Pair
	Differences []Difference
	Alone       []string // quantities that one run has alone, in words
}

// Pair is one quantity in both runs.
type Pair struct {
	A, B numbers.Quantity
	Test *stats.Comparison // of B against A; nil where either has fewer than stats.MinTrials trials
	P    float64           // of Test after Holm's correction; NaN without a test
}

// Ratio is the median of B by that of A, NaN where A's is 0.
func (p *Pair) Ratio() float64 {
	if p.A.Median == 0 {
		return math.NaN()
	}
	return p.B.Median / p.A.Median
}

// Differs says that the runs differ in the quantity by more than chance.
func (p *Pair) Differs() bool { return p.Test != nil && p.P < Alpha }

// Difference is something that was not the same in both runs.
type Difference struct{ What, A, B string }

type key struct{ levels, system, fault, name string }

func keyOf(q *numbers.Quantity) key { return key{q.Levels, q.System, q.Fault, q.Name} }

// Of compares b with a. Quantities are those that want accepts by name.
func Of(a, b *digest.Run, want func(name string) bool) *Comparison {
	c := &Comparison{A: a, B: b, Differences: differences(a.Manifest, b.Manifest)}
	others := map[key]numbers.Quantity{}
	for _, q := range numbers.Of(b) {
		if want(q.Name) {
			others[keyOf(&q)] = q
		}
	}
	for _, q := range numbers.Of(a) {
		if !want(q.Name) {
			continue
		}
		other, ok := others[keyOf(&q)]
		if !ok {
			c.Alone = append(c.Alone, "A alone has "+q.String())
			continue
		}
		delete(others, keyOf(&q))
		p := Pair{A: q, B: other, P: math.NaN()}
		if test, err := stats.Compare(other.Values, q.Values, a.Manifest.Seed); err == nil {
			p.Test = &test
		}
		c.Pairs = append(c.Pairs, p)
	}
	for _, k := range slices.SortedFunc(maps.Keys(others), func(x, y key) int {
		return cmp.Or(cmp.Compare(x.levels, y.levels), cmp.Compare(x.system, y.system), cmp.Compare(x.fault, y.fault), cmp.Compare(x.name, y.name))
	}) {
		q := others[k]
		c.Alone = append(c.Alone, "B alone has "+q.String())
	}
	c.correct()
	return c
}

// correct sets the P of every pair that was tested.
func (c *Comparison) correct() {
	var p []float64
	for i := range c.Pairs {
		if t := c.Pairs[i].Test; t != nil {
			p = append(p, t.P)
		}
	}
	p = stats.Holm(p)
	for i := range c.Pairs {
		if c.Pairs[i].Test != nil {
			c.Pairs[i].P, p = p[0], p[1:]
		}
	}
}

// differences lists in what two runs were set up otherwise.
func differences(a, b results.Manifest) []Difference {
	var out []Difference
	add := func(what, a, b string) {
		if a != b {
			out = append(out, Difference{what, cmp.Or(a, table.Missing), cmp.Or(b, table.Missing)})
		}
	}
	add("experiment", a.Experiment, b.Experiment)
	add("substrate", a.Substrate, b.Substrate)
	add("commit", a.Source.String(), b.Source.String())
	add("seed", fmt.Sprint(a.Seed), fmt.Sprint(b.Seed))
	add("thinning", a.Thinning, b.Thinning)
	for _, name := range union(a.Factors, b.Factors) {
		add("factor "+name, strings.Join(a.Factors[name], ", "), strings.Join(b.Factors[name], ", "))
	}
	for _, name := range union(a.Versions, b.Versions) {
		add("version of "+name, a.Versions[name], b.Versions[name])
	}
	for _, name := range union(a.Settings, b.Settings) {
		add(name, a.Settings[name], b.Settings[name])
	}
	add("processors", processors(a.Hosts), processors(b.Hosts))
	return out
}

func union[V any](a, b map[string]V) []string {
	all := map[string]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// processors says which processors the run had, each kind once.
func processors(hosts []results.Host) string {
	kinds := map[string]bool{}
	for _, h := range hosts {
		kinds[fmt.Sprintf("%d × %s", h.CPUs, h.CPU)] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(kinds)), ", ")
}
