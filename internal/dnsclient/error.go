// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"fmt"

	"github.com/miekg/dns"
)

// Kind is why a lookup gave no address.
type Kind string

// The kinds of failed lookups.
const (
	Timeout  Kind = "timeout"  // no reply in time
	Servfail Kind = "servfail" // the resolver could not find out (RFC 1035 §4.1.1, RCODE 2)
	NXDomain Kind = "nxdomain" // the name does not exist
	NoData   Kind = "nodata"   // the name exists and has no address of that type (RFC 2308 §2.2)
	Other    Kind = "other"    // refused, malformed, no socket
)

// Error is a failed lookup. NXDomain and NoData are answers; the others are the lack of one.
type Error struct {
	Kind Kind
	Name string
	Type uint16
	Err  error // the cause, if there is more to say
}

func (e *Error) Error() string {
	s := fmt.Sprintf("looking up %s %s: %s", e.Name, dns.TypeToString[e.Type], e.Kind)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }
