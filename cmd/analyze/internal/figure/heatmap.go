// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// PodHeatmap is the kind pod-heatmap.
func (Catalog) PodHeatmap() Kind {
	return Kind{
		Name: "pod-heatmap", Does: "which pod answered how much over time, a row a pod, one trial of each series", Faults: true,
		Draw: func(d Data) *Figure { return Heatmap(d.Name, d.Fault, heatPanels(d)) },
	}
}

// HeatPanel is one trial's answers by pod and time. Times are seconds relative to the fault's begin, or the window's.
type HeatPanel struct {
	System   string
	Trial    string
	Bin      float64
	Start    float64
	FaultEnd float64 // 0 without a fault
	Pods     []string
	Counts   [][]float64 // answers by pod and bin
	Target   int         // row of the pod with the fault; -1 for none
}

const (
	heatColumns = 90 // cells narrower than 2 points are not told apart
	heatRows    = 64
)

// heatPanels takes the first trial of each series that says which pod answered: pods are another trial's no more.
func heatPanels(d Data) []HeatPanel {
	var out []HeatPanel
	for _, s := range d.Series {
		i := slices.IndexFunc(s.Trials, func(t *digest.Trial) bool { return t.Heat != nil })
		if i < 0 {
			continue
		}
		t := s.Trials[i]
		h := t.Heat
		p := HeatPanel{System: s.Name, Trial: t.ID, Bin: sec(h.BinNs), Start: sec(h.StartNs), Target: -1}
		rows := make([]int, len(h.Pods))
		for i := range rows {
			rows[i] = i
		}
		target := ""
		if t.Fault != nil {
			p.FaultEnd = sec(t.Fault.EndNs - t.Fault.BeginNs)
			_, target, _ = strings.Cut(t.Fault.Target, "/")
		}
		totals := h.Totals()
		slices.SortStableFunc(rows, func(a, b int) int {
			// The pod with the fault first, those that fell under "others" last.
			return 4*(btoi(h.Pods[b] == target)-btoi(h.Pods[a] == target)) + 2*(btoi(h.Pods[a] == digest.OtherPods)-btoi(h.Pods[b] == digest.OtherPods)) + strings.Compare(h.Pods[a], h.Pods[b])
		})
		if len(rows) > heatRows { // the busiest; the rest together
			slices.SortStableFunc(rows, func(a, b int) int {
				return 2*(btoi(h.Pods[b] == target)-btoi(h.Pods[a] == target)) + btoi(totals[a] < totals[b]) - btoi(totals[a] > totals[b])
			})
		}
		merge := int(math.Ceil(float64(len(h.Counts[0])) / heatColumns))
		p.Bin *= float64(merge)
		last := int(math.Ceil(sec(t.WindowEndNs-t.WindowStartNs)/sec(h.BinNs))) + 1
		for i, row := range rows {
			cells := make([]float64, (min(last, len(h.Counts[row]))+merge-1)/merge)
			for j, n := range h.Counts[row] {
				if j/merge < len(cells) {
					cells[j/merge] += n
				}
			}
			switch {
			case i < heatRows:
				p.Pods, p.Counts = append(p.Pods, h.Pods[row]), append(p.Counts, cells)
			case i == heatRows:
				p.Pods, p.Counts = append(p.Pods, digest.OtherPods), append(p.Counts, cells)
			default:
				for j, n := range cells {
					p.Counts[heatRows][j] += n
				}
			}
			if h.Pods[row] == target && target != "" {
				p.Target = i
			}
		}
		out = append(out, p)
	}
	return out
}

// Heatmap draws which pod answered how much over time. It returns nil when no panel has two pods.
func Heatmap(name, fault string, panels []HeatPanel) *Figure {
	if !slices.ContainsFunc(panels, func(p HeatPanel) bool { return len(p.Pods) > 1 }) {
		return nil
	}
	title := "Share of answered requests by pod over time"
	if fault != "" {
		title += " around the fault " + fault
	}
	height := vg.Length(0)
	for _, p := range panels {
		height += heatTitle + rowHeight(panels)*vg.Length(len(p.Pods)) + heatGap
	}
	return &Figure{Name: name, Title: title, Height: height + 0.82*vg.Inch, draw: func(p *pen) { drawHeat(p, fault, panels) }}
}

const (
	heatTitle = vg.Length(1.5 * labelSize)
	heatGap   = vg.Length(3)
)

// rowHeight gives all panels together at most 5 inches.
func rowHeight(panels []HeatPanel) vg.Length {
	rows := 0
	for _, p := range panels {
		rows += len(p.Pods)
	}
	return min(max(5*vg.Inch/vg.Length(rows), 1.2), 5)
}

