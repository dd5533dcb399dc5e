// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/internal/results"
)

func TestMeasuresTellTheirUnits(t *testing.T) {
	for _, tc := range []struct{ measure, words, unit, label string }{
		{"gone_servers_s", "gone servers", "s", "gone servers (s)"},
		{"knee_requests_per_s", "knee requests", "1/s", "knee requests (1/s)"},
		{"proxy_cpu_per_million_s", "proxy cpu per million", "s", "proxy cpu per million (s)"},
		{"lookups_per_1000_requests", "lookups per 1000 requests", "", "lookups per 1000 requests"},
		{"proxy_memory_mib", "proxy memory", "MiB", "proxy memory (MiB)"},
		{"last_ns", "last", "ns", "last (ms)"},
		{"came_pods", "came pods", "", "came pods"},
		{"s", "s", "", "s"},
		{"per_s", "per", "s", "per (s)"},
	} {
		words, unit := UnitOf(tc.measure)
		if got := strings.Join(words, " "); got != tc.words || unit != tc.unit {
			t.Errorf("%s: %q in %q, want %q in %q", tc.measure, got, unit, tc.words, tc.unit)
		}
		q := Measure(tc.measure)
		if q.Label != tc.label {
			t.Errorf("%s: label %q, want %q", tc.measure, q.Label, tc.label)
		}
		want := 2e6
		if unit == "ns" {
			want = 2
		}
		if v, ok := q.Of(&Trial{Trial: results.Trial{Measures: map[string]float64{tc.measure: 2e6}}}); !ok || v != want {
			t.Errorf("%s: %g, %v; want %g", tc.measure, v, ok, want)
		}
	}
}
