// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// options is a change that makes a name answered with one of several records, each in a place and with a weight of 1; stable: the
// same for the same client.
func options(t testing.TB, owner string, rtype uint16, stable bool, places, data []string) zone.Change {
	t.Helper()
	set := zone.RRset{Type: rtype, TTL: 60}
	if stable {
		set.Select.Kind = zone.Sticky
	}
	for i := range data {
		rr, err := dns.NewRR(fmt.Sprintf(". 60 IN %s %s", dns.TypeToString[rtype], data[i]))
		if err != nil {
			t.Fatal(err)
		}
		set.Records = append(set.Records, rr)
		set.Groups = append(set.Groups, zone.Group{Records: 1, Weight: 1, Location: places[i]})
	}
	return zone.Change{Owner: owner, RRsets: []zone.RRset{set}}
}

// TestAnswersByLocation asks over UDP as a client and as a resolver for others, while the table of locations changes.
func TestAnswersByLocation(t *testing.T) {
	z, err := exampleZone(t).With(
		options(t, "geo.example.org.", dns.TypeCNAME, false, []string{"IE", "GEO-OC", "*"}, []string{"ie.example.org.", "oc.example.org.", "any.example.org."}),
		options(t, "ie.example.org.", dns.TypeAAAA, true, []string{"", ""}, []string{"2001:db8::1", "2001:db8::2"}),
		options(t, "oc.example.org.", dns.TypeAAAA, false, []string{""}, []string{"2001:db8::3"}),
		options(t, "any.example.org.", dns.TypeAAAA, false, []string{""}, []string{"2001:db8::4"}),
		options(t, "plain.example.org.", dns.TypeAAAA, false, []string{"", ""}, []string{"2001:db8::5", "2001:db8::6"}),
	)
	if err != nil {
		t.Fatal(err)
	}
	catalog := new(zone.Catalog)
	catalog.Publish(z)
	table := func(loopback string) *zone.Locations {
		where, err := zone.NewLocations(map[netip.Prefix]string{
			netip.MustParsePrefix("192.0.2.0/24"):      "GEO-EU/IE/IE-L",
			netip.MustParsePrefix("192.0.2.128/25"):    "GEO-EU/IE",
			netip.MustParsePrefix("203.0.113.0/24"):    "GEO-OC/AU",
			netip.MustParsePrefix("2001:db8:9::/48"):   "GEO-EU/IE",
			netip.MustParsePrefix("2001:db8:9:8::/64"): "GEO-OC/NZ",
			netip.MustParsePrefix("::1/128"):           loopback,
		})
		if err != nil {
			t.Fatal(err)
		}
		return where
	}
	var where atomic.Pointer[zone.Locations]
	where.Store(table("GEO-OC/NZ"))
	s := start(t, Config{Catalog: catalog, Locations: &where})
	c := dial(t, "udp", s.Addrs()[0])
	ask := func(name, subnet string) (target, address string, scope int) {
		t.Helper()
		q := ask(name, dns.TypeAAAA)
		q.SetEdns0(1232, false)
		if subnet != "" {
			p := netip.MustParsePrefix(subnet)
			e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 2, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()}
			if p.Addr().Is4() {
				e.Family = 1
			}
			q.IsEdns0().Option = append(q.IsEdns0().Option, e)
		}
		send(t, c, pack(t, q))
		m := unpack(t, receive(t, c))
		scope = -1
		for _, o := range m.IsEdns0().Option {
			if e, ok := o.(*dns.EDNS0_SUBNET); ok {
				scope = int(e.SourceScope)
			}
		}
		for _, rr := range m.Answer {
			switch rr := rr.(type) {
			case *dns.CNAME:
				target = strings.TrimSuffix(rr.Target, ".example.org.")
			case *dns.AAAA:
				address = rr.AAAA.String()
			}
		}
		if address == "" {
			t.Fatalf("%s for %s:\n%v", name, subnet, m)
		}
		return target, address, scope
	}
	for _, c := range []struct {
		name, subnet string
		target       string
		scope        int
	}{
		{"geo.example.org.", "", "oc", -1},                    // by the address that asks
		{"geo.example.org.", "192.0.2.0/24", "ie", 25},        // half of the network is elsewhere in the country
		{"geo.example.org.", "192.0.2.128/25", "ie", 25},      //
		{"geo.example.org.", "203.0.113.0/24", "oc", 24},      //
		{"geo.example.org.", "198.51.100.0/24", "any", 6},     // nowhere, up to the next known
		{"geo.example.org.", "2001:db8:9:0::/56", "ie", 61},   // stable by /56, in one country by /61
		{"geo.example.org.", "2001:db8:9:100::/56", "ie", 56}, // stable by /56, in one country by /56
		{"geo.example.org.", "2001:db8:9:8::/64", "oc", 64},   //
		{"geo.example.org.", "2001:db8::/32", "any", 45},      // by its first address, of which alone that is true
		{"geo.example.org.", "0.0.0.0/0", "oc", 0},            // a resolver that does not want to say: by its own address
		{"ie.example.org.", "2001:db8:9:1200::/48", "", 56},
		{"plain.example.org.", "192.0.2.0/24", "", 0},
	} {
		if c.subnet != "" {
			c.subnet = netip.MustParsePrefix(c.subnet).Masked().String()
		}
		target, _, scope := ask(c.name, c.subnet)
		if target != c.target || scope != c.scope {
			t.Errorf("%s for %s: %q with scope %d, want %q with %d", c.name, c.subnet, target, scope, c.target, c.scope)
		}
	}
	// Who is told 56 is in one with all of that network.
	first, seen := "", map[string]bool{}
	for i := range 64 {
		_, a, _ := ask("geo.example.org.", fmt.Sprintf("2001:db8:9:1%02x::/64", i))
		if first == "" {
			first = a
		}
		if a != first {
			t.Errorf("two answers in one network: %s and %s", first, a)
		}
		_, b, _ := ask("geo.example.org.", fmt.Sprintf("2001:db8:9:%x00::/56", 2+i))
		seen[b] = true
	}
	if len(seen) != 2 {
		t.Errorf("64 networks get %v", seen)
	}
	where.Store(table("GEO-EU/IE"))
	if target, _, _ := ask("geo.example.org.", ""); target != "ie" {
		t.Errorf("after the table changed: %q", target)
	}
}
