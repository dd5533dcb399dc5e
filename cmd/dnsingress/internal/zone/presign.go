// SPDX-License-Identifier: Apache-2.0

package zone

import "github.com/miekg/dns"

// Signables yields what answers from the zone's own data are signed for, lasting: every set that is answered whole,
// and of the others each of the choices that signed answers are limited to, as far as they do not depend on
// the client. extra are the denials of what an existing name has not, each of which can do without.
func (z *Zone) Signables(yield func(set Signable, extra bool) bool) {
	w := newSigning(z)
	each := func(n node) bool { return w.node(n, yield) }
	if each(z.apex) {
		z.trie.each(each)
	}
}

// SignablesSince is Signables for the names that differ from those of an older zone.
func (z *Zone) SignablesSince(before *Zone, yield func(set Signable, extra bool) bool) {
	w, more := newSigning(z), true
	d := difference{before: before, after: z, visit: func(_, n node) {
		if more && n != "" {
			more = w.node(n, yield)
		}
	}}
	d.find()
}

// signing walks over what is signed.
type signing struct {
	zone  *Zone
	reply Reply
	asked Question
	sheet Signable
	buf   []byte
}

func newSigning(z *Zone) *signing {
	return &signing{zone: z, buf: make([]byte, maxMessage)}
}

func (w *signing) node(n node, yield func(Signable, bool) bool) bool {
	z := w.zone
	wire := n.key() + z.origin
	cut, occluded := n.flags()&flagCut != 0, z.occluded(n.key())
	if occluded {
		return true
	}
	owner := []byte(wire)
	for i := range n.sets() {
		s := n.at(i)
		if cut && s.rtype != dns.TypeDS { // RFC 4035 §2.2: neither the delegation nor glue
			continue
		}
		more := s.each(func(s set) bool {
			if s.answers() == int(s.count) {
				w.sheet = s.whole(signable(w.sheet[:0], owner, s.rtype, be32(s.wire, 6)))
				if !yield(w.sheet, false) {
					return false
				}
			}
			return w.choices(s, owner, yield)
		})
		if !more {
			return false
		}
	}
	w.sheet = z.compactNSEC(w.sheet[:0], owner, n, true, true)
	return yield(w.sheet, true)
}

// choices yields what signed answers choose from a set.
func (w *signing) choices(s set, owner []byte, yield func(Signable, bool) bool) bool {
	if s.windows() == 1 {
		return true
	}
	// A reply to a question for the name itself.
	head := make([]byte, headerLen, headerLen+len(owner)+4)
	head = append(append(head, owner...), 0, 0, 0, 0)
	r := &w.reply
	for i := range s.windows() {
		r.Start(w.buf, head, len(head))
		r.signer, r.seeded, r.seed, r.asked = w.zone.signer, true, spread(i), &w.asked
		if !r.add(answer, &s, question, nil) || r.Scope != 0 { // what depends on the client is not known before
			return true
		}
		if int(r.counts[answer]) == int(s.count) {
			continue
		}
		w.sheet = r.chosen(signable(w.sheet[:0], owner, s.rtype, be32(s.wire, 6)), len(head))
		if !yield(w.sheet, false) {
			return false
		}
	}
	return true
}

// occluded tells whether a key is below a delegation or a DNAME.
func (z *Zone) occluded(key string) bool {
	if z.cuts == 0 || key == "" {
		return false
	}
	if z.apex.flags()&flagDNAME != 0 {
		return true
	}
	for key = key[1+int(key[0]):]; key != ""; key = key[1+int(key[0]):] {
		if n := z.get([]byte(key)); n != "" && n.divides() {
			return true
		}
	}
	return false
}
