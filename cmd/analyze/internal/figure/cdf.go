// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dnsingress/dnsingress/internal/stats"
)

// Distribution is one system's latencies: pooled over its trials, and of each of them.
type Distribution struct {
	System string
	Pooled *stats.Latency
	Trials []*stats.Latency
	Failed []uint64 // of each trial: requests without a latency, which count as slower than any
}

// failed returns the failures of the i-th trial.
func (d *Distribution) failed(i int) uint64 {
	if i < len(d.Failed) {
		return d.Failed[i]
	}
	return 0
}

// failures returns the failures of all trials.
func (d *Distribution) failures() (sum uint64) {
	for _, n := range d.Failed {
		sum += n
	}
	return sum
}

// CDF draws the share of requests that are at most so slow. The share's axis counts nines, so that the tail has as
// much room as the body. A curve ends where fewer than stats.TailSupport requests are slower.
// It returns nil when no system has a latency.
func CDF(name string, systems []Distribution) *Figure {
	var drawn []Distribution
	least, most, top := math.Inf(1), 0.0, 0.0
	for _, d := range systems {
		if d.Pooled == nil {
			continue
		}
		drawn = append(drawn, d)
		points := curve(d.Pooled, d.failures())
		for i, l := range d.Trials {
			points = append(points, curve(l, d.failed(i))...)
		}
		for _, pt := range points {
			least, most, top = min(least, pt.ms), max(most, pt.ms), max(top, pt.nines)
		}
	}
	if len(drawn) == 0 || most == 0 {
		return nil
	}
	return &Figure{
		Name: name, Title: "Latency of requests by system, from the intended send", Height: 2.45 * vg.Inch,
		draw: func(p *pen) { drawCDF(p, drawn, least, most, top) },
	}
}

func drawCDF(p *pen, systems []Distribution, least, most, top float64) {
	var keys []key
	for i, d := range systems {
		s := p.theme.system(d.System, i)
		keys = append(keys, key{name: d.System, line: &s})
	}
	head := p.legend(keys)
	n, failures := int64(0), int64(0)
	trials := []int{}
	for _, d := range systems {
		n += d.Pooled.Count()
		failures += int64(d.failures())
		trials = append(trials, len(d.Trials))
	}
	note := fmt.Sprintf("%s each; %s requests in all.", count(trials, "trial"), thousands(n+failures))
	if failures > 0 {
		note += fmt.Sprintf(" %s failed: slower than any.", thousands(failures))
	}
	if slices.Max(trials) > 1 {
		note += " Thick: trials pooled; thin: each trial."
	}
	note += fmt.Sprintf(" A curve ends where fewer than %d requests are slower.", stats.TailSupport)
	foot := p.note(note, false)
	f := &frame{pen: p, bottom: p.Min.Y + foot + 24, top: p.Max.Y - head}
	f.x = logarithmic(least, most)
	f.right = p.Max.X - max(8, p.overhang(f.x))
	f.y = nines(max(top, 0.32))
	f.left = p.Min.X + p.margin(f.y)
	f.grid(true, true)
	for pass := range 2 {
		for i, d := range systems {
			s := p.theme.system(d.System, i)
			if pass == 0 && len(d.Trials) > 1 {
				for j, l := range d.Trials {
					f.plot(curve(l, d.failed(j)), stroke{blend(s.color, p.theme.Paper, 0.45), nil}, 0.35)
				}
			}
			if pass == 1 {
				f.plot(curve(d.Pooled, d.failures()), s, 1.1)
			}
		}
	}
	f.yAxis()
	below := f.xAxis(true)
	p.write("latency from intended send (ms)", labelSize, p.theme.Ink, draw.XCenter, draw.YTop, vg.Point{X: (f.left + f.right) / 2, Y: below - 1})
	p.turned("requests at most so slow (%)", labelSize, p.theme.Ink, vg.Point{X: p.Min.X + edge, Y: (f.top + f.bottom) / 2})
}

// nines is the axis of -log10(1 - share).
func nines(top float64) axis {
	a := axis{scale: plot.LinearScale{}, max: top * 1.02}
	for _, share := range []float64{0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 0.99999, 0.999999} {
		v := -math.Log10(1 - share)
		if v > a.max+0.12 {
			break
		}
		a.max = max(a.max, v)
		a.ticks = append(a.ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%.6g", 100*share)})
	}
	return a
}

type point struct{ ms, nines float64 }

// curve returns the distribution's points up to where fewer than stats.TailSupport requests are slower,
// or to the last request but one where there are hardly more requests than that.
func curve(l *stats.Latency, failed uint64) []point {
	all := float64(l.Count()) + float64(failed)
	support := float64(stats.TailSupport)
	if all < 2*support {
		support = 1
	}
	var out []point
	for _, s := range l.Steps() {
		ms, slower := float64(s.Ns)/1e6, all-float64(s.Count)
		if len(out) == 0 {
			out = append(out, point{ms, 0})
		}
		out = append(out, point{ms, -math.Log10(max(slower, support) / all)})
		if slower < support {
			break
		}
	}
	return out
}

// plot draws a curve.
func (f *frame) plot(c []point, s stroke, width float64) {
	pts := make([]vg.Point, len(c))
	for i, pt := range c {
		pts[i] = f.at(pt.ms, pt.nines)
	}
	f.line(s.color, width, s.dashes, simplify(pts, 0.08)...)
}

// simplify leaves out points whose absence moves the line by less than the tolerance: Douglas and Peucker,
// "Algorithms for the reduction of the number of points required to represent a digitized line", 1973.
func simplify(pts []vg.Point, tolerance vg.Length) []vg.Point {
	if len(pts) < 3 {
		return pts
	}
	a, b := pts[0], pts[len(pts)-1]
	span := b.Sub(a)
	length := vg.Length(math.Hypot(float64(span.X), float64(span.Y)))
	farthest, at := vg.Length(0), 0
	for i, p := range pts[1 : len(pts)-1] {
		d := p.Sub(a)
		distance := vg.Length(math.Hypot(float64(d.X), float64(d.Y)))
		if length > 0 {
			distance = vg.Length(math.Abs(float64(d.X*span.Y-d.Y*span.X))) / length
		}
		if distance > farthest {
			farthest, at = distance, i+1
		}
	}
	if farthest < tolerance {
		return []vg.Point{a, b}
	}
	left := simplify(pts[:at+1], tolerance)
	return append(left[:len(left)-1:len(left)-1], simplify(pts[at:], tolerance)...)
}
