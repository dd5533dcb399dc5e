// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

// targetsOf is where the CNAMEs lead to that an answer for name would hold, by the names that hold records.
func (e *Engine) targetsOf(name string) []string {
	owner, ok := e.claims.Owner(name)
	if !ok {
		return nil
	}
	s := e.pools[owner]
	var targets []string
	for _, i := range s.setsAt[name] {
		if s.sets[i].Type != dns.TypeCNAME {
			continue
		}
		for _, r := range s.sets[i].Records {
			if to := record.Covering(record.Target(r.Data), e.claimed); to != "" {
				targets = append(targets, to)
			}
		}
	}
	return targets
}

func (e *Engine) claimed(name string) bool {
	_, ok := e.claims.Owner(name)
	return ok
}

// pointer is a CNAME of an object.
type pointer struct {
	ref  model.Ref
	name string
}

// point notes to which names below the zones the object's CNAMEs point, in place of those of before.
func (e *Engine) point(ref model.Ref, old *state) {
	each := func(s *state, do func(target string, p pointer)) {
		if s == nil {
			return
		}
		for i := range s.sets {
			if s.sets[i].Type != dns.TypeCNAME {
				continue
			}
			for _, r := range s.sets[i].Records {
				if target := record.Target(r.Data); e.zoneOf(target) != nil {
					do(target, pointer{ref, s.sets[i].Name})
				}
			}
		}
	}
	each(old, func(target string, p pointer) {
		if delete(e.pointing[target], p); len(e.pointing[target]) == 0 {
			delete(e.pointing, target)
		}
	})
	each(e.pools[ref], func(target string, p pointer) {
		if e.pointing[target] == nil {
			e.pointing[target] = map[pointer]bool{}
		}
		e.pointing[target][p] = true
	})
}

// pointers calls do with the names whose CNAMEs point to name, or to a name that a pattern covers.
func (e *Engine) pointers(name string, do func(from string)) {
	for p := range e.pointing[name] {
		do(p.name)
	}
	covered, pattern := strings.CutPrefix(name, "*.")
	if !pattern {
		return
	}
	for target, from := range e.pointing {
		if dns.IsSubDomain(covered, target) {
			for p := range from {
				do(p.name)
			}
		}
	}
}

// relink finds out which CNAMEs lead back to themselves, after the given names have changed. Those that do now or did
// before are among the names afterwards, and their owners dirty.
func (e *Engine) relink(names map[string]bool, dirty causes) {
	if len(e.pointing) == 0 && len(e.loops) == 0 {
		return
	}
	again := map[string]bool{}
	for name := range names {
		if len(e.targetsOf(name)) > 0 {
			again[name] = true
		}
		e.pointers(name, func(from string) { again[from] = true })
	}
	for name := range e.loops {
		again[name] = true
	}
	for len(again) > 0 {
		for name := range again {
			delete(again, name)
			was := e.loops[name]
			now := record.Loop(name, e.targetsOf)
			if slices.Equal(was, now) {
				continue
			}
			if now == nil {
				delete(e.loops, name)
			} else {
				e.loops[name] = now
			}
			for _, other := range now {
				if e.loops[other] == nil {
					again[other] = true
				}
			}
			names[name] = true
			if owner, ok := e.claims.Owner(name); ok {
				dirty.add(owner, byCluster, time.Time{})
			}
		}
	}
}
