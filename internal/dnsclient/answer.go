// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxChain bounds how many CNAMEs are followed, as common resolvers do.
const maxChain = 16

// Answer is what a reply says about one question.
type Answer struct {
	Addrs []netip.Addr  // in the order of the reply; empty exactly when Err is set
	TTL   time.Duration // how long the reply allows to keep this, 0 for not at all
	Err   *Error        // NXDomain or NoData
}

// Interpret reads the reply m to the question for name's addresses of type qtype (A or AAAA).
// A reply that is no answer (an RCODE other than NOERROR and NXDOMAIN, another question,
// a CNAME loop) is returned as an *Error of kind Servfail or Other.
func Interpret(name string, qtype uint16, m *dns.Msg) (Answer, error) {
	fail := func(k Kind, err error) (Answer, error) {
		return Answer{}, &Error{Kind: k, Name: name, Type: qtype, Err: err}
	}
	if !m.Response || len(m.Question) != 1 || m.Question[0].Qtype != qtype || !strings.EqualFold(m.Question[0].Name, name) {
		return fail(Other, errors.New("the reply is for another question"))
	}
	switch m.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
	case dns.RcodeServerFailure:
		return fail(Servfail, nil)
	default:
		return fail(Other, fmt.Errorf("the resolver says %s", dns.RcodeToString[m.Rcode]))
	}

	// Data under other names than those of the chain is ignored (RFC 5452 §6 by spirit).
	owner, ttl := name, Forever
	for hops := 0; ; hops++ {
		target := ""
		for _, rr := range m.Answer {
			if c, ok := rr.(*dns.CNAME); ok && strings.EqualFold(c.Hdr.Name, owner) {
				target, ttl = c.Target, min(ttl, lifetime(c.Hdr.Ttl))
			}
		}
		if target == "" {
			break
		}
		if hops == maxChain {
			return fail(Other, errors.New("the chain of CNAMEs is too long or a loop"))
		}
		owner = target
	}
	var addrs []netip.Addr
	for _, rr := range m.Answer {
		if rr.Header().Rrtype != qtype || !strings.EqualFold(rr.Header().Name, owner) {
			continue
		}
		if a, ok := address(rr); ok {
			addrs = append(addrs, a)
			ttl = min(ttl, lifetime(rr.Header().Ttl)) // RFC 2181 §5.2: differing TTLs are an error; the least is safe
		}
	}
	if len(addrs) > 0 {
		return Answer{Addrs: addrs, TTL: ttl}, nil
	}

	a := Answer{Err: &Error{Kind: NoData, Name: name, Type: qtype}}
	if m.Rcode == dns.RcodeNameError {
		a.Err.Kind = NXDomain
	}
	// RFC 2308 §5: a negative answer lives for the lesser of the SOA's TTL and its MINIMUM field,
	// and is not cached when there is no SOA.
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			a.TTL = min(ttl, lifetime(soa.Hdr.Ttl), lifetime(soa.Minttl))
			break
		}
	}
	return a, nil
}

// lifetime reads a TTL field. RFC 2181 §8: a value with the top bit set counts as 0.
func lifetime(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

func address(rr dns.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *dns.AAAA:
		return netip.AddrFromSlice(rr.AAAA)
	case *dns.A:
		a, ok := netip.AddrFromSlice(rr.A)
		return a.Unmap(), ok
	}
	return netip.Addr{}, false
}
