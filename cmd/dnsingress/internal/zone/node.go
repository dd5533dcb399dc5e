// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"cmp"
	"slices"
	"strings"
)

// node is one name of a zone. It is 32 bytes and its data one more allocation, so that a lookup among
// a million cold names waits for memory as seldom as it can, and the collector has little to scan.
type node struct {
	// data is, in this order (numbers little-endian):
	//
	//	flags      1 octet
	//	label      1 octet of length and the label, lower case
	//	sets       1 octet: how many RRsets
	//	headers    headerSize octets a set, ordered by type, see set
	//	records    of every set
	data  string
	kids  *branch
	owner *edit
}

// edit is the right to change nodes and branches in place while a new zone is being built; it is dropped
// with the builder, and what carries it is immutable from then on.
type edit struct{ _ byte }

const (
	flagCut    = 1 << iota // NS below the origin: a delegation
	flagDNAME              // everything below is renamed
	flagCNAME              // an alias
	flagPinned             // exists by request, also with no data
)

const headerSize = 16

// recordHead is the size of what precedes the RDATA in a compiled record: owner pointer, type, class, TTL, RDLENGTH.
const recordHead = 12

// set is a view of one compiled RRset. Its records follow one another in wire form; each begins with the
// pointer C0 0C to the question's name, and the names in its RDATA are not compressed.
type set struct {
	rtype uint16
	count uint16 // records
	most  uint16 // records in one answer; 0: all
	size  uint16 // octets of each record; 0: they differ
	wire  string
}

func (n *node) flags() byte { return n.data[0] }

func (n *node) label() string { return n.data[2 : 2+int(n.data[1])] }

func (n *node) sets() int { return int(n.data[2+int(n.data[1])]) }

// exists tells whether the name was stated, apart from having names below it (an empty non-terminal).
func (n *node) exists() bool { return n.sets() > 0 || n.flags()&flagPinned != 0 }

// at returns the set with index i.
func (n *node) at(i int) set {
	d := n.data
	h := d[3+int(d[1])+i*headerSize:]
	from, size := le32(h, 8), le32(h, 12)
	return set{le16(h, 0), le16(h, 2), le16(h, 4), le16(h, 6), d[from : from+size]}
}

// set returns the RRset of a type.
func (n *node) set(rtype uint16) (set, bool) {
	d := n.data
	at := 2 + int(d[1])
	for left := int(d[at]); left > 0; left-- {
		h := d[at+1 : at+1+headerSize]
		if le16(h, 0) == rtype {
			from, size := le32(h, 8), le32(h, 12)
			return set{rtype, le16(h, 2), le16(h, 4), le16(h, 6), d[from : from+size]}, true
		}
		at += headerSize
	}
	return set{}, false
}

// record returns the record that begins at offset at of the set's wire form, and the offset behind it.
func (s set) record(at int) (string, int) {
	end := at + recordHead + int(be16(s.wire, at+recordHead-2))
	return s.wire[at:end], end
}

// answers returns how many records one answer holds.
func (s set) answers() int {
	if s.most != 0 && s.most < s.count {
		return int(s.most)
	}
	return int(s.count)
}

// compiled is an RRset on its way into a node.
type compiled struct {
	rtype   uint16
	most    uint16
	records []string // as in set.wire
}

// encode makes a node's data. The sets are sorted in place.
func encode(label string, flags byte, sets []compiled) string {
	slices.SortFunc(sets, func(a, b compiled) int { return cmp.Compare(a.rtype, b.rtype) })
	at := 3 + len(label) + headerSize*len(sets)
	total := at
	for _, s := range sets {
		for _, r := range s.records {
			total += len(r)
		}
	}
	var b strings.Builder
	b.Grow(total)
	b.WriteByte(flags)
	b.WriteByte(byte(len(label)))
	b.WriteString(label)
	b.WriteByte(byte(len(sets)))
	for _, s := range sets {
		same, length := len(s.records[0]), 0
		for _, r := range s.records {
			length += len(r)
			if len(r) != same {
				same = 0
			}
		}
		put16(&b, s.rtype)
		put16(&b, uint16(len(s.records)))
		put16(&b, s.most)
		put16(&b, uint16(same))
		put32(&b, uint32(at))
		put32(&b, uint32(length))
		at += length
	}
	for _, s := range sets {
		for _, r := range s.records {
			b.WriteString(r)
		}
	}
	return b.String()
}

// decode is the inverse of encode, for a change that keeps part of a node.
func (n *node) decode() []compiled {
	sets := make([]compiled, 0, n.sets())
	for i := range n.sets() {
		s := n.at(i)
		c := compiled{rtype: s.rtype, most: s.most, records: make([]string, 0, s.count)}
		for at := 0; at < len(s.wire); {
			var r string
			r, at = s.record(at)
			c.records = append(c.records, r)
		}
		sets = append(sets, c)
	}
	return sets
}

func le16(s string, i int) uint16 { return uint16(s[i]) | uint16(s[i+1])<<8 }

func le32(s string, i int) uint32 {
	return uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 | uint32(s[i+3])<<24
}

func be16(s string, i int) uint16 { return uint16(s[i])<<8 | uint16(s[i+1]) }

func be32(s string, i int) uint32 {
	return uint32(s[i])<<24 | uint32(s[i+1])<<16 | uint32(s[i+2])<<8 | uint32(s[i+3])
}

func put16(b *strings.Builder, v uint16) {
	b.WriteByte(byte(v))
	b.WriteByte(byte(v >> 8))
}

func put32(b *strings.Builder, v uint32) {
	put16(b, uint16(v))
	put16(b, uint16(v>>16))
}
