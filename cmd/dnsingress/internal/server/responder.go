// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

const (
	headerLen = 12
	// plainUDP is what a reply may hold over UDP without EDNS (RFC 1035 §2.3.4), ednsUDP with it, whatever
	// more the client offers: it passes any IPv6 path unfragmented (RFC 9715 §3.2 R5 and the DNS flag day 2020).
	plainUDP   = 512
	ednsUDP    = 1232
	maxMessage = 65535
)

// Peer is who asks, and how.
type Peer struct {
	Addr netip.Addr
	TCP  bool // over a stream, which is TLS if that is set too
	TLS  bool
}

// Responder answers queries one at a time. It is not safe for concurrent use; its zones are.
type Responder struct {
	catalog   *zone.Catalog
	cookies   *cookies
	names     Names
	locations *atomic.Pointer[zone.Locations] // nil: nowhere
	idle      uint16                          // what a client is told of idle connections (RFC 7828), in 100 ms; 0: nothing
	hands     bool                            // to a Handler what is for one
	forwards  Forwarder                       // nil: what is in no zone is refused
	question  zone.Question
	reply     zone.Reply
	opt       opt
	now       uint32 // when the query came, in seconds; 0: to be asked of the clock, which takes a good part of an answer's time
	seen      outcome
	limit     int // octets of the last reply
}

// outcome is what the metrics say of a query.
type outcome struct {
	slot    int // of the zone, -1 for none
	qtype   uint16
	rcode   int // with the bits of EDNS; -1 for no reply
	do      bool
	ignored reason // why there is no reply
}

// reason is why a message gets no reply.
type reason int

const (
	answered   reason = iota
	tooShort          // no header to reply to
	notQuery          // QR is set: replying could make two servers talk for ever
	unanswered        // by the Handler that it was handed to
	reasonsEnd        // how many there are
	handed            // to a Handler: counted when that has answered
	forwarded         // likewise, to the Forwarder
)

func (r reason) String() string {
	return [...]string{"none", "short", "response", "unanswered"}[r]
}

// NewResponder returns a responder for the zones of a catalog, to clients who are nowhere.
func NewResponder(catalog *zone.Catalog) *Responder {
	return &Responder{catalog: catalog, cookies: newCookies()}
}

// Locate has clients be where the table says at the time of their query.
func (r *Responder) Locate(table *atomic.Pointer[zone.Locations]) { r.locations = table }

// Respond writes the reply to query into buf, which must hold 65535 octets for TCP and 1232 for UDP, and
// returns it; nil if there must be none.
func (r *Responder) Respond(buf, query []byte, peer Peer) []byte {
	r.seen = outcome{slot: -1, rcode: -1}
	r.opt.present = false
	switch {
	case len(query) < headerLen:
		r.seen.ignored = tooShort
		return nil
	case query[2]&0x80 != 0:
		r.seen.ignored = notQuery
		return nil
	}
	opcode := query[2] >> 3 & 0xF
	if opcode != dns.OpcodeQuery && !(r.hands && (opcode == dns.OpcodeNotify || opcode == dns.OpcodeUpdate)) {
		return r.headerOnly(buf, query, dns.RcodeNotImplemented)
	}
	questions := binary.BigEndian.Uint16(query[4:])
	if questions > 1 { // RFC 9619 §4
		return r.headerOnly(buf, query, dns.RcodeFormatError)
	}
	end := headerLen
	if questions == 1 {
		var err error
		if end, err = r.question.Parse(query); err != nil {
			return r.headerOnly(buf, query, dns.RcodeFormatError)
		}
		r.seen.qtype = r.question.Type
	}
	wellFormed := r.opt.find(query, end)
	r.seen.do = r.opt.do
	r.limit = maxMessage
	if !peer.TCP {
		r.limit = plainUDP
		if r.opt.present {
			r.limit = min(max(int(r.opt.size), plainUDP), ednsUDP)
		}
	}
	r.limit = min(r.limit, len(buf))
	if r.hands && wellFormed && questions == 1 && r.opt.version == 0 && r.forHandler(opcode, peer) {
		if z, ok := r.catalog.Find(&r.question); ok {
			r.seen.slot = z.Slot
		}
		if len(query) > queryMost && opcode != dns.OpcodeUpdate { // which may hold many records over TCP
			return r.headerOnly(buf, query, dns.RcodeFormatError)
		}
		r.seen.ignored = handed
		return nil
	}
	r.reply.Start(buf[:r.limit-r.opt.room(r.names.ID)], query, end)
	rcode, extended := dns.RcodeSuccess, noExtendedError
	switch {
	case !wellFormed || questions == 0 && r.opt.cookie == nil || opcode != dns.OpcodeQuery:
		rcode = dns.RcodeFormatError
	case r.opt.version > 0: // RFC 6891 §6.1.3
		rcode = dns.RcodeBadVers
	case questions == 0: // RFC 7873 §5.4: to learn a cookie
	default:
		rcode, extended = r.answer(query[headerLen:end-4], peer)
		if rcode == dns.RcodeRefused && r.forward(query, extended, peer) {
			return nil
		}
	}
	return r.finish(buf[:r.limit], rcode, extended, peer)
}

