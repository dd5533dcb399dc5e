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
	value, age := pool.Number(9.25), pool.Number(1.24)
	x := pool.Explanation{
		Name: "web.apps.test.", Object: "Service shop/web", Zone: "apps.test.", Serial: 7, TTL: 5, FailOpen: true,
		Policy: &pool.Policy{Query: "load", Keep: "< 8", Readmit: "< 6", SignalAge: &age, Error: "away"},
		Members: []pool.Member{
			{Address: netip.MustParseAddr("fd00::1"), Pod: "web-1", Node: "worker-1", State: "in", Reason: "fail-open", Value: &value, Since: now.Add(-90 * time.Second)},
			{Address: netip.MustParseAddr("10.0.0.1"), State: "out", Reason: "not-ready", Since: now},
		},
		Problems: []string{"NameTaken: x.apps.test. is already published"},
	}
	var out strings.Builder
	if err := printExplanation(&out, x, now); err != nil {
		t.Fatal(err)
	}
	want := `web.apps.test.  Service shop/web  ttl 5s  zone apps.test.  serial 7
keep < 8  of  load
readmit < 6
values are 1.2s old
last evaluation: away
too few members satisfy the policy: all ready ones are in
ADDRESS   POD    NODE      STATE  REASON     VALUE  FOR
fd00::1   web-1  worker-1  in     fail-open  9.25   1m30s
10.0.0.1  -      -         out    not-ready  -      0s
problem: NameTaken: x.apps.test. is already published
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
