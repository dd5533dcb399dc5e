// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Updater takes DNS UPDATE messages (RFC 2136). It is safe for concurrent use.
type Updater interface {
	Update(u *Update) Verdict
	// Tell answers a question about what updates have made, of who signs with a key; false: it is an ordinary question.
	Tell(key string, q dns.Question) (answer, extra []dns.RR, ok bool)
}

// Update is a DNS UPDATE whose signature holds, or which has none.
type Update struct {
	// Msg has the zone as its question, prerequisites as its answer and changes as its authority section.
	Msg *dns.Msg
	// Key is the name of the key that it is well signed with; "": it is not signed, and the two that follow are zero.
	Key    string
	Signed int64  // when, in seconds since 1970 by the sender's clock
	MAC    string // octets that no two messages have in common
	From   netip.Addr
}

// Verdict is how an Update was taken.
type Verdict struct {
	Rcode int
	// Stale says that the message is no news: it has been seen, or is older than what has been seen. The reply is NOTAUTH
	// with BADTIME (RFC 8945 §5.2.3).
	Stale bool
	// Newest is when the newest message was signed that it is older than, if it is Stale for that. The reply says that it is
	// at least so late: a sender whose clock was fast and has been set right need not wait until that time has come.
	Newest int64
	// Lease is for how long the changes hold, in seconds (RFC 9664 §4.2); nil: nothing is said.
	Lease *uint32
	// Why goes into an extended error (RFC 8914) of what is not NOERROR; "": none does.
	Why string
}

// update answers a DNS UPDATE.
func (s *Service) update(q *request, m *dns.Msg) {
	if s.options.Updater == nil {
		q.fail(dns.RcodeNotImplemented)
		return
	}
	u := &Update{Msg: m, Key: q.key, From: q.Peer.Addr}
	if q.sig != nil {
		u.Signed, u.MAC = int64(q.sig.time), string(q.sig.mac)
	}
	v := s.options.Updater.Update(u)
	if v.Stale {
		v.Rcode = dns.RcodeNotAuth
	}
	reply, err := v.reply(m)
	if err != nil {
		q.fail(dns.RcodeServerFailure)
		return
	}
	if !v.Stale {
		_ = q.send(reply)
		return
	}
	s.metrics.tsig.WithLabelValues(codeName(dns.RcodeBadTime)).Inc()
	_ = q.Reply(q.session.signWith(reply, &signature{
		time: q.sig.time, fudge: fudge, code: dns.RcodeBadTime, other: append48(nil, uint64(max(time.Now().Unix(), v.Newest))),
	}))
}

// reply is the message that tells of a verdict.
func (v Verdict) reply(m *dns.Msg) ([]byte, error) {
	r := new(dns.Msg).SetReply(m)
	r.Rcode = v.Rcode
	if m.IsEdns0() != nil {
		opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
		opt.SetUDPSize(ednsSize)
		if v.Lease != nil {
			opt.Option = append(opt.Option, &dns.EDNS0_UL{Code: dns.EDNS0UL, Lease: *v.Lease})
		}
		if v.Why != "" {
			opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeProhibited, ExtraText: v.Why})
		}
		r.Extra = append(r.Extra, opt)
	}
	return r.Pack()
}

// inform answers a signed question about what updates have made; false: it is none.
func (s *Service) inform(q *request, m *dns.Msg) bool {
	if s.options.Updater == nil || q.key == "" || m.Opcode != dns.OpcodeQuery {
		return false
	}
	answer, extra, ok := s.options.Updater.Tell(q.key, m.Question[0])
	if !ok {
		return false
	}
	r := new(dns.Msg).SetReply(m)
	r.Authoritative, r.Compress = true, true
	r.Answer, r.Extra = answer, extra
	if m.IsEdns0() != nil {
		r.SetEdns0(ednsSize, false)
	}
	if limit := q.Limit - q.room(); r.Len() > limit { // half of it is of no use to anybody
		r.Answer, r.Extra, r.Truncated = nil, nil, true
	}
	reply, err := r.Pack()
	if err != nil {
		q.fail(dns.RcodeServerFailure)
		return true
	}
	_ = q.send(reply) // an error means that nobody waits for it
	return true
}
