// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Policy says who may register what with a zone.
type Policy struct {
	Grants []Grant
	// Lease is what who asks for none gets, Least and Most are the bounds of what is asked for.
	Lease, Least, Most time.Duration
	// KeepLast is how long the last name server of a child stays after its lease has ended; 0: not at all.
	KeepLast time.Duration
	// MostServers is how many name servers a child may have.
	MostServers int
	// TTL is that of NS and DS, AddressTTL that of name servers' addresses, in seconds.
	TTL, AddressTTL uint32
	// Settle is how long a start without what was known before waits for leaves, before it answers.
	Settle time.Duration
	// Reserved are names that the zone itself gives data to.
	Reserved []string
}

// Grant is what a key may register.
type Grant struct {
	Key string // canonical
	// Children and Nameservers are names, or "*.NAME" for all below NAME; canonical.
	Children, Nameservers []string
	// Addresses are what name servers may have; nil: any.
	Addresses []netip.Prefix
}

// matches reports whether a canonical name is one of the patterns.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		below, wild := strings.CutPrefix(p, "*.")
		if !wild {
			return p == name
		}
		if below == "" {
			below = "."
		}
		return name != below && dns.IsSubDomain(below, name)
	})
}

// known reports whether a key has any grant.
func (p *Policy) known(key string) bool {
	return slices.ContainsFunc(p.Grants, func(g Grant) bool { return g.Key == key })
}

// mayServe reports whether a key may have a name server, with its addresses, serve a child.
func (p *Policy) mayServe(key, child, host string, addresses []netip.Addr) bool {
	return slices.ContainsFunc(p.Grants, func(g Grant) bool {
		return g.Key == key && matches(g.Children, child) && g.mayBe(host, addresses)
	})
}

// mayBe reports whether a grant is for a name server and all of its addresses.
func (g Grant) mayBe(host string, addresses []netip.Addr) bool {
	if !matches(g.Nameservers, host) {
		return false
	}
	return g.Addresses == nil || !slices.ContainsFunc(addresses, func(a netip.Addr) bool {
		return !slices.ContainsFunc(g.Addresses, func(p netip.Prefix) bool { return p.Contains(a) })
	})
}

// mayName reports whether a key may have a name server of that name.
func (p *Policy) mayName(key, host string) bool {
	return slices.ContainsFunc(p.Grants, func(g Grant) bool { return g.Key == key && matches(g.Nameservers, host) })
}

// lease is for how long a registration holds that asks for so much; nil: it asks for nothing.
func (p *Policy) lease(asked *uint32) time.Duration {
	if asked == nil {
		return p.Lease
	}
	return min(max(time.Duration(*asked)*time.Second, p.Least), p.Most)
}
