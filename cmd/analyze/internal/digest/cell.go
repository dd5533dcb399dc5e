// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// order is how systems are listed everywhere; others follow by name.
var order = []string{
	"direct", "static",
	"dnsingress", "dnsingress-threshold", "dnsingress-outlier", "dnsingress-weighted",
	"nginx", "nginx-least", "traefik", "traefik-least", "envoy", "envoy-least",
}

// Floor is the system that is no competitor: what clients see that know the pods already.
const Floor = "direct"

// Cell holds the trials that differ in nothing but system, fault and chance: they may be compared, and steady ones pooled.
type Cell struct {
	// Levels names the levels that set the cell apart ("connection=new"); empty when the run has one cell.
	Levels  string
	Systems []System
}

// System summarises a system's valid trials over trials.
type System struct {
	Name     string
	Steady   []*Trial
	Faults   []*Trial
	Others   []*Trial // neither steady nor of a fault: churn, find-max, idle
	Recorded int      // steady trials in the run, valid or not

	Requests uint64
	// Of steady trials, one value a trial. Latencies in ms.
	P50, P90, P99 stats.Summary
	ErrorPercent  stats.Summary
	CPU           stats.Summary // seconds for 1,000 requests, between client and backend
}

// Levels returns what gives a trial's levels of the factors that vary in the run, all but system and fault: the cell that it
// belongs to.
func (r *Run) Levels() func(*Trial) string {
	varying := []string{}
	for name, levels := range r.Manifest.Factors {
		// A fault is no level to pool by: fault trials are kept apart from steady ones, and by kind, as it is.
		if name != "system" && name != "fault" && len(levels) > 1 {
			varying = append(varying, name)
		}
	}
	slices.Sort(varying)
	return func(t *Trial) string {
		levels := make([]string, len(varying))
		for i, name := range varying {
			levels[i] = name + "=" + t.Factors[name]
		}
		return strings.Join(levels, ",")
	}
}

// Cells groups the run's trials: one cell for each combination of the levels of all factors but system and fault.
func (r *Run) Cells() []Cell {
	levels := r.Levels()
	byLevels := map[string]map[string]*System{}
	for i := range r.Trials {
		t := &r.Trials[i]
		key := levels(t)
		if byLevels[key] == nil {
			byLevels[key] = map[string]*System{}
		}
		s := byLevels[key][t.System]
		if s == nil {
			s = &System{Name: t.System}
			byLevels[key][t.System] = s
		}
		steady := t.Condition() == ""
		switch {
		case steady && t.Used():
			s.Steady = append(s.Steady, t)
			s.Recorded++
		case steady:
			s.Recorded++
		case t.Used() && t.Fault != nil:
			s.Faults = append(s.Faults, t)
		case t.Used() && t.Kind != results.KindFault:
			s.Others = append(s.Others, t)
		}
	}
	var cells []Cell
	for _, key := range slices.Sorted(maps.Keys(byLevels)) {
		c := Cell{Levels: key}
		for _, s := range byLevels[key] {
			s.summarize(r.Manifest.Seed)
			c.Systems = append(c.Systems, *s)
		}
		slices.SortFunc(c.Systems, func(a, b System) int { return CompareSystems(a.Name, b.Name) })
		cells = append(cells, c)
	}
	return cells
}

// CompareSystems orders names of systems as they are listed everywhere.
func CompareSystems(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) }

func rank(system string) int {
	if i := slices.Index(order, system); i >= 0 {
		return i
	}
	return len(order)
}

func (s *System) summarize(seed uint64) {
	over := func(value func(*Trial) (float64, bool)) stats.Summary {
		var values []float64
		for _, t := range s.Steady {
			if v, ok := value(t); ok {
				values = append(values, v)
			}
		}
		return stats.Summarize(values, seed)
	}
	percentile := func(p float64) stats.Summary {
		return over(func(t *Trial) (float64, bool) {
			if t.Latency == nil {
				return 0, false
			}
			ns, ok := t.Latency.PercentileNs(p)
			return float64(ns) / 1e6, ok
		})
	}
	s.P50, s.P90, s.P99 = percentile(50), percentile(90), percentile(99)
	s.ErrorPercent = over(func(t *Trial) (float64, bool) { return 100 * t.ErrorShare(), t.Requests > 0 })
	s.CPU = over(func(t *Trial) (float64, bool) {
		if t.Usage == nil {
			return 0, false
		}
		return t.Usage.Path(), true
	})
	for _, t := range s.Steady {
		s.Requests += t.Requests
	}
}

