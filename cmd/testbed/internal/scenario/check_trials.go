// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

func (s *Scenario) checkTrials(f *strictyaml.File, v Vocabulary) {
	if len(s.Trials) == 0 {
		f.Problem("trials", "such as - {count: 3, window: 10s}", "no trials")
	}
	seen := map[string]bool{}
	for i := range s.Trials {
		t := &s.Trials[i]
		path := fmt.Sprintf("trials[%d]", i)
		if t.Count < 1 || t.Count > 500 {
			f.Problem(path+".count", "1 to 500", "%d trials", t.Count)
		}
		positive(f, path+".window", t.Window)
		if t.Window > longest {
			f.Problem(path+".window", "at most "+longest.String(), "duration %s", t.Window)
		}
		if n := s.Load.Rate * t.Window.Seconds(); t.loaded() && t.Window > 0 && s.Load.Rate > 0 && n < minRequests {
			f.Problem(path+".window", "a longer window or a higher load.rate",
				"%g requests/s for %s are %.0f requests, fewer than %d", s.Load.Rate, t.Window, n, minRequests)
		}
		// Two entries of one condition are told apart by factors of their own.
		key := fmt.Sprint(t.Condition(), t.Factors, t.Pairs)
		if seen[key] {
			f.Problem(path, "raise the count of the other", "a second entry with the same condition (fault %s)", t.Condition())
		}
		seen[key] = true
		s.checkKind(f, path, t)
		if t.Fault != nil {
			s.checkFault(f, path+".fault", t, v)
		}
		s.checkChaos(f, path+".chaos", t, v)
		t.Churn.check(f, path+".churn", t.Window)
		t.FindMax.check(f, path+".find_max", s.Load.Timeout)
	}
}

// checkKind finds entries that want to be two things.
func (s *Scenario) checkKind(f *strictyaml.File, path string, t *Trials) {
	var kinds []string
	for _, k := range []struct {
		name  string
		given bool
	}{{"fault", t.Fault != nil}, {"chaos", f.Has(path + ".chaos")}, {"churn", t.Churn != nil}, {"find_max", t.FindMax != nil}, {"idle", t.Idle}} {
		if k.given {
			kinds = append(kinds, k.name)
		}
	}
	if len(kinds) > 1 {
		f.Problem(path, "an entry each", "%s exclude each other", strings.Join(kinds, " and "))
	}
	if f.Has("dns") && (t.Churn != nil || t.FindMax != nil || t.Idle || len(t.Chaos) > 0) {
		f.Problem(path, "a fault, or nothing", "%s beside the section dns", kinds[0])
	}
	if s.Load.Workload == WorkloadDNS && (t.Churn != nil || t.FindMax != nil) {
		f.Problem(path, "load.workload: http", "%s is of workload http", kinds[0])
	}
	if !t.loaded() && (len(t.Factors.Rate) > 0 || slices.ContainsFunc(t.Pairs, func(p Pair) bool { return slices.Contains(p.Of, Rate.String()) })) {
		f.Problem(path, "leave one out", "%s excludes rates", kinds[0])
	}
}

func (s *Scenario) checkFault(f *strictyaml.File, path string, t *Trials, v Vocabulary) {
	s.checkKindOfFault(f, path+".kind", *t.Fault, v)
	positive(f, path+".at", t.Fault.At)
	positive(f, path+".hold", t.Fault.Hold)
	switch {
	case t.Window <= 0:
	case t.Fault.At >= t.Window:
		f.Problem(path+".at", "counted from the start of the window", "the fault begins at %s, but the window ends at %s", t.Fault.At, t.Window)
	case t.Fault.At+t.Fault.Hold > t.Window:
		f.Problem(path+".hold", "at + hold within the window", "the fault ends at %s, but the window ends at %s", t.Fault.At+t.Fault.Hold, t.Window)
	}
}

func (s *Scenario) checkKindOfFault(f *strictyaml.File, path string, of Fault, v Vocabulary) {
	if !slices.Contains(v.Faults, of.Kind) {
		f.Problem(path, "known: "+strings.Join(v.Faults, ", "), "unknown fault kind %q", of.Kind)
	} else if v.Strikes != nil {
		for hint, text := range findings(v.Strikes(of, s.Systems), "another fault, or another inventory") {
			f.Problem(path, hint, "%s", text)
		}
	}
}

