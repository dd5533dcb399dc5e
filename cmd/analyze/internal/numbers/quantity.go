// SPDX-License-Identifier: Apache-2.0

// Package numbers names every quantity of a run, so that a text can cite it and a claim can rest on it.
//
//  1. Of takes the quantities of a run from its digest: one value a trial, summarised over trials.
//  2. Macros gives each quantity, its spread and its ratios the name of a LaTeX macro, with where it comes from.
//  3. Write writes the macros that a text cites, below a header from which Redo writes the same bytes again.
//
// Whoever cites a quantity that a run does not have is told so, with the nearest name.
package numbers

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// Quantity is one quantity of one system in one cell of a run, over the trials that have it.
type Quantity struct {
	Levels string // of the cell, as digest.Cell has them; empty where the run has one cell
	System string
	Fault  string // condition of the trials (digest.Trial.Condition): kind of a fault, churn-10, find-max, idle; empty: steady
	Name   string // "p99", "window"
	Unit   string // "ms", "s", "%"; empty for counts and what names its unit itself
	Means  string // what it is, in words
	stats.Summary
	Trials []string // identifiers of the trials, in the order of the values
	// Cells is how many cells the trials are of: 1, or more where levels are left out.
	Cells int
	// Cut marks trials whose value is a lower bound, because the measured window ended before the thing did.
	Cut []bool
}

// IsCut reports whether any value is a lower bound only.
func (q *Quantity) IsCut() bool { return slices.Contains(q.Cut, true) }

func (q *Quantity) String() string {
	s := q.Name + " of " + q.System
	if q.Fault != "" {
		s += " under " + q.Fault
	}
	if q.Levels != "" {
		s += " at " + q.Levels
	}
	if q.Cells > 1 {
		s += fmt.Sprintf(" over %d cells", q.Cells)
	}
	return s
}

// metric reads one quantity of a trial; ok is false where the trial does not have it.
type metric struct {
	name, unit, means string
	of                func(*digest.Trial) (v float64, ok bool)
	cut               func(*digest.Trial) bool // nil: never
}

// Of returns the quantities of the run by cell, in a fixed order: cells, systems, steady trials before others.
func Of(run *digest.Run) (out []Quantity) {
	for _, c := range run.Cells() {
		out = append(out, ofCells(run, c.Levels, []digest.Cell{c})...)
	}
	return out
}

// Pooled returns the quantities of a run with several cells over the cells that have some levels in common: for each
// combination of levels of some of the factors, of the trials of all levels of the others.
func Pooled(run *digest.Run) (out []Quantity) {
	cells := run.Cells()
	if len(cells) < 2 {
		return nil
	}
	factors := strings.Split(cells[0].Levels, ",")
	all := 1<<len(factors) - 1
	for kept := range all { // the subsets of the factors but the whole, which cells are of
		var order []string
		groups := map[string][]digest.Cell{}
		for _, c := range cells {
			var levels []string
			for i, l := range strings.Split(c.Levels, ",") {
				if kept&(1<<i) != 0 {
					levels = append(levels, l)
				}
			}
			key := strings.Join(levels, ",")
			if groups[key] == nil {
				order = append(order, key)
			}
			groups[key] = append(groups[key], c)
		}
		for _, key := range order {
			if len(groups[key]) > 1 {
				out = append(out, ofCells(run, key, groups[key])...)
			}
		}
	}
	return out
}

// ofCells returns the quantities of cells together.
func ofCells(run *digest.Run, levels string, cells []digest.Cell) (out []Quantity) {
	var systems []string
	trials := map[string]map[string][]*digest.Trial{} // by system and condition
	conditions := map[string]bool{}
	for _, c := range cells {
		of := c.Conditions()
		for i := range c.Systems {
			s := &c.Systems[i]
			if !slices.Contains(systems, s.Name) {
				systems = append(systems, s.Name)
				trials[s.Name] = map[string][]*digest.Trial{}
			}
			for _, condition := range of {
				conditions[condition] = true
				trials[s.Name][condition] = append(trials[s.Name][condition], s.Under(condition)...)
			}
		}
	}
	for _, s := range systems {
		for _, condition := range slices.Sorted(maps.Keys(conditions)) {
			for _, q := range over(trials[s][condition], metricsOf(trials[s][condition])) {
				q.Levels, q.System, q.Fault, q.Cells = levels, s, condition, len(cells)
				if q.Cells == 1 {
					q.Summary = stats.Summarize(q.Values, run.Manifest.Seed)
				}
				out = append(out, q)
			}
		}
	}
	return out
}

