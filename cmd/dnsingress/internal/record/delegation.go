// SPDX-License-Identifier: Apache-2.0

package record

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Delegation are the record sets of a delegation in the zone above the child: NS, DS, and the addresses of name servers
// inside that zone. An empty origin of the zone above is unknown, and ttl, in seconds, is its infrastructure TTL.
func Delegation(d *model.Delegation, above string, ttl uint32) (sets []model.RecordSet, problems []model.Problem) {
	if d.TTL != nil {
		ttl = *d.TTL
	}
	at := map[string]int{}
	add := func(name string, rtype uint16, data string) {
		key := fmt.Sprintf("%s %d", name, rtype)
		i, ok := at[key]
		if !ok {
			i = len(sets)
			at[key] = i
			sets = append(sets, model.RecordSet{Name: name, Type: rtype, TTL: &ttl})
		}
		sets[i].Records = append(sets[i].Records, model.Record{Data: data})
	}
	for i, ns := range d.Nameservers {
		add(d.Child, dns.TypeNS, ns.Name)
		path := fmt.Sprintf("spec.nameservers[%d]", i)
		switch {
		case len(ns.Addresses) == 0 && dns.IsSubDomain(d.Child, ns.Name):
			problems = append(problems, model.Problem{Reason: InvalidRecord, Path: path, Message: fmt.Sprintf(
				"nameserver %s is inside the child zone and has no address, without which nobody finds it (RFC 9471) (hint: addresses: [...])", ns.Name)})
		case len(ns.Addresses) > 0 && above != "" && !dns.IsSubDomain(above, ns.Name):
			problems = append(problems, model.Problem{Reason: OutsideZones, Path: path + ".addresses", Message: fmt.Sprintf(
				"nameserver %s is outside the zone %s, which cannot hold its addresses (hint: the zone of that name has them)", ns.Name, above)})
			continue
		}
		for _, a := range ns.Addresses {
			rtype := dns.TypeAAAA
			if a.Is4() {
				rtype = dns.TypeA
			}
			add(ns.Name, rtype, a.String())
		}
	}
	for _, ds := range d.DS {
		add(d.Child, dns.TypeDS, ds)
	}
	return sets, problems
}

// IPv6Only is the reason of a notice that resolvers without IPv6 find no name server.
const IPv6Only = "IPv6Only"

// Unreachable warns where all name servers have IPv6 addresses alone. One whose addresses are not known here may have others.
func Unreachable(what, name string, servers []model.Nameserver) []model.Problem {
	for _, n := range servers {
		if len(n.Addresses) == 0 || slices.ContainsFunc(n.Addresses, netip.Addr.Is4) {
			return nil
		}
	}
	if len(servers) == 0 {
		return nil
	}
	return []model.Problem{{Reason: IPv6Only, Notice: true, Message: fmt.Sprintf(
		"all name servers of the %s %s have IPv6 addresses alone: resolvers without IPv6 cannot reach it (hint: an IPv4 address for one of them, where such resolvers ask)", what, name)}}
}
