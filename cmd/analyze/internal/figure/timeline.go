// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"fmt"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Panel is what clients of one system saw around a fault. Times are seconds relative to the fault's begin.
type Panel struct {
	System     string
	Bin        float64   // width of a bin
	Start      float64   // begin of the first bin
	Requests   []float64 // due in each bin, over all trials
	Failed     []float64 // of those
	FaultEnd   float64   // the latest of the trials
	First      float64   // first failed intended send; NaN when nothing failed because of the fault
	Last       float64   // last failure seen
	FailedSum  uint64
	RequestSum uint64
	Trials     int
	Open       bool // requests still failed when the measured window ended
}

// Timeline draws the share of requests that failed, by when they were due, one panel a system on one scale, the time of the fault shaded.
// It returns nil when there is no panel.
func Timeline(name, fault string, panels []Panel) *Figure {
	if len(panels) == 0 {
		return nil
	}
	return &Figure{
		Name: name, Title: "Failed requests around the fault " + fault + " by system",
		Height: stack{}.height(len(panels)),
		draw:   func(p *pen) { drawTimeline(p, fault, panels) },
	}
}

func drawTimeline(p *pen, fault string, panels []Panel) {
	from, to, peak, bin := math.Inf(1), math.Inf(-1), 0.0, 0.0
	trials := []int{}
	for _, d := range panels {
		from, to = min(from, d.Start), max(to, d.Start+d.Bin*float64(len(d.Requests)))
		bin = max(bin, d.Bin)
		trials = append(trials, d.Trials)
		for i, n := range d.Requests {
			if n > 0 {
				peak = max(peak, 100*d.Failed[i]/n)
			}
		}
	}
	s := &stack{
		pen: p, from: from, to: to, peak: peak, label: "failed requests (%)",
		head: p.legend([]key{{name: "fault: " + fault, fill: p.theme.Fault}, {name: "client error window", line: &stroke{color: p.theme.Ink}}}),
		foot: p.note(fmt.Sprintf("Shares of requests due within %s; %s a system. Window: first failed intended send to last failure seen.",
			span(bin), count(trials, "trial")), false),
	}
	s.draw(len(panels), func(f *frame, i int) { f.panel(panels[i], i) })
}

// stack is panels one below the other, with shares in per cent over the time since a fault began, on one scale.
type stack struct {
	*pen
	head, foot     vg.Length // what legend and note take
	from, to, peak float64
	label          string
}

// height is that of a figure with so many panels.
func (stack) height(panels int) vg.Length {
	return max(0.62*vg.Inch+vg.Length(panels)*0.475*vg.Inch, 1.7*vg.Inch)
}

func (s *stack) draw(panels int, each func(f *frame, i int)) {
	p := s.pen
	bottom := p.Min.Y + s.foot + 24
	slot := (p.Max.Y - s.head - bottom) / vg.Length(panels)
	f := &frame{pen: p}
	f.x = linear(s.from, s.to, 8, false)
	f.right = p.Max.X - max(6, p.overhang(f.x))
	f.y = shares(s.peak)
	f.left = p.Min.X + p.margin(f.y)
	for i := range panels {
		f.top = p.Max.Y - s.head - vg.Length(i)*slot - 1.45*labelSize
		f.bottom = p.Max.Y - s.head - vg.Length(i+1)*slot + 4
		last := i == panels-1
		if last {
			f.bottom = bottom
		}
		each(f, i)
		f.xAxis(last)
	}
	p.write("time since the fault began (s)", labelSize, p.theme.Ink, draw.XCenter, draw.YTop, vg.Point{X: (f.left + f.right) / 2, Y: bottom - tickLength - 2.2 - labelSize})
	p.turned(s.label, labelSize, p.theme.Ink, vg.Point{X: p.Min.X + edge, Y: (p.Max.Y - s.head + bottom) / 2})
}

func (f *frame) panel(d Panel, i int) {
	s := f.theme.system(d.System, i)
	f.parts(s, d.FaultEnd, d.Start, d.Bin, d.Requests, d.Failed)
	f.write(d.System, labelSize, f.theme.Ink, draw.XLeft, draw.YBottom, vg.Point{X: f.left, Y: f.top + 1.6})
	outcome := "no request failed"
	if !math.IsNaN(d.First) {
		bound := ""
		if d.Open {
			bound = "at least "
		}
		outcome = fmt.Sprintf("%s of %s failed, window %s%s s", thousands(int64(d.FailedSum)), thousands(int64(d.RequestSum)), bound, seconds(d.Last-d.First))
		if f.width(d.System+"  "+outcome, labelSize) > f.right-f.left {
			outcome = fmt.Sprintf("%s failed, %s%s s", thousands(int64(d.FailedSum)), bound, seconds(d.Last-d.First))
		}
		y := f.top + 0.2
		f.line(f.theme.Ink, 1.2, nil, vg.Point{X: f.px(max(d.First, f.x.min)), Y: y}, vg.Point{X: f.px(min(d.Last, f.x.max)), Y: y})
	}
	f.write(outcome, labelSize, f.theme.Muted, draw.XRight, draw.YBottom, vg.Point{X: f.right, Y: f.top + 1.6})
}

// parts draws which share of whole each part is, by bins, and the time of the fault behind them.
func (f *frame) parts(s stroke, faultEnd, start, bin float64, whole, part []float64) {
	f.rect(f.theme.Fault, f.px(max(0, f.x.min)), f.bottom, f.px(min(faultEnd, f.x.max)), f.top)
	f.grid(false, true)
	for i, n := range whole {
		if n > 0 && part[i] > 0 {
			x := start + float64(i)*bin
			f.rect(s.color, f.px(x), f.bottom, f.px(min(x+bin, f.x.max)), f.py(100*part[i]/n))
		}
	}
	f.yAxis()
}

// shares is an axis of per cents with ticks at none, half and all of it.
func shares(peak float64) axis {
	most := 100.0
	for _, m := range []float64{1, 2, 4, 10, 20, 40, 60, 80} {
		if peak <= m {
			most = m
			break
		}
	}
	a := axis{max: most, scale: plot.LinearScale{}}
	for _, v := range []float64{0, most / 2, most} {
		a.ticks = append(a.ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)})
	}
	return a
}

// seconds writes a length of time with three significant digits.
func seconds(s float64) string {
	switch {
	case s < 1:
		return fmt.Sprintf("%.3f", s)
	case s < 10:
		return fmt.Sprintf("%.2f", s)
	default:
		return fmt.Sprintf("%.1f", s)
	}
}

func span(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.0f ms", 1000*s)
	}
	return fmt.Sprintf("%.3g s", s)
}
