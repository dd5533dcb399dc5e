// SPDX-License-Identifier: Apache-2.0

// Package model holds the plain values that every source of pools gives and the control loop reads.
// It knows neither Kubernetes nor DNS messages.
package model

import (
	"cmp"
	"net/netip"
	"time"
)

// Ref names the object that a pool comes from.
type Ref struct {
	Kind, Namespace, Name string
	// Part is which of the object's pools it is; empty: the only one. An Ingress has one a host.
	Part string
}

func (r Ref) String() string {
	s := r.Kind + " "
	if r.Namespace != "" {
		s += r.Namespace + "/"
	}
	s += r.Name
	if r.Part != "" {
		s += " (" + r.Part + ")"
	}
	return s
}

// Compare orders references by namespace, name, kind and part.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.Namespace, o.Namespace), cmp.Compare(r.Name, o.Name), cmp.Compare(r.Kind, o.Kind), cmp.Compare(r.Part, o.Part))
}

// Pool is what one object wants to have published: names with the members that they may be answered with, and
// records as they stand.
type Pool struct {
	Ref        Ref
	Created    time.Time // of two objects that claim one name the older one has it, then the lesser Ref
	Hosts      []string  // lower case, fully qualified, distinct; may begin with "*."
	TTL        *uint32   // seconds; nil: the zone's default
	MaxAnswers int       // addresses in one answer; 0: the zone's default
	Members    []Member  // in the order of their addresses, which are distinct
	Groups     []Group   // that members belong to; nil: to none
	Ports      []Port    // that SRV, SVCB and HTTPS records of the hosts tell of
	Records    []RecordSet
	Zone       *Zone       // that the object has served; nil: none
	KeepZone   bool        // the object's zone or delegation cannot be read: the last good one stays
	Delegation *Delegation // nil: none
	Policy     *Policy     // nil: readiness alone
	KeepPolicy bool        // the object's policy cannot be read: the last good one stays in force
	Problems   []Problem   // what is wrong with the object, apart from the pool as a whole
}

// Member is one address of a pool.
type Member struct {
	Address     netip.Addr
	Pod         string // empty: not a pod
	Node        string // empty: unknown
	Zone        string // of the node; empty: unknown
	Ready       bool
	Serving     bool
	Terminating bool
	Group       int      // index in the pool's Groups
	Ports       []uint16 // of the member itself, parallel to the pool's Ports; 0: it does not serve that one
}

// Location is where the member is, as a path from the largest to the smallest: ZONE/NODE. Empty: unknown.
func (m Member) Location() string {
	if m.Zone == "" || m.Node == "" {
		return m.Zone + m.Node
	}
	return m.Zone + "/" + m.Node
}

// Problem is something wrong with an object that its owner can mend.
type Problem struct {
	Reason  string // one CamelCase word, as in Kubernetes events
	Message string // what, and how to mend it
	// Path is where in the object, as in spec.rules[1].host or metadata.annotations["a.b/c"]; empty: nowhere that is known.
	Path string
	// Notice: everything is published all the same.
	Notice bool
}

// Update is the newest state of one object.
type Update struct {
	Ref       Ref
	Pool      *Pool     // nil: the object is gone or publishes nothing
	Triggered time.Time // when what the object tells of happened in the cluster; zero: unknown
	Received  time.Time // when this process heard of it
}
