// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"slices"
	"strings"
	"time"
)

// Summary is one name of a list of them.
type Summary struct {
	Name     string     `json:"name"`
	Object   string     `json:"object"`
	In       int        `json:"in"`    // members in the answer
	Ready    int        `json:"ready"` // members that readiness alone would answer with
	Members  int        `json:"members"`
	TTL      uint32     `json:"ttl_seconds"`
	FailOpen bool       `json:"fail_open"`
	Steered  bool       `json:"steered"` // a policy says more than readiness
	Problems int        `json:"problems"`
	Changed  *time.Time `json:"changed,omitempty"` // when a decision last changed something
}

// Pools lists the names that contain match, in order, at most limit of them, and says how many there are.
func (e *Engine) Pools(match string, limit int) (list []Summary, total int) {
	match = strings.ToLower(match)
	e.mu.RLock()
	defer e.mu.RUnlock()
	var names []string
	for _, z := range e.zones {
		for host := range z.answers {
			if strings.Contains(host, match) {
				names = append(names, host)
			}
		}
	}
	slices.Sort(names)
	list = []Summary{}
	for _, name := range names[:min(limit, len(names))] {
		owner, ok := e.claims.Owner(name)
		if !ok {
			continue
		}
		s := e.pools[owner]
		x := Summary{
			Name: name, Object: owner.String(), Members: len(s.Members), TTL: e.zoneOf(name).answers[name].ttl,
			FailOpen: s.decision.FailOpen, Steered: s.Policy != nil, Problems: len(s.problems),
		}
		for _, v := range s.decision.Members {
			if v.In {
				x.In++
			}
		}
		for _, m := range s.Members {
			if m.Ready && !m.Terminating {
				x.Ready++
			}
		}
		if events := s.history.list(); len(events) > 0 {
			x.Changed = &events[len(events)-1].At
		}
		list = append(list, x)
	}
	return list, len(names)
}
