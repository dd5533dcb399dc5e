// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// refusal is why a message is not taken, with the response code that says so.
type refusal struct {
	rcode  int
	reason string // one word, for metrics
	why    string
	newest int64 // of what is stale: see transfer.Verdict
}

func (r *refusal) Error() string { return r.why }

func refuse(rcode int, reason, format string, a ...any) error {
	return &refusal{rcode: rcode, reason: reason, why: fmt.Sprintf(format, a...)}
}

// refusalOf is an error as a refusal.
func refusalOf(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return &refusal{rcode: dns.RcodeServerFailure, reason: "error", why: err.Error()}
}

// operation is one change that a message asks for.
type operation struct {
	verb verb
	name string // a child or a name server
	// what it is about, as the verb says
	host    string
	ds      string
	address netip.Addr
}

type verb int

const (
	addServer     verb = iota // host serves the child
	addDS                     // ds is one of the child's
	addAddress                // address is one of the name server's
	dropServer                // host serves the child no more
	dropServers               // no host of the key serves the child
	dropDS                    // ds is none of the child's any more; "": none is
	dropAddresses             // the name server has no addresses but those that are added
	dropName                  // all that the key has at the name
)

// expectation is a prerequisite: the upper knows of a name server what a digest is of.
type expectation struct{ host, digest string }

// request is what a message asks for.
type request struct {
	zone   string
	expect []expectation
	ops    []operation
	lease  *uint32 // seconds; nil: nothing is said
}

// statePrefix begins the name, in the upper's zone, at which prerequisites look for digests (see expectation). The zone
// itself has nothing there.
const statePrefix = "_registered."

