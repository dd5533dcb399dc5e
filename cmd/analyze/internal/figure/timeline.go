// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dnsingress/dnsingress/internal/results"
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
	Events     []Mark
}

// Mark is something that happened: seconds relative to the fault's begin.
type Mark struct {
	Name string
	At   float64
}

// ErrorTimeline is the kind error-timeline.
func (Catalog) ErrorTimeline() Kind {
	return Kind{
		Name: "error-timeline", Does: "share of requests that failed around a fault, with the fault, events and the client error window", Faults: true,
		Draw: func(d Data) *Figure { return Timeline(d.Name, d.Fault, panels(d)) },
	}
}

// timelineBins is how many bins fit a column before a bar is thinner than a hair.
const timelineBins = 80

// panels aligns the fault trials of each series at the fault's begin and adds them up in bins that figures can show.
func panels(d Data) []Panel {
	bin, start, end := int64(0), int64(math.MaxInt64), int64(math.MinInt64)
	for _, s := range d.Series {
		for _, t := range s.Trials {
			if l := t.Timeline; l != nil {
				bin = max(bin, l.BinNs)
				start, end = min(start, l.StartNs), max(end, t.WindowEndNs-t.Fault.BeginNs)
			}
		}
	}
	if bin == 0 {
		return nil
	}
	for factor := int64(1); ; factor++ { // in steps of the finest bin; 250 ms and 1 s rather than 300 ms and 1.15 s
		if nice := factor * bin; (end-start)/nice <= timelineBins && (1e9%nice == 0 || nice%1e9 == 0) {
			bin = nice
			break
		}
	}
	first := start / bin * bin
	if first > start {
		first -= bin
	}
	var out []Panel
	for _, s := range d.Series {
		p := Panel{System: s.Name, Bin: sec(bin), Start: sec(first), First: math.NaN(), Last: math.NaN()}
		n := (end - first + bin - 1) / bin
		p.Requests, p.Failed = make([]float64, n), make([]float64, n)
		for _, t := range s.Trials {
			l := t.Timeline
			if l == nil {
				continue
			}
			p.Trials++
			for i := range l.OK {
				at := min((l.StartNs+int64(i)*l.BinNs-first)/bin, n-1)
				p.Requests[at] += l.OK[i] + l.Failed[i]
				p.Failed[at] += l.Failed[i]
			}
			p.FaultEnd = max(p.FaultEnd, sec(l.EndNs))
			p.FailedSum += t.Outage.Failed
			p.RequestSum += t.Requests
			p.Open = p.Open || t.StillFailing()
			if o := t.Outage; o.Failed > 0 {
				// NaN loses every comparison: the first trial with an outage sets both.
				if from := sec(o.FirstNs - t.Fault.BeginNs); !(p.First <= from) {
					p.First = from
				}
				if to := sec(o.LastNs - t.Fault.BeginNs); !(p.Last >= to) {
					p.Last = to
				}
			}
			for _, e := range t.Events {
				// Phases are the runner's own, clocks are compared all the time, the fault is the band.
				if e.Kind != results.EventPhase && e.Kind != results.EventClock && e.Kind != results.EventFault && e.Kind != results.EventClient && e.AtNs >= l.StartNs && e.AtNs <= end {
					p.Events = append(p.Events, Mark{cmp.Or(e.Name, e.Kind), sec(e.AtNs)})
				}
			}
		}
		if p.Trials > 0 {
			out = append(out, p)
		}
	}
	return out
}

func sec(ns int64) float64 { return float64(ns) / 1e9 }

// Timeline draws the share of requests that failed, by when they were due, one panel a system on one scale, the time of the fault shaded.
// It returns nil when there is no panel.
func Timeline(name, fault string, panels []Panel) *Figure {
	if len(panels) == 0 {
		return nil
	}
	return &Figure{
		Name: name, Title: "Failed requests around the fault " + fault,
		Height: stack{}.height(len(panels)),
		draw:   func(p *pen) { drawTimeline(p, fault, panels) },
	}
}

func drawTimeline(p *pen, fault string, panels []Panel) {
	from, to, peak, bin := math.Inf(1), math.Inf(-1), 0.0, 0.0
	trials, names := []int{}, []string{}
	for _, d := range panels {
		names = append(names, d.System)
		from, to = min(from, d.Start), max(to, d.Start+d.Bin*float64(len(d.Requests)))
		bin = max(bin, d.Bin)
		trials = append(trials, d.Trials)
		for i, n := range d.Requests {
			if n > 0 {
				peak = max(peak, 100*d.Failed[i]/n)
			}
		}
	}
	marks := marksOf(panels)
	keys := []key{{name: "fault: " + fault, fill: p.theme.Fault}, {name: "client error window", line: &stroke{color: p.theme.Ink}}}
	for i, name := range marks {
		keys = append(keys, key{name: name, line: &stroke{color: p.theme.Ink, shape: eventShapes()[i]}, point: true})
	}
	s := &stack{
		pen: p, from: from, to: to, peak: peak, label: "failed requests (%)", series: names,
		head: p.legend(keys),
		foot: p.note(fmt.Sprintf("Shares of requests due within %s; n = %s a system. Window: first failed intended send to last failure seen.",
			span(bin), count(trials, "trial")), false),
	}
	s.draw(len(panels), func(f *frame, i int) {
		f.panel(panels[i], s.strokes[i])
		for _, m := range panels[i].Events {
			if m.At >= f.x.min && m.At <= f.x.max {
				k := slices.Index(marks, m.Name)
				if k < 0 {
					k = len(marks) - 1
				}
				at := vg.Point{X: f.px(m.At), Y: f.top - 3.5}
				f.line(f.theme.Muted, 0.4, []vg.Length{0.8, 0.8}, at, vg.Point{X: at.X, Y: f.bottom})
				f.mark(stroke{color: f.theme.Ink, shape: eventShapes()[k]}, at, 1.6)
			}
		}
	})
}

func eventShapes() []shape { return []shape{wedge, diamond, square, hexagon} }

// marksOf names the events of panels, by how often they happened; those that are more than there are shapes are "other events".
func marksOf(panels []Panel) []string {
	times := map[string]int{}
	for _, d := range panels {
		for _, e := range d.Events {
			times[e.Name]++
		}
	}
	out := slices.SortedFunc(maps.Keys(times), func(a, b string) int { return cmp.Or(cmp.Compare(times[b], times[a]), cmp.Compare(a, b)) })
	if most := len(eventShapes()); len(out) > most {
		out = append(out[:most-1], "other events")
	}
	return out
}

// stack is panels one below the other, with shares in per cent over the time since a fault began, on one scale.
type stack struct {
	*pen
	head, foot     vg.Length // what legend and note take
	from, to, peak float64
	label          string
	series         []string
	strokes        []stroke
}

// height is that of a figure with so many panels.
func (stack) height(panels int) vg.Length {
	return max(0.62*vg.Inch+vg.Length(panels)*0.475*vg.Inch, 1.7*vg.Inch)
}

func (s *stack) draw(panels int, each func(f *frame, i int)) {
	p := s.pen
	s.strokes = p.theme.strokes(s.series)
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

func (f *frame) panel(d Panel, s stroke) {
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
