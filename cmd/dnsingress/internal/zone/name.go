// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/miekg/dns"
)

const (
	maxName   = 255 // octets of a name on the wire, RFC 1035 §3.1
	maxLabel  = 63
	maxLabels = 127 // labels that fit maxName, without the root
)

// name is a domain name in lower-case wire form with the places of its labels. It is reused between
// queries, so that parsing allocates nothing.
type name struct {
	wire   [maxName + 1]byte
	size   int // octets of wire in use, the root label included
	starts [maxLabels + 1]uint8
	labels int // without the root
}

func (n *name) bytes() []byte { return n.wire[:n.size] }

// suffix returns the wire form of the name without its first i labels.
func (n *name) suffix(i int) []byte { return n.wire[n.starts[i]:n.size] }

// errName is what every malformed name in a message gives: the reply says FORMERR, nobody reads more.
var errName = errors.New("zone: malformed name")

// read takes the uncompressed name at msg[at:], lower-cased, and returns the offset behind it.
func (n *name) read(msg []byte, at int) (int, error) {
	begin, labels := at, 0
	for {
		if at >= len(msg) {
			return 0, errName
		}
		length := int(msg[at])
		size := at - begin
		// A pointer has the two top bits set, so it is caught here as well (RFC 1035 §4.1.4).
		if length > maxLabel || at+length >= len(msg) || size+length+1 > maxName {
			return 0, errName
		}
		n.starts[labels] = uint8(size)
		if length == 0 {
			n.size, n.labels = size+1, labels
			fold(n.wire[:size+1], msg[begin:at+1])
			return at + 1, nil
		}
		labels++
		at += length + 1
	}
}

// set takes a name in wire form from zone data, which is known to be well-formed.
func (n *name) set(wire string) {
	n.size = copy(n.wire[:], wire)
	n.labels = 0
	for at := 0; ; {
		n.starts[n.labels] = uint8(at)
		length := int(n.wire[at])
		if length == 0 {
			return
		}
		for i := at + 1; i <= at+length; i++ {
			n.wire[i] = lower(n.wire[i])
		}
		n.labels++
		at += length + 1
	}
}

// fold copies from, which is as long as to and apart from it, in lower case, eight octets at a time. Octets of
// length in a name are at most 63, below 'A'.
func fold(to, from []byte) {
	if len(from) < 8 {
		for i, c := range from {
			to[i] = lower(c)
		}
		return
	}
	at := 0
	for ; at+8 <= len(from); at += 8 {
		binary.LittleEndian.PutUint64(to[at:at+8], lower8(binary.LittleEndian.Uint64(from[at:at+8])))
	}
	at = len(from) - 8 // some of them again
	binary.LittleEndian.PutUint64(to[at:at+8], lower8(binary.LittleEndian.Uint64(from[at:at+8])))
}

// lower8 is lower for eight octets.
func lower8(w uint64) uint64 {
	const ones = 0x0101010101010101
	// The top bit of each octet of these says: at least 'A'; beyond 'Z'; not ASCII.
	low := w & (0x7F * ones)
	upper := (low + (0x80-'A')*ones) &^ (low + (0x80-'Z'-1)*ones) &^ w & (0x80 * ones)
	return w | upper>>2
}

func lower(c byte) byte {
	if c-'A' < 26 {
		return c | 0x20
	}
	return c
}

// pack turns a name in presentation form into lower-case wire form.
func pack(presentation string) (string, error) {
	var buf [maxName + 1]byte
	if presentation == "" {
		return "", errors.New("empty name")
	}
	size, err := dns.PackDomainName(dns.Fqdn(presentation), buf[:], 0, nil, false)
	if err != nil {
		return "", fmt.Errorf("bad name %q: %w", presentation, err)
	}
	for i, c := range buf[:size] {
		buf[i] = lower(c) // a length octet is at most 63, below 'A'
	}
	return string(buf[:size]), nil
}

// unpack is the inverse of pack, for messages to people.
func unpack(wire string) string {
	s, _, err := dns.UnpackDomainName([]byte(wire), 0)
	if err != nil {
		return fmt.Sprintf("%q", wire)
	}
	return s
}

// view is b as a string that must not outlive the next write to b. A conversion would allocate.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// within tells whether the lower-case wire name is the origin or below it.
func within(wire, origin string) bool {
	if !strings.HasSuffix(wire, origin) {
		return false
	}
	for at := 0; at <= len(wire)-len(origin); at += int(wire[at]) + 1 {
		if at == len(wire)-len(origin) {
			return true
		}
	}
	return false
}

// skipName returns the offset behind the name at wire[at:], which may end in a pointer.
func skipName(wire string, at int) int {
	for wire[at] != 0 {
		at += int(wire[at]) + 1
	}
	return at + 1
}
