// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// Names are what a server tells of itself to whoever asks. Empty, as they are by default, it tells nothing.
type Names struct {
	// ID tells replicas apart: the NSID option (RFC 5001) and, in class CH, the TXT of id.server and
	// hostname.bind (RFC 4892). At most 128 octets.
	ID string
	// Version is, in class CH, the TXT of version.server and version.bind. At most 255 octets.
	Version string
}

// Check says what is wrong with the names.
func (n Names) Check() error {
	if len(n.ID) > nsidMost {
		return fmt.Errorf("server ID of %d octets exceeds %d", len(n.ID), nsidMost)
	}
	if len(n.Version) > 255 {
		return fmt.Errorf("server version of %d octets exceeds 255", len(n.Version))
	}
	return nil
}

// chaos answers a question of class CH, whose name is given in wire form.
func (r *Responder) chaos(name []byte) (rcode int, extended uint16) {
	text := ""
	switch strings.ToLower(string(name)) {
	case "\x02id\x06server\x00", "\x08hostname\x04bind\x00":
		text = r.names.ID
	case "\x07version\x06server\x00", "\x07version\x04bind\x00":
		text = r.names.Version
	}
	if text == "" {
		return dns.RcodeRefused, dns.ExtendedErrorCodeNotAuthoritative
	}
	r.reply.Authoritative = true
	if t := r.question.Type; t != dns.TypeTXT && t != dns.TypeANY {
		return dns.RcodeSuccess, noExtendedError
	}
	var b bytes.Buffer
	b.Write([]byte{0xC0, headerLen, 0, byte(dns.TypeTXT), 0, byte(dns.ClassCHAOS), 0, 0, 0, 0, 0, byte(1 + len(text)), byte(len(text))})
	if len(text) == 255 { // and its length is 256
		b.Bytes()[10], b.Bytes()[11] = 1, 0
	}
	b.WriteString(text)
	r.reply.Truncated = !r.reply.Own(b.Bytes())
	return dns.RcodeSuccess, noExtendedError
}
