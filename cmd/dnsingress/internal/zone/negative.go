// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// negative is the SOA record of a negative answer, RFC 2308 §3: its TTL is the lower of the SOA's own and its
// MINIMUM field. Such answers are half of all where clients ask for A and AAAA, so the record is compressed
// once, against a question for the origin itself; in a reply only its pointers have to be moved.
type negative struct {
	record string
	// Of the pointers in record: where they are, and whether they point at the origin in the question or at
	// the record's own names.
	pointers [3]struct {
		at  uint16
		own bool
	}
	count int
}

// newNegative compresses a compiled SOA record of the zone with an origin.
func newNegative(origin, record string) negative {
	// A message with the question for the origin, and the record behind it.
	buf := make([]byte, headerLen+len(origin)+4+len(origin)+2+len(record))
	copy(buf[question:], origin)
	begin := headerLen + len(origin) + 4
	r := Reply{buf: buf, size: begin}
	if !r.record(record, question, nil) {
		panic("zone: a record became longer by compression")
	}
	var n negative
	out := buf[begin:r.size]
	point := func(at int) {
		to := int(binary.BigEndian.Uint16(out[at:])) & maxPointer
		p := &n.pointers[n.count]
		p.at, p.own = uint16(at), to >= begin
		if p.own {
			to -= begin
		} else {
			to -= question
		}
		binary.BigEndian.PutUint16(out[at:], uint16(to))
		n.count++
	}
	point(0)
	at := recordHead
	for range 2 { // MNAME and RNAME
		for ; out[at] != 0; at += int(out[at]) + 1 {
			if out[at] >= 0xC0 {
				point(at)
				at++
				break
			}
		}
		at++
	}
	n.record = string(out)
	return n
}

// deny completes the answer that the name at c has no such data: the node that it is answered from, its own or that of
// a wildcard, is n, or "" for a name that there is not. It adds the SOA and, in a signed answer, the NSEC record
// that proves it.
func (z *Zone) deny(q *Question, r *Reply, c cursor, n node, own bool) {
	m := r.mark()
	if !z.start(q, r) || r.signer != nil && !z.prove(q, r, c, n, own, m) {
		r.rewind(m)
		r.Truncated = true
		return
	}
	if ttl, ok := n.negative(); ok && ttl < z.negativeTTL() {
		r.shorten(m.size, ttl)
	}
}

// shorten gives every record from an offset of the message on the TTL. For signed ones that is less than the one signed
// for, as in a cache.
func (r *Reply) shorten(at int, ttl uint32) {
	for at < r.size {
		at = r.skipOwner(at)
		binary.BigEndian.PutUint32(r.buf[at+4:], ttl)
		at += 10 + int(binary.BigEndian.Uint16(r.buf[at+8:]))
	}
}

// start adds the SOA of a negative answer and tells whether it fitted.
func (z *Zone) start(q *Question, r *Reply) bool {
	n := &z.nothing
	begin := r.size
	if begin > maxPointer-len(n.record) || !r.bytes(n.record) {
		return false
	}
	r.counts[authority]++
	origin := question + q.name.size - len(z.origin)
	out := r.buf[begin:r.size]
	for _, p := range n.pointers[:n.count] {
		to := int(binary.BigEndian.Uint16(out[p.at:]))
		if p.own {
			to += begin
		} else {
			to += origin
		}
		binary.BigEndian.PutUint16(out[p.at:], 0xC000|uint16(to))
	}
	return true
}

// prove adds the signature of the SOA written at m and the NSEC record of the name, and tells whether they
// fitted. A name that there is not gets the code of one that has no data, unless the client knows better (RFC 9824
// §5.1).
func (z *Zone) prove(q *Question, r *Reply, c cursor, n node, own bool, m mark) bool {
	soa, _ := z.apex.set(dns.TypeSOA)
	origin := c.name.wire[c.name.size-len(z.origin) : c.name.size]
	r.sheet = soa.whole(signable(r.sheet[:0], origin, dns.TypeSOA, be32(soa.wire, 6)))
	if !r.signatures(authority, r.sheet, true, z.negativeTTL(), m.size) {
		return false
	}
	r.Rcode = deniedCode(q, n)
	return r.denial(z, authority, n, n != "", c.at, c.name.bytes(), own)
}

// deniedCode is the code that a signed answer has with the NSEC record of a name, RFC 9824 §5.1.
func deniedCode(q *Question, n node) int {
	if n == "" && q.Compact {
		return dns.RcodeNameError
	}
	return dns.RcodeSuccess
}

// made answers a question for types that a signed zone makes for the answer, and tells whether it has them. Every name
// has its NSEC record, and signatures at least of that: the record says so itself.
func (z *Zone) made(q *Question, r *Reply, c cursor, n node, own bool) bool {
	m := r.mark()
	ok := true
	switch q.Type {
	case dns.TypeNSEC:
		ok = r.denial(z, answer, n, n != "", c.at, c.name.bytes(), own)
	case dns.TypeRRSIG:
		if n.sets() == 0 {
			r.sheet = z.compactNSEC(r.sheet[:0], c.name.bytes(), n, n != "", own)
			ok = r.attach(answer, z.signer.Signatures(r.sheet, own), c.at, z.negativeTTL())
			break
		}
		s := r.option(n.at(0)) // the signatures of one set are enough, as for ANY: RFC 8482 §7
		ttl := be32(s.wire, 6)
		r.sheet = s.whole(signable(r.sheet[:0], c.name.bytes(), s.rtype, ttl))
		ok = r.attach(answer, z.signer.Signatures(r.sheet, own), c.at, ttl)
	default:
		return false
	}
	r.Rcode = deniedCode(q, n)
	if !ok {
		r.rewind(m)
		r.Truncated = true
	}
	return true
}

// vouch adds what says whether the delegation at n, whose NS records stand at an offset of the message, is to a
// signed zone: its DS records or the proof that there are none (RFC 4035 §3.1.4). There is a signer.
func (z *Zone) vouch(r *Reply, n node, at int, owner []byte) bool {
	to := r.ownerOf(at)
	if to == 0 {
		return false
	}
	s, ok := n.set(dns.TypeDS)
	if !ok {
		return r.denial(z, authority, n, true, to, owner, true)
	}
	m := r.mark()
	return r.add(authority, &s, to, nil) && r.sign(authority, &s, m, owner, true)
}
