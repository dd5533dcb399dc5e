// SPDX-License-Identifier: Apache-2.0

package zone

import "encoding/binary"

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

// deny adds the SOA of a negative answer.
func (z *Zone) deny(q *Question, r *Reply) {
	n := &z.nothing
	begin := r.size
	if begin > maxPointer-len(n.record) || !r.bytes(n.record) {
		r.Truncated = true
		return
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
}
