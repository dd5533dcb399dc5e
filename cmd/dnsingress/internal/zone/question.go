// SPDX-License-Identifier: Apache-2.0

package zone

import "encoding/binary"

// headerLen is the size of a message's header, RFC 1035 §4.1.1.
const headerLen = 12

// Question is a parsed question. It is reused from query to query.
type Question struct {
	Type, Class uint16
	// Secure asks for signatures, where the zone has them (the DO bit, RFC 3225); Compact says that the code
	// NXDOMAIN may come with a denial after RFC 9824 (the CO bit). Parse leaves both alone.
	Secure, Compact bool
	// Client is the address that the answer is for, IPv4 as ::ffff:0:0/96: that of an EDNS client subnet
	// option (RFC 7871), the bits behind its prefix 0, or the one that asks. Parse leaves it alone.
	Client [16]byte
	// Locations say where clients are; nil: nowhere. Parse leaves them alone.
	Locations *Locations
	name      name
}

// Parse reads the first question of a message and returns the offset behind it. A name with a compression
// pointer, which has nothing to point at, is an error.
func (q *Question) Parse(msg []byte) (end int, err error) {
	at, err := q.name.read(msg, headerLen)
	if err != nil {
		return 0, err
	}
	if at+4 > len(msg) {
		return 0, errName
	}
	q.Type = binary.BigEndian.Uint16(msg[at:])
	q.Class = binary.BigEndian.Uint16(msg[at+2:])
	return at + 4, nil
}

// Wire returns the question's name in lower-case wire form, until the next Parse.
func (q *Question) Wire() []byte { return q.name.bytes() }

// Name returns the question's name in presentation form, lower case.
func (q *Question) Name() string { return unpack(string(q.name.bytes())) }
