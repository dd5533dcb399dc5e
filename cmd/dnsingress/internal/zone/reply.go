// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// section numbers the parts of a message behind its question.
type section int

const (
	answer section = iota
	authority
	additional
)

// Reply is a message under construction. It is reused from query to query and safe for one goroutine.
type Reply struct {
	// Rcode is the basic response code, 0 to 15; Authoritative and Truncated are the AA and TC bits.
	Rcode         int
	Authoritative bool
	Truncated     bool
	// Scope is how many leading bits of the question's Client the answer depends on, IPv4 counted from 96.
	// 0: it is the same for all clients, but for chance.
	Scope int

	buf    []byte // what it may fill
	size   int    // octets written
	counts [3]uint16
	seen   compression
	chain  chain
	// Of a signed answer: who signs, the set that is being signed, and where its records stand.
	signer Signer
	sheet  Signable
	places []place
	// seed is what every choice is made with, if seeded.
	seed    uint64
	seeded  bool
	chooser chooser
	asked   *Question
	// where the client is, once something depends on it.
	located    bool
	where      string
	whereScope int
}

// Start begins the reply to a query whose question ends at msg[end]. It is written to buf, which bounds its
// size and must hold the question. The opcode and RD are the query's; every other flag is clear (RFC 1035 §4.1.1,
// RFC 6891 §6.1.4 for what it calls Z).
func (r *Reply) Start(buf, msg []byte, end int) {
	r.Rcode, r.Authoritative, r.Truncated, r.Scope = 0, false, false, 0
	r.buf, r.size, r.counts = buf, copy(buf, msg[:end]), [3]uint16{}
	buf[2] = msg[2]&0x79 | 0x80
	buf[3] = 0
	r.seen.reset()
}

// Bytes finishes the header and returns the message.
func (r *Reply) Bytes() []byte {
	b := r.buf[:r.size]
	if r.Authoritative {
		b[2] |= 0x04
	}
	if r.Truncated {
		b[2] |= 0x02
	}
	b[3] = byte(r.Rcode & 0xF)
	binary.BigEndian.PutUint16(b[6:], r.counts[answer])
	binary.BigEndian.PutUint16(b[8:], r.counts[authority])
	binary.BigEndian.PutUint16(b[10:], r.counts[additional])
	return b
}

// Grow gives the reply more room, up to the end of buf, which must begin with the one it has. It is how
// room is kept for what comes last.
func (r *Reply) Grow(buf []byte) { r.buf = buf }

// Extra appends one record to the additional section as it is, an OPT; it tells whether there was room.
func (r *Reply) Extra(record []byte) bool {
	if r.size+len(record) > len(r.buf) {
		return false
	}
	r.size += copy(r.buf[r.size:], record)
	r.counts[additional]++
	return true
}

// mark and rewind undo what was written for a section that did not fit.
type mark struct {
	size   int
	counts [3]uint16
	names  int
}

func (r *Reply) mark() mark { return mark{r.size, r.counts, r.seen.n} }

func (r *Reply) rewind(m mark) {
	r.size, r.counts = m.size, m.counts
	r.seen.n = m.names
}

// question is where the question's name stands in every message.
const question = headerLen

// add appends an answer's worth of a set to a section and tells whether it fitted; if not, what was written
// of it must be rewound. The records' owner is the name at owner in the message or, where owner is 0, the
// name in wire form.
func (r *Reply) add(to section, s *set, owner int, wire []byte) bool {
	count := s.answers()
	first := 0 // of a window of count records
	switch {
	case s.plan != "":
		var window bool
		if first, count, window = r.choose(s); !window {
			return r.addPicked(to, s, owner, wire)
		}
	case s.count > 1:
		first = part(r.draw(s), int(s.count))
	}
	r.counts[to] += uint16(count)
	if s.size == 0 || owner == 0 || compressible(s.rtype) {
		return r.addEach(s, first, count, owner, wire)
	}
	size := int(s.size)
	from, begin := first*size, r.size
	n := count * size
	if begin+n > len(r.buf) {
		return false
	}
	out := r.buf[begin : begin+n]
	if k := copy(out, s.wire[from:]); k < n {
		copy(out[k:], s.wire)
	}
	r.size += n
	if owner != question {
		for at := 0; at < n; at += size {
			binary.BigEndian.PutUint16(out[at:], 0xC000|uint16(owner))
		}
	}
	return true
}

// addEach is add for records that have to be looked at one by one.
func (r *Reply) addEach(s *set, first, count, owner int, wire []byte) bool {
	at := 0
	for range first {
		_, at = s.record(at)
	}
	for range count {
		if at == len(s.wire) {
			at = 0
		}
		var record string
		record, at = s.record(at)
		if !r.record(record, owner, wire) {
			return false
		}
	}
	return true
}

// record appends one compiled record, its names compressed where RFC 3597 §4 allows it.
func (r *Reply) record(record string, owner int, wire []byte) bool {
	if owner != 0 {
		if !r.pointer(owner) {
			return false
		}
	} else if !r.name(view(wire)) {
		return false
	}
	rtype := be16(record, 2)
	if !compressible(rtype) {
		return r.bytes(record[2:])
	}
	if !r.bytes(record[2:recordHead]) {
		return false
	}
	begin, at := r.size, recordHead
	if rtype == dns.TypeMX {
		if !r.bytes(record[at : at+2]) {
			return false
		}
		at += 2
	}
	names := 1
	if rtype == dns.TypeSOA {
		names = 2
	}
	for range names {
		end := skipName(record, at)
		if !r.name(record[at:end]) {
			return false
		}
		at = end
	}
	if !r.bytes(record[at:]) {
		return false
	}
	binary.BigEndian.PutUint16(r.buf[begin-2:], uint16(r.size-begin))
	return true
}

// compressible tells whether RDATA of a type holds names that may be compressed.
func compressible(rtype uint16) bool {
	const types = 1<<dns.TypeNS | 1<<dns.TypeCNAME | 1<<dns.TypeSOA | 1<<dns.TypePTR | 1<<dns.TypeMX
	return rtype < 64 && types>>rtype&1 != 0
}

func (r *Reply) bytes(s string) bool {
	if r.size+len(s) > len(r.buf) {
		return false
	}
	r.size += copy(r.buf[r.size:], s)
	return true
}

func (r *Reply) pointer(at int) bool {
	if r.size+2 > len(r.buf) {
		return false
	}
	binary.BigEndian.PutUint16(r.buf[r.size:], 0xC000|uint16(at))
	r.size += 2
	return true
}
