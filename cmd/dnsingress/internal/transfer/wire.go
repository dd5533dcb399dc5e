// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"encoding/binary"
	"errors"

	"github.com/miekg/dns"
)

const (
	headerLen = 12
	// maxMessage is what a message may hold over TCP, RFC 1035 §4.2.2; maxPointer is the highest offset that a
	// compression pointer can hold, §4.1.4.
	maxMessage = 65535
	maxPointer = 0x3FFF
	maxLabel   = 63
	maxName    = 255 // octets of a name in wire form, §3.1
)

var errMessage = errors.New("malformed message")

// layout is where things are in a message that has at most one question.
type layout struct {
	end  int // of the question
	tsig int // offset of the TSIG record, which is the last; 0: none
	edns bool
}

// survey walks over a message. A TSIG that is not the last record is an error (RFC 8945 §5.1).
func survey(msg []byte) (layout, error) {
	var l layout
	if len(msg) < headerLen {
		return l, errMessage
	}
	at := headerLen
	questions := int(binary.BigEndian.Uint16(msg[4:]))
	if questions > 1 {
		return l, errMessage
	}
	if questions == 1 {
		var ok bool
		if at, ok = skipName(msg, at); !ok || at+4 > len(msg) {
			return l, errMessage
		}
		at += 4
	}
	l.end = at
	records := 0
	for i := 6; i < headerLen; i += 2 {
		records += int(binary.BigEndian.Uint16(msg[i:]))
	}
	for ; records > 0; records-- {
		begin := at
		body, ok := skipName(msg, at)
		if !ok || body+10 > len(msg) {
			return l, errMessage
		}
		at = body + 10 + int(binary.BigEndian.Uint16(msg[body+8:]))
		if at > len(msg) {
			return l, errMessage
		}
		switch binary.BigEndian.Uint16(msg[body:]) {
		case dns.TypeOPT:
			l.edns = true
		case dns.TypeTSIG:
			if records > 1 || binary.BigEndian.Uint16(msg[10:]) == 0 {
				return l, errMessage
			}
			l.tsig = begin
		}
	}
	if at != len(msg) {
		return l, errMessage
	}
	return l, nil
}

// skipName returns the offset behind the name at an offset of a message.
func skipName(msg []byte, at int) (int, bool) {
	for at < len(msg) {
		switch length := int(msg[at]); {
		case length == 0:
			return at + 1, true
		case length >= 0xC0:
			return at + 2, at+2 <= len(msg)
		case length > maxLabel:
			return 0, false
		default:
			at += length + 1
		}
	}
	return 0, false
}

// appendName appends the name at an offset of a message to what has none of it yet, uncompressed, and returns the offset
// behind it. Each pointer must lead further back than the one before (RFC 1035 §4.1.4: to a prior occurrence), so
// there is an end to them.
func appendName(to, msg []byte, at int) (name []byte, end int, err error) {
	begin, least := len(to), at
	for at < len(msg) {
		length := int(msg[at])
		switch {
		case length == 0:
			if to = append(to, 0); len(to)-begin > maxName {
				return to, 0, errMessage
			}
			if end == 0 {
				end = at + 1
			}
			return to, end, nil
		case length >= 0xC0:
			if at+2 > len(msg) {
				return to, 0, errMessage
			}
			if end == 0 {
				end = at + 2
			}
			at = int(binary.BigEndian.Uint16(msg[at:])) & maxPointer
			if at >= least || at < headerLen {
				return to, 0, errMessage
			}
			least = at
		case length > maxLabel || at+1+length > len(msg) || len(to)-begin+1+length > maxName:
			return to, 0, errMessage
		default:
			to = append(to, msg[at:at+1+length]...)
			at += 1 + length
		}
	}
	return to, 0, errMessage
}

// wireName gives a name in uncompressed lower-case wire form. It must be well-formed.
func wireName(name string) string {
	buf := make([]byte, 256)
	n, err := dns.PackDomainName(dns.CanonicalName(name), buf, 0, nil, false)
	if err != nil {
		return "\x00"
	}
	return string(buf[:n])
}

func idOf(msg []byte) uint16 { return binary.BigEndian.Uint16(msg) }
