// SPDX-License-Identifier: Apache-2.0

package dnssec_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/dnssec"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// optional makes a name answered with one of as many options as there are weights: pools of n addresses, most at a time,
// in the places given, or CNAMEs where n is 0.
func optional(t testing.TB, owner string, n, most int, places []string, weights ...uint32) zone.Change {
	t.Helper()
	set := zone.RRset{Type: dns.TypeAAAA, TTL: 60, MaxAnswers: most}
	for i, w := range weights {
		g := zone.Group{Records: max(n, 1), Weight: w, Name: fmt.Sprint("option-", i)}
		if places != nil {
			g.Location = places[i]
		}
		set.Groups = append(set.Groups, g)
		if n == 0 {
			set.Type = dns.TypeCNAME
			set.Records = append(set.Records, records(t, fmt.Sprintf("@ 60 CNAME target-%d.example.net.", i))...)
		}
		for k := range n {
			set.Records = append(set.Records, records(t, fmt.Sprintf("@ 60 AAAA 2001:db8::%x:%x", i, k))...)
		}
	}
	return zone.Change{Owner: owner, RRsets: []zone.RRset{set}}
}

// Every option has signatures before it is asked for, in all the parts that it is answered in, for clients anywhere, and
// plain answers as well as signed ones have them by weight.
func TestOptionsAreSignedAhead(t *testing.T) {
	where, err := zone.NewLocations(map[netip.Prefix]string{netip.MustParsePrefix("2001:db8:1::/48"): "GEO-EU/IE", netip.MustParsePrefix("2001:db8:2::/48"): "GEO-OC/AU"})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}, Now: time.Now})
		catalog := new(zone.Catalog)
		z := change(t, signedZone(t, s, feature),
			optional(t, "weights.example.org.", 20, 4, nil, 1, 3),
			optional(t, "geo.example.org.", 2, 0, []string{"IE", "AU", "*"}, 1, 1, 1),
			optional(t, "alias.example.org.", 0, 0, []string{"IE", "IE", "*"}, 1, 3, 1))
		catalog.Publish(z)
		s.Follow(catalog)
		go func() { _ = s.Run(t.Context()) }()
		synctest.Wait()
		c, keys := new(client), keysOf(t, z)
		counts := map[string]int{}
		for i := range 1500 {
			from := netip.MustParseAddr([]string{"2001:db8:1::1", "2001:db8:2::1", "2001:db8:3::1"}[i%3]).As16()
			for _, name := range []string{"weights.example.org.", "geo.example.org.", "alias.example.org."} {
				m := c.ask(t, z, name, dns.TypeAAAA, func(q *zone.Question) { q.Client, q.Locations = from, where })
				if i < 60 {
					if unsigned := verify(t, m.Answer, keys, time.Now()); unsigned != nil || m.Rcode != 0 || m.Truncated {
						t.Fatalf("unsigned: %v in\n%v", unsigned, m)
					}
				}
				of := ""
				for _, rr := range m.Answer {
					switch rr := rr.(type) {
					case *dns.AAAA:
						of = fmt.Sprintf("%s %d", name, rr.AAAA[13])
					case *dns.CNAME:
						of = name + " " + rr.Target[7:8]
					}
				}
				counts[of]++
			}
		}
		for of, want := range map[string][2]int{
			"weights.example.org. 0": {290, 460}, "weights.example.org. 1": {1040, 1210}, // of 1500: a quarter and the rest, ± 5 deviations
			"geo.example.org. 0": {500, 500}, "geo.example.org. 1": {500, 500}, "geo.example.org. 2": {500, 500},
			"alias.example.org. 0": {76, 174}, "alias.example.org. 1": {326, 424}, "alias.example.org. 2": {1000, 1000},
		} {
			if n := counts[of]; n < want[0] || n > want[1] {
				t.Errorf("%s: %d times, want %v", of, n, want)
			}
		}
		if n := counters(t, s)[asked]; n != 0 {
			t.Errorf("%v sets were signed when they were asked for, want none", n)
		}
		// What proves that there is no other type has the one that there is.
		m := c.ask(t, z, "geo.example.org.", dns.TypeTXT, nil)
		if nsec, ok := m.Ns[len(m.Ns)-2].(*dns.NSEC); !ok || !slices.Contains(nsec.TypeBitMap, dns.TypeAAAA) {
			t.Errorf("denied with %v", m.Ns)
		}
	})
}

// What depends on the client is signed when it is asked for, and remembered; and answers with options that are signed
// allocate nothing.
func TestStableOptionsAreSigned(t *testing.T) {
	s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}})
	p := optional(t, "stable.example.org.", 3, 0, nil, 1, 3)
	p.RRsets[0].Select.Kind = zone.Sticky
	z := change(t, signedZone(t, s, feature), p, optional(t, "alias.example.org.", 0, 0, nil, 1, 3))
	c, keys := new(client), keysOf(t, z)
	for i := range 500 {
		m := c.ask(t, z, "stable.example.org.", dns.TypeAAAA, func(q *zone.Question) {
			q.Client = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 1, byte(i)}).As16()
		})
		if unsigned := verify(t, m.Answer, keys, time.Now()); unsigned != nil || len(m.Answer) != 4 {
			t.Fatalf("unsigned: %v in\n%v", unsigned, m)
		}
	}
	if n := counters(t, s)[asked]; n != 2 {
		t.Errorf("%v signatures for two options", n)
	}
	for _, name := range []string{"stable.example.org.", "alias.example.org."} {
		ask := asker(t, z, name, dns.TypeAAAA, true)
		for range 100 {
			ask()
		}
		if n := testing.AllocsPerRun(200, func() { ask() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
