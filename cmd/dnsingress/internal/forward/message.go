// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

const (
	headerLen  = 12
	maxMessage = 65535
	// staleTTL is the TTL of answers that are stale: RFC 8767 §4.
	staleTTL = 30
)

// message is a reply as it is remembered: wire form, without an OPT record, with the places of its TTLs. Its question
// has as many octets as that of any client who asks the same, so that one's own spelling of the name is put in its place
// and every pointer to it holds.
type message struct {
	wire []byte
	ttls []uint16 // offsets of all TTLs
}

// compile makes a message of a reply that has been trimmed.
func compile(m *dns.Msg) (message, error) {
	m.Compress = true
	wire, err := m.Pack()
	if err != nil {
		return message{}, fmt.Errorf("packing a reply: %w", err)
	}
	// The library reads some records that end too early, and then writes what nobody can read.
	if err := new(dns.Msg).Unpack(wire); err != nil {
		return message{}, saidError("a malformed reply")
	}
	x := message{wire: wire}
	at := headerLen
	if len(m.Question) > 0 {
		at = skipName(wire, at) + 4
	}
	for range len(m.Answer) + len(m.Ns) + len(m.Extra) {
		at = skipName(wire, at)
		if at+10 > len(wire) {
			return message{}, fmt.Errorf("packing a reply: no record at %d", at)
		}
		x.ttls = append(x.ttls, uint16(at+4))
		at += 10 + int(binary.BigEndian.Uint16(wire[at+8:]))
	}
	if at != len(wire) {
		return message{}, fmt.Errorf("packing a reply: %d octets, of which %d were understood", len(wire), at)
	}
	return x, nil
}

// skipName returns the offset behind the name at b[at:], which is well-formed and may end in a pointer.
func skipName(b []byte, at int) int {
	for b[at] != 0 {
		if b[at] >= 0xC0 {
			return at + 2
		}
		at += int(b[at]) + 1
	}
	return at + 1
}

// rcode is the basic response code.
func (m message) rcode() int { return int(m.wire[3] & 0xF) }

// size is what a message takes of a cache.
func (m message) size() int { return len(m.wire) + 2*len(m.ttls) }

// reply returns the reply to a query, whose question ends at an offset and is the message's, after some time. Its TTLs
// have run down by then; of a stale one they are staleTTL.
func (m message) reply(query []byte, end int, age time.Duration, stale bool) []byte {
	b := make([]byte, len(m.wire))
	copy(b, m.wire)
	copy(b[headerLen:], query[headerLen:end])
	stamp(b, query, m.rcode())
	spent := uint32(age / time.Second)
	for _, at := range m.ttls {
		ttl := binary.BigEndian.Uint32(b[at:])
		if stale {
			ttl = staleTTL
		} else {
			ttl -= min(ttl, spent)
		}
		binary.BigEndian.PutUint32(b[at:], ttl)
	}
	return b
}

// bare returns a reply with nothing but the question.
func bare(query []byte, end, rcode int) []byte {
	b := make([]byte, end)
	copy(b, query[:end])
	clear(b[6:headerLen])
	stamp(b, query, rcode)
	return b
}

// stamp sets ID and flags of the reply to a query: RD and CD are the query's, RA is set, AA and AD are not, since the
// data are another's and nobody has validated them here (RFC 4035 §3.2.3).
func stamp(b, query []byte, rcode int) {
	copy(b, query[:2])
	b[2] = 0x80 | query[2]&0x01
	b[3] = 0x80 | query[3]&0x10 | byte(rcode&0xF)
}
