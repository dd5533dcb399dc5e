// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/miekg/dns"
)

// Signer gives signatures, to many goroutines at once. It has the keys and the clock that a zone does not have.
type Signer interface {
	// Signatures returns the RRSIG records of a set, in compiled form one behind the other, or "" where it cannot
	// make them. It may change the set's TTL to the Original TTL that it signs for, and must not keep set. A set
	// that lasts is one of the zone's own; others are made from a query, and there is no end to them.
	Signatures(set Signable, lasts bool) string
}

// Signable is an RRset as its signatures cover it (RFC 4034 §3.1.8.1), and by its octets what tells one such set
// from all others: the owner in lower-case wire form, type and TTL, and of each record RDLENGTH and RDATA, its names
// uncompressed. Some sets come with their records in more than one order, which costs only a signature more.
type Signable []byte

// Owner returns the owner in lower-case wire form.
func (s Signable) Owner() []byte { return s[:endOfName(s)] }

// Type returns the type of the records.
func (s Signable) Type() uint16 { return binary.BigEndian.Uint16(s[endOfName(s):]) }

// TTL returns the TTL in seconds.
func (s Signable) TTL() uint32 { return binary.BigEndian.Uint32(s[endOfName(s)+2:]) }

// SetTTL changes the TTL in place.
func (s Signable) SetTTL(ttl uint32) { binary.BigEndian.PutUint32(s[endOfName(s)+2:], ttl) }

// RRs returns the records. An error is a mistake of who made s.
func (s Signable) RRs() ([]dns.RR, error) {
	at := endOfName(s)
	head := append(slices.Clone(s[:at]), byte(s.Type()>>8), byte(s.Type()), 0, dns.ClassINET)
	head = binary.BigEndian.AppendUint32(head, s.TTL())
	var rrs []dns.RR
	for at += 6; at < len(s); {
		end := at + 2 + int(binary.BigEndian.Uint16(s[at:]))
		rr, _, err := dns.UnpackRR(append(slices.Clip(head), s[at:end]...), 0)
		if err != nil {
			return nil, fmt.Errorf("unpacking %s of %s: %w", dns.Type(s.Type()), unpack(string(s.Owner())), err)
		}
		rrs = append(rrs, rr)
		at = end
	}
	return rrs, nil
}

// signable begins a set with an owner in lower-case wire form.
func signable(to Signable, owner []byte, rtype uint16, ttl uint32) Signable {
	to = binary.BigEndian.AppendUint16(append(to, owner...), rtype)
	return binary.BigEndian.AppendUint32(to, ttl)
}

// whole appends all records of a set.
func (s *set) whole(to Signable) Signable {
	for at := 0; at < len(s.wire); {
		var record string
		record, at = s.record(at)
		to = append(to, record[recordHead-2:]...)
	}
	return to
}

// Signed returns the zone with signed answers to questions that ask for them, and the given DNSKEY, CDS and
// CDNSKEY records at its origin. DNSKEYs that are there stay (RFC 8901); CDS and CDNSKEY that are there stay
// instead of those given. It keeps its signer and these records through With.
func (z *Zone) Signed(signer Signer, apex []dns.RR) (*Zone, error) {
	var err error
	unsigned := func(n node) bool {
		for i := range n.sets() {
			if rtype := n.rtype(i); online(rtype) {
				err = fmt.Errorf("zone %s has %s at %s: it is signed already (hint: take the zone as it was before signing)", z.Origin(), dns.Type(rtype), unpack(n.key()+z.origin))
				return false
			}
		}
		return true
	}
	if !unsigned(z.apex) || !z.trie.each(unsigned) {
		return nil, err
	}
	e := newEditor(z)
	err = e.put(z.origin, func(n node, _ bool) (node, error) {
		sets := n.decode()
		had := slices.Clone(sets)
		buf := make([]byte, maxMessage)
		for _, rr := range apex {
			rtype := rr.Header().Rrtype
			is := func(c compiled) bool { return c.rtype == rtype }
			if rtype != dns.TypeDNSKEY && slices.ContainsFunc(had, is) {
				continue
			}
			r, err := record(dns.Copy(rr), rr.Header().Ttl, buf)
			if err != nil {
				return "", err
			}
			i := slices.IndexFunc(sets, is)
			if i < 0 {
				sets = append(sets, compiled{rtype: rtype})
				i = len(sets) - 1
			}
			sets[i].records = append(sets[i].records, r)
		}
		return n.with(sets, true, false)
	})
	if err != nil {
		return nil, fmt.Errorf("putting keys into zone %s: %w", z.Origin(), err)
	}
	e.zone.signer = signer
	return e.finish(z.serial)
}

// Signer returns what signs the zone's answers, or nil.
func (z *Zone) Signer() Signer { return z.signer }

// online tells whether records of a type are made for the answer in a signed zone, so that none can be in it.
func online(rtype uint16) bool {
	switch rtype {
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM:
		return true
	}
	return false
}

