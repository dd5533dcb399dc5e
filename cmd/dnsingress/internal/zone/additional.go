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

// leads tells whether records of a type name a host whose addresses the asker needs next: RFC 1035 §3.3.9 and
// §3.3.11, RFC 2782.
func leads(rtype uint16) bool {
	return rtype == dns.TypeMX || rtype == dns.TypeNS || rtype == dns.TypeSRV
}
