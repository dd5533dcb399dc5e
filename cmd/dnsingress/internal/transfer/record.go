// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/miekg/dns"
)

// record is a record of a message that came in. What it holds is written over by the next one.
type record struct {
	owner       []byte // wire form, not compressed, lower case
	rtype       uint16
	class       uint16
	ttl         uint32
	data        []byte // its names not compressed
	msg         []byte
	at, from, n int // of the record, of its data, and how many octets they are in msg
}

// answers are the records of one message's answer section, one after the other. A large zone has a million of
// them, so the common ones are taken as they are on the wire; the library reads the others.
type answers struct {
	record
	after int // offset behind the record
	left  int
}

var errShort = errors.New("data that end early")

// begin goes to the answer section of a reply to a query.
func (a *answers) begin(msg []byte, query *dns.Msg) error {
	a.msg, a.after, a.left = msg, headerLen, int(binary.BigEndian.Uint16(msg[6:]))
	switch binary.BigEndian.Uint16(msg[4:]) {
	case 0: // as in all but the first message, RFC 5936 §2.2
		return nil
	case 1:
	default:
		return errNotOurs
	}
	end, err := a.name(headerLen)
	if err != nil {
		return err
	}
	if a.after = end + 4; a.after > len(msg) {
		return errMessage
	}
	if q := query.Question[0]; string(a.owner) != wireName(q.Name) || binary.BigEndian.Uint16(msg[end:]) != q.Qtype {
		return errNotOurs
	}
	return nil
}

// name takes the name at an offset of the message as the owner.
func (a *answers) name(at int) (end int, err error) {
	a.owner, end, err = appendName(a.owner[:0], a.msg, at)
	for i, c := range a.owner { // a length octet is at most 63, below 'A'
		if c-'A' < 26 {
			a.owner[i] = c | 0x20
		}
	}
	return end, err
}

// take takes the next record, and tells whether there was one.
func (a *answers) take() (bool, error) {
	if a.left == 0 {
		return false, nil
	}
	a.left--
	a.at = a.after
	at, err := a.name(a.at)
	if err != nil {
		return false, err
	}
	if at+10 > len(a.msg) {
		return false, errMessage
	}
	head := a.msg[at : at+10]
	a.rtype, a.class = binary.BigEndian.Uint16(head), binary.BigEndian.Uint16(head[2:])
	a.ttl, a.n = binary.BigEndian.Uint32(head[4:]), int(binary.BigEndian.Uint16(head[8:]))
	a.from = at + 10
	if a.after = a.from + a.n; a.after > len(a.msg) {
		return false, errMessage
	}
	if err := a.read(); err != nil {
		return false, fmt.Errorf("%s: %w", &a.record, err)
	}
	return true, nil
}

func (r *record) String() string {
	return presentation(r.owner) + " " + dns.Type(r.rtype).String()
}

// presentation gives a name in wire form as people write it.
func presentation(wire []byte) string {
	name, _, err := dns.UnpackDomainName(wire, 0)
	if err != nil {
		return fmt.Sprintf("%q", wire)
	}
	return name
}

// serial returns that of a SOA.
func (r *record) serial() uint32 { return binary.BigEndian.Uint32(r.data[len(r.data)-20:]) }

// read takes the data, and finds what is wrong with them.
func (r *record) read() error {
	raw := r.msg[r.from : r.from+r.n]
	names, before, behind := 1, 0, 0
	switch r.rtype {
	case dns.TypeA:
		return r.fixed(raw, net.IPv4len)
	case dns.TypeAAAA:
		return r.fixed(raw, net.IPv6len)
	case dns.TypeTXT:
		for at := 0; at < len(raw); {
			if at += 1 + int(raw[at]); at > len(raw) {
				return errShort
			}
		}
		if r.data = append(r.data[:0], raw...); len(raw) == 0 {
			return errShort
		}
		return nil
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR, dns.TypeDNAME:
	case dns.TypeMX:
		before = 2
	case dns.TypeSRV:
		before = 6
	case dns.TypeSOA:
		names, behind = 2, 20
	default:
		return r.uncommon()
	}
	if len(raw) < before+names+behind {
		return errShort
	}
	r.data = append(r.data[:0], raw[:before]...)
	at := r.from + before
	for range names {
		var err error
		if r.data, at, err = appendName(r.data, r.msg, at); err != nil {
			return err
		}
	}
	if at+behind != r.from+r.n {
		return errShort
	}
	r.data = append(r.data, r.msg[at:at+behind]...)
	return nil
}

// fixed takes data of so many octets.
func (r *record) fixed(raw []byte, size int) error {
	if len(raw) != size {
		return errShort
	}
	r.data = append(r.data[:0], raw...)
	return nil
}

// uncommon has the library take the data. It takes some that end early for shorter ones, which it then packs into what
// it cannot read again.
func (r *record) uncommon() error {
	rr, end, err := dns.UnpackRR(r.msg, r.at)
	if err != nil {
		return err
	}
	if end != r.from+r.n {
		return errShort
	}
	if _, unknown := rr.(*dns.RFC3597); unknown { // whatever octets
		r.data = append(r.data[:0], r.msg[r.from:end]...)
		return nil
	}
	if r.n == 0 && r.rtype != dns.TypeNULL && r.rtype != dns.TypeAPL {
		return errShort
	}
	once, err := packed(rr)
	if err != nil {
		return err
	}
	again, _, err := dns.UnpackRR(once, 0)
	if err != nil {
		return errShort
	}
	if twice, err := packed(again); err != nil || !bytes.Equal(once, twice) {
		return errShort
	}
	if len(once)-11 > 0xFFFF {
		return fmt.Errorf("%d octets of data", len(once)-11)
	}
	r.data = append(r.data[:0], once[11:]...)
	return nil
}

// packed gives a record the owner "." and packs it.
func packed(rr dns.RR) ([]byte, error) {
	rr.Header().Name = "."
	b := make([]byte, dns.Len(rr)+256)
	n, err := dns.PackRR(rr, b, 0, nil, false)
	return b[:max(n, 0)], err
}