// forHandler tells whether a message is for a Handler. AXFR over UDP is not (RFC 5936 §4.2).
func (r *Responder) forHandler(opcode byte, peer Peer) bool {
	switch {
	case opcode != dns.OpcodeQuery || r.opt.signed:
		return true
	case r.question.Class != dns.ClassINET:
		return false
	}
	return r.question.Type == dns.TypeIXFR || r.question.Type == dns.TypeAXFR && peer.TCP
}

// answer completes the reply to the question for a name, from the zone that it is for.
func (r *Responder) answer(name []byte, peer Peer) (rcode int, extended uint16) {
	switch r.question.Type {
	case dns.TypeOPT, dns.TypeTSIG:
		return dns.RcodeFormatError, noExtendedError
	case dns.TypeNXNAME: // RFC 9824 §3.5
		return dns.RcodeFormatError, dns.ExtendedErrorCodeInvalidQueryType
	case dns.TypeTKEY, dns.TypeMAILA, dns.TypeMAILB:
		return dns.RcodeNotImplemented, dns.ExtendedErrorCodeNotSupported
	case dns.TypeAXFR, dns.TypeIXFR:
		return dns.RcodeRefused, dns.ExtendedErrorCodeProhibited
	}
	if r.question.Class == dns.ClassCHAOS {
		return r.chaos(name)
	}
	if r.question.Class != dns.ClassINET {
		return dns.RcodeRefused, dns.ExtendedErrorCodeNotAuthoritative
	}
	z, ok := r.catalog.Find(&r.question)
	if !ok {
		return dns.RcodeRefused, dns.ExtendedErrorCodeNotAuthoritative
	}
	r.seen.slot = z.Slot
	r.question.Secure, r.question.Compact = r.opt.do, r.opt.compact
	r.question.Client = r.opt.client(peer.Addr)
	if r.locations != nil {
		r.question.Locations = r.locations.Load()
	}
	z.Answer(&r.question, &r.reply)
	return r.reply.Rcode, noExtendedError
}

// forward gives a question that would be refused to the Forwarder, and tells whether that takes it.
func (r *Responder) forward(query []byte, extended uint16, peer Peer) bool {
	const recursionDesired = 0x01
	if r.forwards == nil || extended != dns.ExtendedErrorCodeNotAuthoritative || r.question.Class != dns.ClassINET ||
		query[2]&recursionDesired == 0 || len(query) > queryMost || !r.forwards.Forwards(r.question.Wire(), peer.Addr) {
		return false
	}
	r.seen.ignored = forwarded
	return true
}

// complete adds the OPT record that the server's own reply to a query would have to a reply that was made elsewhere and has
// the query's question. What is longer than limit has TC and nothing else.
func (r *Responder) complete(reply, query []byte, extended uint16, peer Peer, limit int) []byte {
	end, err := r.question.Parse(query)
	if err != nil || len(reply) < headerLen {
		return reply
	}
	r.reply.Scope = 0
	var record []byte
	if r.opt.find(query, end); r.opt.present {
		record = r.appendOPT(int(reply[3]&0xF), extended, peer)
	}
	if len(reply)+len(record) > limit {
		reply = reply[:end]
		clear(reply[6:headerLen])
		reply[2] |= 0x02
	}
	if record != nil {
		reply = append(reply, record...)
		binary.BigEndian.PutUint16(reply[10:], binary.BigEndian.Uint16(reply[10:])+1)
	}
	return reply
}

// finish adds the OPT record to a query that had one and returns the message.
func (r *Responder) finish(buf []byte, rcode int, extended uint16, peer Peer) []byte {
	r.seen.rcode = rcode
	r.reply.Rcode = rcode & 0xF
	if r.opt.present {
		r.reply.Grow(buf)
		r.reply.Extra(r.appendOPT(rcode, extended, peer))
	}
	return r.reply.Bytes()
}

// truncated is the reply that sends a client to TCP, in place of the last one, whose query had a question.
func (r *Responder) truncated(buf, query []byte, peer Peer) []byte {
	end, err := r.question.Parse(query)
	if err != nil {
		return nil
	}
	r.reply.Start(buf[:r.limit-r.opt.room(r.names.ID)], query, end)
	r.reply.Truncated = true
	return r.finish(buf[:r.limit], r.seen.rcode, noExtendedError, peer)
}

// headerOnly is the reply to what cannot be understood further.
func (r *Responder) headerOnly(buf, query []byte, rcode int) []byte {
	r.seen.rcode = rcode
	return headerOnly(buf, query, rcode)
}

func headerOnly(buf, query []byte, rcode int) []byte {
	b := buf[:headerLen]
	clear(b)
	copy(b, query[:2])
	b[2] = query[2]&0x79 | 0x80
	b[3] = byte(rcode)
	return b
}
