// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"sort"
)

// Locations says where clients are, by the longest prefix that their address is in. It is immutable and safe
// for concurrent use; nil is the empty table.
type Locations struct {
	// ranges divide all addresses, IPv4 as ::ffff:0:0/96, in ascending order: each reaches to the next one.
	ranges []locationRange
}

type locationRange struct {
	first address
	name  string
}

// address is a number of 128 bits.
type address struct{ hi, lo uint64 }

func newAddress(b *[16]byte) address {
	return address{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (a address) is4() bool { return a.hi == 0 && a.lo>>32 == 0xFFFF }

func (a address) compare(b address) int {
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
}

func (a address) next() address {
	lo, carry := bits.Add64(a.lo, 1, 0)
	return address{a.hi + carry, lo}
}

func (a address) previous() address {
	lo, borrow := bits.Sub64(a.lo, 1, 0)
	return address{a.hi - borrow, lo}
}

// shared returns how many leading bits two addresses have in common.
func (a address) shared(b address) int {
	if a.hi != b.hi {
		return bits.LeadingZeros64(a.hi ^ b.hi)
	}
	return 64 + bits.LeadingZeros64(a.lo^b.lo)
}

// NewLocations makes the table. A location is a path from the largest to the smallest, such as "zone-a/node-7".
func NewLocations(prefixes map[netip.Prefix]string) (*Locations, error) {
	type span struct {
		first, last address
		length      int
		name        string
	}
	var spans []span
	for p, name := range prefixes {
		if !p.IsValid() || p != p.Masked() {
			return nil, fmt.Errorf("location %q: %v is not a network (hint: no bits behind the prefix length)", name, p)
		}
		length := p.Bits()
		if p.Addr().Is4() {
			length += 96
		}
		b := p.Addr().As16()
		first := newAddress(&b)
		last := address{first.hi | tail(length), first.lo | tail(length-64)}
		spans = append(spans, span{first, last, length, name})
	}
	// Prefixes nest or are apart, so a stack of those that are open gives the one in force.
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(a.first.compare(b.first), cmp.Compare(a.length, b.length))
	})
	t := &Locations{ranges: []locationRange{{}}}
	begin := func(at address, name string) {
		end := &t.ranges[len(t.ranges)-1]
		if end.first == at {
			end.name = name
		} else if end.name != name {
			t.ranges = append(t.ranges, locationRange{at, name})
		}
	}
	var open []span
	closeUpTo := func(limit address, all bool) {
		for len(open) > 0 && (all || open[len(open)-1].last.compare(limit) < 0) {
			after := open[len(open)-1].last.next()
			open = open[:len(open)-1]
			outer := ""
			if len(open) > 0 {
				outer = open[len(open)-1].name
			}
			if after != (address{}) { // else it is the last of all addresses
				begin(after, outer)
			}
		}
	}
	for _, s := range spans {
		closeUpTo(s.first, false)
		begin(s.first, s.name)
		open = append(open, s)
	}
	closeUpTo(address{}, true)
	// What began anew at one address may now have the name of the range before.
	t.ranges = slices.CompactFunc(t.ranges, func(a, b locationRange) bool { return a.name == b.name })
	return t, nil
}

// tail is a number whose bits from the given one on, counted from the left, are set.
func tail(from int) uint64 {
	switch {
	case from <= 0:
		return ^uint64(0)
	case from >= 64:
		return 0
	}
	return ^uint64(0) >> from
}

// Find returns where an address is, "" if nothing says so, and the length of the largest network around it of
// which that is true as a whole, IPv4 counted from 96: the scope of an answer that depends on it (RFC 7871
// §7.2.1 has scopes not overlap).
func (t *Locations) Find(addr netip.Addr) (name string, length int) {
	b := addr.As16()
	return t.find(newAddress(&b))
}

func (t *Locations) find(a address) (name string, length int) {
	if t == nil || len(t.ranges) == 0 {
		return "", 0
	}
	i := sort.Search(len(t.ranges), func(i int) bool { return t.ranges[i].first.compare(a) > 0 }) - 1
	if i > 0 {
		length = 1 + a.shared(t.ranges[i].first.previous())
	}
	if i+1 < len(t.ranges) {
		length = max(length, 1+a.shared(t.ranges[i+1].first))
	}
	return t.ranges[i].name, length
}
