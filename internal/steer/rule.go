// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"math"
	"slices"
)

// name is what explanations call the rule.
func (r *Rule) name() string {
	if r.Name != "" {
		return r.Name
	}
	return r.Signal
}

// judge lets every rule judge every ready member and returns how many rules had live signals.
func (w *work) judge() int {
	rules := w.policy.Rules
	w.judged = make([]judgement, len(w.ready))
	for r := range w.judged {
		w.judged[r] = judgement{reason: NoValue, rule: -1, value: math.NaN(), limit: math.NaN()}
	}
	w.d.Limits = make([]float64, len(rules))
	spoke := 0
	for k := range rules {
		w.d.Limits[k] = math.NaN()
		if w.apply(k) {
			spoke++
		}
	}
	return spoke
}

// apply lets one rule judge; false: its signals are not live.
func (w *work) apply(k int) bool {
	rule := &w.policy.Rules[k]
	values, ok := w.values(rule)
	if !ok {
		return false
	}
	w.bounded(k, rule, values)
	return true
}

// values returns what the rule judges of each ready member.
func (w *work) values(rule *Rule) ([]float64, bool) {
	column := slices.Index(w.d.Signals, rule.Signal)
	if column < 0 || w.columns[column].At.IsZero() {
		return nil, false
	}
	values := make([]float64, len(w.ready))
	for r, i := range w.ready {
		values[r] = w.d.Members[i].Values[column]
	}
	return values, true
}

// bounded judges by Keep and Readmit.
func (w *work) bounded(k int, rule *Rule, values []float64) {
	sorted := w.sample(rule, values)
	keep := rule.Keep.limit(sorted)
	back, backBound := keep, rule.Keep
	if !rule.Readmit.IsZero() {
		backBound = rule.Readmit
		back = backBound.limit(sorted)
	}
	w.d.Limits[k] = keep
	for r, value := range values {
		bound, limit := rule.Keep, keep
		if w.excluded(w.ready[r]) {
			bound, limit = backBound, back
		}
		switch {
		case math.IsNaN(value):
			w.judged[r].miss(k)
		case bound.holds(value, limit):
			w.judged[r].keep(k, value, limit)
		case rule.Keep.holds(value, keep):
			w.judged[r].drop(k, Waiting, value, limit, excess(value, limit))
		default:
			w.judged[r].drop(k, Beyond, value, limit, excess(value, limit))
		}
	}
}

// sample returns the values that a rule's statistics are of, sorted.
func (w *work) sample(rule *Rule, values []float64) []float64 {
	w.scratch = w.scratch[:0]
	if rule.Over == OverIn {
		for r, value := range values {
			if old := w.old[w.ready[r]]; !math.IsNaN(value) && (old == nil || old.In) {
				w.scratch = append(w.scratch, value)
			}
		}
	}
	if len(w.scratch) == 0 {
		for _, value := range values {
			if !math.IsNaN(value) {
				w.scratch = append(w.scratch, value)
			}
		}
	}
	slices.Sort(w.scratch)
	return w.scratch
}

// excess is how far a value is beyond a limit, relative to the limit.
func excess(value, limit float64) float64 {
	scale := math.Abs(limit)
	if scale == 0 {
		scale = 1
	}
	if away := math.Abs(value-limit) / scale; !math.IsNaN(away) {
		return away
	}
	return math.Inf(1)
}

// keep notes that a rule keeps the member.
func (j *judgement) keep(rule int, value, limit float64) {
	if j.rule < 0 && !j.out {
		j.rule, j.reason, j.value, j.limit = rule, Within, value, limit
	}
}

// miss notes that a rule has no value for the member.
func (j *judgement) miss(int) { j.missing = true }

// drop notes that a rule puts the member out; the first to do so is named.
func (j *judgement) drop(rule int, reason Reason, value, limit, severity float64) {
	if !j.out {
		j.out, j.rule, j.reason, j.value, j.limit = true, rule, reason, value, limit
	}
	j.severity = max(j.severity, severity)
}

// Signals lists the signals that the policy reads, in the order of their first use.
func (p *Policy) Signals() []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for k := range p.Rules {
		add(p.Rules[k].Signal)
	}
	return names
}
