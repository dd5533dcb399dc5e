// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"
)

// subnetHead is the size of a client subnet option before its address: family, source and scope prefix lengths.
const subnetHead = 4

// mapped is how many bits precede an IPv4 address that is written as an IPv6 one.
const mapped = 96

// subnet is the client subnet of a query, RFC 7871 §6: the network on whose behalf a resolver asks.
type subnet struct {
	data []byte   // the option's; nil: none
	addr [16]byte // IPv4 as ::ffff:0:0/96
	said bool     // whether there is an address: a prefix of no bits asks for an answer that depends on none
}

// read reads the first such option of a message and tells whether it is well-formed: of IPv4 or IPv6, or of no
// family and no address; as many octets as the prefix needs and no bit set behind it; no scope.
func (s *subnet) read(data []byte) bool {
	if len(data) < subnetHead {
		return false
	}
	family, source, scope := binary.BigEndian.Uint16(data), int(data[2]), data[3]
	most, before := 0, 0
	switch family {
	case 1:
		most, before = 32, mapped
	case 2:
		most = 128
	}
	address := data[subnetHead:]
	if family > 2 || source > most || scope != 0 || len(address) != (source+7)/8 {
		return false
	}
	if tail := source % 8; tail != 0 && address[len(address)-1]<<tail != 0 {
		return false
	}
	if s.data != nil {
		return true
	}
	s.data, s.said, s.addr = data, source > 0, [16]byte{}
	if s.said {
		if before > 0 {
			s.addr[10], s.addr[11] = 0xFF, 0xFF
		}
		copy(s.addr[before/8:], address)
	}
	return true
}

// append appends the option of the reply: the query's with the scope of the answer, in bits as of subnet.
func (s *subnet) append(b []byte, scope int) []byte {
	switch {
	case !s.said: // RFC 7871 §7.2.1
		scope = 0
	case s.data[1] == 1:
		scope = max(scope, mapped) - mapped
	}
	b = binary.BigEndian.AppendUint16(b, dns.EDNS0SUBNET)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.data)))
	b = append(b, s.data...)
	b[len(b)-len(s.data)+3] = byte(scope)
	return b
}

// client is for whom an answer is: the network that the query names, or who asks.
func (o *opt) client(from netip.Addr) [16]byte {
	if o.subnet.data != nil && o.subnet.said {
		return o.subnet.addr
	}
	return from.As16()
}
