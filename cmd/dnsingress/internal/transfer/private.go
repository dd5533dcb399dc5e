// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// zone returns the one with an origin, or nil, and whether it is private.
func (s *Service) zone(origin string) (z *zone.Zone, private bool) {
	if s.options.Private != nil {
		if z := s.options.Private.Zone(origin); z != nil {
			return z, true
		}
	}
	return s.options.Catalog.Zone(origin), false
}

// privateOf returns the private zone that a name is in, or nil.
func (s *Service) privateOf(name string) *zone.Zone {
	if s.options.Private == nil {
		return nil
	}
	for _, e := range s.options.Private.Zones() { // one or two
		if e.Contains(name) {
			return e.Zone
		}
	}
	return nil
}

// deny notes that somebody does not get a private zone.
func (s *Service) deny(q *request, origin, key, why string) {
	if s.options.Denied != nil {
		s.options.Denied(origin, q.Peer.Addr, key, why)
	}
}

// unproven notes a message for a private zone whose signature does not hold.
func (s *Service) unproven(q *request, sig *signature, code uint16) {
	name, _, err := dns.UnpackDomainName(q.Query, headerLen)
	if err != nil {
		return
	}
	if z := s.privateOf(name); z != nil {
		s.deny(q, z.Origin(), sig.key, "TSIG: "+codeName(code))
	}
}

// confide answers a signed question for a private zone to those who may have it, from its records as they are: wildcards
// and delegations mean nothing in it. It tells whether there was anything to answer; to others there is no such zone.
func (s *Service) confide(q *request, m *dns.Msg) bool {
	if m.Opcode != dns.OpcodeQuery || m.Question[0].Qclass != dns.ClassINET {
		return false
	}
	name := dns.CanonicalName(m.Question[0].Name)
	z := s.privateOf(name)
	if z == nil {
		return false
	}
	if !s.policy(z.Origin()).Allow.Permits(q.Peer.Addr, q.key) {
		s.metrics.out.WithLabelValues(z.Origin(), "query", "refused").Inc()
		s.deny(q, z.Origin(), q.key, "it may not have it")
		q.fail(dns.RcodeRefused)
		return true
	}
	r := new(dns.Msg).SetReply(m)
	r.Authoritative, r.Compress = true, true
	if m.IsEdns0() != nil {
		r.SetEdns0(dns.DefaultMsgSize, false)
	}
	sets, found := z.RRsets(name)
	for _, set := range sets {
		if m.Question[0].Qtype == set.Type || m.Question[0].Qtype == dns.TypeANY {
			r.Answer = append(r.Answer, set.Records...)
		}
	}
	if len(r.Answer) == 0 {
		if !found {
			r.Rcode = dns.RcodeNameError
		}
		if soa, err := z.SOA().RR(); err == nil {
			r.Ns = []dns.RR{soa}
		}
	}
	r.Truncate(q.Limit - q.room())
	reply, err := r.Pack()
	if err != nil {
		q.fail(dns.RcodeServerFailure)
		return true
	}
	_ = q.send(reply) // an error means that nobody waits for it
	return true
}
