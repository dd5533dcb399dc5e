// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dnsingress/dnsingress/internal/stats"
)

// Trials is the kind trials.
func (Catalog) Trials() Kind {
	return Kind{
		Name: "trials", Does: "a quantity of every trial: points, from 6 on a box with the interval of the median, from 10 on a cloud of density", Y: "p99",
		Draw: func(d Data) *Figure {
			q := quantity(d.Y)
			var rows []Row
			for _, s := range d.Series {
				if v := values(s.Trials, q); len(v) > 0 {
					rows = append(rows, Row{s.Name, stats.Summarize(v, d.Seed)})
				}
			}
			return Rain(d.Name, q.Label, q.Log, rows)
		},
	}
}

// Row is one series of a raincloud: one value a trial.
type Row struct {
	Name string
	stats.Summary
}

// Rain draws every trial's value by series, with as much summary as their number bears: Allen et al., "Raincloud plots: a
// multi-platform tool for robust data visualization", 2019. It returns nil without any.
func Rain(name, label string, log bool, rows []Row) *Figure {
	if len(rows) == 0 {
		return nil
	}
	row := 0.15 * vg.Inch
	if slices.ContainsFunc(rows, func(r Row) bool { return r.N() >= stats.MinTrials }) {
		row = 0.3 * vg.Inch
	}
	return &Figure{
		Name: name, Title: "Every trial: " + label, Height: max(0.72*vg.Inch+vg.Length(len(rows))*row, 1.3*vg.Inch),
		draw: func(p *pen) { drawRain(p, label, log, rows) },
	}
}

func drawRain(p *pen, label string, log bool, rows []Row) {
	least, most, names := math.Inf(1), math.Inf(-1), vg.Length(0)
	var n []int
	boxes, clouds := false, false
	for _, r := range rows {
		least, most = min(least, r.Min), max(most, r.Max)
		names = max(names, p.width(r.Name, labelSize))
		n = append(n, r.N())
		boxes, clouds = boxes || r.N() >= stats.MinTrials, clouds || r.N() >= stats.FewTrials
	}
	note := fmt.Sprintf("Points: trials, n = %d", slices.Min(n))
	if slices.Max(n) != slices.Min(n) {
		note += fmt.Sprintf(" to %d", slices.Max(n))
	}
	note += "."
	if boxes {
		note += " Box: quartiles and median; thick line: 95 % CI of the median (BCa)."
		if slices.Min(n) < stats.FewTrials {
			note += " Below 10 trials: few."
		}
	}
	if clouds {
		note += " Cloud: density of trials."
	}
	if slices.Min(n) < stats.MinTrials {
		note += " Line: range, stroke: median; below 6 trials no CI."
	}
	foot := p.note(note, false)
	f := &frame{pen: p, left: p.Min.X + edge + names + 5, bottom: p.Min.Y + foot + 24, top: p.Max.Y - 6}
	f.x = upright(log, least, most)
	if !log || least <= 0 {
		f.x = around(least, most)
	}
	f.right = p.Max.X - max(8, p.overhang(f.x))
	f.x.ticks = f.thin(f.x)
	f.y = axis{min: 0, max: float64(len(rows)), scale: plot.LinearScale{}}
	f.grid(true, false)
	strokes := p.theme.strokes(rowNames(rows))
	if len(rows) > len(p.theme.others) { // colours that come again would mean something; rows have names
		for i := range strokes {
			strokes[i] = stroke{color: p.theme.Ink, shape: disc}
		}
	}
	for i, r := range rows {
		f.rain(r, float64(len(rows)-i)-0.5, strokes[i])
	}
	f.line(p.theme.Ink, 0.5, nil, vg.Point{X: f.left, Y: f.bottom}, vg.Point{X: f.left, Y: f.top})
	below := f.xAxis(true)
	p.write(label, labelSize, p.theme.Ink, draw.XCenter, draw.YTop, vg.Point{X: (f.left + f.right) / 2, Y: below - 1})
}

// around is an axis around values that need not begin at 0: where each trial is shown the distances count.
func around(least, most float64) axis {
	pad := 0.05 * (most - least)
	if pad == 0 {
		pad = max(0.05*math.Abs(least), 1e-3)
	}
	low := least - pad
	if least >= 0 {
		low = max(0, low)
	}
	return linear(low, most+pad, 5, false)
}