// apexOnly tells whether sets of a type stay at the origin through a change that does not name them.
func (z *Zone) apexOnly(rtype uint16) bool {
	switch rtype {
	case dns.TypeSOA, dns.TypeNS:
		return true
	case dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY:
		return z.signer != nil
	}
	return false
}

// checkOnline refuses types that a signed zone cannot hold.
func (z *Zone) checkOnline(sets []compiled) error {
	var errs []error
	for _, s := range sets {
		if z.signer != nil && online(s.rtype) {
			errs = append(errs, fmt.Errorf("%s in a zone that is signed as it answers", dns.Type(s.rtype)))
		}
	}
	return errors.Join(errs...)
}

// windows is how many ways to choose from a set there are in signed answers, each with a signature: enough for
// every record to be chosen, and nearly evenly.
func (s *set) windows() uint64 {
	if s.plan == "" && s.answers() == int(s.count) {
		return 1
	}
	return max(64, 8*uint64(s.count)/uint64(s.answers()))
}

// draw returns what a random choice from a set is to be made with: any number, but in a signed answer one of a
// few, which every process knows.
func (r *Reply) draw(s *set) uint64 {
	switch {
	case r.seeded:
		return r.seed
	case r.signer == nil:
		return rand.Uint64()
	}
	return spread(rand.Uint64N(s.windows()))
}

// spread gives the terms of a sequence that fills the numbers evenly, however many are taken (Weyl's, of the square
// root of 2).
func spread(n uint64) uint64 { return n * 0x6A09E667F3BCC909 }

// sign appends the signatures of the records that were written since m of a set, whose owner in lower-case wire
// form is given, if there is a signer, and tells whether they fitted. A set that lasts has the owner itself in the zone.
func (r *Reply) sign(to section, s *set, m mark, owner []byte, lasts bool) bool {
	return r.signer == nil || r.cover(to, s, m, owner, lasts)
}

func (r *Reply) cover(to section, s *set, m mark, owner []byte, lasts bool) bool {
	ttl := be32(s.wire, 6)
	set := signable(r.sheet[:0], owner, s.rtype, ttl)
	if written := r.counts[to] - m.counts[to]; written == s.count {
		set = s.whole(set)
	} else {
		set = r.chosen(set, m.size)
		lasts = false
	}
	r.sheet = set
	return r.signatures(to, set, lasts, ttl, m.size)
}

// signatures appends the signatures of set with the owner of the record at an offset of the message.
func (r *Reply) signatures(to section, set Signable, lasts bool, ttl uint32, at int) bool {
	return r.attach(to, r.signer.Signatures(set, lasts), r.ownerOf(at), ttl)
}

// attach appends compiled records with another owner, that at an offset of the message, and TTL.
func (r *Reply) attach(to section, records string, owner int, ttl uint32) bool {
	for len(records) > 0 {
		end := recordHead + int(be16(records, recordHead-2))
		if owner == 0 || !r.pointer(owner) || !r.bytes(records[2:end]) {
			return false
		}
		binary.BigEndian.PutUint32(r.buf[r.size-end+6:], ttl)
		r.counts[to]++
		records = records[end:]
	}
	return true
}

// ownerOf returns what points at the owner of the record at an offset, or 0 if nothing can.
func (r *Reply) ownerOf(at int) int {
	if r.buf[at] >= 0xC0 {
		return int(binary.BigEndian.Uint16(r.buf[at:])) & maxPointer
	}
	if at > maxPointer {
		return 0
	}
	return at
}

// chosen appends the records from an offset of the message on in canonical order (RFC 4034 §6.3), so that one
// choice has one signature in whatever order it was written.
func (r *Reply) chosen(to Signable, at int) Signable {
	r.places = r.places[:0]
	for at < r.size {
		at = r.skipOwner(at)
		rtype := binary.BigEndian.Uint16(r.buf[at:])
		at += recordHead - 4
		begin := len(to)
		end := at + 2 + int(binary.BigEndian.Uint16(r.buf[at:]))
		to = r.expand(append(to, r.buf[at:end]...), rtype, at+2, end)
		r.places = append(r.places, place{begin, len(to)})
		at = end
	}
	begin, size := r.places[0].from, len(to)
	slices.SortFunc(r.places, func(a, b place) int { return bytes.Compare(to[a.from+2:a.to], to[b.from+2:b.to]) })
	for _, p := range r.places {
		to = append(to, to[p.from:p.to]...)
	}
	return append(to[:begin], to[size:]...)
}

// skipOwner returns the offset behind the name at an offset of the message, which may end in a pointer.
func (r *Reply) skipOwner(at int) int {
	for r.buf[at] != 0 && r.buf[at] < 0xC0 {
		at += int(r.buf[at]) + 1
	}
	if r.buf[at] == 0 {
		return at + 1
	}
	return at + 2
}

// place is where a record stands.
type place struct{ from, to int }

