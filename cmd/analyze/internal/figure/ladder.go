// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// rungs returns the percentiles of a ladder.
func rungs() []float64 { return []float64{50, 75, 90, 95, 99, 99.5, 99.9, 99.99, 99.999} }

// Percentiles is the kind percentiles.
func (Catalog) Percentiles() Kind {
	return Kind{
		Name: "percentiles", Does: "latency at percentiles from the median up, with the spread over trials at each",
		Draw: func(d Data) *Figure {
			var all []trace
			for _, s := range d.Series {
				t := trace{name: s.Name}
				for _, p := range rungs() {
					q, _ := digest.QuantityOf(fmt.Sprintf("p%g", p))
					v := values(s.Trials, q)
					// A percentile that not every trial supports would be that of the larger or slower trials.
					if len(v) > 0 && len(v) == len(s.Trials) {
						t.places = append(t.places, place{-math.Log10(1 - p/100), stats.Summarize(v, d.Seed)})
					}
				}
				if len(t.places) > 0 {
					all = append(all, t)
				}
			}
			return Ladder(d.Name, all)
		},
	}
}

// Ladder draws latency over percentiles, which are spaced by nines. It returns nil when there is no trace.
func Ladder(name string, all []trace) *Figure {
	if len(all) == 0 {
		return nil
	}
	return &Figure{Name: name, Title: "Percentiles of latency, from the intended send", Height: chartHeight, draw: func(p *pen) {
		_, y, summaries := extent(all)
		top := 0.0
		for _, t := range all {
			top = max(top, t.places[len(t.places)-1].x)
		}
		x := axis{min: -math.Log10(0.5) - 0.15, max: max(top, 1) + 0.15, scale: plot.LinearScale{}}
		for _, r := range rungs() {
			if v := -math.Log10(1 - r/100); v <= x.max {
				x.ticks = append(x.ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%g", r)})
			}
		}
		strokes := p.theme.strokes(namesOf(all))
		f := p.chart(lineKeys(namesOf(all), strokes), uncertainty("Bars", summaries)+" A percentile is given where in each trial 5 requests are slower.", x, upright(true, y[0], y[1]))
		f.traces(all, strokes)
		f.axes("percentile of requests", "latency from intended send (ms)")
	}}
}

func namesOf(all []trace) []string {
	var out []string
	for _, t := range all {
		out = append(out, t.name)
	}
	return out
}
