// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/netip"
	"reflect"
	"time"
)

// Zone is a zone's own data. The names in it come from pools.
type Zone struct {
	Origin            string // lower case, fully qualified
	Upper             bool   // it only refers: it holds delegations and its own SOA, NS and nameservers' addresses alone
	Nameservers       []Nameserver
	Addresses         []netip.Addr // of the origin
	SOA               SOA
	TTL               time.Duration // of answers that set none
	NegativeTTL       time.Duration // RFC 2308 §5
	InfrastructureTTL time.Duration // of NS, SOA, nameservers' and the origin's addresses
	MaxAnswers        int           // addresses in one answer; 0: all
	Namespaces        []string      // whose objects may have names in it, by name or pattern; nil: all
}

// Nameserver is a name server of a zone.
type Nameserver struct {
	Name      string       // lower case, fully qualified
	Addresses []netip.Addr // none: its name is in another zone
}

// SOA is a zone's start of authority (RFC 1035 §3.3.13), the serial apart.
type SOA struct {
	Primary, Mailbox       string // lower case, fully qualified
	Refresh, Retry, Expire time.Duration
}

// Delegation refers to the name servers of a child zone, in the zone above it.
type Delegation struct {
	Child       string // its origin, lower case, fully qualified
	Nameservers []Nameserver
	DS          []string // RDATA in presentation form (RFC 4034 §5.3)
	TTL         *uint32  // seconds; nil: the infrastructure TTL of the zone above
}

// Equal reports whether two zones say the same of themselves.
func (z *Zone) Equal(o *Zone) bool { return reflect.DeepEqual(z, o) }

// RegistrationKind is the kind of what name servers have registered themselves, which comes from no object.
const RegistrationKind = "Registration"

// LastOfAll is when what was registered was created, as far as names go: whatever an object says counts more.
var LastOfAll = time.Unix(1<<40, 0)

// Registered refers to what is registered of a child zone.
func Registered(child string) Ref { return Ref{Kind: RegistrationKind, Name: child} }

// RegisteredServer refers to the addresses of a name server that serves registered children.
func RegisteredServer(name string) Ref {
	return Ref{Kind: RegistrationKind, Name: name, Part: "name server"}
}

// IsRegistered reports whether a reference is to something registered.
func (r Ref) IsRegistered() bool { return r.Kind == RegistrationKind }
