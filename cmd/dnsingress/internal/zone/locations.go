// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math/bits"
	"net/netip"
	"slices"
)

// Locations says where clients are, by the longest prefix that their address is in. It is immutable and safe
// for concurrent use; nil is the empty table. It takes 20 octets a range of addresses that are in one place.
type Locations struct {
	// firsts divide all addresses, IPv4 as ::ffff:0:0/96, in ascending order, into ranges: each reaches to the next one.
	firsts []address
	places []uint32 // of each range, an index of names
	names  []string // the first is "": nowhere
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

// last returns the last address of the network that begins at a.
func (a address) last(length uint8) address {
	return address{a.hi | tail(int(length)), a.lo | tail(int(length)-64)}
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

// NewLocations makes the table of networks. A location is a path from the largest place to the smallest, such as "GEO-EU/IE"
// or "zone-a/node-7"; "" is nowhere.
func NewLocations(networks map[netip.Prefix]string) (*Locations, error) {
	return CollectLocations(maps.All(networks))
}

// CollectLocations is NewLocations for networks in any order, each given once; in theirs it is quickest.
func CollectLocations(networks iter.Seq2[netip.Prefix, string]) (*Locations, error) {
	type span struct {
		first  address
		place  uint32
		length uint8
	}
	t := newTable()
	var spans []span
	for p, name := range networks {
		if !p.IsValid() || p != p.Masked() {
			return nil, fmt.Errorf("location %q: %v is not a network (hint: no bits behind the prefix length)", name, p)
		}
		length := p.Bits()
		if p.Addr().Is4() {
			length += 96
		}
		b := p.Addr().As16()
		spans = append(spans, span{newAddress(&b), t.place(name), uint8(length)})
	}
	// Prefixes nest or are apart, so a stack of those that are open gives the one in force.
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(a.first.compare(b.first), cmp.Compare(a.length, b.length))
	})
	var open []span
	closeUpTo := func(limit address, all bool) {
		for len(open) > 0 && (all || open[len(open)-1].first.last(open[len(open)-1].length).compare(limit) < 0) {
			inner := open[len(open)-1]
			after := inner.first.last(inner.length).next()
			open = open[:len(open)-1]
			outer := uint32(0)
			if len(open) > 0 {
				outer = open[len(open)-1].place
			}
			if after != (address{}) { // else it is the last of all addresses
				t.begin(after, outer)
			}
		}
	}
	for i, s := range spans {
		if i > 0 && s.first == spans[i-1].first && s.length == spans[i-1].length {
			return nil, fmt.Errorf("locations %q and %q are of one network", t.names[spans[i-1].place], t.names[s.place])
		}
		closeUpTo(s.first, false)
		t.begin(s.first, s.place)
		open = append(open, s)
	}
	closeUpTo(address{}, true)
	return t.done(), nil
}

// Or returns the table that has the locations of t, and where it has none those of another.
func (t *Locations) Or(other *Locations) *Locations {
	switch {
	case t.Len() == 0:
		return other
	case other.Len() == 0:
		return t
	}
	out := newTable()
	for i, k := 0, 0; i < len(t.firsts) || k < len(other.firsts); {
		var at address
		switch {
		case k == len(other.firsts) || i < len(t.firsts) && t.firsts[i].compare(other.firsts[k]) <= 0:
			at = t.firsts[i]
		default:
			at = other.firsts[k]
		}
		for i < len(t.firsts) && t.firsts[i] == at {
			i++
		}
		for k < len(other.firsts) && other.firsts[k] == at {
			k++
		}
		out.begin(at, out.place(cmp.Or(t.names[t.places[i-1]], other.names[other.places[k-1]])))
	}
	return out.done()
}

// Len returns how many ranges of addresses are told apart; 0: no address is anywhere.
func (t *Locations) Len() int {
	if t == nil || len(t.firsts) == 1 && t.places[0] == 0 {
		return 0
	}
	return len(t.firsts)
}

// table is Locations in the making.
type table struct {
	Locations
	indices map[string]uint32
}

func newTable() *table {
	return &table{Locations{firsts: []address{{}}, places: []uint32{0}, names: []string{""}}, map[string]uint32{"": 0}}
}

// place returns the index of a name.
func (t *table) place(name string) uint32 {
	i, known := t.indices[name]
	if !known {
		i = uint32(len(t.names))
		t.names = append(t.names, name)
		t.indices[name] = i
	}
	return i
}

// begin says that from an address on, which is not before the last given, all are in a place.
func (t *table) begin(at address, place uint32) {
	last := len(t.firsts) - 1
	switch {
	case t.firsts[last] == at:
		t.places[last] = place
		if last > 0 && t.places[last-1] == place {
			t.firsts, t.places = t.firsts[:last], t.places[:last]
		}
	case t.places[last] != place:
		t.firsts, t.places = append(t.firsts, at), append(t.places, place)
	}
}

// done gives back the memory that is not needed.
func (t *table) done() *Locations {
	return &Locations{slices.Clone(t.firsts), slices.Clone(t.places), slices.Clone(t.names)}
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
	if t == nil {
		return "", 0
	}
	low, high := 0, len(t.firsts) // the range is in [low, high)
	for high-low > 1 {
		middle := int(uint(low+high) >> 1)
		if f := &t.firsts[middle]; f.hi < a.hi || f.hi == a.hi && f.lo <= a.lo {
			low = middle
		} else {
			high = middle
		}
	}
	if low > 0 {
		length = 1 + a.shared(t.firsts[low].previous())
	}
	if low+1 < len(t.firsts) {
		length = max(length, 1+a.shared(t.firsts[low+1]))
	}
	return t.names[t.places[low]], length
}
