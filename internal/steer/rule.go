// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"cmp"
	"math"
	"slices"
)

// judgement is what the rules say of one member.
type judgement struct {
	out      bool
	reason   Reason
	rule     int // that puts it out, or the first that has a value for it; -1: none
	value    float64
	limit    float64
	severity float64 // how far it is out, relative to the limit
	missing  bool    // some rule has no value for it
	unstated bool    // one of them is on states
	settled  bool    // a rule on states puts it out
	measured bool    // another rule does
}

// keep notes that a rule keeps the member.
func (j *judgement) keep(rule int, value, limit float64) {
	if j.rule < 0 {
		j.rule, j.reason, j.value, j.limit = rule, Within, value, limit
	}
}

// drop notes that a rule puts a ready member out; the first to do so is named.
func (w *work) drop(r, rule int, reason Reason, value, limit, severity float64) {
	j := &w.judged[r]
	if !j.out {
		j.out, j.rule, j.reason, j.value, j.limit = true, rule, reason, value, limit
	}
	j.severity = max(j.severity, severity)
	if w.onStates {
		j.settled = true
	} else {
		j.measured = true
	}
}

// miss notes that a rule has no value for a ready member.
func (w *work) miss(r int) {
	j := &w.judged[r]
	j.missing, j.unstated = true, j.unstated || w.onStates
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

// name is what explanations call the rule.
func (r *Rule) name() string {
	switch {
	case r.Name != "":
		return r.Name
	case !r.Value.IsZero():
		return r.Value.String()
	case !r.KeepIf.IsZero():
		return r.KeepIf.String()
	}
	return r.Signal
}

// judge lets every rule judge every ready member and returns how many rules had live signals.
func (w *work) judge() int {
	w.judged = make([]judgement, len(w.ready))
	for r := range w.judged {
		w.judged[r] = judgement{reason: NoValue, rule: -1, value: math.NaN(), limit: math.NaN()}
	}
	w.d.Limits = make([]float64, len(w.policy.Rules))
	spoke := 0
	for k := range w.policy.Rules {
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
	w.onStates = true
	if !rule.KeepIf.IsZero() {
		return w.conditioned(k, rule)
	}
	values, ok := w.values(rule.Signal, &rule.Value, rule.Over)
	if !ok {
		return false
	}
	switch {
	case rule.Lowest > 0 || rule.Highest > 0:
		w.ranked(k, rule, values)
	case rule.Shed != nil:
		w.shed(k, rule, values)
	default:
		w.bounded(k, rule, values)
	}
	return true
}

// bounded judges by Keep and Readmit.
func (w *work) bounded(k int, rule *Rule, values []float64) {
	sorted := w.sample(values, rule.Over)
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
		j := &w.judged[r]
		switch {
		case math.IsNaN(value):
			w.miss(r)
		case bound.holds(value, limit):
			j.keep(k, value, limit)
		case rule.Keep.holds(value, keep):
			w.drop(r, k, Waiting, value, limit, excess(value, limit))
		default:
			w.drop(r, k, Beyond, value, limit, excess(value, limit))
		}
	}
}

// conditioned judges by KeepIf and ReadmitIf; false: their signals are not live.
func (w *work) conditioned(k int, rule *Rule) bool {
	keep, ok := w.evaluate(&rule.KeepIf, rule.Over)
	if !ok {
		return false
	}
	back := keep
	if !rule.ReadmitIf.IsZero() {
		if back, ok = w.evaluate(&rule.ReadmitIf, rule.Over); !ok {
			return false
		}
	}
	none := math.NaN()
	for r, i := range w.ready {
		holds := keep[r]
		if w.excluded(i) {
			holds = back[r]
		}
		j := &w.judged[r]
		switch {
		case math.IsNaN(holds):
			w.miss(r)
		case holds == 1:
			j.keep(k, none, none)
		case keep[r] == 1:
			w.drop(r, k, Waiting, none, none, 0)
		default:
			w.drop(r, k, Beyond, none, none, 0)
		}
	}
	return true
}

// candidate is a member among those that compete for places.
type candidate struct {
	r     int     // index in ready
	value float64 // as it competes: less is first
	rank  int     // of two with the same value the lesser rank is first
}

func compareCandidates(a, b candidate) int {
	return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.rank, b.rank), cmp.Compare(a.r, b.r))
}

// ranked judges by Lowest or Highest: the places go to the best, of equals to those that have one, then by address.
func (w *work) ranked(k int, rule *Rule, values []float64) {
	places, sign := rule.Lowest, 1.0
	if rule.Highest > 0 {
		places, sign = rule.Highest, -1
	}
	w.candidates = w.candidates[:0]
	for r, value := range values {
		if math.IsNaN(value) {
			w.miss(r)
			continue
		}
		c := candidate{r, float64(sign * value), 1}
		if old := w.old[w.ready[r]]; old != nil && !old.Memory.Excluded {
			c.rank = 0
			if !math.IsInf(value, 0) {
				c.value -= float64(float64(rule.Margin) * math.Abs(value))
			}
		}
		w.candidates = append(w.candidates, c)
	}
	slices.SortFunc(w.candidates, compareCandidates)
	places = min(places, len(w.candidates))
	if places == 0 {
		return
	}
	worst := math.Inf(-1)
	for _, c := range w.candidates[:places] {
		worst = max(worst, sign*values[c.r])
	}
	limit := float64(sign * worst)
	w.d.Limits[k] = limit
	for i, c := range w.candidates {
		value, j := values[c.r], &w.judged[c.r]
		switch {
		case i < places:
			j.keep(k, value, limit)
		case sign*value < worst: // better, but not by the margin
			w.drop(c.r, k, Waiting, value, limit, 0)
		default:
			w.drop(c.r, k, Outranked, value, limit, excess(value, limit))
		}
	}
}

// share is the part that a value sheds.
func (m *Watermarks) share(value float64) float64 {
	return min(1, max(0, (value-m.Low)/(m.High-m.Low)))
}

// shed judges by Shed. Of those between the watermarks, members that are out already are the first to make up the
// number, so that it is not a different one that is out each time.
func (w *work) shed(k int, rule *Rule, values []float64) {
	marks := rule.Shed
	w.d.Limits[k] = marks.High
	w.candidates = w.candidates[:0]
	total, whole := 0.0, 0
	for r, value := range values {
		j := &w.judged[r]
		if math.IsNaN(value) {
			w.miss(r)
			continue
		}
		share := marks.share(value)
		total += share
		switch {
		case share == 1:
			whole++
			w.drop(r, k, Beyond, value, marks.High, excess(value, marks.Low))
		case share == 0:
			j.keep(k, value, marks.Low)
		default:
			c := candidate{r, -share, 0}
			if w.excluded(w.ready[r]) {
				c.value--
			}
			w.candidates = append(w.candidates, c)
		}
	}
	slices.SortFunc(w.candidates, compareCandidates)
	leave := int(total+1e-9) - whole
	for i, c := range w.candidates {
		value, j := values[c.r], &w.judged[c.r]
		if i < leave {
			w.drop(c.r, k, Shedding, value, marks.Low, excess(value, marks.Low))
		} else {
			j.keep(k, value, marks.High)
		}
	}
}
