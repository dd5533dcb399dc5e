// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// SharePanel is what part of one system's answers a fault's target gave. Times are seconds relative to the fault's begin.
type SharePanel struct {
	System   string
	Bin      float64   // width of a bin
	Start    float64   // begin of the first bin
	Answered []float64 // requests due in each bin that were answered, over all trials
	Target   []float64 // by the target, of those
	FaultEnd float64   // the latest of the trials
	// Parts are the shares before, during and after the fault; NaN where nothing was answered.
	Parts  [3]float64
	Trials int
}

// Share draws the share of answers that the fault's target gave, by when the requests were due, one panel a system on one scale, the
// time of the fault shaded. It returns nil when there is no panel.
func Share(name, fault string, panels []SharePanel) *Figure {
	if len(panels) == 0 {
		return nil
	}
	return &Figure{
		Name: name, Title: "Share of requests that the pod with the fault " + fault + " answered, by system",
		Height: stack{}.height(len(panels)),
		draw:   func(p *pen) { drawShares(p, fault, panels) },
	}
}

func drawShares(p *pen, fault string, panels []SharePanel) {
	s := &stack{pen: p, from: math.Inf(1), to: math.Inf(-1), label: "requests to the pod (%)"}
	bin, trials := 0.0, []int{}
	for _, d := range panels {
		s.from, s.to = min(s.from, d.Start), max(s.to, d.Start+d.Bin*float64(len(d.Answered)))
		bin = max(bin, d.Bin)
		trials = append(trials, d.Trials)
		for i, n := range d.Answered {
			if n > 0 {
				s.peak = max(s.peak, 100*d.Target[i]/n)
			}
		}
	}
	s.head = p.legend([]key{{name: "fault: " + fault, fill: p.theme.Fault}})
	s.foot = p.note(fmt.Sprintf("Shares of answered requests due within %s; %s a system. At the right: before, during and after the fault.",
		span(bin), count(trials, "trial")), false)
	s.draw(len(panels), func(f *frame, i int) {
		d := panels[i]
		product := d.System
		if base, _, level := strings.Cut(product, "-"); level && f.theme.knows(base) {
			product = base // nginx-least has the colour of nginx
		}
		f.parts(f.theme.system(product, i), d.FaultEnd, d.Start, d.Bin, d.Answered, d.Target)
		f.write(d.System, labelSize, f.theme.Ink, draw.XLeft, draw.YBottom, vg.Point{X: f.left, Y: f.top + 1.6})
		texts := make([]string, 0, len(d.Parts))
		for _, share := range d.Parts {
			text := "none"
			if !math.IsNaN(share) {
				text = fmt.Sprintf("%.1f %%", 100*share)
			}
			texts = append(texts, text)
		}
		f.write(strings.Join(texts, ", "), labelSize, f.theme.Muted, draw.XRight, draw.YBottom, vg.Point{X: f.right, Y: f.top + 1.6})
	})
}
