// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"

	"github.com/dnsingress/dnsingress/internal/stats"
)

// RateLatency is the kind rate-latency.
func (Catalog) RateLatency() Kind {
	return Kind{
		Name: "rate-latency", Does: "a quantity, as a rule p99, over the offered rate, with the knee of each line", X: aFactor, Y: "p99",
		Draw: func(d Data) *Figure {
			d.X = cmp.Or(d.X, "rate")
			q := quantity(d.Y)
			all, unit := tracesOf(d)
			var knees []knee
			for i, s := range d.Series {
				if i < len(all) && all[i].name == s.Name {
					knees = append(knees, findKnee(all[i], q.Log, d.Seed))
				}
			}
			label := "offered rate (requests/s)"
			if d.X != "rate" {
				label = axisLabel(d.X, unit)
			}
			return Rate(d.Name, "Latency against the offered rate: "+q.Label, label, q.Label, q.Log, all, knees)
		},
	}
}

// tracesOf summarises a Data's Y at each of the levels of its X, which are numbers. Series without any are left out,
// and there is no trace at all where fewer than two levels have values.
func tracesOf(d Data) (all []trace, unit string) {
	q := quantity(d.Y)
	seen := map[float64]bool{}
	for _, s := range d.Series {
		at := map[float64][]float64{}
		for _, t := range s.Trials {
			x, u, ok := number(level(t, d.X))
			if d.X == "rate" && !ok {
				x, ok = t.Rate, t.Rate > 0
			}
			if v, has := q.Of(t); ok && has && !math.IsNaN(v) && !math.IsInf(v, 0) {
				at[x] = append(at[x], v)
				unit = u
				seen[x] = true
			}
		}
		tr := trace{name: s.Name}
		for x, v := range at {
			tr.places = append(tr.places, place{x, stats.Summarize(v, d.Seed)})
		}
		slices.SortFunc(tr.places, func(a, b place) int { return cmp.Compare(a.x, b.x) })
		all = append(all, tr)
	}
	if len(seen) < 2 {
		return nil, ""
	}
	return slices.DeleteFunc(all, func(t trace) bool { return len(t.places) == 0 }), unit
}

func axisLabel(factor, unit string) string {
	label := strings.ReplaceAll(strings.ReplaceAll(factor, "_", " "), "-", " ")
	if unit != "" {
		label += " (" + unit + ")"
	}
	return label
}

// knee is where a trace bends, if it does.
type knee struct {
	name string
	stats.Knee
	ci *stats.Interval
}

// kneeResamples are enough for limits that are drawn two points wide.
const kneeResamples = 999

func findKnee(t trace, log bool, seed uint64) knee {
	var points []stats.Point
	for _, pl := range t.places {
		for _, v := range pl.Values {
			if log {
				v = math.Log(max(v, math.SmallestNonzeroFloat64))
			}
			points = append(points, stats.Point{X: pl.x, Y: v})
		}
	}
	k := knee{name: t.name}
	found, err := stats.FindKnee(points)
	if err != nil || !found.Clear || found.Right <= found.Left {
		return k
	}
	k.Knee = found
	if log {
		k.Y = math.Exp(k.Y)
	}
	if ci, err := stats.KneeInterval(points, 0.95, kneeResamples, seed); err == nil {
		k.ci = &ci
	}
	return k
}

// Rate draws a quantity over the offered rate, and where each line bends upwards. It returns nil when there is no trace.
func Rate(name, title, xLabel, yLabel string, log bool, all []trace, knees []knee) *Figure {
	if len(all) == 0 {
		return nil
	}
	return &Figure{Name: name, Title: title, Height: chartHeight, draw: func(p *pen) {
		_, y, summaries := extent(all)
		var texts []string
		for _, k := range knees {
			if !k.Clear {
				continue
			}
			text := fmt.Sprintf("%s %s", k.name, commas(fmt.Sprintf("%.3g", k.X)))
			if k.X >= 1000 {
				text = fmt.Sprintf("%s %s", k.name, thousands(int64(math.Round(k.X))))
			}
			if k.ci != nil {
				text += fmt.Sprintf(" (%s to %s)", thousands(int64(math.Round(k.ci.Low))), thousands(int64(math.Round(k.ci.High))))
			}
			texts = append(texts, text)
		}
		note := uncertainty("Bars", summaries)
		keys := lineKeys(namesOf(all), p.theme.strokes(namesOf(all)))
		if len(texts) > 0 {
			note += " Knee (two lines by least squares): " + strings.Join(texts, ", ") + "."
			keys = append(keys, key{name: "knee", drop: true})
		} else {
			note += " No line bends clearly."
		}
		var xs []float64
		for _, t := range all {
			for _, pl := range t.places {
				xs = append(xs, pl.x)
			}
		}
		strokes := p.theme.strokes(namesOf(all))
		f := p.chart(keys, note, across(xs), upright(log, y[0], y[1]))
		for i, k := range knees {
			if k.Clear {
				at := min(max(f.py(k.Y), f.bottom), f.top)
				f.line(strokes[i].color, 0.7, []vg.Length{1.2, 1.2}, vg.Point{X: f.px(k.X), Y: f.bottom}, vg.Point{X: f.px(k.X), Y: at})
				f.drop(strokes[i].color, vg.Point{X: f.px(k.X), Y: f.bottom})
			}
		}
		f.traces(all, strokes)
		f.axes(xLabel, yLabel)
	}}
}

// drop draws a mark that stands on an axis.
func (p *pen) drop(c color.Color, at vg.Point) {
	p.FillPolygon(c, []vg.Point{at, {X: at.X - 2.2, Y: at.Y + 4}, {X: at.X + 2.2, Y: at.Y + 4}})
}
