// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
)

// Peer is how another cluster stands that has members or records for a name.
type Peer struct {
	Name  string     `json:"name"`
	Up    bool       `json:"up"` // its lease holds: its members count
	Since time.Time  `json:"since"`
	Heard *time.Time `json:"last_heard,omitempty"` // of one that is not up, when it last confirmed its members
	Why   string     `json:"why,omitempty"`        // it is not up
}

// explainPeers puts the members of other clusters into an explanation, and says what they leave of this one's.
func (e *Engine) explainPeers(x *Explanation, s *state, host string) {
	rule := e.options.Config.Peers.Merging(host)
	all := e.candidates(s, host, rule)
	if all == nil {
		return
	}
	x.Merge = merging(rule)
	x.LastResort = x.LastResort && slices.ContainsFunc(all, func(c candidate) bool { return c.In && c.Resort })
	for i, c := range all {
		if i >= len(s.decision.Members) {
			x.Members = append(x.Members, Member{Address: c.Address, Pod: c.Pod, Node: c.Location})
		}
		m := &x.Members[i]
		m.Cluster, m.Weight = c.cluster, c.share
		if m.Reason == "" || c.In != (m.State == "in") {
			m.State, m.Reason, m.Since = "out", c.Reason, c.Since.UTC()
			if c.In {
				m.State = "in"
			}
		}
	}
	x.Peers = e.peersOf(host)
}

// peersOf are the other clusters that have something for a host.
func (e *Engine) peersOf(host string) (list []Peer) {
	if e.sharer == nil {
		return nil
	}
	for _, p := range e.options.Config.Peers.Clusters {
		if e.remote[p.Name][host] == nil {
			continue
		}
		state := e.states[p.Name]
		one := Peer{Name: p.Name, Up: state.Up, Since: state.Since.UTC(), Why: state.Why}
		if heard := state.Heard.UTC(); !state.Up && !heard.IsZero() {
			one.Heard = &heard
		}
		list = append(list, one)
	}
	return list
}

// merging is a rule in words.
func merging(rule config.Merge) string {
	switch rule.By {
	case config.MergeWeight:
		var weights []string
		for _, cluster := range slices.Sorted(maps.Keys(rule.Weights)) {
			weights = append(weights, fmt.Sprintf("%s %d", cluster, rule.Weights[cluster]))
		}
		return strings.TrimSpace("weight " + strings.Join(weights, ", "))
	case config.MergePrimaryFallback:
		return "primary-fallback " + strings.Join(rule.Order, ", ")
	}
	return string(rule.By)
}
