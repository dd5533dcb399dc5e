// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// Order is how a platform arranges the addresses of an answer before an application takes one.
type Order string

const (
	// OrderRandom shuffles: every address is as likely to come first, whatever the server's order.
	OrderRandom Order = "random"
	// OrderFirst keeps the order of the reply.
	OrderFirst Order = "first"
	// OrderRFC6724 sorts by rule 9 of RFC 6724 §6: the destination that shares the longest prefix
	// with the source address used for it comes first; ties keep the order of the reply. The rules
	// before it tell nothing between addresses of one scope, label and reachability, such as pods.
	OrderRFC6724 Order = "rfc6724"
)

// ParseOrder reads the name of an order.
func ParseOrder(s string) (Order, error) {
	switch o := Order(s); o {
	case OrderRandom, OrderFirst, OrderRFC6724:
		return o, nil
	}
	return "", fmt.Errorf("unknown address order %q (hint: %s, %s or %s)", s, OrderRandom, OrderFirst, OrderRFC6724)
}

// Arrange returns addrs in the client's order, as a new slice. Random needs rng; RFC 6724
// needs source, which returns the source address that the machine would use towards an
// address with the length of its on-link prefix, beyond which RFC 6724 §2.2 does not compare
// (glibc does: it acts as with a length of 128). An invalid prefix is no source: last.
func (o Order) Arrange(addrs []netip.Addr, source func(netip.Addr) netip.Prefix, rng *rand.Rand) []netip.Addr {
	out := slices.Clone(addrs)
	switch o {
	case OrderRandom:
		rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	case OrderRFC6724:
		shared := make(map[netip.Addr]int, len(out))
		for _, a := range out {
			shared[a] = commonPrefixLen(source(a), a)
		}
		slices.SortStableFunc(out, func(a, b netip.Addr) int { return shared[b] - shared[a] })
	}
	return out
}

// commonPrefixLen returns how many leading bits d shares with the source s, at most s's
// prefix length; -1 when s is invalid or of the other family.
func commonPrefixLen(s netip.Prefix, d netip.Addr) int {
	if !s.IsValid() || s.Addr().Is4() != d.Is4() {
		return -1
	}
	a, b := s.Addr().AsSlice(), d.AsSlice()
	n := 0
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			n += bits.LeadingZeros8(x)
			break
		}
		n += 8
	}
	return min(n, s.Bits())
}
