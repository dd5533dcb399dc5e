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

func TestPrintRecords(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	age := pool.Number(90)
	for _, c := range []struct {
		x    pool.Explanation
		want string
	}{
		{pool.Explanation{
			Name: "geo.apps.test.", Object: "DNSEndpoint shop/geo", Zone: "apps.test.", Serial: 7, TTL: 5, TTLRule: "pool", NegativeTTL: 5, Selection: "window", Max: 8,
			Rivals: []string{"Service shop/geo", "Service bank/geo"},
			Records: []pool.RecordSet{{Type: "A", TTL: 60, Options: []pool.Option{
				{Geo: "IE", Set: "dublin", Share: 0.25, Records: []string{"192.0.2.1", "192.0.2.2"}}, {Geo: "*", Share: 1, Records: []string{"192.0.2.9"}},
			}}},
			Follows: []pool.Followed{{Name: "lb.example.org.", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.9")}, Age: &age, Error: "no answer in time"}, {Name: "new.example.org."}},
		}, `geo.apps.test.  DNSEndpoint shop/geo  zone apps.test.  serial 7
ttl 5s by pool  negative ttl 5s  selection window  at most 8
claimed by Service shop/geo, Service bank/geo as well

TYPE  TTL  GEO  SET     SHARE   DATA
A     60s  IE   dublin  25.0%   192.0.2.1
A     60s  IE   dublin  25.0%   192.0.2.2
A     60s  *    -       100.0%  192.0.2.9

FOLLOWS           ADDRESSES  CONFIRMED  ERROR
lb.example.org.   1          1m30s ago  no answer in time
new.example.org.  0          never      -
`},
		{pool.Explanation{
			Name: "_http._tcp.web.apps.test.", Object: "HTTPRoute shop/web", Zone: "apps.test.", Serial: 7, TTL: 5, TTLRule: "pool", NegativeTTL: 5, Selection: "window", Max: 8,
			For: "web.apps.test.", LastResort: true, Groups: []pool.Group{{Name: "blue", Weight: 9, In: 1, Share: 1}, {Name: "green", Weight: 1}},
			Members: []pool.Member{{Address: netip.MustParseAddr("fd00::1"), State: "in", Reason: "last-resort", Weight: 1, Since: now}},
			Records: []pool.RecordSet{{Type: "SRV", TTL: 5, Options: []pool.Option{{Share: 1, Records: []string{"0 0 80 web.apps.test."}}}}},
		}, `_http._tcp.web.apps.test.  HTTPRoute shop/web  zone apps.test.  serial 7
ttl 5s by pool  negative ttl 5s  selection window  at most 8
made for the ports of web.apps.test.
nobody is ready: the last resort is who serves while terminating

GROUP  WEIGHT  IN  SHARE
blue   9       1   100.0%
green  1       0   0.0%

ADDRESS  POD  NODE  STATE  REASON       RULE  VALUE  LIMIT  SHARE   FOR
fd00::1  -    -     in     last-resort  -     -      -      100.0%  0s

TYPE  TTL  GEO  SET  SHARE   DATA
SRV   5s   -    -    100.0%  0 0 80 web.apps.test.
`},
	} {
		var out strings.Builder
		if err := printExplanation(&out, c.x, 1, now); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, out.String()); diff != "" {
			t.Error(diff)
		}
	}
}