func drawHeat(p *pen, fault string, panels []HeatPanel) {
	from, to, peak, bin := math.Inf(1), math.Inf(-1), 0.0, 0.0
	shares := make([][][]float64, len(panels))
	for i, d := range panels {
		bin = max(bin, d.Bin)
		from, to = min(from, d.Start), max(to, d.Start+d.Bin*float64(len(d.Counts[0])))
		shares[i] = make([][]float64, len(d.Pods))
		for row := range d.Pods {
			shares[i][row] = make([]float64, len(d.Counts[row]))
		}
		for col := range d.Counts[0] {
			sum := 0.0
			for row := range d.Counts {
				sum += d.Counts[row][col]
			}
			for row := range d.Counts {
				shares[i][row][col] = math.NaN()
				if sum > 0 {
					shares[i][row][col] = d.Counts[row][col] / sum
					peak = max(peak, shares[i][row][col])
				}
			}
		}
	}
	peak = min(1, max(0.05, math.Ceil(peak*20)/20))
	note := fmt.Sprintf("A row a pod, a column %s; one trial of each system (n = 1).", span(bin))
	if slices.ContainsFunc(panels, func(d HeatPanel) bool { return d.Target >= 0 }) {
		note += " Triangle: the pod with the fault."
	}
	if fault != "" {
		note += " Lines: begin and end of the fault " + fault + "."
	}
	note += " G: Gini coefficient of the pods' requests."
	foot := p.note(note, false)
	head := p.colourBar(peak)
	f := &frame{pen: p, left: p.Min.X + edge + 1.3*labelSize + 8}
	f.x = linear(from, to, 8, false)
	f.right = p.Max.X - max(6, p.overhang(f.x))
	f.y = axis{min: 0, max: 1, scale: plot.LinearScale{}}
	f.top = p.Max.Y - head
	rows := 0
	for _, d := range panels {
		rows += len(d.Pods)
	}
	room := f.top - (p.Min.Y + foot + 24) - vg.Length(len(panels))*(heatTitle+heatGap) + heatGap
	high := room / vg.Length(rows)
	for i, d := range panels {
		f.top -= heatTitle
		f.bottom = f.top - high*vg.Length(len(d.Pods))
		totals := make([]float64, len(d.Pods))
		for row := range d.Pods {
			for col, share := range shares[i][row] {
				totals[row] += d.Counts[row][col]
				x := d.Start + d.Bin*float64(col)
				y := f.top - high*vg.Length(row)
				if math.IsNaN(share) {
					continue // nobody answered: left empty
				}
				f.rect(f.theme.heat(share/peak), f.px(max(x, from)), y-high, f.px(min(x+d.Bin, to)), y)
			}
		}
		frame := []vg.Point{{X: f.left, Y: f.bottom}, {X: f.right, Y: f.bottom}, {X: f.right, Y: f.top}, {X: f.left, Y: f.top}, {X: f.left, Y: f.bottom}}
		f.line(f.theme.Muted, 0.4, nil, frame...)
		if fault != "" {
			for _, at := range []float64{0, d.FaultEnd} {
				if at >= from && at <= to {
					f.line(f.theme.Paper, 1.6, nil, vg.Point{X: f.px(at), Y: f.bottom}, vg.Point{X: f.px(at), Y: f.top})
					f.line(f.theme.Ink, 0.8, []vg.Length{2, 1}, vg.Point{X: f.px(at), Y: f.bottom}, vg.Point{X: f.px(at), Y: f.top})
				}
			}
		}
		if d.Target >= 0 {
			y := f.top - high*(vg.Length(d.Target)+0.5)
			f.FillPolygon(f.theme.Ink, []vg.Point{{X: f.left - 1, Y: y}, {X: f.left - 5, Y: y + 2.4}, {X: f.left - 5, Y: y - 2.4}})
		}
		f.write(d.System, labelSize, f.theme.Ink, draw.XLeft, draw.YBottom, vg.Point{X: f.left, Y: f.top + 1.2})
		uneven := "no answer"
		if g := stats.Gini(totals); !math.IsNaN(g) {
			uneven = fmt.Sprintf("G %.2f", g)
		}
		f.write(fmt.Sprintf("%d pods, %s", len(d.Pods), uneven), labelSize, f.theme.Muted, draw.XRight, draw.YBottom, vg.Point{X: f.right, Y: f.top + 1.2})
		f.xAxis(i == len(panels)-1)
		if i < len(panels)-1 {
			f.top = f.bottom - heatGap
		}
	}
	label := "time since the window began (s)"
	if fault != "" {
		label = "time since the fault began (s)"
	}
	p.write(label, labelSize, p.theme.Ink, draw.XCenter, draw.YTop, vg.Point{X: (f.left + f.right) / 2, Y: f.bottom - tickLength - 2.2 - labelSize})
	p.turned("pods", labelSize, p.theme.Ink, vg.Point{X: p.Min.X + edge, Y: (p.Max.Y - head + f.bottom) / 2})
}

// colourBar draws the scale of shares at the top and returns the height that it takes.
func (p *pen) colourBar(peak float64) vg.Length {
	const steps, wide, high = 60, vg.Length(80), vg.Length(6)
	label := "requests in a column (%)"
	most := fmt.Sprintf("%.0f", 100*peak)
	total := p.width("0", labelSize) + 3 + wide + 3 + p.width(most, labelSize) + 8 + p.width(label, labelSize)
	x := (p.Min.X + p.Max.X - total) / 2
	y := p.Max.Y - edge - high/2 - 2
	p.write("0", labelSize, p.theme.Ink, draw.XLeft, draw.YCenter, vg.Point{X: x, Y: y})
	x += p.width("0", labelSize) + 3
	for i := range steps {
		at := x + wide*vg.Length(i)/steps
		p.rect(p.theme.heat(float64(i)/(steps-1)), at, y-high/2, at+wide/steps+0.2, y+high/2)
	}
	p.line(p.theme.Muted, 0.4, nil, vg.Point{X: x, Y: y - high/2}, vg.Point{X: x + wide, Y: y - high/2}, vg.Point{X: x + wide, Y: y + high/2}, vg.Point{X: x, Y: y + high/2}, vg.Point{X: x, Y: y - high/2})
	x += wide + 3
	p.write(most, labelSize, p.theme.Ink, draw.XLeft, draw.YCenter, vg.Point{X: x, Y: y})
	x += p.width(most, labelSize) + 8
	p.write(label, labelSize, p.theme.Ink, draw.XLeft, draw.YCenter, vg.Point{X: x, Y: y})
	return high + 2*edge + 2
}
