// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"time"

	"github.com/dnsingress/dnsingress/internal/results"
)

// Trials is a condition under which every cell is tried Count times: steady, or with one of Fault, Chaos, Churn, FindMax and
// Idle.
type Trials struct {
	// Count of valid trials a cell.
	Count int `yaml:"count"`
	// Window is the time that is measured.
	Window time.Duration `yaml:"window"`
	// Fault done in the window.
	Fault *Fault `yaml:"fault"`
	// Chaos is done in the window step by step, from its begin on.
	Chaos []Step `yaml:"chaos"`
	// Churn replaces pods of the backend in the window.
	Churn *Churn `yaml:"churn"`
	// FindMax searches the highest rate; the window is that of the run that confirms it.
	FindMax *FindMax `yaml:"find_max"`
	// Idle trials have no load: they tell what a system costs that nobody asks.
	Idle bool `yaml:"idle"`
	// Factors of this entry, crossed with the scenario's, or in place of those of the same name.
	Factors Factors `yaml:"factors"`
	// Pairs of this entry, likewise.
	Pairs []Pair `yaml:"pairs"`
}

// Fault is something broken at a known instant and held broken.
type Fault struct {
	// Kind of fault, e.g. pod-sigkill or node-power-cut (testbed fault list).
	Kind string `yaml:"kind"`
	// At is the instant of the fault, counted from the start of the window.
	At time.Duration `yaml:"at"`
	// Hold is how long it lasts; it ends within the window.
	Hold time.Duration `yaml:"hold"`
	// With are parameters of the kind, where it has any.
	With map[string]string `yaml:"with"`
}

// Step of chaos: exactly one of its keys but With is given. Steps follow one another.
type Step struct {
	// Mark writes an event of this name: where a figure begins to count, and where it ends.
	Mark string `yaml:"mark"`
	// Inject begins the fault of this kind.
	Inject string `yaml:"inject"`
	// With are parameters of the fault that is injected.
	With map[string]string `yaml:"with"`
	// Wait lets time pass.
	Wait time.Duration `yaml:"wait"`
	// Withdraw ends the fault of this kind, which was injected before.
	Withdraw string `yaml:"withdraw"`
	// Recover waits until everything is healthy again, at most so long; later is a reason for which the trial is invalid.
	Recover time.Duration `yaml:"recover"`
}

// Churn replaces pods: at each beat so many are deleted, and others take their place.
type Churn struct {
	// Pods that are deleted at each beat, gracefully.
	Pods int `yaml:"pods"`
	// At is the first beat, counted from the start of the window.
	At time.Duration `yaml:"at"`
	// Every is the time from beat to beat; the last is so much before the end of the window at least. 0 is one beat alone.
	Every time.Duration `yaml:"every"`
}

// Beats counts the beats within a window.
func (c *Churn) Beats(window time.Duration) int {
	if c.Every <= 0 {
		return 1
	}
	return max(int((window-c.At)/c.Every), 1)
}

// FindMax searches the highest rate that keeps a goal: it doubles the rate until the goal is missed, halves the interval in
// which that happened, and confirms what it found.
type FindMax struct {
	// From is the first rate, of all client nodes together.
	From float64 `yaml:"from"`
	// Most is the highest rate that is tried.
	Most float64 `yaml:"most"`
	// Step is the length of the run at each rate. Default 5s.
	Step time.Duration `yaml:"step"`
	// P99 is the highest 99th percentile of the latency. Default 100ms.
	P99 time.Duration `yaml:"p99"`
	// Success is the least share of requests that succeed. Default 0.999.
	Success float64 `yaml:"success"`
	// Precision is how close to the first rate that misses the goal the search ends, as a share. Default 0.1.
	Precision float64 `yaml:"precision"`
}

// filled returns the search with its defaults.
func (m FindMax) filled() FindMax {
	if m.Step == 0 {
		m.Step = 5 * time.Second
	}
	if m.P99 == 0 {
		m.P99 = 100 * time.Millisecond
	}
	if m.Success == 0 {
		m.Success = 0.999
	}
	if m.Precision == 0 {
		m.Precision = 0.1
	}
	return m
}

// Kind is that of the trials in results.
func (t *Trials) Kind() string {
	switch {
	case t.Fault != nil, len(t.Chaos) > 0:
		return results.KindFault
	case t.Churn != nil:
		return results.KindChurn
	case t.FindMax != nil:
		return results.KindFindMax
	case t.Idle:
		return results.KindIdle
	}
	return results.KindSteady
}

// Condition is the level of the factor "fault": none, or what is done.
func (t *Trials) Condition() string {
	switch {
	case t.Fault != nil:
		return t.Fault.Kind
	case len(t.Chaos) > 0:
		return "chaos-" + t.injected()
	case t.Churn != nil:
		return fmt.Sprintf("churn-%d", t.Churn.Pods)
	case t.FindMax != nil:
		return "find-max"
	case t.Idle:
		return "idle"
	}
	return "none"
}

// injected is the first fault of chaos.
func (t *Trials) injected() string {
	for _, s := range t.Chaos {
		if s.Inject != "" {
			return s.Inject
		}
	}
	return "none"
}

// Faults lists what the entry breaks, in order. Those of chaos are held from their step to that which withdraws them.
func (t *Trials) Faults() []Fault {
	if t.Fault != nil {
		return []Fault{*t.Fault}
	}
	var out []Fault
	standing := map[string]int{} // by kind, its place in out
	for _, s := range t.Chaos {
		for _, i := range standing {
			out[i].Hold += s.Wait + s.Recover
		}
		if s.Inject != "" {
			standing[s.Inject] = len(out)
			out = append(out, Fault{Kind: s.Inject, With: s.With})
		}
		delete(standing, s.Withdraw)
	}
	return out
}

// loaded says whether the entry has a rate: a search looks for one, and idle trials have none.
func (t *Trials) loaded() bool { return t.FindMax == nil && !t.Idle }
