// SPDX-License-Identifier: Apache-2.0

package zone

import "encoding/binary"

// headerLen is the size of a message's header, RFC 1035 §4.1.1.
const headerLen = 12

// Question is a parsed question. It is reused from query to query.
type Question struct {
	Type, Class uint16
	name        name
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

// Name returns the question's name in presentation form, lower case.
func (q *Question) Name() string { return unpack(string(q.name.bytes())) }
