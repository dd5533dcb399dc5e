// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"github.com/dnsingress/dnsingress/internal/results"
)

// Components that stand between client and backend: what a system costs.
var between = []string{results.ComponentProxy, results.ComponentController, results.ComponentDNSIngress, results.ComponentResolver}

// Between returns the components between client and backend, in the order in which they are stacked.
func Between() []string { return append([]string(nil), between...) }

// Usage is CPU time in seconds for 1,000 requests that were sent, over the measured window.
type Usage struct {
	Component map[string]float64
	RSSBytes  map[string]int64 // by component, at the window's end
	// Softirq is the kernels' soft interrupt time. It belongs to no component, and where the kernel does not account
	// interrupts apart it is already in theirs: hence beside, never within, their sum.
	Softirq float64
	// Unattributed is busy time of the hosts that no component's counter holds.
	Unattributed float64
	Hosts        int
}

// Path is the sum over the components between client and backend.
func (u *Usage) Path() float64 {
	sum := 0.0
	for _, c := range between {
		sum += u.Component[c]
	}
	return sum
}

// windowSlack is how much the span of a counter pair may differ from the measured window before it is said.
const windowSlack = 0.05

func (t *Trial) readUsage() {
	var sent uint64
	for _, g := range t.Generators {
		sent += g.Requests - min(g.Dropped, g.Requests)
	}
	if sent == 0 {
		sent = t.Requests - t.Errors[results.ErrDropped]
	}
	if t.Kind == results.KindIdle {
		return // what it used is in its measures, for an hour
	}
	if sent == 0 {
		t.warn(true, "no request was sent: CPU time for 1,000 requests cannot be given")
		return
	}
	perThousand := 1000 / float64(sent) / 1e9
	u := &Usage{Component: map[string]float64{}, RSSBytes: map[string]int64{}}
	busy, attributed := 0.0, 0.0
	off, negative := 0, 0
	window := float64(t.WindowEndNs - t.WindowStartNs)
	err := results.ReadRows(t.file(results.ResourcesFile), func(rows []results.Resource) error {
		for _, r := range rows {
			if r.CPUNs < 0 || r.SoftirqNs < 0 {
				negative++
				continue
			}
			if span := float64(r.EndNs - r.StartNs); span < window*(1-windowSlack) || span > window*(1+windowSlack) {
				off++
			}
			if r.Component == results.ComponentHost {
				u.Hosts++
				busy += float64(r.CPUNs) * perThousand
				u.Softirq += float64(r.SoftirqNs) * perThousand
				continue
			}
			u.Component[r.Component] += float64(r.CPUNs) * perThousand
			u.RSSBytes[r.Component] += r.RSSBytes
			attributed += float64(r.CPUNs) * perThousand
		}
		return nil
	})
	if err != nil {
		t.warn(true, "%v", err)
		return
	}
	if negative > 0 {
		t.warn(true, "%d counters ran backwards (a unit was restarted) and were left out: CPU time is too low", negative)
	}
	if off > 0 {
		t.warn(false, "%d counters were read over a span that differs from the window by more than %.0f %%", off, 100*windowSlack)
	}
	if u.Hosts == 0 {
		t.warn(false, "no host counters: softirq and unattributed CPU time are unknown")
	}
	u.Unattributed = max(0, busy-attributed)
	t.Usage = u
}
