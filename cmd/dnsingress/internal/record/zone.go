// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Mistake is something wrong with a zone's own data.
type Mistake struct {
	Path string // as in nameservers[0].addresses
	Text string
	Hint string // may be empty
}

// ZoneDefaults gives a zone the fields of its SOA that it does not say.
func ZoneDefaults(z *model.Zone) {
	if len(z.Nameservers) > 0 {
		z.SOA.Primary = cmp.Or(z.SOA.Primary, z.Nameservers[0].Name)
	}
	if z.Origin != "" {
		z.SOA.Mailbox = cmp.Or(z.SOA.Mailbox, "hostmaster."+strings.TrimPrefix(z.Origin, "."))
	}
	z.SOA.Refresh = cmp.Or(z.SOA.Refresh, time.Hour)
	z.SOA.Retry = cmp.Or(z.SOA.Retry, 10*time.Minute)
	z.SOA.Expire = cmp.Or(z.SOA.Expire, 168*time.Hour)
}

// The times of zones that say none.
const (
	DefaultTTL               = 5 * time.Second
	DefaultNegativeTTL       = 5 * time.Second
	DefaultInfrastructureTTL = 5 * time.Minute
	DefaultMaxAnswers        = 8
)

// CheckZone lists what is wrong with a zone's own data.
func CheckZone(z *model.Zone) []Mistake {
	var out []Mistake
	add := func(path, hint, format string, a ...any) {
		out = append(out, Mistake{path, fmt.Sprintf(format, a...), hint})
	}
	name := func(path, name string) {
		if name == "" {
			add(path, "", "a name is missing")
		} else if _, ok := dns.IsDomainName(name); !ok {
			add(path, "", "%q is no domain name", name)
		}
	}
	host := func(path, text string) {
		if name(path, text); strings.ContainsFunc(text, unusual) {
			add(path, "letters, digits, hyphens, dots; other scripts as xn--…", "%q has characters that host names do not have", text)
		}
	}
	host("origin", z.Origin)
	if len(z.Nameservers) == 0 {
		add("nameservers", "nameservers: [{name: ns1.apps.example.org, addresses: [...]}]", "a zone needs at least one nameserver")
	}
	names := map[string]bool{}
	for i, ns := range z.Nameservers {
		at := fmt.Sprintf("nameservers[%d]", i)
		host(at+".name", ns.Name)
		if names[ns.Name] {
			add(at+".name", "", "nameserver %s is listed twice", ns.Name)
		}
		names[ns.Name] = true
		inside := z.Origin != "" && dns.IsSubDomain(z.Origin, ns.Name)
		if inside && len(ns.Addresses) == 0 {
			add(at, "addresses: [...]", "nameserver %s is inside the zone and has no address", ns.Name)
		}
		if !inside && len(ns.Addresses) > 0 && ns.Name != "" && z.Origin != "" {
			add(at+".addresses", "the zone of that name has them", "nameserver %s is outside the zone %s, which cannot hold its addresses", ns.Name, z.Origin)
		}
	}
	if z.Upper && len(z.Addresses) > 0 {
		add("addresses", "role: leaf", "a zone of role upper only refers: it has no addresses of its own")
	}
	if z.SOA.Primary != "" { // else it is the first nameserver that is missing
		name("soa.primary", z.SOA.Primary)
	}
	if z.SOA.Mailbox != "" {
		name("soa.mailbox", z.SOA.Mailbox)
	}
	for _, d := range []struct {
		key   string
		value time.Duration
		least time.Duration
	}{
		{"ttl", z.TTL, 0},
		{"negativeTTL", z.NegativeTTL, 0},
		{"infrastructureTTL", z.InfrastructureTTL, time.Second},
		{"soa.refresh", z.SOA.Refresh, time.Second},
		{"soa.retry", z.SOA.Retry, time.Second},
		{"soa.expire", z.SOA.Expire, time.Second},
	} {
		// RFC 2181 §8: TTLs have 31 bits.
		if d.value%time.Second != 0 || d.value < d.least || d.value/time.Second > 1<<31-1 {
			add(d.key, "whole seconds, such as 5s or 1h", "%v is no time that DNS can carry", d.value)
		}
	}
	if z.MaxAnswers < 0 {
		add("maxAnswers", "0 means all", "%d is negative", z.MaxAnswers)
	}
	for i, n := range z.Namespaces {
		if _, err := path.Match(n, ""); err != nil || n == "" {
			add(fmt.Sprintf("allowedNamespaces[%d]", i), `shop, "team-*"`, "%q is no name of a namespace and no pattern of one", n)
		}
	}
	return out
}