// checkChaos checks steps: each is one thing, what is withdrawn was injected, and all have time within the window.
func (s *Scenario) checkChaos(f *strictyaml.File, path string, t *Trials, v Vocabulary) {
	var standing, marks []string
	var least time.Duration
	for i, step := range t.Chaos {
		at := fmt.Sprintf("%s[%d]", path, i)
		if n := len(step.keys()); n != 1 {
			f.Problem(at, "one of mark, inject, wait, withdraw, recover", "a step does one thing, this one %d", n)
		}
		if step.Wait < 0 || step.Recover < 0 {
			f.Problem(at, "", "negative duration")
		}
		least += max(step.Wait, 0) + max(step.Recover, 0)
		switch {
		case step.Mark != "" && slices.Contains(marks, step.Mark):
			f.Problem(at+".mark", "another name", "mark %q given twice", step.Mark)
		case step.Mark != "" && !name.MatchString(step.Mark):
			f.Problem(at+".mark", "lower-case letters, digits and hyphens", "bad name %q", step.Mark)
		case step.Inject != "" && slices.Contains(standing, step.Inject):
			f.Problem(at+".inject", "withdraw it first", "fault %s stands already", step.Inject)
		case step.Inject != "":
			s.checkKindOfFault(f, at+".inject", Fault{Kind: step.Inject, With: step.With}, v)
			standing = append(standing, step.Inject)
		case step.Withdraw != "" && !slices.Contains(standing, step.Withdraw):
			f.Problem(at+".withdraw", "inject it first", "fault %s does not stand", step.Withdraw)
		case step.Withdraw != "":
			standing = slices.DeleteFunc(standing, func(kind string) bool { return kind == step.Withdraw })
		case step.Recover > 0 && len(standing) > 0:
			f.Problem(at+".recover", "withdraw it first", "nothing recovers while fault %s stands", standing[0])
		}
		if step.Mark != "" {
			marks = append(marks, step.Mark)
		}
		if len(step.With) > 0 && step.Inject == "" {
			f.Problem(at+".with", "beside inject", "parameters of no fault")
		}
	}
	if f.Has(path) && t.injected() == "none" {
		f.Problem(path, "- inject: KIND", "nothing is injected")
	}
	if len(standing) > 0 {
		f.Problem(path, "- withdraw: "+standing[0], "fault %s is never withdrawn", standing[0])
	}
	if t.Window > 0 && least > t.Window {
		f.Problem(path, "a longer window", "the steps take up to %s, but the window ends at %s", least, t.Window)
	}
}

// keys names what a step does.
func (s *Step) keys() []string {
	var keys []string
	for _, k := range []struct {
		name  string
		given bool
	}{{"mark", s.Mark != ""}, {"inject", s.Inject != ""}, {"wait", s.Wait != 0}, {"withdraw", s.Withdraw != ""}, {"recover", s.Recover != 0}} {
		if k.given {
			keys = append(keys, k.name)
		}
	}
	return keys
}

func (c *Churn) check(f *strictyaml.File, path string, window time.Duration) {
	if c == nil {
		return
	}
	if c.Pods < 1 || c.Pods > 10_000 {
		f.Problem(path+".pods", "1 to 10000", "%d pods", c.Pods)
	}
	positive(f, path+".at", c.At)
	if c.Every < 0 {
		f.Problem(path+".every", "0s for one beat, or more", "duration %s", c.Every)
	}
	if window > 0 && c.At+c.Every >= window {
		f.Problem(path, "at + every within the window", "the first beat is at %s and has %s, but the window ends at %s", c.At, c.Every, window)
	}
}

func (m *FindMax) check(f *strictyaml.File, path string, timeout time.Duration) {
	if m == nil {
		return
	}
	full := m.filled()
	if !(full.From > 0 && full.From <= 1e6) {
		f.Problem(path+".from", "requests a second, above 0", "rate %g", full.From)
	}
	if !(full.Most > 0 && full.Most <= 1e6) {
		f.Problem(path+".most", "requests a second, above 0", "rate %g", full.Most)
	} else if full.From > full.Most {
		f.Problem(path+".most", "at least from", "%g, but the search begins at %g", full.Most, full.From)
	}
	positive(f, path+".step", full.Step)
	positive(f, path+".p99", full.P99)
	if timeout > 0 && full.P99 > timeout {
		f.Problem(path+".p99", "at most load.timeout", "%s, but a request fails after %s", full.P99, timeout)
	}
	if !(full.Success > 0 && full.Success <= 1) {
		f.Problem(path+".success", "a share of 1", "%g", full.Success)
	}
	if !(full.Precision >= 0.01 && full.Precision <= 1) {
		f.Problem(path+".precision", "0.01 to 1", "%g", full.Precision)
	}
	*m = full
}
