// SPDX-License-Identifier: Apache-2.0

package zone

import "github.com/miekg/dns"

// Own appends one record, whose owner is the pointer to the question's name, to the answer section of a reply
// that the caller makes by itself; it tells whether there was room.
func (r *Reply) Own(record []byte) bool {
	if !r.Extra(record) {
		return false
	}
	r.counts[additional]--
	r.counts[answer]++
	return true
}

// maxTargets bounds the hosts whose addresses one answer looks for.
const maxTargets = 32

// leads tells where in records of a type the name of a host stands whose addresses the asker needs next, or 0: RFC
// 1035 §3.3.9 and §3.3.11, RFC 2782.
func leads(rtype uint16) int {
	switch rtype {
	case dns.TypeNS:
		return recordHead
	case dns.TypeMX:
		return recordHead + 2
	case dns.TypeSRV:
		return recordHead + 6
	}
	return 0
}

// lead adds the addresses that the zone has for the hosts in a set that was answered whole. They are a courtesy: what
// does not fit is left out, and the answer is not truncated for it (RFC 2181 §9).
func (z *Zone) lead(r *Reply, s set, from int) {
	target := &r.chain.spare
	for at, i := 0, 0; at < len(s.wire) && i < maxTargets; i++ {
		var record string
		begin := at
		record, at = s.record(at)
		if s.names(record[from:], from, begin) {
			continue
		}
		target.set(record[from:])
		n := z.served(target)
		if n == "" {
			continue
		}
		for _, t := range [2]uint16{dns.TypeA, dns.TypeAAAA} {
			a, ok := n.set(t)
			if !ok {
				continue
			}
			a = r.option(a)
			m := r.mark()
			if !r.add(additional, &a, 0, target.bytes()) || !r.sign(additional, &a, m, target.bytes(), true) {
				r.rewind(m)
				return
			}
		}
	}
}

// names tells whether one of the records before an offset of a set ends in a name.
func (s set) names(name string, from, before int) bool {
	for at := 0; at < before; {
		var record string
		record, at = s.record(at)
		if sameName(record[from:], name) {
			return true
		}
	}
	return false
}

// sameName tells whether two names in wire form are equal in whatever case; octets of length are no letters.
func sameName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// served returns the node with a name if it is the zone's own, not behind a delegation or a DNAME; else "".
func (z *Zone) served(n *name) node {
	if !within(view(n.bytes()), z.origin) {
		return ""
	}
	c := cursor{name: n}
	if z.cuts > 0 {
		if z.apex.flags()&flagDNAME != 0 && n.labels > z.labels {
			return ""
		}
		for i := n.labels - z.labels - 1; i > 0; i-- {
			if above := z.get(c.key(z, i)); above == "" || above.divides() {
				return ""
			}
		}
	}
	own := z.get(c.key(z, 0))
	if own != "" && own.flags()&flagCut != 0 {
		return ""
	}
	return own
}
