// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"fmt"
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
	// OrderRFC6724 sorts as RFC 6724 §6 says, which getaddrinfo does. Of its rules, 3, 4 and 7
	// (deprecated addresses, home addresses, tunnels) need what only the kernel knows, and are left out.
	OrderRFC6724 Order = "rfc6724"
	// OrderHappyEyeballs is that of RFC 6724, with the families then interleaved (RFC 8305 §4): the
	// order in which addresses are raced.
	OrderHappyEyeballs Order = "happy-eyeballs"
)

// ParseOrder reads the name of an order.
func ParseOrder(s string) (Order, error) {
	switch o := Order(s); o {
	case OrderRandom, OrderFirst, OrderRFC6724, OrderHappyEyeballs:
		return o, nil
	}
	return "", fmt.Errorf("unknown address order %q (hint: %s, %s, %s or %s)", s, OrderRandom, OrderFirst, OrderRFC6724, OrderHappyEyeballs)
}

// Arrange returns addrs in the client's order, as a new slice. Random needs rng; those of RFC 6724
// need source, which returns the source address that the machine would use towards an
// address with the length of its on-link prefix, beyond which RFC 6724 §2.2 does not compare
// (glibc does: it acts as with a length of 128). An invalid prefix is no source.
func (o Order) Arrange(addrs []netip.Addr, source func(netip.Addr) netip.Prefix, rng *rand.Rand) []netip.Addr {
	switch o {
	case OrderRandom:
		out := slices.Clone(addrs)
		rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		return out
	case OrderRFC6724:
		return sortDestinations(addrs, source)
	case OrderHappyEyeballs:
		return interleave(sortDestinations(addrs, source))
	}
	return slices.Clone(addrs)
}

// interleave lets the families take turns, beginning with the first address's (RFC 8305 §4, with a
// First Address Family Count of 1). Within a family the order stays.
func interleave(addrs []netip.Addr) []netip.Addr {
	var families [2][]netip.Addr // the first address's, the other
	for _, a := range addrs {
		i := 0
		if a.Is4() != addrs[0].Is4() {
			i = 1
		}
		families[i] = append(families[i], a)
	}
	out := make([]netip.Addr, 0, len(addrs))
	for i := range max(len(families[0]), len(families[1])) {
		for _, f := range families {
			if i < len(f) {
				out = append(out, f[i])
			}
		}
	}
	return out
}