// parse reads an UPDATE message for a zone, which it must name. The order of the checks is that of RFC 2136 §3.
func parse(m *dns.Msg) (*request, error) {
	if len(m.Question) != 1 || m.Question[0].Qtype != dns.TypeSOA {
		return nil, refuse(dns.RcodeFormatError, "malformed", "the zone section is not one SOA (RFC 2136 §3.1.1)")
	}
	if m.Question[0].Qclass != dns.ClassINET {
		return nil, refuse(dns.RcodeNotAuth, "unknown_zone", "class %s is not IN", dns.Class(m.Question[0].Qclass))
	}
	r := &request{zone: dns.CanonicalName(m.Question[0].Name)}
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if l, ok := o.(*dns.EDNS0_UL); ok {
				r.lease = &l.Lease
			}
		}
	}
	for _, rr := range m.Answer {
		if err := r.prerequisite(rr); err != nil {
			return nil, err
		}
	}
	for _, rr := range m.Ns {
		if err := r.change(rr); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// inside checks that a name is in the zone.
func (r *request) inside(rr dns.RR) (string, error) {
	name := dns.CanonicalName(rr.Header().Name)
	if !dns.IsSubDomain(r.zone, name) {
		return "", refuse(dns.RcodeNotZone, "outside", "%s is not in the zone %s", name, r.zone)
	}
	return name, nil
}

// prerequisite takes the one form that is known: an RRset with a value (RFC 2136 §2.4.2) that is a digest.
func (r *request) prerequisite(rr dns.RR) error {
	name, err := r.inside(rr)
	if err != nil {
		return err
	}
	h := rr.Header()
	if h.Ttl != 0 {
		return refuse(dns.RcodeFormatError, "malformed", "a prerequisite at %s has a TTL (RFC 2136 §3.2.5)", name)
	}
	txt, ok := rr.(*dns.TXT)
	if !ok || h.Class != dns.ClassINET || name != stateName(r.zone) || len(txt.Txt) != 2 {
		return refuse(dns.RcodeRefused, "unsupported", "a prerequisite at %s is none that is known here (hint: none)", name)
	}
	r.expect = append(r.expect, expectation{dns.CanonicalName(txt.Txt[0]), txt.Txt[1]})
	return nil
}

func stateName(zone string) string {
	if zone == "." {
		return statePrefix
	}
	return statePrefix + zone
}

// change takes one record of the update section: RFC 2136 §3.4.1 for its form, §2.5 for what it means.
func (r *request) change(rr dns.RR) error {
	name, err := r.inside(rr)
	if err != nil {
		return err
	}
	h := rr.Header()
	malformed := func(what string) error {
		return refuse(dns.RcodeFormatError, "malformed", "a change at %s has %s (RFC 2136 §3.4.1.3)", name, what)
	}
	unsupported := func() error {
		return refuse(dns.RcodeRefused, "unsupported", "%s at %s is nothing to register (hint: NS and DS of a child, A and AAAA of a name server)", dns.Type(h.Rrtype), name)
	}
	empty := h.Rdlength == 0
	switch h.Class {
	case dns.ClassINET:
		if isMeta(h.Rrtype) || empty {
			return malformed("a type of no record, or no data")
		}
		return r.add(name, rr, unsupported)
	case dns.ClassANY:
		if h.Ttl != 0 || !empty || isMeta(h.Rrtype) && h.Rrtype != dns.TypeANY {
			return malformed("a TTL or data where a set is to be deleted")
		}
		switch h.Rrtype {
		case dns.TypeANY:
			r.ops = append(r.ops, operation{verb: dropName, name: name})
		case dns.TypeNS:
			r.ops = append(r.ops, operation{verb: dropServers, name: name})
		case dns.TypeDS:
			r.ops = append(r.ops, operation{verb: dropDS, name: name})
		case dns.TypeA, dns.TypeAAAA:
			r.ops = append(r.ops, operation{verb: dropAddresses, name: name})
		default:
			return unsupported()
		}
	case dns.ClassNONE:
		if h.Ttl != 0 || isMeta(h.Rrtype) {
			return malformed("a TTL where a record is to be deleted")
		}
		switch x := rr.(type) {
		case *dns.NS:
			r.ops = append(r.ops, operation{verb: dropServer, name: name, host: dns.CanonicalName(x.Ns)})
		case *dns.DS:
			r.ops = append(r.ops, operation{verb: dropDS, name: name, ds: dataOf(x)})
		default: // a name server's addresses are given whole
			return unsupported()
		}
	default:
		return malformed("class " + dns.Class(h.Class).String())
	}
	return nil
}

func (r *request) add(name string, rr dns.RR, unsupported func() error) error {
	switch x := rr.(type) {
	case *dns.NS:
		r.ops = append(r.ops, operation{verb: addServer, name: name, host: dns.CanonicalName(x.Ns)})
	case *dns.DS:
		r.ops = append(r.ops, operation{verb: addDS, name: name, ds: dataOf(x)})
	case *dns.A:
		a, ok := netip.AddrFromSlice(x.A.To4())
		if !ok {
			return refuse(dns.RcodeFormatError, "malformed", "A at %s has no address", name)
		}
		r.ops = append(r.ops, operation{verb: addAddress, name: name, address: a})
	case *dns.AAAA:
		a, ok := netip.AddrFromSlice(x.AAAA)
		if !ok || a.Is4In6() {
			return refuse(dns.RcodeFormatError, "malformed", "AAAA at %s has no IPv6 address", name)
		}
		r.ops = append(r.ops, operation{verb: addAddress, name: name, address: a})
	default:
		return unsupported()
	}
	return nil
}

// isMeta reports whether a type is of no record (RFC 6895 §3.1).
func isMeta(rtype uint16) bool {
	return rtype == 0 || rtype == dns.TypeOPT || rtype >= 128 && rtype <= 255
}

// dataOf is a DS's RDATA in presentation form.
func dataOf(ds *dns.DS) string {
	return fmt.Sprintf("%d %d %d %s", ds.KeyTag, ds.Algorithm, ds.DigestType, strings.ToUpper(ds.Digest))
}
