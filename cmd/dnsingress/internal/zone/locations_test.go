// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

// TestLocations compares with looking at every prefix, and tests that a scope is one network of one location and
// that a larger network is not.
func TestLocations(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	random := func() netip.Addr {
		if rng.IntN(3) == 0 {
			return netip.AddrFrom4([4]byte{10, byte(rng.IntN(3)), byte(rng.IntN(3)) << 6, byte(rng.Uint32())})
		}
		b := netip.MustParseAddr("2001:db8::").As16()
		for _, i := range []int{4, 6, 8, 15} {
			b[i] = byte(rng.IntN(3)) << rng.IntN(7)
		}
		return netip.AddrFrom16(b)
	}
	for round := range 300 {
		table := map[netip.Prefix]string{}
		for range round % 20 {
			a := random()
			p, err := a.Prefix(rng.IntN(a.BitLen() + 1))
			if err != nil {
				t.Fatal(err)
			}
			table[p] = fmt.Sprint(rng.IntN(3))
		}
		locations, err := NewLocations(table)
		if err != nil {
			t.Fatal(err)
		}
		find := func(a netip.Addr) string {
			name, longest := "", -1
			for p, n := range table {
				length := p.Bits()
				if p.Addr().Is4() {
					length += 96
				}
				p := netip.PrefixFrom(netip.AddrFrom16(p.Addr().As16()), length)
				if p.Contains(netip.AddrFrom16(a.As16())) || length == 0 {
					if length > longest {
						name, longest = n, length
					}
				}
			}
			return name
		}
		for range 30 {
			a := random()
			name, length := locations.Find(a)
			if want := find(a); name != want {
				t.Fatalf("%v is in %q, not %q, by %v", a, name, want, table)
			}
			inside := func(length int) bool { // by the ends of what is inside and of every prefix there
				from := address{}
				b := a.As16()
				at := newAddress(&b)
				from = address{at.hi &^ tail(length), at.lo &^ tail(length-64)}
				to := address{at.hi | tail(length), at.lo | tail(length-64)}
				for _, first := range locations.firsts {
					if first.compare(from) > 0 && first.compare(to) <= 0 {
						return false
					}
				}
				return true
			}
			if !inside(length) || length > 0 && inside(length-1) {
				t.Fatalf("%v: scope %d by %v", a, length, table)
			}
			if other := random(); length > 0 {
				p := netip.PrefixFrom(netip.AddrFrom16(a.As16()), length).Masked()
				if p.Contains(netip.AddrFrom16(other.As16())) && find(other) != name {
					t.Fatalf("scope %v of %v has %v, which is in %q and not %q", p, a, other, find(other), name)
				}
			}
		}
	}
}

func TestLocationsEnds(t *testing.T) {
	locations, err := NewLocations(map[netip.Prefix]string{
		netip.MustParsePrefix("::/0"):        "all",
		netip.MustParsePrefix("ffff::/16"):   "last",
		netip.MustParsePrefix("::/128"):      "first",
		netip.MustParsePrefix("0.0.0.0/0"):   "four",
		netip.MustParsePrefix("fd00::/8"):    "all", // nothing new
		netip.MustParsePrefix("fd00:1::/32"): "last",
	})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"::": "first 128", "::1": "all 128", "0:ffff::": "all 17", "ffff::": "last 16",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": "last 16", "255.255.255.255": "four 96", "0.0.0.0": "four 96",
		"fd00::": "all 32", "fd00:1::": "last 32", "8000::": "all 2",
	} {
		name, length := locations.Find(netip.MustParseAddr(addr))
		if got := fmt.Sprint(name, " ", length); got != want {
			t.Errorf("%s: %s, not %s", addr, got, want)
		}
	}
	var none *Locations
	if name, length := none.Find(netip.MustParseAddr("::1")); name != "" || length != 0 {
		t.Errorf("the empty table has %q, %d", name, length)
	}
	if _, err := NewLocations(map[netip.Prefix]string{netip.MustParsePrefix("2001:db8::1/32"): "a"}); err == nil || !strings.Contains(err.Error(), `location "a": 2001:db8::1/32 is not a network`) {
		t.Error(err)
	}
}

// TestLocationsOr compares with asking one table after the other.
func TestLocationsOr(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	random := func() netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, byte(rng.IntN(4)), byte(rng.IntN(4)) << 6, 15: byte(rng.IntN(3))})
	}
	for round := range 300 {
		var tables [2]*Locations
		for i := range tables {
			networks := map[netip.Prefix]string{}
			for range rng.IntN(1 + round%15) {
				a := random()
				p, err := a.Prefix(rng.IntN(129))
				if err != nil {
					t.Fatal(err)
				}
				networks[p] = []string{"", "a", "b", "c"}[rng.IntN(4)]
			}
			var err error
			if tables[i], err = NewLocations(networks); err != nil {
				t.Fatal(err)
			}
		}
		both := tables[0].Or(tables[1])
		for range 100 {
			a := random()
			want, _ := tables[0].Find(a)
			if want == "" {
				want, _ = tables[1].Find(a)
			}
			if got, _ := both.Find(a); got != want {
				t.Fatalf("%v is in %q, not %q", a, got, want)
			}
		}
		for i := range both.Len() {
			if i > 0 && both.places[i] == both.places[i-1] {
				t.Fatalf("two ranges of one place: %v", both)
			}
		}
	}
	var none *Locations
	if none.Or(nil).Len() != 0 {
		t.Error("nothing or nothing is something")
	}
}

func TestLocationsOfOneNetwork(t *testing.T) {
	four, mapped := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("::ffff:192.0.2.0/120")
	if _, err := NewLocations(map[netip.Prefix]string{four: "a", mapped: "b"}); err == nil || !strings.Contains(err.Error(), "are of one network") {
		t.Error(err)
	}
}

func BenchmarkLocations(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	table := map[netip.Prefix]string{}
	var asked [1024][16]byte
	for i := range 10_000 {
		a := netip.AddrFrom16([16]byte{0x20, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
		table[netip.PrefixFrom(a, 32+rng.IntN(17)).Masked()] = fmt.Sprint(i % 100)
		asked[i%len(asked)] = a.As16()
	}
	locations, err := NewLocations(table)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		locations.find(newAddress(&asked[i%len(asked)]))
		i++
	}
}