// Usage returns CPU time by component of the trial in the middle of the trials by their sum, or the mean of the two
// in the middle: so the parts add up to the median of the sums. It is nil when no trial has counters.
func (s *System) Usage() *Usage {
	var used []*Usage
	for _, t := range s.Steady {
		if t.Usage != nil {
			used = append(used, t.Usage)
		}
	}
	if len(used) == 0 {
		return nil
	}
	slices.SortStableFunc(used, func(a, b *Usage) int { return cmp.Compare(a.Path(), b.Path()) })
	middle := used[(len(used)-1)/2 : len(used)/2+1]
	out := &Usage{Component: map[string]float64{}}
	n := float64(len(middle))
	for _, u := range middle {
		for c, v := range u.Component {
			out.Component[c] += v / n
		}
		out.Softirq += u.Softirq / n
		out.Unattributed += u.Unattributed / n
	}
	return out
}

// Phases returns the mean over the system's steady trials of each phase: means of means of equal trials, which add up.
func (s *System) Phases() (p Phases, ok bool) {
	n := 0.0
	for _, t := range s.Steady {
		if t.Phases.Requests == 0 {
			continue
		}
		n++
		q := t.Phases
		p.Requests += q.Requests
		p.Lag, p.DNS, p.Connect, p.TLS = p.Lag+q.Lag, p.DNS+q.DNS, p.Connect+q.Connect, p.TLS+q.TLS
		p.FirstByte, p.Rest = p.FirstByte+q.FirstByte, p.Rest+q.Rest
	}
	if n == 0 {
		return Phases{}, false
	}
	p.Lag, p.DNS, p.Connect, p.TLS, p.FirstByte, p.Rest = p.Lag/n, p.DNS/n, p.Connect/n, p.TLS/n, p.FirstByte/n, p.Rest/n
	return p, true
}

// Pooled merges the latencies of the system's steady trials; nil when there are none.
func (s *System) Pooled() *stats.Latency {
	out := stats.NewLatency()
	for _, t := range s.Steady {
		if t.Latency != nil {
			out.Merge(t.Latency)
		}
	}
	if out.Count() == 0 {
		return nil
	}
	return out
}

// Conditions returns the conditions in the cell (Trial.Condition), steady first and the others sorted.
func (c *Cell) Conditions() []string {
	out := map[string]bool{"": true}
	for _, s := range c.Systems {
		for _, t := range slices.Concat(s.Faults, s.Others) {
			out[t.Condition()] = true
		}
	}
	return slices.Sorted(maps.Keys(out))
}

// Under returns the system's valid trials of a condition, in the order of the run; the empty one is steady.
func (s *System) Under(condition string) []*Trial {
	if condition == "" {
		return s.Steady
	}
	return slices.DeleteFunc(slices.Concat(s.Faults, s.Others), func(t *Trial) bool { return t.Condition() != condition })
}

// Comparison is a rank test of one system's trials against another's.
type Comparison struct {
	System, Against, Quantity string
	stats.RankTest
	Adjusted float64 // P after Holm's correction over the cell's comparisons
}

// Compare tests every system's p99 and CPU against those of the reference system. It returns nothing unless both have
// stats.MinTrials valid trials.
func (c *Cell) Compare(reference string) []Comparison {
	i := slices.IndexFunc(c.Systems, func(s System) bool { return s.Name == reference })
	if i < 0 {
		return nil
	}
	var out []Comparison
	for _, s := range c.Systems {
		if s.Name == reference {
			continue
		}
		for _, q := range []struct {
			name string
			of   func(System) stats.Summary
		}{
			{"p99", func(s System) stats.Summary { return s.P99 }},
			{"CPU", func(s System) stats.Summary { return s.CPU }},
		} {
			test, err := stats.MannWhitney(q.of(s).Values, q.of(c.Systems[i]).Values)
			if err != nil {
				continue
			}
			out = append(out, Comparison{System: s.Name, Against: reference, Quantity: q.name, RankTest: test})
		}
	}
	p := make([]float64, len(out))
	for i := range out {
		p[i] = out[i].P
	}
	for i, adjusted := range stats.Holm(p) {
		out[i].Adjusted = adjusted
	}
	return out
}
