// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"encoding/binary"
	"iter"

	"github.com/miekg/dns"
)

// Record is one record as a transfer carries it, in two parts of wire form.
type Record struct {
	Owner string // absolute, lower case
	Data  string // TYPE, CLASS, TTL, RDLENGTH and RDATA, its names not compressed
}

// Type returns the record's type.
func (r Record) Type() uint16 { return be16(r.Data, 0) }

// RR turns the record into the form of miekg/dns.
func (r Record) RR() (dns.RR, error) {
	rr, _, err := dns.UnpackRR([]byte(r.Owner+r.Data), 0)
	return rr, err
}

// placeholderType is of the range for private use (RFC 6895 §3.1).
const placeholderType = 65281

// placeholder stands, in a transfer, for a name that exists without data: no other record can say so, and
// without one a secondary would answer NXDOMAIN. It has no RDATA.
var placeholder = string(binary.BigEndian.AppendUint64(nil, placeholderType<<48|dns.ClassINET<<32)) + "\x00\x00"

// SOA returns the zone's SOA record.
func (z *Zone) SOA() Record {
	s, _ := z.apex.set(dns.TypeSOA)
	r, _ := s.record(0)
	return Record{z.origin, r[2:]}
}

// Records yields every record but the SOA, those of one name together, flattened to what plain DNS can say: of a
// set that is answered in parts, all members, but one alone of a CNAME or DNAME (see docs/transfer.md); for a name without data, one record of no octets of type 65281.
func (z *Zone) Records() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		each := func(n node) bool { return n.records(z.origin, yield) }
		if each(z.apex) {
			z.trie.each(each)
		}
	}
}

// records calls yield with every record of the node but a SOA until it returns false, and tells whether it
// never did.
func (n node) records(origin string, yield func(Record) bool) bool {
	if !n.exists() {
		return true
	}
	owner := n.key() + origin
	if n.sets() == 0 {
		return yield(Record{owner, placeholder})
	}
	for i := range n.sets() {
		s := n.at(i).flat()
		for at := 0; s.rtype != dns.TypeSOA && at < len(s.wire); {
			var r string
			r, at = s.record(at)
			if !yield(Record{owner, r[2:]}) {
				return false
			}
		}
	}
	return true
}

// RRsets returns what a name holds, in the order of types; found tells whether it exists by itself, not as an
// empty non-terminal. Records carry the name and their TTL.
func (z *Zone) RRsets(owner string) (sets []RRset, found bool) {
	wire, err := pack(owner)
	if err != nil {
		return nil, false
	}
	n := z.find(wire)
	if !n.exists() {
		return nil, false
	}
	return n.rrsets(wire), true
}

// Contains tells whether a name is the origin or below it.
func (z *Zone) Contains(owner string) bool {
	wire, err := pack(owner)
	return err == nil && within(wire, z.origin)
}
