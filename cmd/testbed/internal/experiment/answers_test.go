// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/internal/stats"
)

func TestAnswerMeasures(t *testing.T) {
	const seconds = 1e9
	south := []netip.Prefix{netip.MustParsePrefix("fd00:12::/64")}
	is := func(client, server string, from, until float64, addresses ...any) span {
		s := span{Client: client, Server: server, FromNs: int64(from * seconds), UntilNs: int64(until * seconds), Content: addresses}
		if len(addresses) == 0 {
			s.Content = "silent"
		}
		return s
	}
	const north, both = "fd00:11::1", "fd00:12::1"
	for name, test := range map[string]struct {
		spans []span
		want  map[string]float64
	}{
		"gone and back": {
			[]span{
				is("c1", "n", 1, 14.9, north, both), is("c1", "n", 15, 32, north), is("c1", "n", 32.5, 60, north, "fd00:12::9"),
				is("c1", "s", 1, 10.1, north, both), is("c1", "s", 11.2, 35), is("c1", "s", 35.5, 36, north), is("c1", "s", 36.5, 60, north, both),
				is("c1", "::1", 1, 19, both), is("c1", "::1", 19.1, 38, north), is("c1", "::1", 38, 60, both),
				is("c2", "::1", 1, 18, both), is("c2", "::1", 18.1, 37, north), is("c2", "::1", 37, 60, both),
			},
			map[string]float64{"gone_servers_s": 4.9, "back_servers_s": 6.5, "gone_resolvers_s": 9, "back_resolvers_s": 8},
		},
		"one server never lets go": {
			[]span{is("c1", "n", 1, 60, north, both), is("c1", "w", 1, 12, north, both), is("c1", "w", 12, 60, north)},
			map[string]float64{"still_holding_servers": 1},
		},
		"gone for ever": {
			[]span{is("c1", "n", 1, 12, both), is("c1", "n", 12, 60, north)},
			map[string]float64{"gone_servers_s": 2},
		},
		"gone at once, and it was never there": {
			[]span{is("c1", "n", 1, 9, both), is("c1", "n", 9.5, 31, north), is("c1", "n", 31, 60, both)},
			map[string]float64{"gone_servers_s": 0, "back_servers_s": 1},
		},
		"a server that knew none is not counted": {
			[]span{is("c1", "n", 1, 60), is("c1", "w", 1, 12, both), is("c1", "w", 12, 60, north)},
			map[string]float64{"gone_servers_s": 2},
		},
		"nobody asked": {nil, map[string]float64{}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(test.want, answerMeasures(test.spans, south, 10*seconds, 30*seconds)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestErrorMeasures(t *testing.T) {
	failures := []stats.Failure{
		{IntendedNs: 1e9, TotalNs: 1e9}, // over before the fault
		{IntendedNs: 9.5e9, TotalNs: 1e9},
		{IntendedNs: 14e9, TotalNs: 1e9},
		{IntendedNs: 12e9, TotalNs: 1e9},
		{IntendedNs: 31e9, TotalNs: 5e8},
	}
	want := map[string]float64{"failed_fault_requests": 3, "errors_fault_s": 5, "failed_return_requests": 1, "errors_return_s": 1.5}
	if d := cmp.Diff(want, errorMeasures(failures, 10e9, 30e9)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]float64{"failed_fault_requests": 0, "failed_return_requests": 0}, errorMeasures(nil, 10e9, 30e9)); d != "" {
		t.Error(d)
	}
}

func TestParseSpans(t *testing.T) {
	spans, err := parseSpans(`{"server": "::1", "from_ns": 5, "until_ns": 9, "content": ["fd00::1", "fd00::2"]}
{"server": "fd00::5", "from_ns": 6, "until_ns": 7, "content": "rcode 2"}
`, "c1")
	if err != nil || len(spans) != 2 {
		t.Fatalf("%v, %v", spans, err)
	}
	e := spans[0].event()
	if e.UnixNs != 5 || e.Name != "addresses" || e.Target != "::1" || e.Node != "c1" || e.Detail["addresses"] != "fd00::1 fd00::2" || e.Detail["until_ns"] != "9" {
		t.Errorf("event %+v", e)
	}
	if e := spans[1].event(); e.Name != "rcode 2" || e.Detail["addresses"] != "" || len(spans[1].addresses()) != 0 {
		t.Errorf("event %+v", e)
	}
	if _, err := parseSpans("Traceback\n", "c1"); err == nil {
		t.Error("no error for what is no JSON")
	}
}
