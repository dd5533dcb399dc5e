// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/internal/results"
)

// costs are measures of what was used in the window, from the rows of resources.parquet: for a million requests that were sent,
// or, where nobody asked, for an hour. CPU time is by component and of the kernels (busy, and in soft interrupts, which the components'
// may hold too); bytes and packets are what nodes sent, so that each counts once; connections are those of TCP that nodes opened or accepted.
func costs(rows []results.Resource, sent uint64, span time.Duration) map[string]float64 {
	per, unit := 0.0, "per_million"
	switch {
	case sent > 0:
		per = 1e6 / float64(sent)
	case span > 0:
		per, unit = float64(time.Hour)/float64(span), "per_hour"
	default:
		return nil
	}
	m := map[string]float64{}
	add := func(name, in string, v int64, scale float64) { m[name+"_"+unit+in] += float64(v) * scale * per }
	for _, r := range rows {
		switch r.Component {
		case results.ComponentHost:
			add("busy_cpu", "_s", r.CPUNs, 1e-9)
			add("softirq_cpu", "_s", r.SoftirqNs, 1e-9)
		case results.ComponentLink:
			add("link", "_mib", r.TxBytes, 1.0/(1<<20))
			add("packets", "", r.TxPackets, 1)
			add("connections", "", r.Connections, 1)
			if r.Energy > 0 {
				add("energy", "_joules", r.Energy, 1e-6)
			}
		default:
			name := strings.ReplaceAll(r.Component, "-", "_")
			add(name+"_cpu", "_s", r.CPUNs, 1e-9)
			if r.RSSBytes > 0 {
				m[name+"_memory_mib"] += float64(r.RSSBytes) / (1 << 20)
			}
		}
	}
	return m
}

// sent counts the requests that the trial's generators sent in the window.
func (t *trial) sent() uint64 {
	var sum uint64
	for _, g := range t.facts.generators {
		sum += g.Requests - min(g.Dropped, g.Requests)
	}
	return sum
}
