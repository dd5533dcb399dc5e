// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// maxChain bounds the CNAME and DNAME records followed for one answer.
const maxChain = 16

// chain is the state of following aliases: the name looked for now and the owners met, as offsets into the message.
type chain struct {
	target name
	spare  name // for what is looked up beside it
	owners [maxChain + 1]uint16
	n      int
	// dnames are where the owners of the DNAMEs stand that the answer has.
	dnames [maxChain + 1]uint16
	used   int
}

// cursor is the name that an answer is being looked up for: the question's, or what an alias leads to.
type cursor struct {
	name *name
	at   int // where it stands in the message
	hop  int // aliases followed so far
}

// offset returns where the name without its first i labels stands in the message, or 0 if only the whole does.
func (c cursor) offset(i int) int {
	if i == 0 {
		return c.at
	}
	if c.hop == 0 {
		return c.at + int(c.name.starts[i])
	}
	return 0
}

// key returns the name without its first i labels and without the zone's origin.
func (c cursor) key(z *Zone, i int) []byte {
	return c.name.wire[c.name.starts[i] : c.name.size-len(z.origin)]
}

// Answer completes the reply to a question whose name is in the zone. What does not fit sets Truncated.
func (z *Zone) Answer(q *Question, r *Reply) {
	if z.unavailable {
		r.Rcode = dns.RcodeServerFailure
		return
	}
	r.Authoritative = true
	r.chain.n, r.chain.used = 0, 0
	r.asked, r.located = q, false
	r.signer = nil
	if q.Secure {
		r.signer = z.signer
	}
	c := cursor{name: &q.name, at: question}
	for {
		next, more := z.step(q, r, c)
		if !more {
			return
		}
		c = next
	}
}

// step looks up one name, RFC 1034 §4.3.2 step 3, and returns the name to go on with after an alias.
func (z *Zone) step(q *Question, r *Reply, c cursor) (next cursor, more bool) {
	left := c.name.labels - z.labels
	if z.cuts == 0 { // nothing above can matter
		if n := z.get(c.key(z, 0)); n != "" {
			return z.found(q, r, c, n, true)
		}
	}
	n := z.apex
	for ; ; left-- {
		if n.divides() {
			// DS is the parent's, so at a cut it is answered from here: RFC 4035 §3.1.4.1.
			if n.flags()&flagCut != 0 && (left > 0 || q.Type != dns.TypeDS) {
				z.refer(q, r, c, n, left)
				return next, false
			}
			if n.flags()&flagDNAME != 0 && left > 0 {
				return z.rename(q, r, c, n, left)
			}
		}
		if left == 0 {
			return z.found(q, r, c, n, true)
		}
		kid := z.get(c.key(z, left-1))
		if kid == "" {
			break
		}
		n = kid
	}
	// n is the closest encloser: RFC 4592 §3.3.1.
	if wild := z.wildcard(r, c.key(z, left)); wild != "" {
		return z.found(q, r, c, wild, false)
	}
	if r.signer != nil && online(q.Type) && z.made(q, r, c, "", false) { // what denies other types there is there
		return next, false
	}
	r.Rcode = dns.RcodeNameError
	z.deny(q, r, c, "", false)
	return next, false
}

// wildcard returns the node of the wildcard below a key, RFC 4592 §2.1.1, or "".
func (z *Zone) wildcard(r *Reply, encloser []byte) node {
	key := &r.chain.spare.wire
	key[0], key[1] = 1, '*'
	return z.get(key[:2+copy(key[2:], encloser)])
}

// found answers from the node that the name leads to, which is its own or that of a wildcard.
func (z *Zone) found(q *Question, r *Reply, c cursor, n node, own bool) (next cursor, more bool) {
	var s set
	ok := s.find(n, q.Type)
	if !ok && z.signer != nil && online(q.Type) && z.made(q, r, c, n, own) { // also beside a CNAME: RFC 4034 §4
		return next, false
	}
	if !ok && n.flags()&flagCNAME != 0 && q.Type != dns.TypeANY {
		s, _ = n.set(dns.TypeCNAME)
		return z.alias(r, c, s, own)
	}
	if !ok && q.Type == dns.TypeANY && n.sets() > 0 {
		s, ok = n.at(0), true // RFC 8482 §4.1: one of the sets is enough
	}
	if !ok {
		z.deny(q, r, c, n, own)
		return next, false
	}
	if s.plan.divided() { // not option, which copies the set of those that are not
		s = r.oneOf(s)
	}
	m := r.mark()
	if !r.add(answer, &s, c.at, nil) || !r.sign(answer, &s, m, c.name.bytes(), own) {
		r.rewind(m)
		r.Truncated = true
		return next, false
	}
	if from := leads(s.rtype); from > 0 && s.answers() == int(s.count) {
		z.lead(r, s, from)
	}
	return next, false
}

// alias adds a CNAME and returns its target to go on with.
func (z *Zone) alias(r *Reply, c cursor, s set, own bool) (next cursor, more bool) {
	s = r.option(s)
	record, _ := s.record(0)
	m := r.mark()
	r.counts[answer]++
	begin := r.size
	if !r.record(record, c.at, nil) || !r.sign(answer, &s, m, c.name.bytes(), own) {
		r.rewind(m)
		r.Truncated = true
		return next, false
	}
	return z.follow(r, c, record[recordHead:], begin+recordHead)
}

