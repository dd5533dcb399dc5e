// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"encoding/binary"
	"errors"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// streamed is how many octets a message of a transfer has: beyond, names cannot be pointed at any more.
const streamed = 16 << 10

// optLen is the size of an OPT record without options, ednsSize what it says that we take over UDP.
const (
	optLen   = 11
	ednsSize = 1232
)

// errFull says that a record does not fit the message.
var errFull = errors.New("a record does not fit a message")

// packer gathers records into messages. Its memory is that of one message.
type packer struct {
	send    func(message []byte) error // signs the message and sends it
	limit   int                        // octets of a message before it is signed
	buf     []byte
	opt     bool // the first message has an OPT record (RFC 6891 §6.1.1)
	records int
	names   map[string]uint16 // suffixes of names, in wire form, by where they are
}

// newPacker begins the reply to a query whose question ends at an offset. The later messages of a reply have no
// question (RFC 5936 §2.2).
func newPacker(query []byte, end, limit int, opt bool, send func([]byte) error) *packer {
	p := &packer{send: send, limit: limit, opt: opt, names: map[string]uint16{}}
	if opt {
		p.limit -= optLen
	}
	p.buf = append(make([]byte, 0, min(limit, streamed)), query[:end]...)
	p.buf[2] = query[2]&0x79 | 0x84 // QR, AA
	p.buf[3] = 0
	clear(p.buf[6:headerLen])
	p.begin()
	return p
}

func (p *packer) begin() {
	p.records = 0
	clear(p.names)
	if size := len(p.buf); size > headerLen {
		p.learn(string(p.buf[headerLen:size-4]), headerLen)
	}
}

// add appends a record to the answer and sends the message before where it is full. errFull says that not
// even a message of its own holds the record.
func (p *packer) add(r zone.Record) error {
	if p.records == 0xFFFF || p.records > 0 && len(p.buf) >= streamed {
		if err := p.flush(); err != nil {
			return err
		}
	}
	if p.put(r) {
		return nil
	}
	if p.records == 0 {
		return errFull
	}
	if err := p.flush(); err != nil {
		return err
	}
	if !p.put(r) {
		return errFull
	}
	return nil
}

// flush sends what has been gathered and begins the next message.
func (p *packer) flush() error {
	binary.BigEndian.PutUint16(p.buf[6:], uint16(p.records))
	if p.opt {
		p.opt = false
		p.buf = appendOPT(p.buf)
	}
	if err := p.send(p.buf); err != nil {
		return err
	}
	p.buf = p.buf[:headerLen]
	clear(p.buf[4:headerLen])
	p.begin()
	return nil
}

// appendOPT appends an OPT record to a message whose additional section is empty.
func appendOPT(b []byte) []byte {
	b[11] = 1
	return append(b, 0, 0, byte(dns.TypeOPT), ednsSize>>8, ednsSize&0xFF, 0, 0, 0, 0, 0, 0)
}

// put writes a record, or nothing where it does not fit.
func (p *packer) put(r zone.Record) bool {
	begin := len(p.buf)
	p.name(r.Owner)
	p.buf = append(p.buf, r.Data[:10]...)
	data := len(p.buf)
	rdata := r.Data[10:]
	switch r.Type() { // whose names may be compressed, RFC 3597 §4
	case dns.TypeMX:
		p.buf = append(p.buf, rdata[:2]...)
		p.name(rdata[2:])
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR:
		p.name(rdata)
	case dns.TypeSOA:
		one, _ := skipName([]byte(rdata), 0)
		p.name(rdata[:one])
		two, _ := skipName([]byte(rdata), one)
		p.name(rdata[one:two])
		p.buf = append(p.buf, rdata[two:]...)
	default:
		p.buf = append(p.buf, rdata...)
	}
	if len(p.buf) > p.limit {
		p.buf = p.buf[:begin]
		for suffix, at := range p.names { // those that are not there any more
			if int(at) >= begin {
				delete(p.names, suffix)
			}
		}
		return false
	}
	binary.BigEndian.PutUint16(p.buf[data-2:], uint16(len(p.buf)-data))
	p.records++
	return true
}

// name appends a name in wire form, with a pointer in place of the longest suffix that the message has.
func (p *packer) name(wire string) {
	for at := 0; wire[at] != 0; at += 1 + int(wire[at]) {
		if place, ok := p.names[wire[at:]]; ok {
			p.learnTo(wire, at)
			p.buf = append(p.buf, wire[:at]...)
			p.buf = binary.BigEndian.AppendUint16(p.buf, 0xC000|place)
			return
		}
	}
	p.learnTo(wire, len(wire)-1)
	p.buf = append(p.buf, wire...)
}

// learnTo remembers the suffixes of a name that is about to be written that begin before an offset.
func (p *packer) learnTo(wire string, end int) {
	for at := 0; at < end && len(p.buf)+at <= maxPointer; at += 1 + int(wire[at]) {
		p.names[wire[at:]] = uint16(len(p.buf) + at)
	}
}

// learn remembers a name that is written already.
func (p *packer) learn(wire string, place int) {
	for at := 0; wire[at] != 0; at += 1 + int(wire[at]) {
		p.names[wire[at:]] = uint16(place + at)
	}
}
