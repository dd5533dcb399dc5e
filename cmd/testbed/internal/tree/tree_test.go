// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

func plan(names ...string) *Plan {
	return &Plan{
		Inventory: &inventory.Inventory{
			Network: inventory.Network{Nodes: netip.MustParsePrefix("fd00:1:2:3::/64")},
			Nodes: []inventory.Node{
				{Name: "worker-1", Groups: []string{inventory.Worker}, Address: netip.MustParseAddr("fd00:1:2:3::11")},
				{Name: "worker-2", Groups: []string{inventory.Worker}, Address: netip.MustParseAddr("fd00:1:2:3::12")},
			},
		},
		Trees: ByName(names...), TTL: time.Minute,
	}
}

// TestServers walks every tree from the root to the leaves by what the master files say alone, as a resolver does.
func TestServers(t *testing.T) {
	p := plan(Names()...)
	records := map[netip.Addr]map[string][]dns.RR{} // by server and zone
	for _, s := range p.Servers() {
		records[s.Address] = map[string][]dns.RR{}
		for zone, text := range s.Zones {
			parser := dns.NewZoneParser(strings.NewReader(text), zone, s.Level)
			for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
				records[s.Address][zone] = append(records[s.Address][zone], rr)
			}
			if err := parser.Err(); err != nil {
				t.Fatalf("%s at %s: %v", zone, s.Level, err)
			}
		}
	}
	referrals := func(at netip.Addr, zone, child string) []netip.Addr {
		t.Helper()
		var to []netip.Addr
		for _, rr := range records[at][zone] {
			ns, ok := rr.(*dns.NS)
			if !ok || ns.Hdr.Name != child {
				continue
			}
			if ns.Hdr.Ttl != 60 {
				t.Errorf("%v: TTL is not the plan's", ns)
			}
			for _, glue := range records[at][zone] {
				if a, ok := glue.(*dns.AAAA); ok && a.Hdr.Name == ns.Ns {
					addr, _ := netip.AddrFromSlice(a.AAAA)
					to = append(to, addr)
				}
			}
		}
		return to
	}
	for _, tree := range All() {
		at, zone := p.Address(Root), "."
		for i, child := range tree.Zones {
			to := referrals(at, zone, child)
			if i == len(tree.Zones)-1 {
				if len(to) != 2 || to[0] != netip.MustParseAddr("fd00:1:2:3::11") || to[1] != netip.MustParseAddr("fd00:1:2:3::12") {
					t.Errorf("%s: %s refers for %s to %v, not to the leaves", tree.Name, zone, child, to)
				}
				break
			}
			if len(to) != 1 {
				t.Fatalf("%s: %s at %s refers for %s to %v", tree.Name, zone, at, child, to)
			}
			// RFC 1034 §4.2.2: what stands at the cut is what the child says of itself.
			if own := referrals(to[0], child, child); len(own) != 1 || own[0] != to[0] {
				t.Errorf("%s: %s says that its servers are %v, its parent %v", tree.Name, child, own, to)
			}
			at, zone = to[0], child
		}
	}
}

func TestServersAreThoseOfTheTrees(t *testing.T) {
	for _, c := range []struct{ tree, want string }{
		{"flat", "root ::53:1"}, {"depth-2", "root ::53:1, upper ::53:2"}, {"depth-3", "root ::53:1, upper ::53:2, middle ::53:3"},
	} {
		var got []string
		for _, s := range plan(c.tree).Servers() {
			got = append(got, s.Level+" "+strings.TrimPrefix(s.Address.String(), "fd00:1:2:3"))
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: servers %s, want %s", c.tree, s, c.want)
		}
	}
}

func TestHolds(t *testing.T) {
	two := ByName("depth-2")[0]
	for name, want := range map[string]bool{
		"two.": true, "TWO.": true, "backend.apps.two.": true, "xtwo.": false, ".": false, "ns.root.": false, "apps.site.three.": false,
	} {
		if two.Holds(name) != want {
			t.Errorf("%s: in the tree of depth 2: %t", name, !want)
		}
	}
}
