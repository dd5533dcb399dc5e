// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/netip"
	"time"
)

// Status is what was decided on a pool, in short.
type Status struct {
	Ready     int // members that readiness alone would answer with
	In        int // members in the answer
	FailOpen  bool
	TTL       uint32 // seconds
	TTLRule   string // that set it; pool: no rule did
	Selection string
	Zone      string         // that the pool is in, of a zone or a delegation
	Serial    uint32         // of that zone
	Problem   string         // why its policy does nothing; empty: it does
	Members   []MemberStatus // at most MostMembers, those that are out before those that are in, else by address
}

// MostMembers is how many members a Status tells of.
const MostMembers = 16

// MemberStatus is what was decided on a member.
type MemberStatus struct {
	Address netip.Addr
	Pod     string // empty: not a pod
	In      bool
	Reason  string
	Rule    string    // that decided; empty: none
	Since   time.Time // when In or Reason last changed
}
