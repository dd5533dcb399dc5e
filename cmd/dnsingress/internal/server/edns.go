// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/binary"
	"time"

	"github.com/miekg/dns"
)

// noExtendedError stands for no extended error; the code itself, "Other", is never sent (RFC 8914 §4.1).
const noExtendedError = dns.ExtendedErrorCodeOther

const (
	optLen       = 11 // of an OPT record without options, RFC 6891 §6.1.2
	optionHead   = 4
	cookieLen    = clientCookieLen + serverCookieLen
	keepaliveLen = 2
	errorLen     = 2
	subnetMost   = subnetHead + 16
	// nsidMost bounds what a server may call itself.
	nsidMost = 128
	// optMost is the longest OPT that is ever sent.
	optMost = optLen + optionHead + cookieLen + optionHead + keepaliveLen + optionHead + errorLen + optionHead + subnetMost + optionHead + nsidMost
)

// opt is what the OPT record of a query says.
type opt struct {
	present   bool
	size      uint16 // of UDP messages that the client takes
	version   byte
	do        bool
	compact   bool // CO: denials as signed answers have them (RFC 9824 §5.1)
	keepalive bool
	nsid      bool   // asked for, RFC 5001 §2.1
	cookie    []byte // of the query, the client's part first; nil: none
	subnet    subnet
	signed    bool // the last record is a TSIG
	made      [optMost]byte
}

// room is what must be kept free for the OPT of the reply of a server of that name. An extended error goes with
// empty sections and needs no room kept.
func (o *opt) room(nsid string) int {
	if !o.present {
		return 0
	}
	size := optLen
	if o.nsid && nsid != "" {
		size += optionHead + len(nsid)
	}
	if o.subnet.data != nil {
		size += optionHead + len(o.subnet.data)
	}
	if o.cookie != nil {
		size += optionHead + cookieLen
	}
	if o.keepalive {
		size += optionHead + keepaliveLen
	}
	return size
}

// find walks the records behind the question, which ends at msg[at], and tells whether they are well-formed:
// to the very end of the message, with at most one OPT, and a TSIG nowhere but at the end.
func (o *opt) find(msg []byte, at int) bool {
	o.present, o.version, o.do, o.compact, o.keepalive, o.nsid, o.signed = false, 0, false, false, false, false, false
	o.cookie, o.subnet.data = nil, nil
	answers := int(binary.BigEndian.Uint16(msg[6:])) + int(binary.BigEndian.Uint16(msg[8:]))
	extras := int(binary.BigEndian.Uint16(msg[10:]))
	for i := range answers + extras {
		root := at < len(msg) && msg[at] == 0
		var ok bool
		if at, ok = skipName(msg, at); !ok || at+10 > len(msg) {
			return false
		}
		rtype := binary.BigEndian.Uint16(msg[at:])
		head, from := msg[at:at+10], at+10
		at = from + int(binary.BigEndian.Uint16(head[8:]))
		if at > len(msg) {
			return false
		}
		switch rtype {
		case dns.TypeTSIG: // RFC 8945 §5.1
			if i < answers || i+1 < answers+extras {
				return false
			}
			o.signed = true
		case dns.TypeOPT:
			if !root || o.present || i < answers { // RFC 6891 §6.1.1
				return false
			}
			o.present = true
			o.size = binary.BigEndian.Uint16(head[2:])
			o.version = head[5]
			o.do, o.compact = head[6]&0x80 != 0, head[6]&0x40 != 0
			if !o.options(msg[from:at]) {
				return false
			}
		}
	}
	return at == len(msg)
}

// options reads the options that mean something here and tells whether all are well-formed. The others are
// ignored (RFC 6891 §6.1.2).
func (o *opt) options(b []byte) bool {
	for len(b) > 0 {
		if len(b) < optionHead {
			return false
		}
		code, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if optionHead+size > len(b) {
			return false
		}
		data := b[optionHead : optionHead+size]
		switch code {
		case dns.EDNS0COOKIE:
			// RFC 7873 §5.2.2: the client's 8 octets alone or with 8 to 32 of a server.
			if size != clientCookieLen && (size < 16 || size > 40) {
				return false
			}
			if o.cookie == nil {
				o.cookie = data
			}
		case dns.EDNS0TCPKEEPALIVE:
			o.keepalive = true
		case dns.EDNS0NSID:
			o.nsid = true
		case dns.EDNS0SUBNET:
			if !o.subnet.read(data) {
				return false
			}
		}
		b = b[optionHead+size:]
	}
	return true
}

// skipName returns the offset behind the name at msg[at:], which may end in a pointer, and whether it is one.
func skipName(msg []byte, at int) (int, bool) {
	for at < len(msg) {
		switch length := int(msg[at]); {
		case length == 0:
			return at + 1, true
		case length >= 0xC0:
			return at + 2, at+2 <= len(msg)
		case length > 63:
			return 0, false
		default:
			at += length + 1
		}
	}
	return 0, false
}

// appendOPT makes the OPT record of the reply.
func (r *Responder) appendOPT(rcode int, extended uint16, peer Peer) []byte {
	b := append(r.opt.made[:0], 0, 0, byte(dns.TypeOPT))
	b = binary.BigEndian.AppendUint16(b, ednsUDP)
	b = append(b, byte(rcode>>4), 0, 0, 0, 0, 0)
	if r.opt.do { // RFC 3225 §3: as in the query; every other flag but CO is clear
		b[7] = 0x80
		if r.opt.compact {
			b[7] |= 0x40
		}
	}
	if r.opt.cookie != nil {
		b = binary.BigEndian.AppendUint16(b, dns.EDNS0COOKIE)
		b = binary.BigEndian.AppendUint16(b, cookieLen)
		now := r.now
		if now == 0 {
			now = uint32(time.Now().Unix())
		}
		b = r.cookies.appendAt(b, r.opt.cookie[:clientCookieLen], peer.Addr, now)
	}
	if r.opt.keepalive && peer.TCP && r.idle > 0 { // RFC 7828 §3.3.2
		b = binary.BigEndian.AppendUint16(b, dns.EDNS0TCPKEEPALIVE)
		b = binary.BigEndian.AppendUint16(b, keepaliveLen)
		b = binary.BigEndian.AppendUint16(b, r.idle)
	}
	if r.opt.nsid && r.names.ID != "" {
		b = binary.BigEndian.AppendUint16(b, dns.EDNS0NSID)
		b = binary.BigEndian.AppendUint16(b, uint16(len(r.names.ID)))
		b = append(b, r.names.ID...)
	}
	if r.opt.subnet.data != nil {
		b = r.opt.subnet.append(b, r.reply.Scope)
	}
	if extended != noExtendedError {
		b = binary.BigEndian.AppendUint16(b, dns.EDNS0EDE)
		b = binary.BigEndian.AppendUint16(b, errorLen)
		b = binary.BigEndian.AppendUint16(b, extended)
	}
	binary.BigEndian.PutUint16(b[9:], uint16(len(b)-optLen))
	return b
}
