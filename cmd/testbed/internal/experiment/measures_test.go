// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/internal/results"
)

func TestSplitMeasures(t *testing.T) {
	at := func(seconds float64, name, target string) results.Event {
		return results.Event{UnixNs: int64(seconds * 1e9), Kind: results.EventPool, Name: name, Target: target}
	}
	pod, other := "2001:db8::1", "2001:db8::2"
	struck := []netip.Prefix{netip.MustParsePrefix(pod + "/128")}
	node := []netip.Prefix{netip.MustParsePrefix("2001:db8::/64")}
	for name, test := range map[string]struct {
		known   map[string]float64
		pool    []results.Event
		members []netip.Prefix
		want    map[string]float64
	}{
		"a graceful end is told at its begin": {
			map[string]float64{"gone_servers_s": 0.3, "gone_resolvers_s": 4, "errors_fault_s": 4.5},
			[]results.Event{at(10.1, "unready", pod), at(15, "gone", pod)},
			struck,
			map[string]float64{"detect_s": 0.1, "publish_s": 0.2, "cache_s": 3.7, "reconnect_s": 0.5},
		},
		"of a node its last pod": {
			nil, []results.Event{at(18, "unready", other), at(19, "unready", pod), at(25, "gone", other)}, node, map[string]float64{"detect_s": 9},
		},
		"of whom nobody knows who was struck, the first": {
			nil, []results.Event{at(12, "unready", pod), at(11, "unready", other)}, nil, map[string]float64{"detect_s": 1},
		},
		"others, and what was before and after": {
			nil, []results.Event{at(9, "unready", pod), at(11, "unready", other), at(31, "gone", pod)}, struck, map[string]float64{},
		},
		"a system that is not found by DNS": {
			map[string]float64{"errors_fault_s": 1.5},
			[]results.Event{at(11, "unready", pod)},
			struck,
			map[string]float64{"detect_s": 1, "publish_s": 0.5},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := splitMeasures(test.known, test.pool, test.members, 10e9, 30e9)
			for k, v := range got {
				got[k] = float64(int64(v*1e6+0.5)) / 1e6
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}
