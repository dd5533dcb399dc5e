// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"unsafe"

	"github.com/miekg/dns"
)

// Zone is one compiled zone. It is immutable and safe for concurrent use.
type Zone struct {
	origin  string // lower-case wire form
	labels  int    // of origin
	apex    node
	names   int
	trie    *inner // all names but the apex, with the empty non-terminals among them
	cuts    int    // names with a delegation or a DNAME
	serial  uint32
	seed    maphash.Seed
	nothing negative
	signer  Signer // nil: answers are not signed
	// unavailable zones answer nothing but SERVFAIL, and have no SOA.
	unavailable bool
}

// RRset is the records of one type at one name.
type RRset struct {
	Type uint16
	TTL  uint32 // seconds; the records' own are ignored
	// Records are of Type and class IN. Their owners are ignored.
	Records []dns.RR
	// MaxAnswers is how many of the records one answer holds at most. 0: all of them.
	MaxAnswers int
	// Select says which those are. Transfers, and whoever asks All, get all records of the set.
	Select Selection
	// Weights are how much of the answers each of the Records shall have against the others, in the order of
	// Records; one of 0 is in none, and if all are 0 they are as equal as with nil. They mean something to Weighted,
	// Sticky, Near and TwoChoices; the rest take every record.
	Weights []uint32
	// Locations are where each of the Records is, for Near; nil: nowhere.
	Locations []string
	// Groups divide the Records, in order, into options of which an answer holds one, chosen among as Select and
	// MaxAnswers say; nil: they are one. A CNAME or DNAME set may have several records if each is an option by itself.
	// Transfers have the records of all options, and of CNAME and DNAME one (see docs/transfer.md).
	Groups []Group
}

// Change says what a name holds from now on, in place of everything it held. With neither RRsets nor Remove
// the name exists without data (NODATA). At the origin SOA and NS stay unless the change has its own.
type Change struct {
	Owner  string // absolute
	RRsets []RRset
	Remove bool
	// NegativeTTL is for how many seconds resolvers may remember that the name has no data of a type, if that is
	// less than the zone's SOA says (RFC 2308 §5). 0: as the SOA says.
	NegativeTTL uint32
}

// New compiles a zone. The records need a SOA at the origin; duplicates are dropped and the TTLs of one set
// made equal to the lowest (RFC 2181 §5). The error joins everything that is wrong with the records.
func New(origin string, rrs []dns.RR) (*Zone, error) {
	b, err := NewBuilder(origin)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, rr := range rrs {
		if err := b.Add(dns.Copy(rr)); err != nil {
			errs = append(errs, err)
		}
	}
	z, err := b.Zone()
	if errs = append(errs, err); errors.Join(errs...) != nil {
		return nil, errors.Join(errs...)
	}
	return z, nil
}

// With returns the zone with the changes made and a SOA serial that moved forward (RFC 1982). It copies
// O(labels · log names) for each change. Nothing is changed if any change is wrong; the error joins all that
// is.
func (z *Zone) With(changes ...Change) (*Zone, error) {
	e := newEditor(z)
	var errs []error
	for _, c := range changes {
		if err := e.change(c); err != nil {
			errs = append(errs, fmt.Errorf("changing %q: %w", c.Owner, err))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return e.finish(z.serial + 1)
}

// Origin returns the zone's name in presentation form, lower case, with the final dot.
func (z *Zone) Origin() string { return unpack(z.origin) }

// Has tells whether there are records of a type at the origin.
func (z *Zone) Has(rtype uint16) bool {
	_, has := z.apex.set(rtype)
	return has
}

// Serial returns the serial of the SOA.
func (z *Zone) Serial() uint32 { return z.serial }

// Len returns the number of names that exist with data or by a Change without data.
func (z *Zone) Len() int { return z.names }

// All yields every name that Len counts, absolute and in no particular order, with its RRsets in the order of
// types. Records carry the name and their TTL.
func (z *Zone) All() iter.Seq2[string, []RRset] {
	return func(yield func(string, []RRset) bool) {
		each := func(n node) bool {
			wire := n.key() + z.origin
			return !n.exists() || yield(unpack(wire), n.rrsets(wire))
		}
		if each(z.apex) {
			z.trie.each(each)
		}
	}
}

// rrsets turns a node's data back into records.
func (n node) rrsets(owner string) []RRset {
	sets := make([]RRset, 0, n.sets())
	for i, c := range n.decode() {
		var s RRset
		switch {
		case c.plan.divided():
			s = n.at(i).groups()
		case c.plan != "":
			s.Select, s.Weights, s.Locations = c.plan.selection(len(c.records))
		}
		s.Type, s.TTL, s.MaxAnswers = c.rtype, be32(c.records[0], 6), int(c.most)
		for _, r := range c.records {
			rr, _, err := dns.UnpackRR([]byte(owner+r[2:]), 0)
			if err != nil { // it was packed by the same library
				panic(fmt.Sprintf("zone: unpacking %s of %s: %v", dns.Type(c.rtype), unpack(owner), err))
			}
			s.Records = append(s.Records, rr)
		}
		sets = append(sets, s)
	}
	return sets
}

// find returns the node with a lower-case wire name, also behind delegations and DNAMEs, or "".
func (z *Zone) find(wire string) node {
	if !within(wire, z.origin) {
		return ""
	}
	key := wire[:len(wire)-len(z.origin)]
	return z.get(unsafe.Slice(unsafe.StringData(key), len(key)))
}

// get returns the node with a key, or "".
func (z *Zone) get(key []byte) node {
	if len(key) == 0 {
		return z.apex
	}
	return z.trie.get(key, maphash.Bytes(z.seed, key))
}

// soaFields gives what matters here of a compiled SOA record.
func soaFields(record string) (serial, minimum uint32, ok bool) {
	at := skipName(record, skipName(record, recordHead))
	if len(record)-at != 20 {
		return 0, 0, false
	}
	return be32(record, at), be32(record, at+16), true
}

func withSerial(record string, serial uint32) string {
	b := []byte(record)
	binary.BigEndian.PutUint32(b[len(b)-20:], serial)
	return string(b)
}
