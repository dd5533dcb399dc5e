// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"

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

// LatencyCDF is the kind latency-cdf.
func (Catalog) LatencyCDF() Kind {
	return Kind{
		Name: "latency-cdf", Does: "share of requests that are at most so slow, with as much room for the tail as for the body",
		Draw: func(d Data) *Figure { return CDF(d.Name, distributions(d)) },
	}
}

// distributions takes the histograms of each series' trials, and merges them.
func distributions(d Data) []Distribution {
	var out []Distribution
	for _, s := range d.Series {
		x := Distribution{System: s.Name, Pooled: s.system().Pooled()}
		for _, t := range s.Trials {
			l := t.Latency
			if l == nil { // every request failed
				l = stats.NewLatency()
			}
			x.Trials, x.Failed = append(x.Trials, l), append(x.Failed, t.Failed)
		}
		out = append(out, x)
	}
	return out
}

// CDF draws the share of requests that are at most so slow. The share's axis counts nines, so that the tail has as
// much room as the body. A curve ends where fewer than stats.TailSupport requests are slower.
// It returns nil when no system has a latency.
func CDF(name string, systems []Distribution) *Figure {
	return distribution(name, "Latency of requests, from the intended send", systems, func(c *cumulative) {
		c.y, c.label = nines(max(c.top, 0.32)), "requests at most so slow (%)"
		c.height = func(nines float64) float64 { return nines }
	})
}

// cumulative is a figure of distributions, with an axis for shares that is a matter of taste.
type cumulative struct {
	drawn            []Distribution
	least, most, top float64 // ms, ms and nines
	y                axis
	label            string
	height           func(nines float64) float64 // on y
}

func distribution(name, title string, systems []Distribution, shape func(*cumulative)) *Figure {
	c := &cumulative{least: math.Inf(1)}
	for _, d := range systems {
		if d.Pooled == nil {
			continue
		}
		c.drawn = append(c.drawn, d)
		points := curve(d.Pooled, d.failures())
		for i, l := range d.Trials {
			points = append(points, curve(l, d.failed(i))...)
		}
		for _, pt := range points {
			c.least, c.most, c.top = min(c.least, pt.ms), max(c.most, pt.ms), max(c.top, pt.nines)
		}
	}
	if len(c.drawn) == 0 || c.most == 0 {
		return nil
	}
	shape(c)
	return &Figure{Name: name, Title: title, Height: chartHeight, draw: c.draw}
}

func (c *cumulative) draw(p *pen) {
	var names []string
	n, failures, trials := int64(0), int64(0), []int{}
	for _, d := range c.drawn {
		names = append(names, d.System)
		n += d.Pooled.Count()
		failures += int64(d.failures())
		trials = append(trials, len(d.Trials))
	}
	strokes := p.theme.strokes(names)
	keys := lineKeys(names, strokes)
	for i := range keys {
		keys[i].mark = false
	}
	note := fmt.Sprintf("n = %s each; %s requests in all.", count(trials, "trial"), thousands(n+failures))
	if failures > 0 {
		note += fmt.Sprintf(" %s failed: slower than any.", thousands(failures))
	}
	if slices.Max(trials) > 1 {
		note += " Thick: trials pooled; thin: each trial, the spread."
	}
	note += fmt.Sprintf(" A curve ends where fewer than %d requests are slower.", stats.TailSupport)
	f := p.chart(keys, note, logarithmic(c.least, c.most), c.y)
	for pass := range 2 {
		for i, d := range c.drawn {
			if pass == 0 && len(d.Trials) > 1 {
				for j, l := range d.Trials {
					f.plot(c, curve(l, d.failed(j)), stroke{color: blend(strokes[i].color, p.theme.Paper, 0.45)}, 0.35)
				}
			}
			if pass == 1 {
				f.plot(c, curve(d.Pooled, d.failures()), strokes[i], 1.1)
			}
		}
	}
	f.axes("latency from intended send (ms)", c.label)
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
func (f *frame) plot(c *cumulative, points []point, s stroke, width float64) {
	pts := make([]vg.Point, len(points))
	for i, pt := range points {
		pts[i] = f.at(pt.ms, c.height(pt.nines))
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