func rowNames(rows []Row) (out []string) {
	for _, r := range rows {
		out = append(out, r.Name)
	}
	return out
}

func (f *frame) rain(r Row, row float64, s stroke) {
	f.write(r.Name, labelSize, f.theme.Ink, draw.XRight, draw.YCenter, vg.Point{X: f.left - 4, Y: f.py(row)})
	box, drops := f.py(row), f.py(row-0.27)
	if r.N() < stats.MinTrials {
		drops = box
		f.line(s.color, 0.7, nil, vg.Point{X: f.px(r.Min), Y: box}, vg.Point{X: f.px(r.Max), Y: box})
	}
	if r.N() >= stats.FewTrials && r.Max > r.Min {
		f.cloud(r, row+0.14, 0.32, blend(s.color, f.theme.Paper, 0.35))
	}
	if r.N() >= stats.MinTrials {
		const half = vg.Length(2)
		low, high := f.px(stats.Quantile(r.Values, 0.25)), f.px(stats.Quantile(r.Values, 0.75))
		f.line(s.color, 0.6, nil, vg.Point{X: f.px(r.Min), Y: box}, vg.Point{X: f.px(r.Max), Y: box})
		f.rect(f.theme.Paper, low, box-half, high, box+half)
		f.line(s.color, 0.7, nil, vg.Point{X: low, Y: box - half}, vg.Point{X: high, Y: box - half}, vg.Point{X: high, Y: box + half}, vg.Point{X: low, Y: box + half}, vg.Point{X: low, Y: box - half})
		if r.Interval != nil {
			f.line(s.color, 1.8, nil, vg.Point{X: f.px(r.Interval.Low), Y: box}, vg.Point{X: f.px(r.Interval.High), Y: box})
		}
	}
	// Values that are near each other are set at three heights, in the order of trials.
	for i, v := range r.Values {
		y := drops
		if r.N() >= stats.MinTrials {
			y += vg.Length(i%3-1) * 1.3
		}
		if r.N() < stats.MinTrials {
			f.mark(s, vg.Point{X: f.px(v), Y: y}, 1.6)
			continue
		}
		f.faint(stroke{color: f.theme.Ink, shape: s.shape}, vg.Point{X: f.px(v), Y: y}, 1.2)
	}
	if r.N() == 1 {
		return
	}
	mid := f.px(r.Median)
	f.line(f.theme.Ink, 1, nil, vg.Point{X: mid, Y: box - 3.4}, vg.Point{X: mid, Y: box + 3.4})
}

// cloud draws the density of a row's values: normal kernels of the width of Silverman, "Density estimation", 1986, equation
// 3.31, on the scale of the axis and within the values' range.
func (f *frame) cloud(r Row, row, height float64, c color.Color) {
	at := make([]float64, r.N())
	for i, v := range r.Values {
		at[i] = float64(f.px(v))
	}
	mean, square := stats.Mean(at), 0.0
	for _, v := range at {
		square += (v - mean) * (v - mean)
	}
	sd := math.Sqrt(square / float64(len(at)-1))
	quartiles := (stats.Quantile(at, 0.75) - stats.Quantile(at, 0.25)) / 1.34
	if quartiles == 0 {
		quartiles = sd
	}
	width := 0.9 * min(sd, quartiles) * math.Pow(float64(len(at)), -0.2)
	const steps = 96
	low, high := slices.Min(at), slices.Max(at)
	density, most := make([]float64, steps+1), 0.0
	for i := range density {
		x := low + (high-low)*float64(i)/steps
		for _, v := range at {
			density[i] += math.Exp(-(x - v) * (x - v) / (2 * width * width))
		}
		most = max(most, density[i])
	}
	line := []vg.Point{{X: vg.Length(low), Y: f.py(row)}}
	for i, d := range density {
		line = append(line, vg.Point{X: vg.Length(low + (high-low)*float64(i)/steps), Y: f.py(row + height*d/most)})
	}
	f.FillPolygon(c, append(line, vg.Point{X: vg.Length(high), Y: f.py(row)}))
}
