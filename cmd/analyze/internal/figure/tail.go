// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// LatencyTail is the kind latency-tail.
func (Catalog) LatencyTail() Kind {
	return Kind{
		Name: "latency-tail", Does: "share of requests that are slower, both axes logarithmic",
		Draw: func(d Data) *Figure { return Tail(d.Name, distributions(d)) },
	}
}

// Tail draws the share of requests that are slower, both axes logarithmic: the complement of CDF, on which a tail of
// Pareto's law is a straight line. A curve ends where fewer than stats.TailSupport requests are slower, or at the share
// that failed. It returns nil when no system has a latency.
func Tail(name string, systems []Distribution) *Figure {
	return distribution(name, "Tail of the latency of requests, from the intended send", systems, func(c *cumulative) {
		least := math.Pow(10, -max(c.top, 0.32)*1.02)
		c.y = axis{min: least, max: 1, scale: plot.LogScale{}}
		for e := 0; math.Pow(10, float64(e)) >= least/1.06; e-- {
			for m := 1.0; m < 10; m++ {
				v := m * math.Pow(10, float64(e))
				if v < least/1.06 || v > 1 {
					continue
				}
				label := ""
				if m == 1 {
					label = strconv.FormatFloat(100*v, 'g', 6, 64)
				}
				c.y.min = min(c.y.min, v)
				c.y.ticks = append(c.y.ticks, plot.Tick{Value: v, Label: label})
			}
		}
		c.label = "requests slower (%)"
		c.height = func(nines float64) float64 { return math.Pow(10, -nines) }
	})
}
