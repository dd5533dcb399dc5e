// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/internal/results"
)

func TestCosts(t *testing.T) {
	rows := []results.Resource{
		{Node: "worker-1", Component: results.ComponentProxy, CPUNs: 2e9, RSSBytes: 1 << 20},
		{Node: "worker-2", Component: results.ComponentProxy, CPUNs: 1e9, RSSBytes: 2 << 20},
		{Node: "control-1", Component: results.ComponentControlPlane, CPUNs: 5e8, RSSBytes: 4 << 20},
		{Node: "client-1", Component: results.ComponentGenerator, CPUNs: 4e9},
		{Node: "worker-1", Component: results.ComponentHost, CPUNs: 9e9, SoftirqNs: 1e9},
		{Node: "worker-1", Component: results.ComponentLink, RxBytes: 7 << 20, TxBytes: 1 << 20, RxPackets: 70, TxPackets: 10, Connections: 3},
		{Node: "worker-2", Component: results.ComponentLink, TxBytes: 3 << 20, TxPackets: 30, Connections: 1, Energy: 2e6},
	}
	for name, test := range map[string]struct {
		sent uint64
		span time.Duration
		want map[string]float64
	}{
		"per request": {500_000, 10 * time.Second, map[string]float64{
			"proxy_cpu_per_million_s": 6, "control_plane_cpu_per_million_s": 1, "generator_cpu_per_million_s": 8,
			"busy_cpu_per_million_s": 18, "softirq_cpu_per_million_s": 2,
			"link_per_million_mib": 8, "packets_per_million": 80, "connections_per_million": 8, "energy_per_million_joules": 4,
			"proxy_memory_mib": 3, "control_plane_memory_mib": 4,
		}},
		"idle": {0, 30 * time.Minute, map[string]float64{
			"proxy_cpu_per_hour_s": 6, "control_plane_cpu_per_hour_s": 1, "generator_cpu_per_hour_s": 8,
			"busy_cpu_per_hour_s": 18, "softirq_cpu_per_hour_s": 2,
			"link_per_hour_mib": 8, "packets_per_hour": 80, "connections_per_hour": 8, "energy_per_hour_joules": 4,
			"proxy_memory_mib": 3, "control_plane_memory_mib": 4,
		}},
		"nothing": {0, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(test.want, costs(rows, test.sent, test.span)); d != "" {
				t.Error(d)
			}
		})
	}
}
