// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// Pareto is the kind pareto.
func (Catalog) Pareto() Kind {
	return Kind{
		Name: "pareto", Does: "two quantities of which less is better, as a rule cost and p99, and who is beaten in neither", X: aQuantity, Y: "p99",
		Draw: func(d Data) *Figure {
			x, y := quantity(cmp.Or(d.X, "cpu")), quantity(d.Y)
			var all []Trade
			for _, s := range d.Series {
				t := Trade{s.Name, stats.Summarize(values(s.Trials, x), d.Seed), stats.Summarize(values(s.Trials, y), d.Seed)}
				if t.X.N() > 0 && t.Y.N() > 0 {
					all = append(all, t)
				}
			}
			return Pareto(d.Name, x.Label, y.Label, y.Log, all)
		},
	}
}

// Trade is what a series costs and what it gives for it, over trials.
type Trade struct {
	Name string
	X, Y stats.Summary
}

// front returns which of the trades no other beats in both medians, from the left to the right. The floor takes no part.
func front(all []Trade) []Trade {
	var out []Trade
	all = slices.DeleteFunc(slices.Clone(all), func(t Trade) bool { return t.Name == digest.Floor })
	for _, t := range all {
		beaten := slices.ContainsFunc(all, func(o Trade) bool {
			return o.X.Median <= t.X.Median && o.Y.Median <= t.Y.Median && (o.X.Median < t.X.Median || o.Y.Median < t.Y.Median)
		})
		if !beaten {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b Trade) int { return cmp.Or(cmp.Compare(a.X.Median, b.X.Median), cmp.Compare(a.Name, b.Name)) })
	return out
}

// Pareto draws medians of two quantities against each other with their bars, and the front of those that no other beats
// in both. It returns nil when there are fewer than two.
func Pareto(name, xLabel, yLabel string, log bool, all []Trade) *Figure {
	if len(all) < 2 {
		return nil
	}
	return &Figure{Name: name, Title: yLabel + " against " + xLabel, Height: chartHeight, draw: func(p *pen) {
		var names []string
		var summaries []stats.Summary
		most, least, top := 0.0, all[0].Y.Min, 0.0
		for _, t := range all {
			names = append(names, t.Name)
			summaries = append(summaries, t.X, t.Y)
			_, right := bounds(t.X)
			low, high := bounds(t.Y)
			most, least, top = max(most, right), min(least, low), max(top, high)
		}
		strokes := p.theme.strokes(names)
		keys := lineKeys(names, strokes)
		for i := range keys {
			keys[i].point = true
		}
		ahead := front(all)
		var best []string
		floor := ""
		if slices.Contains(names, digest.Floor) {
			floor = "; " + digest.Floor + " is the floor"
		}
		for _, t := range ahead {
			best = append(best, t.Name)
		}
		keys = append(keys, key{name: "front", line: &stroke{color: p.theme.Muted, dashes: []vg.Length{2, 1.4}}})
		if most == 0 {
			most = 1
		}
		f := p.chart(keys, uncertainty("Bars", summaries)+fmt.Sprintf(" Front: beaten by no other in both medians (%s%s).", strings.Join(best, ", "), floor), linear(0, most, 5, true), upright(log, least, top))
		var line []vg.Point
		for i, t := range ahead {
			at := f.at(t.X.Median, t.Y.Median)
			if i > 0 {
				line = append(line, vg.Point{X: at.X, Y: line[len(line)-1].Y})
			}
			line = append(line, at)
		}
		f.line(p.theme.Muted, 0.8, []vg.Length{2, 1.4}, line...)
		for i, t := range all {
			at := f.at(t.X.Median, t.Y.Median)
			if low, high := bounds(t.X); high > low {
				f.whisker(strokes[i].color, vg.Point{X: f.px(low), Y: at.Y}, vg.Point{X: f.px(high), Y: at.Y})
			}
			if low, high := bounds(t.Y); high > low {
				f.whisker(strokes[i].color, vg.Point{X: at.X, Y: f.py(low)}, vg.Point{X: at.X, Y: f.py(high)})
			}
		}
		for i, t := range all {
			p.mark(strokes[i], f.at(t.X.Median, t.Y.Median), 1.25*markRadius)
		}
		f.axes(xLabel, yLabel)
	}}
}
