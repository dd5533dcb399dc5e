// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
)

// policies is the default policy table of RFC 6724 §2.1, the longest prefixes first.
var policies = [...]struct {
	prefix            netip.Prefix
	precedence, label int
}{
	{netip.MustParsePrefix("::1/128"), 50, 0},
	{netip.MustParsePrefix("::ffff:0:0/96"), 35, 4},
	{netip.MustParsePrefix("::/96"), 1, 3},
	{netip.MustParsePrefix("2001::/32"), 5, 5},
	{netip.MustParsePrefix("2002::/16"), 30, 2},
	{netip.MustParsePrefix("3ffe::/16"), 1, 12},
	{netip.MustParsePrefix("fec0::/10"), 1, 11},
	{netip.MustParsePrefix("fc00::/7"), 3, 13},
	{netip.MustParsePrefix("::/0"), 40, 1},
}

func policy(a netip.Addr) (precedence, label int) {
	mapped := netip.AddrFrom16(a.WithZone("").As16())
	for _, p := range policies {
		// Prefixes of 4-in-6 addresses contain none by netip's rules: compare the bits.
		if commonBits(p.prefix.Addr(), mapped) >= p.prefix.Bits() {
			return p.precedence, p.label
		}
	}
	panic("unreachable: ::/0 has every address")
}

// scope returns the scope of an address as RFC 4007 numbers them; IPv4 as RFC 6724 §3.2 maps it.
func scope(a netip.Addr) int {
	const linkLocal, siteLocal, global = 0x2, 0x5, 0xe
	switch {
	case a.IsMulticast() && a.Is6():
		return int(a.As16()[1] & 0xf)
	case a.IsLoopback(), a.IsLinkLocalUnicast():
		return linkLocal
	case a.Is6() && a.As16()[0] == 0xfe && a.As16()[1]&0xc0 == 0xc0:
		return siteLocal
	}
	return global
}

// destination is an address with what the rules ask about it.
type destination struct {
	addr                  netip.Addr
	usable                bool
	sameScope, sameLabel  bool
	precedence, scope, in int // in: leading bits shared with the source
}

// sortDestinations returns addrs as RFC 6724 §6 sorts them.
func sortDestinations(addrs []netip.Addr, source func(netip.Addr) netip.Prefix) []netip.Addr {
	all := make([]destination, len(addrs))
	for i, a := range addrs {
		d := destination{addr: a, scope: scope(a)}
		var label int
		d.precedence, label = policy(a)
		// A source of the other family is no source: it cannot be used.
		if s := source(a); s.IsValid() && s.Addr().Is4() == a.Is4() {
			_, own := policy(s.Addr())
			d.usable, d.sameScope, d.sameLabel = true, scope(s.Addr()) == d.scope, own == label
			d.in = min(commonBits(s.Addr(), a), s.Bits())
		}
		all[i] = d
	}
	slices.SortStableFunc(all, compareDestinations)
	out := make([]netip.Addr, len(all))
	for i, d := range all {
		out[i] = d.addr
	}
	return out
}

func compareDestinations(a, b destination) int {
	prefer := func(x, y bool) int {
		switch {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	}
	nearer := 0 // rule 9 compares addresses of one family
	if a.addr.Is4() == b.addr.Is4() {
		nearer = cmp.Compare(b.in, a.in)
	}
	return cmp.Or(
		prefer(a.usable, b.usable),              // rule 1
		prefer(a.sameScope, b.sameScope),        // rule 2
		prefer(a.sameLabel, b.sameLabel),        // rule 5
		cmp.Compare(b.precedence, a.precedence), // rule 6
		cmp.Compare(a.scope, b.scope),           // rule 8
		nearer,                                  // rule 9
	) // rule 10: the order of the reply
}

// commonBits returns how many leading bits two addresses of one length share.
func commonBits(a, b netip.Addr) int {
	x, y := a.AsSlice(), b.AsSlice()
	n := 0
	for i := range min(len(x), len(y)) {
		if d := x[i] ^ y[i]; d != 0 {
			return n + bits.LeadingZeros8(d)
		}
		n += 8
	}
	return n
}
