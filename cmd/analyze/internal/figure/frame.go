// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// axis maps data to a length.
type axis struct {
	min, max float64
	scale    plot.Normalizer
	ticks    []plot.Tick // without a label: a minor tick
}

// frame is a plot area with its two axes.
type frame struct {
	*pen
	x, y                     axis
	left, bottom, right, top vg.Length
}

func (f *frame) at(x, y float64) vg.Point { return vg.Point{X: f.px(x), Y: f.py(y)} }

func (f *frame) px(v float64) vg.Length {
	return f.left + vg.Length(f.x.scale.Normalize(f.x.min, f.x.max, v))*(f.right-f.left)
}

func (f *frame) py(v float64) vg.Length {
	return f.bottom + vg.Length(f.y.scale.Normalize(f.y.min, f.y.max, v))*(f.top-f.bottom)
}

const tickLength = vg.Length(2.2)

// grid draws lines at the labelled ticks, below the data.
func (f *frame) grid(x, y bool) {
	if x {
		for _, t := range f.x.ticks {
			if t.Label != "" {
				f.line(f.theme.Grid, 0.4, nil, vg.Point{X: f.px(t.Value), Y: f.bottom}, vg.Point{X: f.px(t.Value), Y: f.top})
			}
		}
	}
	if y {
		for _, t := range f.y.ticks {
			if t.Label != "" {
				f.line(f.theme.Grid, 0.4, nil, vg.Point{X: f.left, Y: f.py(t.Value)}, vg.Point{X: f.right, Y: f.py(t.Value)})
			}
		}
	}
}

// xAxis draws the axis with its tick labels below the frame and returns where the labels end.
func (f *frame) xAxis(labels bool) vg.Length {
	f.line(f.theme.Ink, 0.5, nil, vg.Point{X: f.left, Y: f.bottom}, vg.Point{X: f.right, Y: f.bottom})
	for _, t := range f.x.ticks {
		length := tickLength
		if t.Label == "" {
			length /= 2
		}
		f.line(f.theme.Ink, 0.5, nil, vg.Point{X: f.px(t.Value), Y: f.bottom}, vg.Point{X: f.px(t.Value), Y: f.bottom - length})
		if labels {
			f.write(t.Label, labelSize, f.theme.Ink, draw.XCenter, draw.YTop, vg.Point{X: f.px(t.Value), Y: f.bottom - tickLength - 1.2})
		}
	}
	return f.bottom - tickLength - 1.2 - labelSize
}

// yAxis draws the axis with its tick labels left of the frame.
func (f *frame) yAxis() {
	f.line(f.theme.Ink, 0.5, nil, vg.Point{X: f.left, Y: f.bottom}, vg.Point{X: f.left, Y: f.top})
	for _, t := range f.y.ticks {
		length := tickLength
		if t.Label == "" {
			length /= 2
		}
		f.line(f.theme.Ink, 0.5, nil, vg.Point{X: f.left, Y: f.py(t.Value)}, vg.Point{X: f.left - length, Y: f.py(t.Value)})
		f.write(t.Label, labelSize, f.theme.Ink, draw.XRight, draw.YCenter, vg.Point{X: f.left - tickLength - 1.5, Y: f.py(t.Value)})
	}
}

// margin is the room that a y axis takes with its labels and its name.
func (p *pen) margin(a axis) vg.Length {
	widest := vg.Length(0)
	for _, t := range a.ticks {
		widest = max(widest, p.width(t.Label, labelSize))
	}
	return edge + 1.3*labelSize + 2 + widest + tickLength + 1.5
}

// overhang is how far the last label of an axis reaches beyond its end.
func (p *pen) overhang(a axis) vg.Length {
	for _, t := range slices.Backward(a.ticks) {
		if t.Label != "" {
			return p.width(t.Label, labelSize)/2 + edge
		}
	}
	return edge
}

// thin returns the ticks of a horizontal axis without the labels that would touch the one before.
func (f *frame) thin(a axis) []plot.Tick {
	room := f.right - f.left
	out := slices.Clone(a.ticks)
	end := vg.Length(math.Inf(-1))
	for i, t := range out {
		at, half := vg.Length(a.scale.Normalize(a.min, a.max, t.Value))*room, f.width(t.Label, labelSize)/2
		if t.Label != "" && at-half < end+2 {
			out[i].Label = ""
			continue
		}
		if t.Label != "" {
			end = at + half
		}
	}
	return out
}

// niceStep returns 1, 2 or 5 times a power of ten such that span holds at most n of it.
func niceStep(span float64, n int) float64 {
	if span <= 0 || math.IsInf(span, 0) || math.IsNaN(span) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(span/float64(n))))
	for _, m := range []float64{1, 2, 5, 10} {
		if span/(m*power) <= float64(n) {
			return m * power
		}
	}
	return 10 * power
}

// linear returns an axis from min to max with at most n steps; grow moves max up to the next tick.
func linear(min, max float64, n int, grow bool) axis {
	step := niceStep(max-min, n)
	if grow {
		max = math.Ceil(max/step-1e-9) * step
	}
	a := axis{min: min, max: max, scale: plot.LinearScale{}}
	places := 0
	if step < 1 {
		places = int(math.Ceil(-math.Log10(step) - 1e-9))
	}
	for i := math.Ceil(min/step - 1e-9); i*step <= max+step*1e-9; i++ {
		a.ticks = append(a.ticks, plot.Tick{Value: i * step, Label: commas(strconv.FormatFloat(i*step+0, 'f', places, 64))})
	}
	return a
}

// logarithmic returns an axis that holds min to max, labelled at 1, 2 and 5 where that is legible and else at powers of ten.
func logarithmic(min, max float64) axis {
	a := axis{scale: plot.LogScale{}, min: min / 1.06, max: max * 1.06}
	decades := math.Log10(a.max / a.min)
	for e := math.Floor(math.Log10(a.min)); math.Pow(10, e) <= a.max; e++ {
		for m := 1.0; m < 10; m++ {
			v := m * math.Pow(10, e)
			if v < a.min*(1-1e-9) || v > a.max*(1+1e-9) {
				continue
			}
			label := ""
			if m == 1 || (decades < 2.3 && (m == 2 || m == 5)) || (decades < 0.6 && m != 7 && m != 9) {
				label = commas(strconv.FormatFloat(v, 'f', -1, 64))
				if e < 0 {
					label = strconv.FormatFloat(v, 'f', int(-e), 64)
				}
			}
			a.ticks = append(a.ticks, plot.Tick{Value: v, Label: label})
		}
	}
	return a
}
