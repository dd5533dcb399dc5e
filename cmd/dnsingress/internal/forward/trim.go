// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"slices"
	"time"

	"github.com/miekg/dns"
)

// mostAliases is how many CNAMEs of a chain are gone along.
const mostAliases = 16

// trim leaves of a reply what follows from its question, which is for a name below origin (canonical), and returns for how
// long that holds: the chain of aliases and the data at its end, with their signatures; what denies something; addresses
// below origin of names that the answer mentions. Everything else a server might slip in (RFC 5452 §6). No TTL is greater
// than most. An error says why the reply is none that can be handed on.
func trim(m *dns.Msg, origin string, most time.Duration) (life time.Duration, err error) {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError && m.Rcode != dns.RcodeYXDomain {
		return 0, saidError(rcodeName(m.Rcode))
	}
	q := m.Question[0]
	had, data := len(m.Answer), false
	for _, section := range []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra} {
		*section = slices.DeleteFunc(*section, ill)
	}
	chain := chainOf(m)
	end := chain[len(chain)-1]
	m.Answer = slices.DeleteFunc(m.Answer, func(rr dns.RR) bool {
		h := rr.Header()
		if !answers(rr, q.Qtype, chain) {
			return true
		}
		data = data || canonical(h.Name) == end && (h.Rrtype == q.Qtype || q.Qtype == dns.TypeANY)
		return false
	})
	if had > 0 && len(m.Answer) == 0 {
		return 0, saidError("answers to something else")
	}
	denied := m.Rcode != dns.RcodeSuccess || !data
	var soa *dns.SOA
	refers := false
	for _, rr := range m.Ns {
		switch rr := rr.(type) {
		case *dns.SOA:
			if soa == nil && denied && dns.IsSubDomain(canonical(rr.Hdr.Name), end) {
				soa = rr
			}
		case *dns.NS:
			refers = true
		}
	}
	if m.Rcode == dns.RcodeSuccess && len(m.Answer) == 0 && soa == nil && refers {
		return 0, saidError("refers to other servers (hint: forward to those that answer)")
	}
	m.Ns = slices.DeleteFunc(m.Ns, func(rr dns.RR) bool { return !denies(rr, soa, origin) })
	mentioned := targets(m.Answer)
	m.Extra = slices.DeleteFunc(m.Extra, func(rr dns.RR) bool {
		h := rr.Header()
		return h.Rrtype != dns.TypeA && h.Rrtype != dns.TypeAAAA ||
			!mentioned[canonical(h.Name)] || !dns.IsSubDomain(origin, canonical(h.Name))
	})
	if soa != nil { // RFC 2308 §5
		soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
	}
	life = most
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			h := rr.Header()
			if h.Ttl > 1<<31-1 { // RFC 2181 §8
				h.Ttl = 0
			}
			h.Ttl = min(h.Ttl, uint32(most/time.Second))
			life = min(life, time.Duration(h.Ttl)*time.Second)
		}
	}
	if denied && soa == nil && (m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0) {
		life = 0 // RFC 2308 §5: nothing says for how long
	}
	return life, nil
}

// ill tells whether a record is of no use to anybody: of another class, or empty, which the library lets pass since updates
// have such records (RFC 2136 §2.5).
func ill(rr dns.RR) bool {
	h := rr.Header()
	return h.Class != dns.ClassINET || h.Rdlength == 0 && h.Rrtype != dns.TypeNULL && h.Rrtype != dns.TypeAPL
}

func canonical(name string) string { return dns.CanonicalName(name) }

// chainOf gives the question's name and those that the aliases in the answer lead to.
func chainOf(m *dns.Msg) []string {
	q := m.Question[0]
	chain := []string{canonical(q.Name)}
	if q.Qtype == dns.TypeCNAME || q.Qtype == dns.TypeANY {
		return chain
	}
	for range mostAliases {
		at := slices.IndexFunc(m.Answer, func(rr dns.RR) bool {
			c, ok := rr.(*dns.CNAME)
			return ok && canonical(c.Hdr.Name) == chain[len(chain)-1]
		})
		if at < 0 {
			break
		}
		next := canonical(m.Answer[at].(*dns.CNAME).Target)
		if slices.Contains(chain, next) {
			break
		}
		chain = append(chain, next)
	}
	return chain
}

// answers tells whether a record of an answer belongs to the chain: an alias on it, a DNAME above it, or the data at its
// end.
func answers(rr dns.RR, qtype uint16, chain []string) bool {
	owner, rtype := canonical(rr.Header().Name), covered(rr)
	if rtype == dns.TypeDNAME && rtype != qtype {
		return slices.ContainsFunc(chain, func(name string) bool { return name != owner && dns.IsSubDomain(owner, name) })
	}
	at := slices.Index(chain, owner)
	switch {
	case at < 0:
		return false
	case rtype == dns.TypeCNAME:
		return true
	case qtype == dns.TypeANY || qtype == dns.TypeRRSIG:
		return at == len(chain)-1
	}
	return at == len(chain)-1 && rtype == qtype
}

// covered is a record's type, of a signature that of what it signs.
func covered(rr dns.RR) uint16 {
	if s, ok := rr.(*dns.RRSIG); ok {
		return s.TypeCovered
	}
	return rr.Header().Rrtype
}

// denies tells whether a record of the authority section is part of a denial, which a SOA record belongs to, or of the proof
// that a wildcard was used rightly (RFC 4035 §3.1.3).
func denies(rr dns.RR, soa *dns.SOA, origin string) bool {
	h := rr.Header()
	owner := canonical(h.Name)
	inside := dns.IsSubDomain(origin, owner) || soa != nil && dns.IsSubDomain(canonical(soa.Hdr.Name), owner)
	switch covered(rr) {
	case dns.TypeSOA:
		return soa != nil && (rr == dns.RR(soa) || h.Rrtype == dns.TypeRRSIG && owner == canonical(soa.Hdr.Name))
	case dns.TypeNSEC, dns.TypeNSEC3:
		return inside
	}
	return false
}

// targets are the names that records mention and whose addresses who gets them will want.
func targets(rrs []dns.RR) map[string]bool {
	names := map[string]bool{}
	for _, rr := range rrs {
		switch rr := rr.(type) {
		case *dns.SRV:
			names[canonical(rr.Target)] = true
		case *dns.MX:
			names[canonical(rr.Mx)] = true
		case *dns.NS:
			names[canonical(rr.Ns)] = true
		case *dns.SVCB:
			names[serviceTarget(&rr.Hdr, rr.Target)] = true
		case *dns.HTTPS:
			names[serviceTarget(&rr.Hdr, rr.Target)] = true
		case *dns.NAPTR:
			names[canonical(rr.Replacement)] = true
		}
	}
	return names
}

// serviceTarget is the target of an SVCB record, its owner where it is the root (RFC 9460 §2.5).
func serviceTarget(h *dns.RR_Header, target string) string {
	if target == "." {
		return canonical(h.Name)
	}
	return canonical(target)
}