// metricsOf lists what trials of one condition have. Nobody asks while a system is idle: such trials have their measures alone.
func metricsOf(trials []*digest.Trial) (out []metric) {
	switch {
	case len(trials) == 0 || trials[0].Kind == results.KindIdle:
	case trials[0].Fault != nil:
		out = faulty()
	default:
		out = steady()
	}
	return append(out, measures(trials)...)
}

// over summarises what metrics read of trials by median and range. An interval of trials of several cells would be of nothing.
func over(trials []*digest.Trial, metrics []metric) (out []Quantity) {
	for _, m := range metrics {
		q := Quantity{Name: m.name, Unit: m.unit, Means: m.means}
		var values []float64
		for _, t := range trials {
			v, ok := m.of(t)
			if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			values = append(values, v)
			q.Trials = append(q.Trials, t.ID)
			q.Cut = append(q.Cut, m.cut != nil && m.cut(t))
		}
		if len(values) == 0 {
			continue
		}
		q.Summary = stats.Summary{Values: values, Median: stats.Median(values), Min: slices.Min(values), Max: slices.Max(values)}
		out = append(out, q)
	}
	return out
}

// steady lists what a trial has whose requests are all alike: those of churn and of the rate that a search found, too.
func steady() []metric {
	out := []metric{
		{"requests", "", "requests that were due in the window", func(t *digest.Trial) (float64, bool) { return float64(t.Requests), true }, nil},
		{"failed", "%", "share of requests that failed", func(t *digest.Trial) (float64, bool) { return 100 * t.ErrorShare(), t.Requests > 0 }, nil},
	}
	for _, p := range []float64{50, 90, 99} {
		out = append(out, metric{
			fmt.Sprintf("p%.0f", p), "ms", fmt.Sprintf("%.0fth percentile of successful requests, from intended send to last byte", p),
			func(t *digest.Trial) (float64, bool) { return milliseconds(t.Latency, p) }, nil,
		})
	}
	for _, d := range []struct{ name, unit string }{{"mean", "ms"}, {"max", "ms"}, {"answered", "1/s"}, {"memory", "MiB"}, {"gini", "of 1"}, {"jain", "of 1"}} {
		if q, ok := digest.QuantityOf(d.name); ok {
			out = append(out, metric{d.name, d.unit, q.Label, q.Of, nil})
		}
	}
	for _, p := range []struct {
		name string
		of   func(*digest.Phases) float64
	}{
		{"lag", func(p *digest.Phases) float64 { return p.Lag }},
		{"dns", func(p *digest.Phases) float64 { return p.DNS }},
		{"connect", func(p *digest.Phases) float64 { return p.Connect }},
		{"first-byte", func(p *digest.Phases) float64 { return p.FirstByte }},
	} {
		out = append(out, metric{
			"mean-" + p.name, "ms", "mean time of a successful request in phase " + p.name,
			func(t *digest.Trial) (float64, bool) { return p.of(&t.Phases) / 1e6, t.Phases.Requests > 0 }, nil,
		})
	}
	out = append(out, used("cpu", "CPU time between client and backend", (*digest.Usage).Path))
	for _, c := range append(digest.Between(), results.ComponentPrometheus, results.ComponentControlPlane, results.ComponentNodeAgent) {
		out = append(out, used("cpu-"+c, "CPU time of "+c, func(u *digest.Usage) float64 { return u.Component[c] }))
	}
	out = append(out, used("cpu-softirq", "soft interrupt time of the kernels", func(u *digest.Usage) float64 { return u.Softirq }))
	for _, c := range digest.Between() {
		out = append(out, metric{
			"memory-" + c, "MiB", "resident memory of all processes of " + c + " at the window's end",
			func(t *digest.Trial) (float64, bool) {
				if t.Usage == nil || t.Usage.RSSBytes[c] == 0 {
					return 0, false
				}
				return float64(t.Usage.RSSBytes[c]) / (1 << 20), true
			}, nil,
		})
	}
	return out
}

func used(name, means string, of func(*digest.Usage) float64) metric {
	return metric{name, "s", means + ", seconds for 1,000 requests", func(t *digest.Trial) (float64, bool) {
		if t.Usage == nil {
			return 0, false
		}
		return of(t.Usage), true
	}, nil}
}

func milliseconds(l *stats.Latency, p float64) (float64, bool) {
	if l == nil {
		return 0, false
	}
	ns, ok := l.PercentileNs(p)
	return float64(ns) / 1e6, ok
}

