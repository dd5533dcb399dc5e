// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// targets are the records by which hosts lead to values, which are addresses and host names, as external-dns has it:
// A and AAAA for addresses, CNAME for host names. A CNAME stands alone (RFC 1034 §3.6.2): host names beside addresses,
// or for the apex of a zone, give their own addresses instead, and of several host names an answer holds one. set is
// the option's name, or empty. at says where the values are, for problems.
func (s *Settings) targets(hosts, values []string, ttl *uint32, set, at string, v View) (sets []model.RecordSet, problems []model.Problem) {
	var v4, v6, names []string
	for _, value := range values {
		value = strings.TrimSpace(value)
		address, err := netip.ParseAddr(value)
		switch name := dns.CanonicalName(value); {
		case value == "":
		case err == nil && address.Zone() == "" && address.Is4():
			v4 = appendNew(v4, address.String())
		case err == nil && address.Zone() == "" && !address.Is4In6():
			v6 = appendNew(v6, address.String())
		case err == nil || !hostname(value) || strings.HasPrefix(name, "*."):
			problems = append(problems, model.Problem{Reason: "InvalidTarget", Path: at, Message: fmt.Sprintf(
				"target %q is neither an address nor a host name (hint: such as 192.0.2.1, 2001:db8::1 or lb.example.org)", value)})
		default:
			names = appendNew(names, name)
		}
	}
	records := func(data []string, follow []string) (out []model.Record) {
		for _, d := range data {
			out = append(out, model.Record{Data: d, Set: set})
		}
		for _, f := range follow {
			out = append(out, model.Record{Follow: f, Set: set})
		}
		return out
	}
	for _, host := range hosts {
		add := func(kind uint16, r []model.Record) {
			if len(r) > 0 {
				sets = append(sets, model.RecordSet{Name: host, Type: kind, TTL: ttl, Records: r})
			}
		}
		switch {
		case len(v4)+len(v6) > 0 || len(names) > 0 && s.origin(host, v):
			add(dns.TypeAAAA, records(v6, names))
			add(dns.TypeA, records(v4, names))
		case len(names) == 1:
			add(dns.TypeCNAME, records(names, nil))
		default:
			var options []model.Record
			for _, name := range names {
				options = append(options, model.Record{Data: name, Set: strings.TrimPrefix(set+"/"+name, "/")})
			}
			add(dns.TypeCNAME, options)
		}
	}
	return sets, problems
}

// targets reads the annotation target; empty: there is none.
func (p Prefixes) targets(annotations map[string]string) (key string, values []string) {
	key, value := p.hostname(annotations, "target")
	for v := range strings.SplitSeq(value, ",") {
		if v = strings.TrimSpace(v); v != "" {
			values = append(values, v)
		}
	}
	return key, values
}

// appendNew appends what is not there yet.
func appendNew[T comparable](all []T, more ...T) []T {
	for _, m := range more {
		if !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return all
}
