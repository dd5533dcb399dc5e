// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"fmt"
	"slices"
	"strconv"

	"gonum.org/v1/plot/vg"

	"github.com/dnsingress/dnsingress/internal/results"
)

// Staleness is the kind staleness.
func (Catalog) Staleness() Kind {
	return Kind{
		Name: "staleness", Does: "share of users who still try a removed address, over the time since its removal", Faults: true,
		Draw: func(d Data) *Figure {
			var all []Tries
			for _, s := range d.Series {
				t := Tries{Name: s.Name, Trials: len(s.Trials)}
				for _, trial := range s.Trials {
					for _, e := range trial.Events {
						if e.Kind != results.EventClient || e.Name != results.LastTry {
							continue
						}
						if ns, err := strconv.ParseInt(e.Detail["after_ns"], 10, 64); err == nil {
							t.LastS = append(t.LastS, float64(ns)/1e9)
						}
					}
				}
				if len(t.LastS) > 0 {
					all = append(all, t)
				}
			}
			return LastTries(d.Name, all)
		},
	}
}

// Tries are the last tries of the removed address by the users of several trials.
type Tries struct {
	Name   string
	Trials int
	LastS  []float64 // in seconds since the removal; 0 of users who never tried it again
}

// soonest is where the axis of time begins, in seconds: what is sooner is of no use to anyone.
const soonest = 0.1

// LastTries draws, for each series, which share of its users were yet to try the removed address for the last time. It returns
// nil without any user.
func LastTries(name string, all []Tries) *Figure {
	if len(all) == 0 {
		return nil
	}
	return &Figure{Name: name, Title: "Users who still try a removed address", Height: chartHeight, draw: func(p *pen) {
		most, users, trials := 2*soonest, 0, 0
		var names []string
		for _, t := range all {
			most = max(most, slices.Max(t.LastS))
			users, trials = users+len(t.LastS), trials+t.Trials
			names = append(names, t.Name)
		}
		strokes := p.theme.strokes(names)
		var keys []key
		for i, name := range names {
			keys = append(keys, key{name: name, line: &strokes[i]})
		}
		note := fmt.Sprintf("Each step: one user's last try. %d users in %d trials.", users, trials)
		f := p.chart(keys, note, logarithmic(soonest, 1.3*most), linear(0, 100, 5, true))
		for i, t := range all {
			f.line(strokes[i].color, 0.9, strokes[i].dashes, t.steps(f)...)
		}
		f.axes("time since the removal (s)", "users who still try it (%)")
	}}
}

// steps is the line from all users who tried it at all down to none.
func (t Tries) steps(f *frame) []vg.Point {
	sorted := slices.Sorted(slices.Values(t.LastS))
	at := func(x float64, left int) vg.Point {
		return vg.Point{X: f.px(max(x, soonest)), Y: f.py(100 * float64(left) / float64(len(sorted)))}
	}
	late, _ := slices.BinarySearchFunc(sorted, soonest, func(v, least float64) int {
		if v <= least {
			return -1
		}
		return 1
	})
	line := []vg.Point{at(soonest, len(sorted)-late)}
	for i := late; i < len(sorted); i++ {
		line = append(line, at(sorted[i], len(sorted)-i), at(sorted[i], len(sorted)-i-1))
	}
	return line
}
