// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/miekg/dns"
)

// Patch makes another zone of one, of records in wire form that are removed and added one by one, as an incremental
// transfer has them (RFC 1995 §4). The zone that it begins with stays as it is.
type Patch struct {
	from    *Zone
	patched []patched
	places  map[string]int // in patched, by owner
	now     *patched       // the owner that was given last
	name    []byte         // its lower-case wire form
	// arena and slots are what records are cut from: a patch has many small ones that live as long as itself.
	arena []byte
	slots []string
}

// patched is what one owner holds so far, compiled, its SOA apart, and each type in the order of addition.
type patched struct {
	owner   string
	records []string
}

const (
	patchArena = 8 << 10
	patchSlots = 256
)

// Patch begins one.
func (z *Zone) Patch() *Patch { return &Patch{from: z, places: map[string]int{}} }

// Owner says whose the records are that Remove and Add are given from now on: those of an absolute name in wire form,
// in whatever case. It tells whether the name is in the zone; one that is not can have no records.
func (p *Patch) Owner(name []byte) (inside bool) {
	p.name = append(p.name[:0], name...)
	fold(p.name, name) // a length octet is at most 63, below 'A'
	if p.now != nil && p.now.owner == view(p.name) {
		return true
	}
	if i, met := p.places[string(p.name)]; met {
		p.now = &p.patched[i]
		return true
	}
	if !within(view(p.name), p.from.origin) {
		return false
	}
	p.begin(string(p.name))
	return true
}

// begin takes up what an owner holds.
func (p *Patch) begin(owner string) {
	p.places[owner] = len(p.patched)
	p.patched = append(p.patched, patched{owner: owner})
	p.now = &p.patched[len(p.patched)-1]
	n := p.from.find(owner)
	count := 0
	for i := range n.sets() {
		count += int(n.at(i).count)
	}
	p.now.records = p.room(count + 1)
	for i := range n.sets() {
		s := n.at(i).flat()
		for at := 0; s.rtype != dns.TypeSOA && at < len(s.wire); {
			var r string
			r, at = s.record(at)
			p.now.records = append(p.now.records, r)
		}
	}
}

// room returns an empty slice for n records.
func (p *Patch) room(n int) []string {
	if n > patchSlots/8 {
		return make([]string, 0, n)
	}
	if n > len(p.slots) {
		p.slots = make([]string, patchSlots)
	}
	slots := p.slots[:0:n]
	p.slots = p.slots[n:]
	return slots
}

// Len returns how many records the owner has so far, a SOA apart.
func (p *Patch) Len() int { return len(p.now.records) }

// Remove removes a record of class IN, of whatever TTL, from the owner's, and tells whether it was there. Names in
// its data, here and in Add, are not compressed; the data are not kept.
func (p *Patch) Remove(rtype uint16, data []byte) bool {
	i := p.index(rtype, data)
	if i < 0 {
		return false
	}
	p.now.records = slices.Delete(p.now.records, i, i+1)
	return true
}

// Add adds a record of class IN to the owner's, and tells whether it was not there yet. The TTL of a set is that of its
// last record to come.
func (p *Patch) Add(rtype uint16, ttl uint32, data []byte) bool {
	if p.index(rtype, data) >= 0 {
		return false
	}
	p.now.records = append(p.now.records, p.compile(rtype, ttl, data))
	return true
}

// compile is record for data in wire form.
func (p *Patch) compile(rtype uint16, ttl uint32, data []byte) string {
	size := recordHead + len(data)
	if size > cap(p.arena)-len(p.arena) {
		p.arena = make([]byte, 0, max(size, patchArena))
	}
	begin := len(p.arena)
	p.arena = appendRecord(p.arena, rtype, ttl, data)
	return view(p.arena[begin:]) // what is behind len alone is written later
}

// index returns where a record stands among the owner's, or -1.
func (p *Patch) index(rtype uint16, data []byte) int {
	for i, r := range p.now.records {
		if be16(r, 2) == rtype && r[recordHead:] == string(data) {
			return i
		}
	}
	switch rtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeTXT:
		return -1 // no names in them
	}
	// Names are equal in whatever case, and where they are in the data the library knows for most types.
	_, easy := lastName(rtype)
	given := string(appendRecord(nil, rtype, 0, data))
	var rr dns.RR
	for i, r := range p.now.records {
		switch {
		case be16(r, 2) != rtype:
		case easy:
			if folded(r)[recordHead:] == folded(given)[recordHead:] {
				return i
			}
		default:
			if rr == nil {
				rr = library(given)
			}
			if have := library(r); have != nil && rr != nil && dns.IsDuplicate(have, rr) {
				return i
			}
		}
	}
	return -1
}

// library turns a compiled record into the form of miekg/dns, without an owner; nil where it cannot.
func library(record string) dns.RR {
	rr, _, err := dns.UnpackRR([]byte("\x00"+record[2:]), 0)
	if err != nil {
		return nil
	}
	return rr
}

// Zone returns the zone that has come of it, with a SOA of the given TTL and data; the serial moves forward in any case,
// as with With. between is called between two names; nil: nothing is. The error joins all that is wrong with the names.
func (p *Patch) Zone(ttl uint32, soa []byte, between func()) (*Zone, error) {
	z := p.from
	i, met := p.places[z.origin]
	if !met {
		p.begin(z.origin)
		i = len(p.patched) - 1
	}
	apex := &p.patched[i]
	apex.records = append(apex.records, p.compile(dns.TypeSOA, ttl, soa))
	e := newEditor(z)
	var errs []error
	var sets []compiled
	for _, c := range p.patched {
		sets = group(sets[:0], c.records)
		err := z.checkOnline(sets)
		if err == nil {
			err = e.replace(c.owner, sets, len(sets) == 0, 0)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("changing %q: %w", unpack(c.owner), err))
		}
		if between != nil {
			between()
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return e.finish(z.serial + 1)
}

// group appends to sets, which is empty and whose memory it uses again, the records of one owner by their types.
func group(sets []compiled, records []string) []compiled {
	for _, r := range records {
		sets = collect(sets, be16(r, 2), r)
	}
	for _, s := range sets {
		last := be32(s.records[len(s.records)-1], 6)
		for i, r := range s.records {
			if be32(r, 6) != last {
				s.records[i] = withTTL(r, last)
			}
		}
	}
	return sets
}

// collect adds a record to those of its type. Sets that are new take the memory that is behind the last.
func collect(sets []compiled, rtype uint16, record string) []compiled {
	i := 0
	for i < len(sets) && sets[i].rtype != rtype {
		i++
	}
	if i == len(sets) {
		var records []string // as large as they came to be in this place
		if i < cap(sets) {
			records = sets[:i+1][i].records[:0]
		}
		sets = append(sets, compiled{rtype: rtype, records: records})
	}
	sets[i].records = append(sets[i].records, record)
	return sets
}

// bounded takes a TTL with the highest bit set for 0 (RFC 2181 §8).
func bounded(ttl uint32) uint32 {
	if ttl > math.MaxInt32 {
		return 0
	}
	return ttl
}

// appendRecord appends a compiled record of class IN.
func appendRecord(to []byte, rtype uint16, ttl uint32, data []byte) []byte {
	to = append(to, 0xC0, headerLen)
	to = binary.BigEndian.AppendUint16(to, rtype)
	to = binary.BigEndian.AppendUint16(to, dns.ClassINET)
	to = binary.BigEndian.AppendUint32(to, bounded(ttl))
	to = binary.BigEndian.AppendUint16(to, uint16(len(data)))
	return append(to, data...)
}
