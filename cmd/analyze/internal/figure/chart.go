// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dnsingress/dnsingress/internal/stats"
)

// chartHeight is that of a figure of one plot area.
const chartHeight = 2.45 * vg.Inch

// chart makes room for a plot area between legend and note and draws its grid. axes is called when the data are drawn.
func (p *pen) chart(keys []key, note string, x, y axis) *frame {
	head := p.legend(keys)
	foot := p.note(note, false)
	f := &frame{pen: p, x: x, y: y, bottom: p.Min.Y + foot + 24, top: p.Max.Y - max(head, 6)}
	f.right = p.Max.X - max(8, p.overhang(x))
	f.left = p.Min.X + p.margin(y)
	f.x.ticks = f.thin(f.x)
	f.grid(true, true)
	return f
}

// axes draws the axes with their names.
func (f *frame) axes(xLabel, yLabel string) {
	f.yAxis()
	below := f.xAxis(true)
	f.write(xLabel, labelSize, f.theme.Ink, draw.XCenter, draw.YTop, vg.Point{X: (f.left + f.right) / 2, Y: below - 1})
	f.turned(yLabel, labelSize, f.theme.Ink, vg.Point{X: f.Min.X + edge, Y: (f.top + f.bottom) / 2})
}

// place is what a curve shows at one place: a summary over the trials there.
type place struct {
	x float64
	stats.Summary
}

// trace is a series of summaries from left to right.
type trace struct {
	name   string
	places []place
}

// traces draws medians joined by lines, their bars and each trial, the bars of different traces beside each other.
func (f *frame) traces(all []trace, strokes []stroke) {
	shift := func(i int) vg.Length { return vg.Length(float64(i)-float64(len(all)-1)/2) * 1.9 }
	clamp := func(v float64) vg.Length { return min(max(f.py(v), f.bottom), f.top) }
	for i, c := range all {
		for _, pl := range c.places {
			x := f.px(pl.x) + shift(i)
			if pl.N() > 1 {
				for _, v := range pl.Values {
					f.faint(strokes[i], vg.Point{X: x, Y: clamp(v)}, 1.1)
				}
			}
		}
	}
	for i, c := range all {
		var line []vg.Point
		for _, pl := range c.places {
			line = append(line, vg.Point{X: f.px(pl.x) + shift(i), Y: clamp(pl.Median)})
		}
		f.line(strokes[i].color, 0.9, strokes[i].dashes, line...)
		for j, pl := range c.places {
			if low, high := bounds(pl.Summary); pl.N() > 1 && high > low {
				f.whisker(strokes[i].color, vg.Point{X: line[j].X, Y: clamp(low)}, vg.Point{X: line[j].X, Y: clamp(high)})
			}
		}
		for _, at := range line {
			f.mark(strokes[i], at, markRadius)
		}
	}
}

// extent returns the least and largest of what traces show, and of x.
func extent(all []trace) (x, y [2]float64, summaries []stats.Summary) {
	x, y = [2]float64{math.Inf(1), math.Inf(-1)}, [2]float64{math.Inf(1), math.Inf(-1)}
	for _, c := range all {
		for _, pl := range c.places {
			low, high := bounds(pl.Summary)
			x[0], x[1] = min(x[0], pl.x), max(x[1], pl.x)
			y[0], y[1] = min(y[0], low, pl.Min), max(y[1], high, pl.Max)
			summaries = append(summaries, pl.Summary)
		}
	}
	return x, y, summaries
}

// upright is the axis of a quantity between two values: logarithmic where it is one that spans orders of magnitude, else from 0.
func upright(log bool, least, most float64) axis {
	if log && least > 0 {
		if most < 1.5*least { // a narrow range keeps some room, and a tick
			least, most = least/1.3, most*1.3
		}
		return logarithmic(least, most)
	}
	if most <= 0 {
		most = 1
	}
	return linear(min(0, least), most, 5, true)
}

// across is the axis of a factor's numbers: logarithmic where they are not spread evenly.
func across(xs []float64) axis {
	least, most := slices.Min(xs), slices.Max(xs)
	if least > 0 && most/least >= 8 {
		pad := math.Pow(most/least, 0.055)
		return logarithmic(least/pad, most*pad)
	}
	a := linear(least, most, 6, false)
	pad := 0.05 * (most - least)
	if pad == 0 {
		pad = max(1, math.Abs(least)*0.1)
	}
	a = linear(least-pad, most+pad, 6, false)
	a.ticks = slices.DeleteFunc(a.ticks, func(t plot.Tick) bool { return least >= 0 && t.Value < 0 })
	return a
}

// lineKeys are the legend entries of series with points.
func lineKeys(names []string, strokes []stroke) []key {
	var keys []key
	for i, name := range names {
		keys = append(keys, key{name: name, line: &strokes[i], mark: true})
	}
	return keys
}