// faulty lists what a trial with a fault has.
func faulty() []metric {
	still := (*digest.Trial).StillFailing
	failing := func(of func(*digest.Trial) int64) func(*digest.Trial) (float64, bool) {
		return func(t *digest.Trial) (float64, bool) { return seconds(of(t)), t.Outage.Failed > 0 }
	}
	out := []metric{
		{"requests", "", "requests that were due in the window", func(t *digest.Trial) (float64, bool) { return float64(t.Requests), true }, nil},
		{"failed-requests", "", "requests that failed because of the fault", func(t *digest.Trial) (float64, bool) { return float64(t.Outage.Failed), true }, still},
		{"failed", "%", "share of the window's requests that failed because of the fault", func(t *digest.Trial) (float64, bool) {
			return 100 * float64(t.Outage.Failed) / float64(t.Requests), t.Requests > 0
		}, still},
		{"window", "s", "client error window: first failed intended send to last failure seen", func(t *digest.Trial) (float64, bool) { return seconds(t.Outage.DurationNs()), true }, still},
		{"first", "s", "first failed intended send, after the fault's begin", failing(func(t *digest.Trial) int64 { return t.Outage.FirstNs - t.Fault.BeginNs }), nil},
		{"last", "s", "last failure seen, after the fault's begin", failing(func(t *digest.Trial) int64 { return t.Outage.LastNs - t.Fault.BeginNs }), still},
		{"hold", "s", "length of the fault", func(t *digest.Trial) (float64, bool) {
			return seconds(t.Fault.EndNs - t.Fault.BeginNs), t.Fault.EndNs > t.Fault.BeginNs
		}, nil},
		{"unready", "s", "first address that the cluster calls not ready, after the fault's begin", unready, nil},
	}
	for i, part := range []string{"before", "during", "after", "settled"} {
		of := func(t *digest.Trial) *digest.SharePart {
			if i < len(t.Share.Parts) {
				return &t.Share.Parts[i]
			}
			return &t.Share.Settled
		}
		when := part + " the fault"
		if part == "settled" {
			when = fmt.Sprintf("during the fault, from %.0f s on", seconds(digest.SettledNs))
		}
		out = append(out,
			metric{"share-" + part, "%", "share of answered requests that the fault's pod answered " + when, func(t *digest.Trial) (float64, bool) {
				return 100 * share(t, of), t.Share != nil
			}, nil},
			metric{"p99-" + part, "ms", "99th percentile of all answered requests " + when, func(t *digest.Trial) (float64, bool) {
				if t.Share == nil {
					return 0, false
				}
				return milliseconds(of(t).Latency, 99)
			}, nil})
	}
	return out
}

func share(t *digest.Trial, of func(*digest.Trial) *digest.SharePart) float64 {
	if t.Share == nil {
		return math.NaN()
	}
	return of(t).Of()
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

// measures returns a metric for everything that the trials measured besides requests and CPU time.
func measures(trials []*digest.Trial) (out []metric) {
	keys := map[string]bool{}
	for _, t := range trials {
		for k := range t.Measures {
			keys[k] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		name, unit := digest.UnitOf(key)
		scale := 1.0
		if unit == "ns" { // nobody reads nanoseconds
			unit, scale = "s", 1e-9
		}
		out = append(out, metric{
			strings.Join(name, "-"), unit, "measure " + key,
			func(t *digest.Trial) (float64, bool) { v, ok := t.Measures[key]; return v * scale, ok }, nil,
		})
	}
	return out
}

// Sum is the sum of the values, for counts.
func (q *Quantity) Sum() float64 {
	sum := 0.0
	for _, v := range q.Values {
		sum += v
	}
	return sum
}

// Find returns the quantity, or an error that says what there is instead.
func Find(all []Quantity, levels, system, fault, name string) (*Quantity, error) {
	known := map[string]bool{}
	for i := range all {
		q := &all[i]
		if q.Levels != levels || q.System != system || q.Fault != fault {
			continue
		}
		if q.Name == name {
			return q, nil
		}
		known[q.Name] = true
	}
	want := Quantity{Levels: levels, System: system, Fault: fault, Name: name}
	if len(known) > 0 {
		return nil, fmt.Errorf("no valid trial has %s (hint: there are %s)", &want, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	var others []string
	for _, q := range all {
		if q.Name == name {
			others = append(others, q.String())
		}
	}
	if len(others) == 0 {
		return nil, fmt.Errorf("no valid trial has %s", &want)
	}
	others = slices.Compact(slices.SortedFunc(slices.Values(others), cmp.Compare))
	if len(others) > 8 {
		others = append(others[:8], "…")
	}
	return nil, fmt.Errorf("no valid trial has %s (hint: there are %s)", &want, strings.Join(others, ", "))
}
