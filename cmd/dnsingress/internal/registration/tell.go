// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
)

// Children of a name server mostly have the same name servers, so that it learns what its upper refers to in one exchange: the
// question NS for HOST._registered.ZONE, signed, is answered with the NS of one child of each set, the addresses of these, and
// PTR from every other child to the one that has the same. Children that have no room in the message are left out.

// toldMost is how many octets of records such an answer may have.
const toldMost = 56 << 10

// toldName is the name of that question; "": it would be too long.
func toldName(server, zone string) string {
	name := server + stateName(zone)
	if _, ok := dns.IsDomainName(name); !ok {
		return ""
	}
	return name
}

// Tell implements transfer.Updater.
func (r *Registry) Tell(key string, q dns.Question) (answer, extra []dns.RR, ok bool) {
	server, origin, found := strings.Cut(dns.CanonicalName(q.Name), "."+statePrefix)
	if !found || q.Qtype != dns.TypeNS || q.Qclass != dns.ClassINET || r.options.Refers == nil {
		return nil, nil, false
	}
	if origin == "" {
		origin = "."
	}
	children, ttl := r.childrenOf(key, server+".", origin)
	if children == nil {
		return nil, nil, false
	}
	t := telling{origin: origin, ttl: ttl, first: map[string]string{}, glue: map[string]bool{}}
	for i, servers := range r.options.Refers(children) {
		if !t.add(children[i], servers) {
			break
		}
	}
	return t.answer, t.extra, true
}

// childrenOf are those of a name server of a key, in order; nil: it is not the key's, or has not registered.
func (r *Registry) childrenOf(key, server, origin string) (children []string, ttl uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.books[origin]
	if b == nil {
		return nil, 0
	}
	h := b.hosts[server]
	if h == nil || h.key != key {
		return nil, 0
	}
	return slices.Sorted(maps.Keys(h.claims)), b.policy.TTL
}

// telling is an answer that is being made.
type telling struct {
	origin        string
	ttl           uint32
	first         map[string]string // child by what its name servers are
	glue          map[string]bool   // names whose addresses are in it
	size          int               // octets, about: names in the zone are compressed
	answer, extra []dns.RR
}

// add tells of a child, of which nothing is told where that would not be all; false: there is no room for more.
func (t *telling) add(child string, servers []model.Nameserver) bool {
	if len(servers) == 0 {
		return true
	}
	var set strings.Builder
	for _, n := range servers {
		if dns.IsSubDomain(child, n.Name) && len(n.Addresses) == 0 {
			return true
		}
		set.WriteString(n.Name)
		for _, a := range n.Addresses {
			set.WriteByte(' ')
			set.WriteString(a.String())
		}
		set.WriteByte('\n')
	}
	const header, pointer = 10, 3
	short := func(name string) int {
		if dns.IsSubDomain(t.origin, name) {
			return len(name) - len(t.origin) + pointer
		}
		return len(name) + 1
	}
	if first, ok := t.first[set.String()]; ok {
		t.size += header + short(child) + short(first)
		t.answer = append(t.answer, &dns.PTR{Hdr: t.header(child, dns.TypePTR), Ptr: first})
		return t.size < toldMost
	}
	size := 0
	var answer, extra []dns.RR
	for _, n := range servers {
		size += header + short(child) + short(n.Name)
		answer = append(answer, &dns.NS{Hdr: t.header(child, dns.TypeNS), Ns: n.Name})
		if t.glue[n.Name] || !dns.IsSubDomain(t.origin, n.Name) {
			continue
		}
		for _, a := range n.Addresses {
			rr := addressRecord(n.Name, a)
			rr.Header().Ttl = t.ttl
			size += header + short(n.Name) + len(a.AsSlice())
			extra = append(extra, rr)
		}
	}
	if t.size+size > toldMost {
		return false
	}
	for _, n := range servers {
		t.glue[n.Name] = true
	}
	t.first[set.String()] = child
	t.size += size
	t.answer, t.extra = append(t.answer, answer...), append(t.extra, extra...)
	return true
}

func (t *telling) header(name string, rtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rtype, Class: dns.ClassINET, Ttl: t.ttl}
}

// told asks the upper for its referrals to all of the zones at once. Those that are missing are to be asked for one by one.
func (k *link) told(talk *transfer.Conversation, zones map[string]Zone) (map[string]view, error) {
	name := toldName(k.section.Server.Name, k.section.Zone)
	if name == "" || k.section.Server.Name == "" || k.to.Key == "" {
		return nil, nil
	}
	m := new(dns.Msg).SetQuestion(name, dns.TypeNS)
	m.RecursionDesired = false
	m.SetEdns0(dns.DefaultMsgSize, false)
	r, err := talk.Ask(m)
	if err != nil {
		return nil, err
	}
	if r.Rcode != dns.RcodeSuccess { // it does not know the question
		return nil, nil
	}
	addresses := map[string][]netip.Addr{}
	for _, rr := range r.Extra {
		if a, ok := addressOf(rr); ok {
			owner := dns.CanonicalName(rr.Header().Name)
			addresses[owner] = append(addresses[owner], a)
		}
	}
	sets := map[string]view{}
	at := time.Now()
	for _, rr := range r.Answer {
		if ns, ok := rr.(*dns.NS); ok {
			child, host := dns.CanonicalName(ns.Hdr.Name), dns.CanonicalName(ns.Ns)
			v := sets[child]
			v.servers, v.ttl, v.at = append(v.servers, model.Nameserver{Name: host, Addresses: addresses[host]}), ns.Hdr.Ttl, at
			sets[child] = v
		}
	}
	for _, v := range sets {
		sorted(v.servers)
	}
	out := map[string]view{}
	for child, v := range sets {
		if _, ours := zones[child]; ours {
			out[child] = v
		}
	}
	for _, rr := range r.Answer {
		if ptr, ok := rr.(*dns.PTR); ok {
			child := dns.CanonicalName(ptr.Hdr.Name)
			v, known := sets[dns.CanonicalName(ptr.Ptr)]
			if _, ours := zones[child]; ours && known {
				out[child] = v
			}
		}
	}
	return out, nil
}
