// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/pool"
)

func TestPrintExplanation(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	number := func(f float64) *pool.Number { n := pool.Number(f); return &n }
	x := pool.Explanation{
		Name: "web.apps.test.", Object: "Service shop/web", Zone: "apps.test.", Serial: 7, TTL: 5, TTLRule: "calm", NegativeTTL: 2, Selection: "weighted", FailOpen: true,
		Policy: &pool.Policy{Signals: []pool.Signal{
			{Name: "load", Kind: "promql", Query: "sum by (pod)\n  (load)", Interval: 5, Age: number(1.24), Error: "away"},
			{Name: "port", Kind: "health", Interval: 0.5},
		}, Rules: []pool.Rule{{Signal: "load", Says: "keep < 8, readmit < 6", Limit: number(8)}, {Name: "alive", Signal: "port", Says: "keep > 0"}}},
		Members: []pool.Member{
			{Address: netip.MustParseAddr("fd00::1"), Pod: "web-1", Node: "worker-1", State: "in", Reason: "fail-open", Rule: "load", Value: number(9.25), Limit: number(8), Weight: 1, Since: now.Add(-90 * time.Second)},
			{Address: netip.MustParseAddr("10.0.0.1"), State: "out", Reason: "not-ready", Since: now},
		},
		Problems: []string{"NameTaken: x.apps.test. is already published"},
		History: []pool.Event{
			{At: now.Add(-time.Hour), Trigger: "restart", TTL: 5, TTLRule: "pool", In: 1, Ready: 1},
			{At: now.Add(-time.Minute), Trigger: "metrics", TTL: 2.5, TTLRule: "calm", In: 1, Ready: 1, FailOpen: true, More: 3, Changes: []pool.Change{
				{Address: netip.MustParseAddr("fd00::1"), Pod: "web-1", Was: "out", State: "in", Reason: "fail-open", Rule: "load", Value: number(9.25)},
				{Address: netip.MustParseAddr("fd00::7"), Was: "in", State: "none"},
			}},
		},
	}
	var out strings.Builder
	if err := printExplanation(&out, x, 1, now); err != nil {
		t.Fatal(err)
	}
	want := `web.apps.test.  Service shop/web  zone apps.test.  serial 7
ttl 5s by calm  negative ttl 2s  selection weighted  at most all
too few members satisfy the policy: all ready ones are in

SIGNAL  KIND    EVERY  AGE       QUERY
load    promql  5s     1.2s      sum by (pod) (load)
port    health  500ms  none yet  -

RULE   SIGNAL  SAYS                   LIMIT
load   load    keep < 8, readmit < 6  8
alive  port    keep > 0               -
last evaluation of load: away

ADDRESS   POD    NODE      STATE  REASON     RULE  VALUE  LIMIT  SHARE   FOR
fd00::1   web-1  worker-1  in     fail-open  load  9.25   8      100.0%  1m30s
10.0.0.1  -      -         out    not-ready  -     -      -      -       0s
problem: NameTaken: x.apps.test. is already published

TIME                  BECAUSE OF  IN             TTL   TTL RULE  CHANGES
2026-01-02T03:03:05Z  metrics     1/1 fail open  2.5s  calm      web-1 out→in fail-open load 9.25, fd00::7 in→none, and 3 more
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
