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

// at calls each with the sets that objects have at a name.
func (e *Engine) at(name string, each func(*model.RecordSet)) bool {
	owner, ok := e.claims.Owner(name)
	if ok {
		s := e.pools[owner]
		for _, i := range s.setsAt[name] {
			each(&s.sets[i])
		}
	}
	return ok
}

// targetsOf is where an answer for name leads on to, by the names that hold records.
func (e *Engine) targetsOf(name string) []string { return record.Next(name, e.at) }

// pointer is a CNAME or DNAME of an object.
type pointer struct {
	ref  model.Ref
	name string
}

// point notes to which names below the zones the object's CNAMEs and DNAMEs point, in place of those of before.
func (e *Engine) point(ref model.Ref, old *state) {
	each := func(s *state, do func(target string, p pointer)) {
		if s == nil {
			return
		}
		for i := range s.sets {
			if !record.Leads(s.sets[i].Type) {
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

// pointers calls do with the names that point to name, or to a name that it covers as a pattern or leads on by a DNAME.
func (e *Engine) pointers(name string, do func(from string)) {
	for p := range e.pointing[name] {
		do(p.name)
	}
	covered, pattern := strings.CutPrefix(name, "*.")
	e.at(name, func(s *model.RecordSet) { pattern = pattern || s.Type == dns.TypeDNAME })
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

// relink finds out which CNAMEs and DNAMEs lead back to themselves, after the given names have changed. Those that do now or did
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
