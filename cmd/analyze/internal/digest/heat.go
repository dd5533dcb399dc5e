// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"cmp"
	"slices"
	"time"

	"github.com/dnsingress/dnsingress/internal/results"
)

// Heat counts answered requests by the pod that answered and by when they were due, relative to the fault's begin, or
// to the window's where there is no fault.
type Heat struct {
	BinNs   int64
	StartNs int64    // of the first bin
	Pods    []string // in the order in which they first answered; the last may be OtherPods
	Counts  [][]float64
	bins    int
	rows    map[string]int
}

// OtherPods is the row of the pods beyond those that are told apart.
const OtherPods = "others"

const (
	heatBins = 240 // more than a column has room for
	maxPods  = 256 // bounds the memory where pods come and go
	heatStep = int64(100 * time.Millisecond)
)

func newHeat(t results.Trial) *Heat {
	length := t.WindowEndNs - t.WindowStartNs
	bin := (length/heatBins + heatStep) / heatStep * heatStep
	h := &Heat{BinNs: bin, rows: map[string]int{}}
	if t.Fault != nil {
		h.StartNs = floorTo(t.WindowStartNs-t.Fault.BeginNs, bin)
	}
	h.bins = int(length/bin) + 2
	return h
}

// row returns the row of a pod, -1 for none.
func (h *Heat) row(pod string) int {
	if pod == "" {
		return -1
	}
	if i, ok := h.rows[pod]; ok {
		return i
	}
	if len(h.Pods) == maxPods {
		h.Pods = append(h.Pods, OtherPods)
		h.Counts = append(h.Counts, make([]float64, h.bins))
	}
	i := len(h.Pods)
	if i > maxPods {
		i = maxPods
	} else {
		h.Pods = append(h.Pods, pod)
		h.Counts = append(h.Counts, make([]float64, h.bins))
	}
	h.rows[pod] = i
	return i
}

// add counts an answer of a row at an instant relative to the origin.
func (h *Heat) add(at int64, row int) {
	if row < 0 {
		return
	}
	i := (floorTo(at, h.BinNs) - h.StartNs) / h.BinNs
	h.Counts[row][min(max(i, 0), int64(h.bins-1))]++
}

func (h *Heat) known() bool { return len(h.Pods) > 0 }

// Totals returns how many requests each pod answered.
func (h *Heat) Totals() []float64 {
	out := make([]float64, len(h.Pods))
	for i, row := range h.Counts {
		for _, n := range row {
			out[i] += n
		}
	}
	return out
}

// Event is something that happened during a trial, on the clock of its fault's node.
type Event struct {
	results.Event
	AtNs int64 // relative to the fault's begin, or to the window's where there is no fault
}

func (t *Trial) readEvents(c clocks) {
	events, err := results.ReadEvents(t.file(results.EventsFile))
	if err != nil {
		t.warn(true, "%v", err)
	}
	origin, node := t.WindowStartNs, ""
	if t.Fault != nil {
		origin, node = t.Fault.BeginNs, t.Fault.Node
	}
	for _, e := range events {
		shift := int64(0)
		if clock := e.Detail["clock"]; clock != "" && node != "" {
			shift, _ = c.between(clock, node)
		}
		t.Events = append(t.Events, Event{e, e.UnixNs + shift - origin})
	}
	slices.SortStableFunc(t.Events, func(a, b Event) int { return cmp.Compare(a.AtNs, b.AtNs) })
}
