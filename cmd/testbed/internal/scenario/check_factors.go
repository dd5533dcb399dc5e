// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// checkFactors checks the scenario's factors and tables, and those of each entry.
func (s *Scenario) checkFactors(f *strictyaml.File, v Vocabulary) {
	s.checkLevels(f, v, "", &s.Factors, s.Pairs)
	for i := range s.Trials {
		t := &s.Trials[i]
		s.checkLevels(f, v, fmt.Sprintf("trials[%d].", i), &t.Factors, t.Pairs)
	}
	for _, single := range []struct {
		factor Factor
		key    string
	}{
		{Connection, "load.connection"}, {Users, "load.users"}, {Pods, "backend.replicas"}, {ResponseBytes, "backend.response_bytes"}, {TTL, "dns.ttl"},
	} {
		if f.Has(single.key) && len(s.LevelsOf(single.factor)) > 0 {
			f.Problem(single.key, "leave one out", "given here and as the factor %s", single.factor)
		}
	}
	if f.Has("dns") {
		for _, factor := range s.Given() {
			f.Problem(s.where(f, factor), "cross resolvers, behaviours and trees alone", "factor %s beside the section dns", factor)
		}
	}
	if s.Load.Workload != WorkloadDNS && len(s.LevelsOf(Cached)) > 0 {
		f.Problem(s.where(f, Cached), "load.workload: dns", "factor cached is of workload dns")
	}
	for _, factor := range s.Given() {
		if !slices.ContainsFunc(s.Systems, func(system string) bool { return s.means(system, factor) }) {
			f.Problem(s.where(f, factor), "leave it out", "factor %s means nothing to any of the systems %s", factor, strings.Join(s.Systems, ", "))
		}
	}
	if at, ok := s.firstShare(f); ok && !slices.ContainsFunc(s.Trials, func(t Trials) bool { return t.FindMax != nil }) {
		f.Problem(at, "add - {count: 3, window: 20s, find_max: {from: 100, most: 10000}} to trials", "a share of a knee that no trial looks for")
	}
}

// checkLevels checks factors and tables that stand beside each other below prefix.
func (s *Scenario) checkLevels(f *strictyaml.File, v Vocabulary, prefix string, factors *Factors, pairs []Pair) {
	taken := map[string]string{} // factor by where it was given
	for _, factor := range AllFactors() {
		path := prefix + "factors." + factor.String()
		levels := factors.of(factor)
		if f.Has(path) {
			taken[factor.String()] = path
			if len(levels) == 0 {
				f.Problem(path, "a list of levels", "no level")
			}
		}
		for i, level := range levels {
			at := fmt.Sprintf("%s[%d]", path, i)
			checkLevel(f, v, at, factor, level)
			if slices.Contains(levels[:i], level) {
				f.Problem(at, "", "level %q given twice", level)
			}
		}
	}
	for i, p := range pairs {
		path := fmt.Sprintf("%spairs[%d]", prefix, i)
		if len(p.Of) < 2 || len(p.Levels) == 0 {
			f.Problem(path, "such as {of: [workers, pods], levels: [[3, 6], [5, 10]]}", "a table needs two factors at least, and a line")
		}
		for j, of := range p.Of {
			at := fmt.Sprintf("%s.of[%d]", path, j)
			if _, known := factorBy(of); !known && of != systemColumn {
				f.Problem(at, "known: "+systemColumn+", "+strings.Join(factorNames(), ", "), "unknown factor %q", of)
			}
			if other, twice := taken[of]; twice && of != systemColumn {
				f.Problem(at, "a factor stands in one place", "factor %s varies in %s too", of, other)
			} else if slices.Contains(p.Of[:j], of) {
				f.Problem(at, "", "factor %q given twice", of)
			}
		}
		for _, of := range p.Of {
			taken[of] = path
		}
		for j, line := range p.Levels {
			s.checkLine(f, v, fmt.Sprintf("%s.levels[%d]", path, j), p, line)
			if slices.ContainsFunc(p.Levels[:j], func(before []string) bool { return slices.Equal(before, line) }) {
				f.Problem(fmt.Sprintf("%s.levels[%d]", path, j), "", "a line given twice")
			}
		}
	}
}

// checkLine checks a line of a table.
func (s *Scenario) checkLine(f *strictyaml.File, v Vocabulary, path string, p Pair, line []string) {
	if len(line) != len(p.Of) {
		f.Problem(path, "a level for each of "+strings.Join(p.Of, ", "), "%d levels for %d factors", len(line), len(p.Of))
		return
	}
	system := ""
	if i := slices.Index(p.Of, systemColumn); i >= 0 {
		system = line[i]
		if !slices.Contains(s.Systems, system) {
			f.Problem(fmt.Sprintf("%s[%d]", path, i), "one of "+strings.Join(s.Systems, ", "), "system %q is not among the scenario's", system)
			return
		}
	}
	for i, level := range line {
		at := fmt.Sprintf("%s[%d]", path, i)
		factor, known := factorBy(p.Of[i])
		switch {
		case !known:
		case system == "" || s.means(system, factor):
			checkLevel(f, v, at, factor, level)
		case level != none: // a line that names a system means what it says of it
			f.Problem(at, none, "factor %s means nothing to system %s", factor, system)
		}
	}
}

func checkLevel(f *strictyaml.File, v Vocabulary, path string, factor Factor, level string) {
	if known, named := v.Levels[factor]; named {
		if !slices.Contains(known, level) {
			f.Problem(path, "known: "+strings.Join(known, ", "), "unknown level %q of factor %s", level, factor)
		}
		return
	}
	if hint, ok := readable(factor, level); !ok {
		f.Problem(path, hint, "unknown level %q of factor %s", level, factor)
	}
}

