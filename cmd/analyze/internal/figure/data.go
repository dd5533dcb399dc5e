// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// Data is what one figure shows: valid trials, by series.
type Data struct {
	Spec
	Name   string // of the file
	Series []Series
	Fault  string // the kind of the trials' fault; empty without
	Seed   uint64 // for bootstraps
}

// Series are the trials of one line, row or panel, in the order of execution.
type Series struct {
	Name   string // levels of the Spec's Series, such as "nginx" or "nginx, keepalive"
	Trials []*digest.Trial
}

// system gives the digest's summaries of a series.
func (s Series) system() *digest.System { return &digest.System{Name: s.Name, Steady: s.Trials} }

// values returns a quantity of the trials that have it.
func values(trials []*digest.Trial, q digest.Quantity) []float64 {
	var out []float64
	for _, t := range trials {
		if v, ok := q.Of(t); ok && !math.IsNaN(v) && !math.IsInf(v, 0) {
			out = append(out, v)
		}
	}
	return out
}

// quantity returns the quantity of a name: one of digest's, else a measure of trials.
func quantity(name string) digest.Quantity {
	if q, ok := digest.QuantityOf(name); ok {
		return q
	}
	return digest.Measure(name)
}

// Lay draws the figures of a set that the run has data for. A figure of a user's set that shows nothing is a warning.
func Lay(run *digest.Run, specs []Spec) ([]*Figure, []digest.Warning) {
	var out []*Figure
	var warnings []digest.Warning
	for _, s := range specs {
		figures, why := lay(run, s)
		if len(figures) == 0 && !s.quiet {
			warnings = append(warnings, digest.Warning{Text: fmt.Sprintf("figure %s is not drawn: %s", s.Name, why)})
		}
		out = append(out, figures...)
	}
	return out, warnings
}

