// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"math"
	"slices"
)

// Signals lists the signals that the policy reads, in the order of their first use: those of rules and weight before
// those of TTLs.
func (p *Policy) Signals() []string {
	names, _ := p.signals()
	return names
}

// signals also returns how many of them are of rules and weight: their evaluations are what state moves with.
func (p *Policy) signals() (names []string, moving int) {
	names = make([]string, 0, 4)
	add := func(signal string, exprs ...*Expr) {
		bare := true
		for _, e := range exprs {
			for _, s := range e.signals {
				if !slices.Contains(names, s) {
					names = append(names, s)
				}
			}
			bare = bare && e.IsZero()
		}
		if bare && !slices.Contains(names, signal) {
			names = append(names, signal)
		}
	}
	for k := range p.Rules {
		r := &p.Rules[k]
		add(r.Signal, &r.Value, &r.KeepIf, &r.ReadmitIf)
	}
	if p.Weight.measured() {
		add(p.Weight.Signal, &p.Weight.Value)
	}
	moving = len(names)
	for _, t := range []*TTL{&p.TTL, &p.NegativeTTL} {
		for k := range t.Rules {
			if r := &t.Rules[k]; r.measured() {
				add(r.Signal, &r.Value)
			}
		}
	}
	return names, moving
}

// values returns, for each ready member, the value of the expression, or of the signal if the expression is zero; false:
// a signal is not live. It is valid until values is called again.
func (w *work) values(signal string, e *Expr, over Over) ([]float64, bool) {
	if !e.IsZero() {
		return w.evaluate(e, over)
	}
	column := w.column(signal)
	if column < 0 {
		return nil, false
	}
	w.vector = slices.Grow(w.vector[:0], len(w.ready))[:len(w.ready)]
	for r, i := range w.ready {
		w.vector[r] = w.d.Members[i].Values[column]
	}
	return w.vector, true
}

// column is where the signal's values stand; -1: it is not live. It also notes whether all that is read are states.
func (w *work) column(signal string) int {
	k := slices.Index(w.d.Signals, signal)
	if k >= 0 && w.columns[k].At.IsZero() {
		return -1
	}
	w.onStates = w.onStates && k >= 0 && w.columns[k].state()
	return k
}

// evaluate calculates an expression for each ready member; false: a signal is not live.
func (w *work) evaluate(e *Expr, over Over) ([]float64, bool) {
	columns := make([]int, len(e.signals))
	for i, s := range e.signals {
		if columns[i] = w.column(s); columns[i] < 0 {
			return nil, false
		}
	}
	values := make([]float64, len(w.ready))
	pools := make([]float64, len(e.pools))
	for p, n := range e.pools {
		for r, i := range w.ready {
			values[r] = n.args[0].eval(w.d.Members[i].Values, columns, pools)
		}
		pools[p] = math.NaN()
		if sorted := w.sample(values, over); len(sorted) > 0 {
			pools[p] = statistic(n.name, sorted)
		}
	}
	for r, i := range w.ready {
		values[r] = e.root.eval(w.d.Members[i].Values, columns, pools)
	}
	return values, true
}

// sample returns the values that statistics are of, sorted. It is valid until sample is called again.
func (w *work) sample(values []float64, over Over) []float64 {
	w.scratch = slices.Grow(w.scratch[:0], len(values))
	if over == OverIn {
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
