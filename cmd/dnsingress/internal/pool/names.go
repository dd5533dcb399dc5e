// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

// arrange works out what the pool can publish and which names that takes.
func (e *Engine) arrange(s *state) {
	for i := range s.Members {
		if g := s.Members[i].Group; len(s.Groups) > 0 && (g < 0 || g >= len(s.Groups)) {
			e.options.Log.Error("a member of a group that there is not; it counts for the first", "object", s.Ref.String(), "address", s.Members[i].Address)
			s.Members = slices.Clone(s.Members)
			s.Members[i].Group = 0
		}
	}
	if s.Delegation != nil {
		e.arrangeCut(s)
	} else {
		s.hosts, s.sets, s.wrong = record.Check(&s.Pool, e.served())
		s.names, s.made = record.Names(&s.Pool, s.hosts, s.sets)
	}
	for i := range s.sets {
		if s.setsAt == nil {
			s.setsAt = make(map[string][]int, len(s.sets))
		}
		s.setsAt[s.sets[i].Name] = append(s.setsAt[s.sets[i].Name], i)
	}
}

// servable returns those of an object's names that are in a zone, not the zone's own, and that its namespace may have.
func (e *Engine) servable(s *state) []string {
	var names []string
	for _, name := range s.names {
		z := e.zoneOf(name)
		if z == nil {
			continue
		}
		if _, barred := z.barred(s, plain(name)); barred {
			continue
		}
		if may, _ := e.mayHave(s, plain(name)); may {
			names = append(names, name)
		}
	}
	return names
}

// mayHave is Kubernetes.MayHave for what an object wants. Of what is registered, and of what peers have, grants of their
// own were asked.
func (e *Engine) mayHave(s *state, name string) (bool, *config.Host) {
	if s.Ref.IsRegistered() || s.Ref.Kind == peers {
		return true, nil
	}
	return e.options.Config.Kubernetes.MayHave(s.Ref.Namespace, name)
}

// within reports whether a canonical name is an origin or below it, without taking either apart.
func within(origin, name string) bool {
	at := len(name) - len(origin)
	return strings.HasSuffix(name, origin) && (at == 0 || origin == "." || name[at-1] == '.')
}

// conflicts lists the pool's names that it does not get, and why.
func (e *Engine) conflicts(s *state) []model.Problem {
	var problems []model.Problem
	add := func(reason, format string, a ...any) {
		problems = append(problems, model.Problem{Reason: reason, Message: fmt.Sprintf(format, a...)})
	}
	for _, name := range s.names {
		key, z := name, e.zoneOf(name)
		name = plain(name)
		_, made := s.made[key]
		may, rule := e.mayHave(s, name)
		owner, _ := e.claims.Owner(key)
		why, barred := model.Problem{}, false
		if z != nil {
			why, barred = z.barred(s, name)
		}
		switch {
		case made && (z == nil || !may || barred && !z.reserved[name]): // so is the host that it is made for
		case z == nil:
			add(record.OutsideZones, "%s is in no zone that is served here (hint: %s)", name, e.hint())
		case barred:
			problems = append(problems, why)
		case !may && rule == nil:
			add("NotAllowed", "%s is below no suffix that any namespace may have (hint: kubernetes.hosts in the configuration)", name)
		case !may:
			add("NotAllowed", "%s is for namespaces %s alone, as all names below %s (hint: choose another name, or kubernetes.hosts in the configuration)",
				name, strings.Join(rule.Namespaces, ", "), rule.Suffix)
		case owner != s.Ref:
			add("NameTaken", "%s is already published for %s, which is older or comes first (hint: one object a name)", name, owner)
		case e.under[key] != "":
			cut, _ := e.claims.Owner(e.under[key])
			add("Occluded", "%s is below %s, which %s delegates to other name servers: nobody asks here for it (hint: the zone %s at these servers)",
				name, plain(e.under[key]), cut, plain(e.under[key]))
		case e.loops[name] != nil:
			add(record.RecordLoop, "%s", record.LoopText(name, e.loops[name], e.at))
		case !slices.Contains(s.hosts, name) && e.elsewhere(name):
			add("PeersIgnored", "%s has no members here but records; those that other clusters have for it are left out (hint: another name)", name)
		}
	}
	for _, name := range s.names {
		if why := s.refused[name]; why != "" {
			add("Refused", "%s is not published as it says: %s", plain(name), why)
		}
		if len(e.below[name]) > 0 && e.has(s.Ref, name) {
			problems = append(problems, e.occludes(name))
		}
	}
	if s.Zone != nil {
		problems = append(problems, e.zoneConflicts(s)...)
	}
	if s.Zone != nil || s.Delegation != nil {
		problems = append(problems, e.remarksOn(s)...)
	}
	return append(problems, e.unresolved(s)...)
}

// refuse notes why a name cannot be as its owner wants it; nil: it is.
func (e *Engine) refuse(name string, err error) {
	owner, ok := e.claims.Owner(name)
	if !ok {
		return
	}
	s := e.pools[owner]
	switch {
	case err != nil:
		if s.refused == nil {
			s.refused = map[string]string{}
		}
		s.refused[name] = err.Error()
	case s.refused[name] != "":
		delete(s.refused, name)
	default:
		return
	}
	e.tell(s)
}

// tell reports what is wrong with an object, if that has changed.
func (e *Engine) tell(s *state) {
	problems := slices.Concat(s.Problems, s.wrong, e.conflicts(s), s.confused)
	if !slices.Equal(problems, s.problems) {
		s.problems = problems
		if s.Ref.Kind == peers || s.Ref.IsRegistered() { // no object of this cluster is to be mended
			return
		}
		e.reporter.Report(s.Ref, problems)
		e.changed(s.Ref)
	}
}