// follow returns the cursor for an alias's target, whose name stands at an offset of the message, unless it
// is not the zone's, or has been met before, or is one too many.
func (z *Zone) follow(r *Reply, c cursor, target string, at int) (next cursor, more bool) {
	r.chain.owners[r.chain.n] = uint16(c.at)
	r.chain.n++
	if r.chain.n > maxChain {
		return next, false
	}
	for _, owner := range r.chain.owners[:r.chain.n] {
		if r.matches(int(owner), target) {
			return next, false
		}
	}
	r.chain.target.set(target)
	if !within(view(r.chain.target.bytes()), z.origin) {
		return next, false
	}
	if hi := r.buf[at]; hi >= 0xC0 { // a target that is one pointer
		at = int(binary.BigEndian.Uint16(r.buf[at:])) & maxPointer
	}
	if at > maxPointer { // behind long signatures; who asks goes on by itself
		return next, false
	}
	return cursor{&r.chain.target, at, c.hop + 1}, true
}

// rename adds the DNAME of n, which has left labels below it, with the CNAME made from it: RFC 6672 §3.1.
func (z *Zone) rename(q *Question, r *Reply, c cursor, n node, left int) (next cursor, more bool) {
	owner := c.name.suffix(left)
	record := r.renamed(owner)
	met := record != ""
	var s set
	if !met {
		s, _ = n.set(dns.TypeDNAME)
		s = r.option(s)
		record, _ = s.record(0)
	}
	target := record[recordHead:]
	prefix := c.name.wire[:c.name.starts[left]]
	m := r.mark()
	if !met {
		r.chain.dnames[r.chain.used] = uint16(r.size)
		r.chain.used++
		r.counts[answer]++
		if !r.record(record, c.offset(left), owner) || !r.sign(answer, &s, m, owner, true) {
			r.rewind(m)
			r.Truncated = true
			return next, false
		}
	}
	if len(prefix)+len(target) > maxName {
		r.Rcode = dns.RcodeYXDomain
		return next, false
	}
	var made [recordHead + maxName]byte
	copy(made[:], record[:recordHead])
	binary.BigEndian.PutUint16(made[2:], dns.TypeCNAME)
	copy(made[recordHead:], prefix)
	copy(made[recordHead+len(prefix):], target)
	r.counts[answer]++
	begin := r.size
	whole := view(made[:recordHead+len(prefix)+len(target)])
	if !r.record(whole, c.at, nil) {
		r.rewind(m)
		r.Truncated = true
		return next, false
	}
	if q.Type == dns.TypeCNAME || q.Type == dns.TypeANY {
		return next, false
	}
	return z.follow(r, c, whole[recordHead:], begin+recordHead)
}

// renamed returns the DNAME of an owner that the answer has already, as far as it is alike in all answers: one that is met
// twice is given once, and chosen once. "": it has none.
func (r *Reply) renamed(owner []byte) (record string) {
	for _, at := range r.chain.dnames[:r.chain.used] {
		if r.matches(int(at), view(owner)) {
			begin := r.skipOwner(int(at)) - 2 // where a pointer to the owner would stand
			return view(r.buf[begin : begin+recordHead+int(binary.BigEndian.Uint16(r.buf[begin+recordHead-2:]))])
		}
	}
	return ""
}

// refer adds the delegation at n, which has left labels below it, and its glue: RFC 1034 §4.3.2 step 3b.
func (z *Zone) refer(q *Question, r *Reply, c cursor, n node, left int) {
	if c.hop == 0 {
		r.Authoritative = false
	}
	s, _ := n.set(dns.TypeNS)
	owner := c.name.suffix(left)
	m := r.mark()
	if !r.add(authority, &s, c.offset(left), owner) || r.signer != nil && !z.vouch(r, n, m.size, owner) {
		r.rewind(m)
		r.Truncated = true
		return
	}
	cut, target := view(owner), &r.chain.spare
	for _, inside := range [2]bool{true, false} { // what is needed comes first
		for at := 0; at < len(s.wire); {
			var record string
			record, at = s.record(at)
			target.set(record[recordHead:])
			if within(view(target.bytes()), cut) != inside {
				continue
			}
			if !z.glue(r, target) {
				if inside { // RFC 9471 §3.1: all glue for in-domain name servers, or TC
					r.Truncated = true
				}
				return
			}
		}
	}
}

// glue adds the addresses that the zone has for a name, and tells whether they fitted.
func (z *Zone) glue(r *Reply, target *name) bool {
	n := z.find(view(target.bytes()))
	if n == "" {
		return true
	}
	for _, t := range [2]uint16{dns.TypeA, dns.TypeAAAA} {
		s, ok := n.set(t)
		if !ok {
			continue
		}
		s = r.option(s)
		m := r.mark()
		if !r.add(additional, &s, 0, target.bytes()) {
			r.rewind(m)
			return false
		}
	}
	return true
}
