// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// node is one name of a zone and everything at it. It is a single string, so that a lookup among a million
// cold names waits for memory as seldom as it can and the collector has nothing to scan. In order, numbers
// little-endian:
//
//	flags      1 octet
//	key        1 octet of length, and the name in lower-case wire form without the zone's origin
//	children   4 octets, with flagParent: how many names are directly below
//	sets       1 octet: how many RRsets
//	headers    headerSize octets a set, ordered by type, see set
//	records    of every set, each behind its plan if it has one
//	negative   4 octets, with flagNegative: TTL in seconds of an answer that there is no such data
//
// The node of no name is the empty string.
type node string

const (
	flagCut      = 1 << iota // NS below the origin: a delegation
	flagDNAME                // everything below is renamed
	flagCNAME                // an alias
	flagPinned               // exists by request, also with no data
	flagParent               // has names below
	flagNegative             // has a TTL of its own for negative answers
)

// headerSize is what a node says of a set: type, how many records, how many in an answer (and planned), the size
// of each, all 2 octets, and the size of all, with the plan where there is one, 4 octets.
const headerSize = 12

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
	plan  plan // "": an answer is a window from a random place
}

func (n node) flags() byte { return n[0] }

func (n node) key() string { return string(n[2 : 2+int(n[1])]) }

// body returns the offset of what follows key and children.
func (n node) body() int {
	at := 2 + int(n[1])
	if n[0]&flagParent != 0 {
		at += 4
	}
	return at
}

func (n node) children() int {
	if n == "" || n[0]&flagParent == 0 {
		return 0
	}
	return int(le32(string(n), 2+int(n[1])))
}

// negative returns how long it may be remembered that a type is not there, if that is not the zone's to say.
func (n node) negative() (ttl uint32, ok bool) {
	if n == "" || n[0]&flagNegative == 0 {
		return 0, false
	}
	return le32(string(n), len(n)-4), true
}

// withNegative returns a node that encode made with a TTL for negative answers; 0: the zone's.
func (n node) withNegative(ttl uint32) node {
	if ttl == 0 {
		return n
	}
	b := binary.LittleEndian.AppendUint32([]byte(n), ttl)
	b[0] |= flagNegative
	return node(b)
}

func (n node) sets() int {
	if n == "" {
		return 0
	}
	return int(n[n.body()])
}

// exists tells whether the name was stated, apart from having names below it (an empty non-terminal).
func (n node) exists() bool { return n.sets() > 0 || n != "" && n[0]&flagPinned != 0 }

// divides tells whether names below are not the zone's own: a delegation or a DNAME.
func (n node) divides() bool { return n[0]&(flagCut|flagDNAME) != 0 }

// at returns the set with index i.
func (n node) at(i int) (s set) {
	at := n.body()
	from := at + 1 + int(n[at])*headerSize
	for at++; i > 0; i-- {
		from += int(le32(string(n), at+8))
		at += headerSize
	}
	s.view(string(n), at, from)
	return s
}

// set returns the RRset of a type.
func (n node) set(rtype uint16) (s set, ok bool) {
	ok = s.find(n, rtype)
	return s, ok
}

// find makes s the RRset of a type at a node, and tells whether there is one. Sets are large for a value; where every
// nanosecond counts they are handed on by pointers.
func (s *set) find(n node, rtype uint16) bool {
	at := n.body()
	left := int(n[at])
	from := at + 1 + left*headerSize
	for at++; left > 0; left-- {
		if le16(string(n), at) == rtype {
			s.view(string(n), at, from)
			return true
		}
		from += int(le32(string(n), at+8))
		at += headerSize
	}
	return false
}

// view makes s the set of a node whose header is at an offset and whose records begin at another.
func (s *set) view(n string, at, from int) {
	h := n[at : at+headerSize]
	s.rtype, s.count, s.most, s.size, s.plan = le16(h, 0), le16(h, 2), le16(h, 4), le16(h, 6), ""
	s.wire = n[from : from+int(le32(h, 8))]
	if s.most&planned != 0 {
		s.most &= mostMask
		size := le32(s.wire, 0)
		s.plan, s.wire = plan(s.wire[:size]), s.wire[size:]
	}
}

// record returns the record that begins at offset at of the set's wire form, and the offset behind it.
func (s *set) record(at int) (string, int) {
	end := at + recordHead + int(be16(s.wire, at+recordHead-2))
	return s.wire[at:end], end
}

// answers returns how many records one answer holds.
func (s *set) answers() int {
	if s.most != 0 && s.most < s.count {
		return int(s.most)
	}
	return int(s.count)
}

// compiled is an RRset on its way into a node.
type compiled struct {
	rtype   uint16
	most    uint16
	plan    plan
	records []string // as in set.wire
}

// encode makes a node, without a TTL for negative answers. The sets are sorted in place.
func encode(key string, flags byte, children int, sets []compiled) node {
	slices.SortFunc(sets, func(a, b compiled) int { return cmp.Compare(a.rtype, b.rtype) })
	flags &^= flagNegative
	total := 3 + len(key) + headerSize*len(sets)
	if children > 0 {
		flags |= flagParent
		total += 4
	}
	for _, s := range sets {
		total += len(s.plan)
		for _, r := range s.records {
			total += len(r)
		}
	}
	var b strings.Builder
	b.Grow(total)
	b.WriteByte(flags)
	b.WriteByte(byte(len(key)))
	b.WriteString(key)
	if children > 0 {
		put32(&b, uint32(children))
	}
	b.WriteByte(byte(len(sets)))
	for _, s := range sets {
		same, length := len(s.records[0]), len(s.plan)
		for _, r := range s.records {
			length += len(r)
			if len(r) != same {
				same = 0
			}
		}
		put16(&b, s.rtype)
		put16(&b, uint16(len(s.records)))
		most := s.most
		if s.plan != "" {
			most |= planned
		}
		put16(&b, most)
		put16(&b, uint16(same))
		put32(&b, uint32(length))
	}
	for _, s := range sets {
		b.WriteString(string(s.plan))
		for _, r := range s.records {
			b.WriteString(r)
		}
	}
	return node(b.String())
}

// withChildren returns the node with another number of names below it.
func (n node) withChildren(children int) node {
	if children > 0 && n.children() > 0 {
		b := []byte(n)
		binary.LittleEndian.PutUint32(b[2+len(n.key()):], uint32(children))
		return node(b)
	}
	ttl, _ := n.negative()
	return encode(n.key(), n.flags()&^flagParent, children, n.decode()).withNegative(ttl)
}

// decode is the inverse of encode, for a change that keeps part of a node.
func (n node) decode() []compiled {
	sets := make([]compiled, 0, n.sets())
	for i := range n.sets() {
		s := n.at(i)
		c := compiled{rtype: s.rtype, most: s.most, plan: s.plan, records: make([]string, 0, s.count)}
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

func le64(s string, i int) uint64 { return uint64(le32(s, i)) | uint64(le32(s, i+4))<<32 }

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
