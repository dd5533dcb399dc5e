// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dnsingress/dnsingress/internal/stats"
)

// Part is one segment of a bar.
type Part struct {
	Name  string // as the legend and the theme call it
	Value float64
}

// Bar is one system's row: a stack, a thin stack below it of what is shown apart, and a point for each trial's sum.
type Bar struct {
	System string
	Parts  []Part
	Apart  []Part
	Trials []float64
	Seed   uint64 // of the bootstrap
}

// stacked draws bars. It returns nil when there is none.
func stacked(name, title, label, note string, bars []Bar) *Figure {
	if len(bars) == 0 {
		return nil
	}
	return &Figure{
		Name: name, Title: title, Height: 0.8*vg.Inch + vg.Length(len(bars))*0.235*vg.Inch,
		draw: func(p *pen) { drawBars(p, label, note, bars) },
	}
}

func drawBars(p *pen, label, note string, bars []Bar) {
	var keys []key
	known := map[string]bool{}
	trials, most, names := []int{}, 0.0, vg.Length(0)
	for _, thin := range []bool{false, true} {
		for _, b := range bars {
			sum := 0.0
			for _, part := range b.parts(thin) {
				sum += part.Value
			}
			most = max(most, sum)
		}
	}
	for _, b := range bars {
		names = max(names, p.width(b.System, labelSize))
		trials = append(trials, len(b.Trials))
		for _, v := range b.Trials {
			most = max(most, v)
		}
	}
	for _, thin := range []bool{false, true} {
		if thin && len(keys) > 0 && longest(bars, true) > 0 {
			keys[len(keys)-1].last = true
		}
		for part := range longest(bars, thin) { // every bar lists its parts in one order
			for _, b := range bars {
				if parts := b.parts(thin); part < len(parts) && parts[part].Value > 0 && !known[parts[part].Name] {
					known[parts[part].Name] = true
					keys = append(keys, key{name: parts[part].Name, fill: p.theme.parts[parts[part].Name]})
				}
			}
		}
	}
	points := slices.Max(trials) > 0
	if points {
		keys = append(keys, key{name: "a trial", ring: true})
		var over []stats.Summary
		for _, b := range bars {
			over = append(over, b.over())
		}
		note += " " + uncertainty("Line", over)
	}
	head := p.legend(keys)
	foot := p.note(note, false)
	f := &frame{pen: p, left: p.Min.X + edge + names + 5, bottom: p.Min.Y + foot + 24, top: p.Max.Y - head}
	if most == 0 {
		most = 1
	}
	f.x = linear(0, most, 5, true)
	f.right = p.Max.X - max(8, p.overhang(f.x))
	f.y = axis{min: 0, max: float64(len(bars)), scale: plot.LinearScale{}}
	f.grid(true, false)
	for i, b := range bars {
		f.bar(b, float64(len(bars)-i)-0.5)
	}
	f.line(p.theme.Ink, 0.5, nil, vg.Point{X: f.left, Y: f.bottom}, vg.Point{X: f.left, Y: f.top})
	below := f.xAxis(true)
	p.write(label, labelSize, p.theme.Ink, draw.XCenter, draw.YTop, vg.Point{X: (f.left + f.right) / 2, Y: below - 1})
}

// over summarises the trials' sums.
func (b Bar) over() stats.Summary { return stats.Summarize(b.Trials, b.Seed) }

func (b Bar) parts(apart bool) []Part {
	if apart {
		return b.Apart
	}
	return b.Parts
}

func longest(bars []Bar, apart bool) int {
	n := 0
	for _, b := range bars {
		n = max(n, len(b.parts(apart)))
	}
	return n
}

func (f *frame) bar(b Bar, row float64) {
	stack := func(parts []Part, low, high float64) {
		sum := 0.0
		for _, part := range parts {
			f.rect(f.theme.parts[part.Name], f.px(sum), f.py(row+low), f.px(sum+part.Value), f.py(row+high))
			if sum > 0 && part.Value > 0 { // a seam, for where colours are lost
				f.line(f.theme.Paper, 0.5, nil, vg.Point{X: f.px(sum), Y: f.py(row + low)}, vg.Point{X: f.px(sum), Y: f.py(row + high)})
			}
			sum += part.Value
		}
	}
	middle := row
	if len(b.Apart) > 0 {
		stack(b.Parts, -0.14, 0.36)
		stack(b.Apart, -0.34, -0.19)
		middle = row + 0.11
	} else {
		stack(b.Parts, -0.28, 0.28)
	}
	f.write(b.System, labelSize, f.theme.Ink, draw.XRight, draw.YCenter, vg.Point{X: f.left - 4, Y: f.py(row)})
	if len(b.Trials) == 0 {
		return
	}
	y := f.py(middle)
	low, high := bounds(b.over())
	f.line(f.theme.Ink, 1.1, nil, vg.Point{X: f.px(low), Y: y}, vg.Point{X: f.px(high), Y: y})
	for _, v := range b.Trials {
		f.dot(f.theme.Ink, vg.Point{X: f.px(v), Y: y})
	}
}