// ZoneRecords are a zone's own: its SOA, its name servers, and the addresses of these and of the origin.
func ZoneRecords(z *model.Zone, serial uint32) []dns.RR {
	head := func(name string, rtype uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: rtype, Class: dns.ClassINET, Ttl: Seconds(z.InfrastructureTTL)}
	}
	rrs := []dns.RR{&dns.SOA{
		Hdr: head(z.Origin, dns.TypeSOA), Ns: z.SOA.Primary, Mbox: z.SOA.Mailbox, Serial: serial,
		Refresh: Seconds(z.SOA.Refresh), Retry: Seconds(z.SOA.Retry), Expire: Seconds(z.SOA.Expire), Minttl: Seconds(z.NegativeTTL),
	}}
	for _, ns := range z.Nameservers {
		rrs = append(rrs, &dns.NS{Hdr: head(z.Origin, dns.TypeNS), Ns: ns.Name})
		for _, a := range ns.Addresses {
			rrs = append(rrs, AddressRecord(head(ns.Name, 0), a))
		}
	}
	for _, a := range z.Addresses {
		rrs = append(rrs, AddressRecord(head(z.Origin, 0), a))
	}
	return rrs
}

// Reserved are the names that the zone itself gives data to, beside its SOA and NS.
func Reserved(z *model.Zone) map[string]bool {
	names := map[string]bool{}
	for _, ns := range z.Nameservers {
		if len(ns.Addresses) > 0 {
			names[ns.Name] = true
		}
	}
	if len(z.Addresses) > 0 {
		names[z.Origin] = true
	}
	return names
}

// Seconds is a time as records have it.
func Seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

// AddressRecord is the AAAA or A record of an address; the header's type is set to match.
func AddressRecord(h dns.RR_Header, a netip.Addr) dns.RR {
	if a.Is4() {
		h.Rrtype = dns.TypeA
		return &dns.A{Hdr: h, A: a.AsSlice()}
	}
	h.Rrtype = dns.TypeAAAA
	return &dns.AAAA{Hdr: h, AAAA: a.AsSlice()}
}

// Barred says why a name in a zone is not an object's, as far as the zone decides; false: it can be. reserved are the zone's
// own names, delegation tells that the object is one.
func Barred(z *model.Zone, reserved map[string]bool, namespace, name string, delegation bool) (model.Problem, bool) {
	switch {
	case reserved[name]:
		return model.Problem{Reason: "ReservedName", Message: fmt.Sprintf("%s belongs to the zone %s itself (hint: choose another name)", name, z.Origin)}, true
	case z.Upper && !delegation:
		return model.Problem{Reason: "UpperZone", Message: fmt.Sprintf(
			"%s is in the zone %s of role upper, which only refers (hint: a name below a DNSDelegation, or role: leaf)", name, z.Origin)}, true
	case z.Namespaces != nil && !slices.ContainsFunc(z.Namespaces, func(pattern string) bool {
		ok, err := path.Match(pattern, namespace)
		return ok && err == nil // patterns have been checked
	}):
		return model.Problem{Reason: "NotAllowed", Message: fmt.Sprintf("%s is in the zone %s, which is for namespaces %s alone (hint: another name, or the zone's allowedNamespaces)",
			name, z.Origin, strings.Join(z.Namespaces, ", "))}, true
	}
	return model.Problem{}, false
}

// OriginTaken says that another object has the zone of an origin.
func OriginTaken(origin string, owner model.Ref) model.Problem {
	return model.Problem{Reason: "OriginTaken", Path: "spec.origin", Message: fmt.Sprintf(
		"zone %s is already served for %s, which is older or comes first (hint: one object a zone)", origin, owner)}
}

// placeMark divides a name from the origin of the zone that holds it. No name has it.
const placeMark = "\x00"

// Placed is a name in a zone as it is claimed where another zone has the longest origin that the name is in: what a zone says
// of a child that is served, too, is claimed beside what the child says of itself.
func Placed(name, origin string) string { return name + placeMark + origin }

// Place takes apart a name as it is claimed. Without an origin it is in the zone with the longest one.
func Place(key string) (name, origin string) {
	name, origin, _ = strings.Cut(key, placeMark)
	return name, origin
}

// Parent is the name above a canonical one; "": there is none above the root.
func Parent(name string) string {
	if name == "." {
		return ""
	}
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case '\\':
			i++
		case '.':
			if i+1 == len(name) {
				return "."
			}
			return name[i+1:]
		}
	}
	return "."
}