// expand replaces the RDATA from at to end of the message, which to ends with, by its uncompressed form where names
// in it can be compressed.
func (r *Reply) expand(to Signable, rtype uint16, at, end int) Signable {
	if !compressible(rtype) {
		return to
	}
	begin := len(to) - (end - at)
	to = to[:begin]
	if rtype == dns.TypeMX {
		to = append(to, r.buf[at:at+2]...)
		at += 2
	}
	for at < end { // SOA alone has two names and more behind them, and is never chosen from
		for r.buf[at] != 0 {
			if r.buf[at] >= 0xC0 {
				at = int(binary.BigEndian.Uint16(r.buf[at:])) & maxPointer
				end = 0
				continue
			}
			for next := at + 1 + int(r.buf[at]); at < next; at++ {
				to = append(to, lower(r.buf[at]))
			}
		}
		to = append(to, 0)
		at++
	}
	binary.BigEndian.PutUint16(to[begin-2:], uint16(len(to)-begin))
	return to
}

// nsec is the record that says which types a name has, and that there is no name between it and the next. n is the
// node that the name is answered from, its own or that of a wildcard; exists is false for a name that there is not.
func (z *Zone) nsec(to Signable, owner, next []byte, n node, exists, own bool) Signable {
	to = signable(to, owner, dns.TypeNSEC, z.negativeTTL())
	at := len(to)
	to = append(append(to, 0, 0), next...)
	to = n.bitmap(to, exists, own)
	binary.BigEndian.PutUint16(to[at:], uint16(len(to)-at-2))
	return to
}

// compactNSEC is the record that spans nothing but the name itself, RFC 9824 §3.
func (z *Zone) compactNSEC(to Signable, owner []byte, n node, exists, own bool) Signable {
	var next [maxName]byte
	return z.nsec(to, owner, successor(next[:0], owner), n, exists, own)
}

// negativeTTL is that of SOA and NSEC in a negative answer (RFC 2308 §3, RFC 9077 §3).
func (z *Zone) negativeTTL() uint32 { return be32(z.nothing.record, 6) }

// successor appends the name that follows another in canonical order (RFC 4471 §3.1): the first below it, or,
// where that is too long, the next beside it.
func successor(to, name []byte) []byte {
	if len(name)+2 <= maxName {
		return append(append(to, 1, 0), name...)
	}
	for len(name) > 1 {
		label, rest := name[1:1+int(name[0])], name[1+int(name[0]):]
		if len(label) < maxLabel && len(name) < maxName {
			to = append(append(to, byte(len(label)+1)), label...)
			return append(append(to, 0), rest...)
		}
		for end := len(label); end > 0; end-- {
			last := label[end-1] + 1
			if last == 0 {
				continue
			}
			if last == 'A' { // names have no upper case where they are compared
				last = 'Z' + 1
			}
			to = append(append(to, byte(end)), label[:end-1]...)
			return append(append(to, last), rest...)
		}
		name = rest
	}
	return append(to, 0)
}

// bitmap appends the types of an answer to be denied (RFC 4034 §4.1.2), and those that every name in a signed
// zone has. At a delegation there are no others than the parent's. What a wildcard with NS makes is no delegation: with NS
// the record would be taken for that of one and prove nothing (RFC 6840 §4.4).
func (n node) bitmap(to Signable, exists, own bool) Signable {
	window, at := -1, 0
	add := func(rtype uint16) {
		if int(rtype>>8) != window {
			window, at = int(rtype>>8), len(to)
			to = append(to, byte(window), 0)
		}
		for byteOf := int(rtype & 0xFF >> 3); len(to)-at-2 <= byteOf; {
			to = append(to, 0)
		}
		to[at+2+int(rtype&0xFF>>3)] |= 0x80 >> (rtype & 7)
		to[at+1] = byte(len(to) - at - 2)
	}
	always := [3]uint16{dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNXNAME}
	left := always[:2]
	if !exists {
		left = always[:]
	}
	sets := n.sets()
	for i := range sets {
		rtype := n.rtype(i)
		if n.flags()&flagCut != 0 && (own && rtype != dns.TypeNS && rtype != dns.TypeDS || !own && rtype == dns.TypeNS) {
			continue
		}
		for len(left) > 0 && left[0] < rtype {
			add(left[0])
			left = left[1:]
		}
		add(rtype)
	}
	for _, rtype := range left {
		add(rtype)
	}
	return to
}

// rtype returns the type of the set with index i.
func (n node) rtype(i int) uint16 { return le16(string(n), n.body()+1+i*headerSize) }

// denial appends the NSEC record of a name that stands at an offset of the message, and its signatures.
func (r *Reply) denial(z *Zone, to section, n node, exists bool, at int, owner []byte, own bool) bool {
	set := z.compactNSEC(r.sheet[:0], owner, n, exists, own)
	r.sheet = set
	begin := r.size
	var head [recordHead - 4]byte
	binary.BigEndian.PutUint16(head[0:], dns.TypeNSEC)
	binary.BigEndian.PutUint16(head[2:], dns.ClassINET)
	ttl := z.negativeTTL()
	binary.BigEndian.PutUint32(head[4:], ttl)
	if !r.pointer(at) || !r.bytes(view(head[:])) || !r.bytes(view(set[len(owner)+6:])) {
		return false
	}
	r.counts[to]++
	return r.signer == nil || r.signatures(to, set, own, ttl, begin)
}