// lay draws a spec's figures, one a combination of the levels that are held apart. Without any it says why.
func lay(run *digest.Run, s Spec) (out []*Figure, why string) {
	kinds := Kinds()
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == s.Kind })
	if i < 0 {
		return nil, fmt.Sprintf("no kind is called %q", s.Kind)
	}
	k := kinds[i]
	s.Y = cmp.Or(s.Y, k.Y)
	if len(s.Series) == 0 {
		s.Series = []string{"system"}
	}
	trials := chosen(run, s, k)
	if len(trials) == 0 {
		return nil, "no valid trial is of the kind and the levels that it asks for"
	}
	known := factors(run, trials)
	for _, factor := range slices.Concat(s.Series, s.Each, slices.Collect(maps.Keys(s.Where))) {
		if _, ok := known[factor]; !ok {
			return nil, fmt.Sprintf("the run has no factor %q (known: %s)", factor, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	xs := []string{s.X}
	if k.X == aFactor && s.X == "" {
		xs = numeric(known, s.Series)
		why = "no factor with numbers as levels varies"
	}
	for _, x := range xs {
		spec := s
		spec.X = x
		if x != s.X {
			spec.Name += "-" + slug(x)
		}
		figures, reason := layEach(run, spec, k, trials, known)
		out, why = append(out, figures...), cmp.Or(reason, why)
	}
	return out, why
}

func layEach(run *digest.Run, s Spec, k Kind, trials []*digest.Trial, known map[string][]string) (out []*Figure, why string) {
	each := s.Each
	if each == nil {
		for _, factor := range slices.Sorted(maps.Keys(known)) {
			if len(known[factor]) > 1 && !slices.Contains(s.Series, factor) && (k.X != aFactor || factor != s.X) && factor != "kind" {
				each = append(each, factor)
			}
		}
		// A fault comes last in names, as it always did.
		slices.SortStableFunc(each, func(a, b string) int { return cmp.Compare(btoi(a == "fault"), btoi(b == "fault")) })
	}
	groups := map[string][]*digest.Trial{}
	var names []string
	for _, t := range trials {
		name := s.Name
		for _, factor := range each {
			if factor == "fault" {
				name += "-" + slug(level(t, factor))
				continue
			}
			name += "-" + slug(factor+"="+level(t, factor))
		}
		if groups[name] == nil {
			names = append(names, name)
		}
		groups[name] = append(groups[name], t)
	}
	slices.SortFunc(names, natural)
	for _, name := range names {
		d := Data{Spec: s, Name: name, Seed: run.Manifest.Seed}
		for _, t := range groups[name] {
			if t.Fault != nil {
				d.Fault = t.Fault.Kind
			}
			var levels []string
			for _, factor := range s.Series {
				levels = append(levels, level(t, factor))
			}
			line := strings.Join(levels, ", ")
			i := slices.IndexFunc(d.Series, func(x Series) bool { return x.Name == line })
			if i < 0 {
				i = len(d.Series)
				d.Series = append(d.Series, Series{Name: line})
			}
			d.Series[i].Trials = append(d.Series[i].Trials, t)
		}
		slices.SortFunc(d.Series, func(a, b Series) int {
			if slices.Equal(s.Series, []string{"system"}) {
				return digest.CompareSystems(a.Name, b.Name)
			}
			return natural(a.Name, b.Name)
		})
		f := k.Draw(d)
		if f == nil {
			why = "its trials do not have what it shows: " + k.Does
			continue
		}
		if s.Title != "" {
			f.Title = s.Title
		}
		out = append(out, f)
	}
	return out, why
}

// chosen returns the run's valid trials that a spec asks for.
func chosen(run *digest.Run, s Spec, k Kind) []*digest.Trial {
	where := maps.Clone(s.Where)
	if where == nil {
		where = map[string][]string{}
	}
	if where["kind"] == nil && where["fault"] == nil {
		where["kind"] = []string{results.KindSteady}
		if k.Faults {
			where["kind"] = []string{results.KindFault}
		}
	}
	var out []*digest.Trial
trials:
	for i := range run.Trials {
		t := &run.Trials[i]
		if !t.Used() || t.Kind == results.KindFault && t.Fault == nil {
			continue
		}
		for factor, levels := range where {
			if !slices.Contains(levels, level(t, factor)) {
				continue trials
			}
		}
		out = append(out, t)
	}
	return out
}

// factors returns the levels of every factor of the trials, and of the run's other factors those that it declares.
func factors(run *digest.Run, trials []*digest.Trial) map[string][]string {
	sets := map[string]map[string]bool{"system": {}, "kind": {}, "fault": {}}
	add := func(factor, level string) {
		if sets[factor] == nil {
			sets[factor] = map[string]bool{}
		}
		sets[factor][level] = true
	}
	for factor, levels := range run.Manifest.Factors {
		for _, l := range levels {
			if factor != "fault" && factor != "system" {
				add(factor, l)
			}
		}
	}
	for _, t := range trials {
		for _, factor := range []string{"system", "kind", "fault"} {
			add(factor, level(t, factor))
		}
		for factor := range t.Factors {
			add(factor, level(t, factor))
		}
	}
	out := map[string][]string{}
	for factor, levels := range sets {
		out[factor] = slices.Sorted(maps.Keys(levels))
	}
	return out
}

func level(t *digest.Trial, factor string) string {
	switch factor {
	case "system":
		return t.System
	case "kind":
		return t.Kind
	case "fault":
		return cmp.Or(t.Condition(), "none")
	default:
		return t.Factors[factor]
	}
}

// numeric returns the factors that vary in numbers, but those told apart as series.
func numeric(known map[string][]string, series []string) []string {
	var out []string
	for _, factor := range slices.Sorted(maps.Keys(known)) {
		if slices.Contains(series, factor) || len(known[factor]) < 2 {
			continue
		}
		if !slices.ContainsFunc(known[factor], func(l string) bool { _, _, ok := number(l); return !ok }) {
			out = append(out, factor)
		}
	}
	return out
}

// number reads a level that is a number or a duration, which is given in seconds.
func number(level string) (v float64, unit string, ok bool) {
	if v, err := strconv.ParseFloat(level, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
		return v, "", true
	}
	if d, err := time.ParseDuration(level); err == nil {
		return d.Seconds(), "s", true
	}
	return 0, "", false
}

// natural compares texts with their numbers as numbers.
func natural(a, b string) int {
	for a != "" && b != "" {
		i, j := digits(a), digits(b)
		if i > 0 && j > 0 {
			x, _ := strconv.ParseFloat(a[:i], 64)
			y, _ := strconv.ParseFloat(b[:j], 64)
			if c := cmp.Compare(x, y); c != 0 {
				return c
			}
			a, b = a[i:], b[j:]
			continue
		}
		if a[0] != b[0] {
			break
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(a, b)
}

// digits is how many bytes at the begin of s are digits.
func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

func slug(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return r
		default:
			return '-'
		}
	}, s)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// uncertainty says in a note what the marks of a name around medians are.
func uncertainty(marks string, all []stats.Summary) string {
	var n []int
	intervals, ranges, few := 0, 0, false
	for _, s := range all {
		if s.N() == 0 {
			continue
		}
		n = append(n, s.N())
		switch {
		case s.Interval != nil:
			intervals++
			few = few || s.N() < stats.FewTrials
		case s.N() > 1:
			ranges++
		}
	}
	if len(n) == 0 {
		return ""
	}
	size := fmt.Sprintf("n = %d", slices.Min(n))
	if slices.Max(n) != slices.Min(n) {
		size += fmt.Sprintf(" to %d", slices.Max(n))
	}
	size += " trials"
	if few {
		size += " (below 10: few)"
	}
	switch {
	case intervals > 0 && ranges > 0:
		return marks + ": 95 % CI of the median (BCa over trials), below 6 trials the range; " + size + "."
	case intervals > 0:
		return marks + ": 95 % CI of the median (BCa over trials), " + size + "."
	case ranges > 0:
		return marks + ": range over trials, " + size + ", too few for a CI."
	default:
		return "n = 1 trial each: no spread is known."
	}
}

// bounds are where a summary's bar ends: its interval, else its range.
func bounds(s stats.Summary) (low, high float64) {
	if s.Interval != nil {
		return s.Interval.Low, s.Interval.High
	}
	return s.Min, s.Max
}
