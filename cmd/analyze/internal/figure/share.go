// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/stats"
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

// PodShare is the kind pod-share.
func (Catalog) PodShare() Kind {
	return Kind{
		Name: "pod-share", Does: "share of answers that the pod with the fault gave", Faults: true,
		Draw: func(d Data) *Figure { return Share(d.Name, d.Fault, sharePanels(d)) },
	}
}

// shareBin is the width of a bin of shares: finer ones hold too few requests for a share to be seen in them.
const shareBin = int64(1e9)

// sharePanels adds up the fault trials of each series that say which pod answered, as panels does.
func sharePanels(d Data) []SharePanel {
	start, end := int64(math.MaxInt64), int64(math.MinInt64)
	for _, s := range d.Series {
		for _, t := range s.Trials {
			if l := t.Share; l != nil {
				start, end = min(start, l.StartNs), max(end, t.WindowEndNs-t.Fault.BeginNs)
			}
		}
	}
	if end < start {
		return nil
	}
	bin := shareBin * max(1, (end-start)/shareBin/timelineBins)
	first := int64(math.Floor(float64(start)/float64(bin))) * bin
	n := (end - first + bin - 1) / bin
	var out []SharePanel
	for _, s := range d.Series {
		p := SharePanel{System: s.Name, Bin: sec(bin), Start: sec(first), Answered: make([]float64, n), Target: make([]float64, n)}
		var sum [3]digest.SharePart
		for _, t := range s.Trials {
			l := t.Share
			if l == nil {
				continue
			}
			p.Trials++
			p.FaultEnd = max(p.FaultEnd, sec(t.Fault.EndNs-t.Fault.BeginNs))
			for i := range l.Answered {
				at := min((l.StartNs+int64(i)*l.BinNs-first)/bin, n-1)
				p.Answered[at] += l.Answered[i]
				p.Target[at] += l.Target[i]
			}
			for i := range sum {
				sum[i].Answered += l.Parts[i].Answered
				sum[i].Target += l.Parts[i].Target
			}
		}
		if p.Trials == 0 {
			continue
		}
		for i := range sum {
			p.Parts[i] = sum[i].Of()
		}
		out = append(out, p)
	}
	return out
}

// Share draws the share of answers that the fault's target gave, by when the requests were due, one panel a system on one scale, the
// time of the fault shaded. It returns nil when there is no panel.
func Share(name, fault string, panels []SharePanel) *Figure {
	if len(panels) == 0 {
		return nil
	}
	return &Figure{
		Name: name, Title: "Share of requests that the pod with the fault " + fault + " answered",
		Height: stack{}.height(len(panels)),
		draw:   func(p *pen) { drawShares(p, fault, panels) },
	}
}

func drawShares(p *pen, fault string, panels []SharePanel) {
	s := &stack{pen: p, from: math.Inf(1), to: math.Inf(-1), label: "requests to the pod (%)"}
	bin, trials := 0.0, []int{}
	panels = slices.Clone(panels)
	for i, d := range panels {
		s.series = append(s.series, d.System)
		s.from, s.to = min(s.from, d.Start), max(s.to, d.Start+d.Bin*float64(len(d.Answered)))
		bin = max(bin, d.Bin)
		trials = append(trials, d.Trials)
		usual := stats.Median(slices.DeleteFunc(slices.Clone(d.Answered), func(n float64) bool { return n == 0 }))
		answered, target := slices.Clone(d.Answered), slices.Clone(d.Target)
		for i, n := range answered {
			if n < usual/4 { // at the window's edges: the share of a few requests is chance
				answered[i], target[i] = 0, 0
			}
		}
		panels[i].Answered, panels[i].Target = answered, target
		for i, n := range answered {
			if n > 0 {
				s.peak = max(s.peak, 100*target[i]/n)
			}
		}
	}
	s.head = p.legend([]key{{name: "fault: " + fault, fill: p.theme.Fault}})
	s.foot = p.note(fmt.Sprintf("Shares of answered requests due within %s; n = %s a system; bins with hardly any are left out. At the right: before, during and after the fault.",
		span(bin), count(trials, "trial")), false)
	s.draw(len(panels), func(f *frame, i int) {
		d := panels[i]
		f.parts(s.strokes[i], d.FaultEnd, d.Start, d.Bin, d.Answered, d.Target)
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
