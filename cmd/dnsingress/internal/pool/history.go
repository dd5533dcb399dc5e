// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/internal/steer"
)

const (
	mostEvents  = 32 // that are kept of a pool
	mostChanges = 16 // of members that an event tells of
)

// trigger is what had a pool decided, the weightiest first.
type trigger int

const (
	byRestart trigger = iota
	byCluster
	byCheck
	byMetrics
	byTime
	byPeer
)

func (t trigger) String() string {
	return [...]string{"restart", "cluster", "health", "metrics", "time", "peer"}[t]
}

// Event is a decision that changed something.
type Event struct {
	At       time.Time `json:"at"`
	Trigger  string    `json:"trigger"` // metrics, cluster, health, time, peer or restart
	TTL      float64   `json:"ttl_seconds"`
	TTLRule  string    `json:"ttl_rule"`
	FailOpen bool      `json:"fail_open"`
	In       int       `json:"in"`    // members in the answer
	Ready    int       `json:"ready"` // members that readiness alone would answer with
	Changes  []Change  `json:"changes"`
	More     int       `json:"more,omitempty"` // changes that are not listed
}

// Change is what an event did to a member.
type Change struct {
	Address netip.Addr `json:"address"`
	Pod     string     `json:"pod,omitempty"`
	Cluster string     `json:"cluster,omitempty"` // whose member it is; absent: this one's
	Was     string     `json:"was"`               // in, out or none
	State   string     `json:"state"`             // likewise
	Reason  string     `json:"reason,omitempty"`
	Rule    string     `json:"rule,omitempty"`
	Signal  string     `json:"signal,omitempty"`
	Value   *Number    `json:"value,omitempty"`
	Weight  float64    `json:"weight,omitempty"` // share of the answers
}

// history holds the last events of a pool.
type history struct {
	events []Event
	next   int // where the next one goes, once there are mostEvents
}

func (h *history) add(e Event) {
	if len(h.events) < mostEvents {
		h.events = append(h.events, e)
		return
	}
	h.events[h.next] = e
	h.next = (h.next + 1) % mostEvents
}

// list gives the events, the newest last.
func (h *history) list() []Event {
	return append(slices.Clone(h.events[h.next:]), h.events[:h.next]...)
}

// change is what became of a member.
func (s *state) change(before, after *steer.Verdict) Change {
	c := Change{Was: "none", State: "none"}
	if before != nil {
		c.Address, c.Was = before.Address, stateOf(*before)
	}
	if after != nil {
		c.Address, c.State, c.Reason, c.Rule, c.Signal = after.Address, stateOf(*after), string(after.Reason), after.Rule, after.Signal
		c.Value, c.Weight = number(after.Value), after.Weight
	}
	if m := s.member(c.Address); m != nil {
		c.Pod = m.Pod
	}
	return c
}

// member returns the one with the address, or nil.
func (s *state) member(a netip.Addr) *model.Member {
	if i, ok := slices.BinarySearchFunc(s.Members, a, func(m model.Member, a netip.Addr) int { return m.Address.Compare(a) }); ok {
		return &s.Members[i]
	}
	return nil
}

func event(s *state, why trigger, at time.Time, changes []Change, more int) Event {
	e := Event{
		At: at.UTC(), Trigger: why.String(), TTL: s.decision.TTL.Seconds(), TTLRule: s.decision.TTLRule, FailOpen: s.decision.FailOpen,
		Changes: changes, More: more,
	}
	e.In, e.Ready = s.count()
	return e
}

// count tells how many members are in the answers, and how many readiness alone would have there.
func (s *state) count() (in, ready int) {
	for _, v := range s.decision.Members {
		if v.In {
			in++
		}
	}
	for _, m := range s.Members {
		if m.Ready && !m.Terminating {
			ready++
		}
	}
	return in, ready
}

// History lists the last decisions that changed something for the name, the newest last; nil: no object has the name.
func (e *Engine) History(name string) []Event {
	e.mu.RLock()
	defer e.mu.RUnlock()
	owner, ok := e.claims.Owner(dns.CanonicalName(name))
	if !ok {
		return nil
	}
	return e.pools[owner].history.list()
}
