// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/netip"
	"slices"
	"time"
)

// Share is what one cluster by itself answers a host with. Other clusters merge it into their own answers.
type Share struct {
	Host    string         // lower case, fully qualified; may begin with "*."
	TTL     uint32         // seconds
	Members []SharedMember // in the order of their addresses, which are distinct
	Records []RecordSet    // of the host, which an object there writes down itself; each with its TTL
}

// Pooled reports whether the host has a pool there, which may be empty: not written records alone.
func (s *Share) Pooled() bool { return len(s.Members) > 0 || len(s.Records) == 0 }

// Size is how much there is of the host.
func (s *Share) Size() int {
	n := 1 + len(s.Members)
	for i := range s.Records {
		n += len(s.Records[i].Records)
	}
	return n
}

// SharedMember is a member of a pool as its own cluster has decided on it.
type SharedMember struct {
	Address  netip.Addr
	In       bool
	Resort   bool      // it is in for want of better ones
	Reason   string    // why it is in or out
	Weight   float64   // of those that are in: beside 1, that of equal ones
	Location string    // as a path from the largest to the smallest; empty: unknown
	Pod      string    // empty: not a pod
	Since    time.Time // when In or Reason last changed, as it was heard here
}

// Equal reports whether two shares say the same; since when apart.
func (s *Share) Equal(o *Share) bool {
	if s == nil || o == nil {
		return s == o
	}
	if s.Host != o.Host || s.TTL != o.TTL || len(s.Members) != len(o.Members) {
		return false
	}
	for i, m := range s.Members {
		m.Since = o.Members[i].Since
		if m != o.Members[i] {
			return false
		}
	}
	return slices.EqualFunc(s.Records, o.Records, RecordSet.Equal)
}

// PeerState is how another cluster stands.
type PeerState struct {
	Name  string
	Up    bool      // its lease holds: its members count
	Since time.Time // of Up
	Heard time.Time // when it last confirmed its members; zero: never
	Why   string    // why it is not up; empty where it is
}

// PeerNews is what has changed of another cluster.
type PeerNews struct {
	PeerState
	// Changed are the hosts whose members are other than before; nil: there are none any more.
	Changed map[string]*Share
}