func factorNames() []string {
	var names []string
	for _, f := range AllFactors() {
		names = append(names, f.String())
	}
	return names
}

// where is the first place in the file that gives the factor.
func (s *Scenario) where(f *strictyaml.File, factor Factor) string {
	prefixes := []string{""}
	for i := range s.Trials {
		prefixes = append(prefixes, fmt.Sprintf("trials[%d].", i))
	}
	for _, prefix := range prefixes {
		if path := prefix + "factors." + factor.String(); f.Has(path) {
			return path
		}
		for i, p := range s.pairsAt(prefix) {
			if j := slices.Index(p.Of, factor.String()); j >= 0 {
				return fmt.Sprintf("%spairs[%d].of[%d]", prefix, i, j)
			}
		}
	}
	return "factors"
}

func (s *Scenario) pairsAt(prefix string) []Pair {
	if prefix == "" {
		return s.Pairs
	}
	var i int
	if _, err := fmt.Sscanf(prefix, "trials[%d].", &i); err != nil {
		return nil
	}
	return s.Trials[i].Pairs
}

// firstShare is the place of the first rate that is a share.
func (s *Scenario) firstShare(f *strictyaml.File) (string, bool) {
	if !slices.ContainsFunc(s.LevelsOf(Rate), func(level string) bool { _, ok := share(level); return ok }) {
		return "", false
	}
	return s.where(f, Rate), true
}

// checkCells checks what levels come to together, for each system.
func (s *Scenario) checkCells(f *strictyaml.File, v Vocabulary) {
	said := map[string]bool{}
	problem := func(path, hint, text string) {
		if !said[text] {
			said[text] = true
			f.Problem(path, hint, "%s", text)
		}
	}
	for i := range s.Trials {
		t := &s.Trials[i]
		path := fmt.Sprintf("trials[%d]", i)
		cells := s.cells(t)
		if len(cells) == 0 {
			problem(path, "add a line for one of them", "no system is left: the tables restrict each factor to others")
		}
		if len(cells)*t.Count > maxTrials {
			problem(path, "pair factors, or lower count", fmt.Sprintf("%d cells, %d times each, are more than %d trials", len(cells), t.Count, maxTrials))
		}
		for _, c := range cells {
			if v.Fits != nil {
				for hint, text := range findings(v.Fits(c.System, s.Setup(c)), "leave the combination out") {
					problem(path, hint, text)
				}
			}
			s.checkCell(c, v, func(hint, text string) { problem(path, hint, text) })
		}
	}
}

// findings are the lines of an error, each with its hint: its own, or this one.
func findings(err error, hint string) iter.Seq2[string, string] {
	return func(yield func(hint, text string) bool) {
		if err == nil {
			return
		}
		for line := range strings.Lines(err.Error()) {
			text, own, ok := strings.Cut(strings.TrimSuffix(strings.TrimSpace(line), ")"), " (hint: ")
			if !ok {
				text, own = strings.TrimSpace(line), hint
			}
			if !yield(own, text) {
				return
			}
		}
	}
}

// maxTrials bounds a scenario: 5,000 trials of half a minute are two days.
const maxTrials = 20_000

func (s *Scenario) checkCell(c Cell, v Vocabulary, problem func(hint, text string)) {
	l, setup := s.Offered(c), s.Setup(c)
	if _, isShare := c.Share(); isShare && !s.hasKnee(c) {
		problem("let the find_max entry have the same levels", fmt.Sprintf("no trial looks for the knee of system %s with %s", c.System, c.withoutRate()))
	}
	if c.Trials.loaded() && l.Workload == WorkloadHTTP && l.Rate > 0 {
		if n := l.Rate * c.Trials.Window.Seconds(); n < minRequests {
			problem("a longer window or a higher rate", fmt.Sprintf("%g requests/s for %s are %.0f requests, fewer than %d", l.Rate, c.Trials.Window, n, minRequests))
		}
	}
	if v.Hits != nil {
		for _, fault := range c.Trials.Faults() {
			for hint, text := range findings(v.Hits(fault, setup), "leave it out") {
				problem(hint, text)
			}
		}
	}
	if v.Workers > 0 && setup.Workers > v.Workers {
		problem("another inventory", fmt.Sprintf("%d workers, but the inventory has %d", setup.Workers, v.Workers))
	}
	if n := c.Clients(); v.Clients > 0 && n > v.Clients {
		problem("another inventory", fmt.Sprintf("%d client nodes, but the inventory has %d", n, v.Clients))
	}
	if t := c.Trials; t.Churn != nil {
		pods := s.Backend.Replicas
		if setup.Pods > 0 {
			pods = setup.Pods
		}
		if t.Churn.Pods > pods {
			problem("more pods, or fewer that are replaced", fmt.Sprintf("%d pods churn, but the backend has %d", t.Churn.Pods, pods))
		}
	}
}

// hasKnee says whether an entry looks for the knee of the cell.
func (s *Scenario) hasKnee(c Cell) bool {
	for i := range s.Trials {
		if s.Trials[i].FindMax == nil {
			continue
		}
		if slices.ContainsFunc(s.cells(&s.Trials[i]), func(k Cell) bool { return k.System == c.System && k.Levels == c.withoutRate() }) {
			return true
		}
	}
	return false
}

// withoutRate are the levels that a cell shares with the trials that look for its knee.
func (c Cell) withoutRate() Levels {
	l := c.Levels
	l[Rate] = ""
	return l
}
