// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Listing is all that is to be known of registrations in a process, as the admin address gives it.
type Listing struct {
	Leases   []Lease    `json:"leases"`
	Left     []Gone     `json:"left"`
	Refusals []Refusal  `json:"refusals"`
	Uppers   []Upper    `json:"uppers"`
	Compared []Compared `json:"compared"`
}

// Lease is one name server of one child.
type Lease struct {
	Zone       string       `json:"zone"` // of the upper
	Child      string       `json:"child"`
	Nameserver string       `json:"nameserver"`
	Addresses  []netip.Addr `json:"addresses,omitempty"`
	DS         []string     `json:"ds,omitempty"`
	Key        string       `json:"key"`
	State      string       `json:"state"` // leased, or last: its lease has ended and nobody else is there
	Seconds    float64      `json:"lease_seconds"`
	Left       float64      `json:"left_seconds"` // until it ends, or goes all the same
	Since      time.Time    `json:"since"`
}

// Gone is a name server that has left, and that caches may hold.
type Gone struct {
	Zone       string    `json:"zone"`
	Child      string    `json:"child"`
	Nameserver string    `json:"nameserver"`
	At         time.Time `json:"at"`
	Held       time.Time `json:"held_until"`
}

// Leases lists what is registered, those who left, and what was refused.
func (r *Registry) Leases() (leases []Lease, left []Gone, no []Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	leases, left = []Lease{}, []Gone{}
	for _, origin := range slices.Sorted(maps.Keys(r.books)) {
		b := r.books[origin]
		for _, claims := range b.children {
			for _, c := range claims {
				h := b.hosts[c.host]
				l := Lease{
					Zone: origin, Child: c.child, Nameserver: c.host, Addresses: h.addresses, DS: c.ds, Key: h.key, State: "leased",
					Seconds: c.lease.Seconds(), Left: max(0, c.until.Sub(now).Seconds()), Since: c.since.UTC(),
				}
				if !c.ended.IsZero() {
					l.State = "last"
				}
				leases = append(leases, l)
			}
		}
		for child, list := range b.left {
			for _, d := range list {
				left = append(left, Gone{origin, child, d.host, d.at.UTC(), d.held.UTC()})
			}
		}
	}
	slices.SortFunc(leases, func(x, y Lease) int {
		return cmp.Or(cmp.Compare(x.Zone, y.Zone), cmp.Compare(x.Child, y.Child), cmp.Compare(x.Nameserver, y.Nameserver))
	})
	slices.SortFunc(left, func(x, y Gone) int {
		return cmp.Or(cmp.Compare(x.Zone, y.Zone), cmp.Compare(x.Child, y.Child), x.At.Compare(y.At))
	})
	return leases, left, r.refusals.list()
}

// Brief is a Listing by name server, without what is well: leases may be tens of thousands, and a page shows it every few
// seconds.
type Brief struct {
	Nameservers []Registered `json:"nameservers"`
	Left        int          `json:"left"` // who have left some child, and caches may hold them
	Refusals    []Refusal    `json:"refusals"`
	Uppers      []Upper      `json:"uppers"`
	Compared    int          `json:"compared"`
	Troubled    []Compared   `json:"troubled"` // of these, those that are not the same on both sides
}

// Registered is a name server that has registered.
type Registered struct {
	Zone       string       `json:"zone"` // of the upper
	Nameserver string       `json:"nameserver"`
	Addresses  []netip.Addr `json:"addresses,omitempty"`
	Key        string       `json:"key"`
	Children   int          `json:"children"`
	Last       int          `json:"last"`         // of these, those whose lease has ended and where nobody else is
	Left       float64      `json:"left_seconds"` // until the first of its leases ends
	Since      time.Time    `json:"since"`        // the first of them
}

// Nameservers lists who has registered, by zone and name, those of whom caches may hold what is not so any more, and what was
// refused.
func (r *Registry) Nameservers() (list []Registered, left int, no []Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	list = []Registered{}
	for origin, b := range r.books {
		for _, gone := range b.left {
			left += len(gone)
		}
		for _, h := range b.hosts {
			x := Registered{Zone: origin, Nameserver: h.name, Addresses: h.addresses, Key: h.key, Children: len(h.claims)}
			var first time.Time
			for _, c := range h.claims {
				if first = sooner(first, c.until); !c.ended.IsZero() {
					x.Last++
				}
				x.Since = sooner(x.Since, c.since.UTC())
			}
			x.Left = max(0, first.Sub(now).Seconds())
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(x, y Registered) int {
		return cmp.Or(cmp.Compare(x.Zone, y.Zone), cmp.Compare(x.Nameserver, y.Nameserver))
	})
	return list, left, r.refusals.list()
}

// Upper is one upper of this server's zones.
type Upper struct {
	Zone       string     `json:"zone"` // of the upper
	Upper      string     `json:"upper"`
	Nameserver string     `json:"nameserver,omitempty"` // that is registered; empty: what it says is only compared
	Zones      int        `json:"zones"`                // that it has been asked for
	Renewed    *time.Time `json:"renewed,omitempty"`
	Trouble    string     `json:"trouble,omitempty"`
}

// Uppers lists the uppers and how they take registrations.
func (l *Leaf) Uppers() []Upper {
	out := []Upper{}
	for _, k := range l.links {
		k.mu.Lock()
		u := Upper{Zone: k.section.Zone, Upper: k.to.Addr.String(), Nameserver: k.section.Server.Name, Zones: len(k.views)}
		if p := k.problem(); p != nil {
			u.Trouble = p.Message
		}
		if !k.renewed.IsZero() {
			at := k.renewed.UTC()
			u.Renewed = &at
		}
		k.mu.Unlock()
		out = append(out, u)
	}
	return out
}
