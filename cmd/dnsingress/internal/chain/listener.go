// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/geo"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// TTLs, in seconds, unless others are set.
const (
	AliasTTL   = 300
	AddressTTL = 60
)

// Listener is a host name with the gateways that serve it.
type Listener struct {
	Host string // may begin with "*."
	// Name is the label of the name that stands between host and places: "klb", or "lb-" and the Gateway's code.
	Name string
	// Apex says that the host is the origin of its zone, where no CNAME can be.
	Apex       bool
	AliasTTL   uint32 // of CNAME records
	AddressTTL uint32 // of A and AAAA records
	Gateways   []Gateway
}

// Gateway is one instance of a gateway, in one cluster.
type Gateway struct {
	// Code is the label of the name that has its addresses.
	Code string
	// Geo is where it is: a code as geo.Parse gives it, "*" where there are no places to tell apart.
	Geo string
	// Label is what the place is called in names, such as "ie" or "default".
	Label     string
	Default   bool // it answers for places without a gateway, too
	Weight    uint32
	Addresses []netip.Addr
	Hosts     []string // host names of others that stand for it
}

// Balanced is the chain by which places and weights are chosen, one name each. At an apex it is Simple instead.
func (l Listener) Balanced() []model.RecordSet {
	if l.Apex {
		return l.Simple()
	}
	lb := l.Name + "." + Base(l.Host)
	b := builder{listener: &l, table: table{}}
	for _, g := range l.Gateways {
		place := g.Label + "." + lb
		targets := slices.Clone(g.Hosts)
		if len(g.Addresses) > 0 {
			name := g.Code + "." + lb
			for _, a := range g.Addresses {
				b.address(name, model.Record{Data: a.String()}, a.Is4())
			}
			targets = append(targets, name)
		}
		for _, t := range targets {
			b.alias(place, model.Record{Data: t, Weight: &g.Weight, Set: strings.TrimSuffix(t, ".")})
		}
		if len(targets) == 0 {
			continue
		}
		set := strings.ToUpper(g.Label) // as Kuadrant calls it, so that what both publish is the same
		if g.Geo == geo.Anywhere {
			set = "default"
		}
		b.alias(lb, model.Record{Data: place, Geo: g.Geo, Set: set})
		if g.Default && g.Geo != geo.Anywhere {
			b.alias(lb, model.Record{Data: place, Geo: geo.Anywhere, Set: "default"})
		}
		b.alias(l.Host, model.Record{Data: lb})
	}
	return b.table.sorted()
}

// Simple is all addresses at the host itself. At an apex the addresses of host names stand in for them where no gateway
// has any. Elsewhere they stand beside them; host names alone are a CNAME each.
func (l Listener) Simple() []model.RecordSet {
	b := builder{listener: &l, table: table{}}
	for _, g := range l.Gateways {
		for _, a := range g.Addresses {
			b.address(l.Host, model.Record{Data: a.String()}, a.Is4())
		}
	}
	addresses := len(b.table) > 0
	for _, g := range l.Gateways {
		for _, h := range g.Hosts {
			switch {
			case l.Apex && addresses:
			case l.Apex || addresses:
				b.address(l.Host, model.Record{Follow: h}, true)
				b.address(l.Host, model.Record{Follow: h}, false)
			default:
				b.alias(l.Host, model.Record{Data: h, Set: strings.TrimSuffix(h, ".")})
			}
		}
	}
	sets := b.table.sorted()
	if len(sets) == 1 && sets[0].Type == dns.TypeCNAME && len(sets[0].Records) == 1 {
		sets[0].Records[0].Set = "" // nothing to tell it apart from
	}
	return sets
}

// builder collects the records of a listener.
type builder struct {
	listener *Listener
	table    table
}

func (b *builder) alias(name string, r model.Record) {
	b.table.add(model.RecordSet{Name: name, Type: dns.TypeCNAME, TTL: &b.listener.AliasTTL}, r)
}

func (b *builder) address(name string, r model.Record, v4 bool) {
	set := model.RecordSet{Name: name, Type: dns.TypeAAAA, TTL: &b.listener.AddressTTL}
	if v4 {
		set.Type = dns.TypeA
	}
	b.table.add(set, r)
}
