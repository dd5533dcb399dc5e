// SPDX-License-Identifier: Apache-2.0

package model

import "slices"

// Group is members that get a share of the answers together, however many they are: a backendRef of a route.
type Group struct {
	Name   string
	Weight uint32 // against the other groups; 0: no answer
}

// Port is a named port of a pool's members.
type Port struct {
	Name     string   // of the service (RFC 6335 §5.1); empty: the only one
	Protocol string   // tcp, udp or sctp
	ALPN     []string // what is spoken there, as RFC 9460 §7.1 names it; nil: unknown
	// Scheme is that of the URIs which the port serves (RFC 9460 §2.3): https has an HTTPS record at the hosts, any
	// other a SVCB record at _SCHEME.HOST, none neither.
	Scheme string
}

// RecordSet is records of one type at one name, published as they stand.
type RecordSet struct {
	Name    string  // lower case, fully qualified; may begin with "*."
	Type    uint16  // RFC 1035 §3.2.2
	TTL     *uint32 // seconds; nil: the zone's default
	Records []Record
	Stable  bool // a client, known by its subnet, always gets the same of equally good options
}

// Equal reports whether two sets say the same.
func (s RecordSet) Equal(o RecordSet) bool {
	return s.Name == o.Name && s.Type == o.Type && s.Stable == o.Stable && same(s.TTL, o.TTL) && slices.EqualFunc(s.Records, o.Records, Record.Equal)
}

func same(a, b *uint32) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

// Record is one record of a set. Records alike in Geo and Set are one option; an answer holds one option of those
// that are for the client, chosen by weight.
type Record struct {
	Data   string  // RDATA in presentation form (RFC 1035 §5.1), its names absolute
	Follow string  // a host name whose addresses of the set's type stand in the record's place; Data is empty
	Geo    string  // "": everybody; "*": whoever no other is for; else a country (IE) or a continent (GEO-EU)
	Weight *uint32 // against the other options; nil: as all that have none
	Set    string  // what the object calls the option (setIdentifier)
}

// Equal reports whether two records say the same.
func (r Record) Equal(o Record) bool {
	if !same(r.Weight, o.Weight) {
		return false
	}
	r.Weight, o.Weight = nil, nil
	return r == o
}
