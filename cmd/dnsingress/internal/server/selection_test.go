// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// TestSelectionByClient asks as clients and as resolvers with a client subnet (RFC 7871): who is the same client gets the
// same sticky answer from every replica, who is near the near ones, and the scope of the answer says of whom it is true.
func TestSelectionByClient(t *testing.T) {
	soa, err := dns.NewRR("example.org. 5 IN SOA ns.example.org. host.example.org. 1 3600 600 86400 5")
	if err != nil {
		t.Fatal(err)
	}
	pool := func(owner string, selection zone.Selection, most int) zone.Change {
		set := zone.RRset{Type: dns.TypeAAAA, TTL: 5, Select: selection, MaxAnswers: most}
		for i := range 64 {
			set.Records = append(set.Records, &dns.AAAA{
				Hdr: dns.RR_Header{Rrtype: dns.TypeAAAA, Class: dns.ClassINET}, AAAA: net.ParseIP(fmt.Sprintf("2001:db8::%x", i+1)),
			})
			set.Locations = append(set.Locations, []string{"a/1", "a/2", "b/1", "c/1"}[i%4])
		}
		return zone.Change{Owner: owner, RRsets: []zone.RRset{set}}
	}
	where, err := zone.NewLocations(map[netip.Prefix]string{
		netip.MustParsePrefix("2001:db8:a::/48"): "a",
		netip.MustParsePrefix("192.0.2.0/24"):    "b",
	})
	if err != nil {
		t.Fatal(err)
	}
	replica := func() *Responder {
		z, err := zone.New("example.org.", []dns.RR{soa})
		if err != nil {
			t.Fatal(err)
		}
		z, err = z.With(
			pool("sticky.example.org.", zone.Selection{Kind: zone.Sticky}, 2),
			pool("near.example.org.", zone.Selection{Kind: zone.Near}, 0),
			pool("any.example.org.", zone.Selection{}, 2),
		)
		if err != nil {
			t.Fatal(err)
		}
		var catalog zone.Catalog
		catalog.Publish(z)
		r := NewResponder(&catalog)
		r.question.Locations = where
		return r
	}
	replicas := []*Responder{replica(), replica()}
	// ask returns the answer's addresses and the scope, -1 without one, and requires all replicas to give the same.
	ask := func(name, from, subnet string, same bool) (string, int) {
		t.Helper()
		q := new(dns.Msg).SetQuestion(name, dns.TypeAAAA)
		q.SetEdns0(1232, false)
		if subnet != "" {
			p := netip.MustParsePrefix(subnet)
			e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 2, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()}
			if p.Addr().Is4() {
				e.Family = 1
			}
			q.IsEdns0().Option = append(q.IsEdns0().Option, e)
		}
		wire, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		first, scope := "", -1
		for i, r := range replicas {
			var m dns.Msg
			if err := m.Unpack(r.Respond(make([]byte, 65535), wire, Peer{Addr: netip.MustParseAddr(from), TCP: true})); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, rr := range m.Answer {
				got = append(got, rr.(*dns.AAAA).AAAA.String())
			}
			slices.Sort(got)
			for _, o := range m.IsEdns0().Option {
				if s, ok := o.(*dns.EDNS0_SUBNET); ok {
					scope = int(s.SourceScope)
				}
			}
			if text := strings.Join(got, " "); i == 0 {
				first = text
			} else if same && text != first {
				t.Errorf("%s for %s: replicas give %s and %s", name, subnet, first, text)
			}
		}
		return first, scope
	}

	by, scope := ask("sticky.example.org.", "2001:db8:1:2::5", "", true)
	if scope != -1 {
		t.Errorf("a scope of %d for a query without a subnet", scope)
	}
	for _, c := range []struct {
		from, subnet string
		same         bool
		scope        int
	}{
		{"2001:db8:1:3::9", "", true, -1},                     // of the same /56
		{"2001:db8:1:100::9", "", false, -1},                  // of another
		{"2001:db8:ffff::1", "2001:db8:1::/56", true, 56},     // a resolver elsewhere asks for the same /56
		{"2001:db8:1:2::5", "2001:db8:1:100::/56", false, 56}, // and one beside the client for another
	} {
		got, scope := ask("sticky.example.org.", c.from, c.subnet, true)
		if (got == by) != c.same || scope != c.scope {
			t.Errorf("from %s for %q: %s with scope %d; the client has %s, want the same: %t, scope %d", c.from, c.subnet, got, scope, by, c.same, c.scope)
		}
	}
	four, scope := ask("sticky.example.org.", "2001:db8::1", "192.0.2.0/24", true)
	if direct, _ := ask("sticky.example.org.", "192.0.2.77", "", true); direct != four || scope != 24 {
		t.Errorf("IPv4: %s by subnet with scope %d, %s by address", four, scope, direct)
	}
	for _, c := range []struct {
		from, subnet string
		members      int
		scope        int
	}{
		{"2001:db8:a::1", "", 32, -1},
		{"2001:db8:b::1", "192.0.2.0/24", 16, 24},
		{"2001:db8:a::1", "2001:db8:8000::/40", 64, 33}, // nowhere, as everything up to where the next network is
	} {
		got, scope := ask("near.example.org.", c.from, c.subnet, true)
		if n := len(strings.Fields(got)); n != c.members || scope != c.scope {
			t.Errorf("near %s %q: %d members with scope %d, want %d and %d", c.from, c.subnet, n, scope, c.members, c.scope)
		}
	}
	if got, scope := ask("any.example.org.", "2001:db8::1", "2001:db8:1::/56", false); len(strings.Fields(got)) != 2 || scope != 0 {
		t.Errorf("what does not depend on the client: %s with scope %d", got, scope)
	}
}
