// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// mostRefusals is how many kinds of refusals are remembered: those that were last seen.
const mostRefusals = 128

// refused is a kind of refusal, told once.
type refused struct {
	Zone   string `json:"zone"`
	Key    string `json:"key,omitempty"`
	Reason string `json:"reason"`
	Why    string `json:"why"`
}

// Refusal is how often a message was refused, and when.
type Refusal struct {
	refused
	Count int        `json:"count"`
	From  netip.Addr `json:"from"` // the last one
	First time.Time  `json:"first"`
	Last  time.Time  `json:"last"`
}

type refusals map[refused]*Refusal

// add counts a refusal, and tells whether it is the first of its kind.
func (r refusals) add(kind refused, from netip.Addr, now time.Time) (first bool) {
	x := r[kind]
	if x == nil {
		if len(r) >= mostRefusals {
			oldest := slices.MinFunc(r.list(), func(a, b Refusal) int { return a.Last.Compare(b.Last) })
			delete(r, oldest.refused)
		}
		x = &Refusal{refused: kind, First: now}
		r[kind] = x
	}
	x.Count++
	x.From, x.Last = from, now
	return x.Count == 1
}

// list is all that is remembered, the newest first.
func (r refusals) list() []Refusal {
	out := make([]Refusal, 0, len(r))
	for _, x := range r {
		out = append(out, *x)
	}
	slices.SortFunc(out, func(a, b Refusal) int { return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Why, b.Why)) })
	return out
}
