// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

// Group is members that share a part of the answers.
type Group struct {
	Name   string  `json:"name"`
	Weight uint32  `json:"weight"`
	In     int     `json:"in"`    // members in the answer
	Share  float64 `json:"share"` // of the answers, all its members together

	factor float64 // what a member's weight in the pool is to be multiplied by, to be its share of the answers
}

// RecordSet is records of one type.
type RecordSet struct {
	Type    string   `json:"type"`
	TTL     uint32   `json:"ttl_seconds"`
	Max     int      `json:"max_answers"` // of one option; 0: all
	Stable  bool     `json:"stable,omitempty"`
	Options []Option `json:"options"` // an answer holds the records of one
}

// Option is records that are answered together.
type Option struct {
	Geo     string   `json:"geo,omitempty"` // whom it is for; *: whom no other is for
	Set     string   `json:"set,omitempty"`
	Weight  uint32   `json:"weight"`
	Share   float64  `json:"share"` // of the answers to those whom it is for
	Records []string `json:"records"`
}

// Followed is what is known of a host name outside.
type Followed struct {
	Name      string       `json:"name"`
	Addresses []netip.Addr `json:"addresses"`
	Age       *Number      `json:"age_seconds,omitempty"` // since they were confirmed; absent: never
	Error     string       `json:"error,omitempty"`       // of the last attempt
}

// groups are the pool's, with the share of the answers that each has.
func (s *state) groups() []Group {
	if len(s.Groups) == 0 {
		return nil
	}
	groups := make([]Group, len(s.Groups))
	weights := make([]float64, len(s.Groups)) // of those who are in, in the pool
	for i, g := range s.Groups {
		groups[i] = Group{Name: g.Name, Weight: g.Weight}
	}
	for _, v := range s.decision.Members {
		if m := s.member(v.Address); m != nil && v.In {
			groups[m.Group].In++
			weights[m.Group] += v.Weight
		}
	}
	all := 0.0
	for _, g := range groups {
		if g.In > 0 {
			all += float64(g.Weight)
		}
	}
	for i := range groups {
		if g := &groups[i]; g.In > 0 && all > 0 {
			g.Share = float64(g.Weight) / all
			if weights[i] > 0 {
				g.factor = g.Share / weights[i]
			}
		}
	}
	return groups
}

// records are those of an answer that are no members' addresses.
func (a answer) records() []RecordSet {
	var sets []RecordSet
	for _, s := range a.sets {
		x := RecordSet{Type: dns.Type(s.Type).String(), TTL: *s.TTL, Max: s.maxAnswers, Stable: s.Stable}
		options := record.Options(&s.RecordSet)
		weights, counts := map[string]float64{}, map[string]float64{} // by place
		for _, o := range options {
			weights[o.Geo] += float64(o.Weight)
			counts[o.Geo]++
		}
		for _, o := range options {
			one := Option{Geo: o.Geo, Set: o.Set, Weight: o.Weight, Share: 1 / counts[o.Geo]}
			if weights[o.Geo] > 0 {
				one.Share = float64(o.Weight) / weights[o.Geo]
			}
			for _, r := range o.Records {
				one.Records = append(one.Records, r.Data)
			}
			x.Options = append(x.Options, one)
		}
		sets = append(sets, x)
	}
	return sets
}

// explainFollows tells of the host names that a name's records follow.
func (e *Engine) explainFollows(s *state, name string) []Followed {
	var list []Followed
	now := time.Now()
	for _, i := range s.setsAt[name] {
		for _, r := range s.sets[i].Records {
			if r.Follow == "" || slices.ContainsFunc(list, func(f Followed) bool { return f.Name == r.Follow }) {
				continue
			}
			x := Followed{Name: r.Follow, Addresses: []netip.Addr{}}
			if f := e.follows[r.Follow]; f != nil {
				x.Addresses = append(x.Addresses, f.Addresses...)
				if !f.At.IsZero() {
					x.Age = number(max(0, now.Sub(f.At).Seconds()))
				}
				if f.Err != nil {
					x.Error = f.Err.Error()
				}
			}
			list = append(list, x)
		}
	}
	return list
}

// count is how many records an answer has, members' addresses apart.
func (a answer) count() int {
	n := 0
	for _, s := range a.sets {
		n += len(s.Records)
	}
	return n
}
