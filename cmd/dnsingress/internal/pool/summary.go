// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/internal/steer"
)

// Summary is one name of a list of them.
type Summary struct {
	Name     string     `json:"name"`
	Object   string     `json:"object"`
	In       int        `json:"in"`    // members in the answer
	Ready    int        `json:"ready"` // members that readiness alone would answer with
	Members  int        `json:"members"`
	Records  int        `json:"records"` // beside the members' addresses
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
		s, a := e.pools[owner], e.zoneOf(name).answers[name]
		x := Summary{
			Name: plain(name), Object: owner.String(), TTL: a.ttl, Records: a.count(),
			FailOpen: s.decision.FailOpen, Steered: s.Policy != nil, Problems: len(s.problems),
		}
		if slices.Contains(s.hosts, name) {
			x.Members = len(s.Members)
			x.In, x.Ready = s.count()
			if all := e.candidates(s, name, e.options.Config.Peers.Merging(name)); all != nil {
				x.In, x.Members = len(a.addresses), len(all)
				for _, c := range all[len(s.decision.Members):] {
					if c.In || c.Reason == standby {
						x.Ready++
					}
				}
			}
		}
		if events := s.history.list(); len(events) > 0 {
			x.Changed = &events[len(events)-1].At
		}
		list = append(list, x)
	}
	return list, len(names)
}

// says is what a rule says, in the words of its document.
func says(r steer.Rule) string {
	var out []string
	say := func(key string, value any) { out = append(out, fmt.Sprintf("%s %v", key, value)) }
	switch {
	case !r.Keep.IsZero():
		if say("keep", r.Keep); !r.Readmit.IsZero() {
			say("readmit", r.Readmit)
		}
	case !r.KeepIf.IsZero():
		if say("keep if", r.KeepIf); !r.ReadmitIf.IsZero() {
			say("readmit if", r.ReadmitIf)
		}
	case r.Lowest > 0:
		say("lowest", r.Lowest)
	case r.Highest > 0:
		say("highest", r.Highest)
	case r.Shed != nil:
		say("shed from", r.Shed.Low)
		say("to", r.Shed.High)
	}
	if r.Signal == "" && !r.Value.IsZero() {
		say("of", r.Value)
	}
	return strings.Join(out, ", ")
}
