// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"cmp"
	"encoding/binary"
	"iter"
	"slices"

	"github.com/miekg/dns"
)

// SignedRecords yields what Records does and what makes it a zone that a server without keys can answer from and prove:
// the signatures of every set, that of the SOA included, and NSEC records that link the names in canonical order
// (RFC 4035 §2). Of a zone without a signer it is Records. It costs two signatures a name, of which those of sets that
// are answered whole are there already.
func (z *Zone) SignedRecords() iter.Seq[Record] {
	if z.signer == nil {
		return z.Records()
	}
	return func(yield func(Record) bool) {
		var linked []string // names, in wire form
		each := func(n node) bool {
			if n.exists() && !z.occluded(n.key()) {
				linked = append(linked, n.key()+z.origin)
				return true
			}
			return n.records(z.origin, yield) // glue
		}
		if !each(z.apex) || !z.trie.each(each) {
			return
		}
		slices.SortFunc(linked, inOrder)
		sheet := Signable{}
		for i, owner := range linked {
			n := z.find(owner)
			if !n.records(z.origin, yield) || !z.signedNode(owner, linked[(i+1)%len(linked)], n, &sheet, yield) {
				return
			}
		}
	}
}

// signedNode yields the signatures of what stands at a name, and its NSEC record with its own.
func (z *Zone) signedNode(owner, next string, n node, sheet *Signable, yield func(Record) bool) bool {
	if n.sets() == 0 {
		n = encode(n.key(), n.flags()&^flagParent, 0, []compiled{{rtype: placeholderType, records: []string{"\xC0\x0C" + placeholder}}})
	}
	name := []byte(owner)
	signatures := func(set Signable, ttl uint32, lasts bool) bool {
		for records := z.signer.Signatures(set, lasts); len(records) > 0; {
			end := recordHead + int(be16(records, recordHead-2))
			if !yield(Record{owner, withTTL(records[:end], ttl)[2:]}) {
				return false
			}
			records = records[end:]
		}
		return true
	}
	for i := range n.sets() {
		s := n.at(i)
		if n.flags()&flagCut != 0 && s.rtype != dns.TypeDS {
			continue
		}
		ttl := be32(s.wire, 6)
		whole := s.flat()
		*sheet = whole.whole(signable((*sheet)[:0], name, s.rtype, ttl))
		if !signatures(*sheet, ttl, s.windows() == 1) {
			return false
		}
	}
	*sheet = z.nsec((*sheet)[:0], name, []byte(next), n, true, true)
	ttl := z.negativeTTL()
	data := binary.BigEndian.AppendUint16(nil, dns.TypeNSEC)
	data = binary.BigEndian.AppendUint16(data, dns.ClassINET)
	data = binary.BigEndian.AppendUint32(data, ttl)
	data = append(data, (*sheet)[len(name)+6:]...)
	return yield(Record{owner, string(data)}) && signatures(*sheet, ttl, false)
}

// inOrder compares names in lower-case wire form: RFC 4034 §6.1.
func inOrder(a, b string) int {
	var starts [2][maxLabels]uint8
	var labels [2]int
	for i, name := range [2]string{a, b} {
		for at := 0; name[at] != 0; at += int(name[at]) + 1 {
			starts[i][labels[i]] = uint8(at)
			labels[i]++
		}
	}
	for labels[0] > 0 && labels[1] > 0 {
		labels[0]--
		labels[1]--
		x, y := int(starts[0][labels[0]]), int(starts[1][labels[1]])
		if c := cmp.Compare(a[x+1:x+1+int(a[x])], b[y+1:y+1+int(b[y])]); c != 0 {
			return c
		}
	}
	return labels[0] - labels[1]
}
