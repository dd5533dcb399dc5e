// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"fmt"
	"math"
	"time"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dnsingress/dnsingress/internal/results"
)

// Accuracy is the kind accuracy.
func (Catalog) Accuracy() Kind {
	return Kind{
		Name: "accuracy", Does: "share of DNS queries that got no right answer around a fault, second by second", Faults: true,
		Draw: func(d Data) *Figure { return Answers(d.Name, d.Fault, answerPanels(d)) },
	}
}

// AnswerPanel is what a series' trials were answered, by seconds counted from the fault's begin.
type AnswerPanel struct {
	Name     string
	Trials   int
	Start    int     // of the first second
	FaultEnd float64 // in seconds after its begin
	Seconds  []results.Accuracy
	Sum      results.Accuracy
}

func answerPanels(d Data) []AnswerPanel {
	var out []AnswerPanel
	for _, s := range d.Series {
		p := AnswerPanel{Name: s.Name}
		first, last := math.MaxInt, math.MinInt
		sums := map[int]results.Accuracy{}
		for _, t := range s.Trials {
			if t.Fault == nil || len(t.Accuracy) == 0 {
				continue
			}
			p.Trials++
			p.FaultEnd = max(p.FaultEnd, sec(t.Fault.EndNs-t.Fault.BeginNs))
			for _, a := range t.Accuracy {
				at := int(math.Floor(sec(a.UnixNs - t.Fault.BeginNs + int64(time.Second)/2))) // the middle of its second
				first, last = min(first, at), max(last, at)
				sums[at] = sumOf(sums[at], a)
				p.Sum = sumOf(p.Sum, a)
			}
		}
		if p.Trials == 0 {
			continue
		}
		p.Start, p.Seconds = first, make([]results.Accuracy, last-first+1)
		for at, sum := range sums {
			p.Seconds[at-first] = sum
		}
		out = append(out, p)
	}
	return out
}

// sumOf adds the answers of two seconds up.
func sumOf(a, b results.Accuracy) results.Accuracy {
	return results.Accuracy{
		Answers: a.Answers + b.Answers, Right: a.Right + b.Right, Stale: a.Stale + b.Stale, Missing: a.Missing + b.Missing, Wrong: a.Wrong + b.Wrong,
	}
}

// Answers draws the share of queries that got no right answer by when they were asked, one panel a series on one scale, the time of
// the fault shaded. It returns nil when there is no panel.
func Answers(name, fault string, panels []AnswerPanel) *Figure {
	if len(panels) == 0 {
		return nil
	}
	return &Figure{
		Name: name, Title: "Share of queries without a right answer around the fault " + fault, Height: stack{}.height(len(panels)),
		draw: func(p *pen) { drawAnswers(p, fault, panels) },
	}
}

func drawAnswers(p *pen, fault string, panels []AnswerPanel) {
	s := &stack{pen: p, from: math.Inf(1), to: math.Inf(-1), label: "not answered right (%)"}
	var trials []int
	for _, d := range panels {
		s.series, trials = append(s.series, d.Name), append(trials, d.Trials)
		s.from, s.to = min(s.from, float64(d.Start)), max(s.to, float64(d.Start+len(d.Seconds)))
		for _, a := range d.Seconds {
			if a.Answers > 0 {
				s.peak = max(s.peak, 100*float64(a.Answers-a.Right)/float64(a.Answers))
			}
		}
	}
	s.head = p.legend([]key{{name: "fault: " + fault, fill: p.theme.Fault}})
	s.foot = p.note(fmt.Sprintf("Queries by the second in which they were asked; n = %s a series. At the right: of all queries.", count(trials, "trial")), false)
	s.draw(len(panels), func(f *frame, i int) {
		d := panels[i]
		whole, part := make([]float64, len(d.Seconds)), make([]float64, len(d.Seconds))
		for j, a := range d.Seconds {
			whole[j], part[j] = float64(a.Answers), float64(a.Answers-a.Right)
		}
		f.parts(s.strokes[i], d.FaultEnd, float64(d.Start), 1, whole, part)
		f.write(d.Name, labelSize, f.theme.Ink, draw.XLeft, draw.YBottom, vg.Point{X: f.left, Y: f.top + 1.6})
		of := func(n uint64) float64 { return 100 * float64(n) / float64(max(d.Sum.Answers, 1)) }
		text := fmt.Sprintf("stale %.1f %%, none %.1f %%", of(d.Sum.Stale+d.Sum.Wrong), of(d.Sum.Missing))
		f.write(text, labelSize, f.theme.Muted, draw.XRight, draw.YBottom, vg.Point{X: f.right, Y: f.top + 1.6})
	})
}
