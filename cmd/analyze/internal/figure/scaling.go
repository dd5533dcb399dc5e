// SPDX-License-Identifier: Apache-2.0

package figure

// Scaling is the kind scaling.
func (Catalog) Scaling() Kind {
	return Kind{
		Name: "scaling", Does: "a quantity over a factor whose levels are numbers, medians with their 95 % intervals", X: aFactor, Y: "p99",
		Draw: func(d Data) *Figure {
			all, unit := tracesOf(d)
			q := quantity(d.Y)
			return Scaling(d.Name, q.Label, axisLabel(d.X, unit), q.Log, all)
		},
	}
}

// Scaling draws a quantity over a number that was varied. It returns nil when there is no trace.
func Scaling(name, yLabel, xLabel string, log bool, all []trace) *Figure {
	if len(all) == 0 {
		return nil
	}
	return &Figure{Name: name, Title: yLabel + " against " + xLabel, Height: chartHeight, draw: func(p *pen) {
		_, y, summaries := extent(all)
		var xs []float64
		for _, t := range all {
			for _, pl := range t.places {
				xs = append(xs, pl.x)
			}
		}
		strokes := p.theme.strokes(namesOf(all))
		f := p.chart(lineKeys(namesOf(all), strokes), uncertainty("Bars", summaries), across(xs), upright(log, y[0], y[1]))
		f.traces(all, strokes)
		f.axes(xLabel, yLabel)
	}}
}
