// SPDX-License-Identifier: Apache-2.0

// Package digest reads a run once, as a stream, and keeps what figures and
// tables need of it: histograms, counters and bins, whose size does not depend on
// the number of samples.
//
//  1. Open reads the manifest and every trial (ReadTrial), a few at a time.
//  2. Whatever is wrong with a file becomes a Warning of its trial, and the rest of the trial is used.
//  3. Cells groups the trials that may be compared, by system, and summarises them over trials.
package digest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/internal/results"
)

// Run is what a run directory shows.
type Run struct {
	Dir      string
	Manifest results.Manifest
	Scenario string  // verbatim; empty when the file is missing
	Trials   []Trial // in the order of execution
	Warnings []Warning
}

// Warning is a doubt that the reader of a figure must know of.
type Warning struct {
	Trial string `json:"trial,omitempty"` // empty: the whole run
	Text  string `json:"text"`
	// Damage marks a file that is missing, torn or contradicts another: the run is not what was recorded.
	Damage bool `json:"damage"`
}

func (w Warning) String() string {
	if w.Trial == "" {
		return w.Text
	}
	return w.Trial + ": " + w.Text
}

// Open reads the run in dir. Trials are read concurrently, one for each processor; progress, when not
// nil, is called after each with the number read and the number of all.
// Only a directory that is no readable run is an error; everything else is in the warnings.
func Open(ctx context.Context, dir string, progress func(done, all int)) (*Run, error) {
	run, opened, err := begin(dir)
	if err != nil {
		return nil, err
	}
	dirs, err := opened.Trials()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && len(dirs) == 0 {
			run.warn(true, "no trials: %v", err)
			return run, nil
		}
		run.warn(true, "%v", err)
	}
	run.Trials = make([]Trial, len(dirs))
	clocks := newClocks(run.Manifest.Hosts)
	limit := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wait sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for i, d := range dirs {
		wait.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			if ctx.Err() != nil {
				return
			}
			run.Trials[i] = readTrial(ctx, d, clocks, run.Manifest.Thinning != "")
			mu.Lock()
			defer mu.Unlock()
			if done++; progress != nil {
				progress(done, len(dirs))
			}
		})
	}
	wait.Wait()
	run.unequal()
	return run, ctx.Err()
}

// unequal warns of trials of one kind that measured for different times: their percentiles and counts rest on
// different numbers of requests.
func (r *Run) unequal() {
	type span struct{ least, most int64 }
	spans := map[string]span{}
	for i := range r.Trials {
		t := &r.Trials[i]
		if !t.Used() {
			continue
		}
		kind := t.Kind
		if t.Fault != nil {
			kind += " " + t.Fault.Kind
		}
		length := t.WindowEndNs - t.WindowStartNs
		s, ok := spans[kind]
		if !ok {
			s = span{length, length}
		}
		spans[kind] = span{min(s.least, length), max(s.most, length)}
	}
	for _, kind := range slices.Sorted(maps.Keys(spans)) {
		if s := spans[kind]; float64(s.most-s.least) > windowSlack*float64(s.most) {
			r.warn(false, "%s trials are of unequal length, %.3g to %.3g s: each still counts as one", kind, float64(s.least)/1e9, float64(s.most)/1e9)
		}
	}
}

// begin reads all of a run but its trials.
func begin(dir string) (*Run, *results.Run, error) {
	opened, err := results.OpenRun(dir)
	if err != nil {
		return nil, nil, err
	}
	run := &Run{Dir: dir, Manifest: opened.Manifest}
	scenario, err := os.ReadFile(filepath.Join(dir, results.ScenarioFile))
	if err != nil {
		run.warn(true, "reading scenario: %v", err)
	}
	run.Scenario = string(scenario)
	if t := opened.Manifest.Thinning; t != "" {
		run.warn(false, "samples are thinned: %s", t)
	}
	if opened.Manifest.Source.Dirty {
		run.warn(false, "the programs were built from a tree with changes that commit %.12s does not hold", opened.Manifest.Source.Commit)
	}
	for _, r := range opened.Manifest.Resumed {
		if r.Source != opened.Manifest.Source {
			run.warn(false, "trials from %s on are of programs of commit %s, those before of commit %.12s", r.At.UTC().Format(time.DateTime), r.Source, opened.Manifest.Source.Commit)
		}
	}
	return run, opened, nil
}

func (r *Run) warn(damage bool, format string, a ...any) {
	r.Warnings = append(r.Warnings, Warning{Text: fmt.Sprintf(format, a...), Damage: damage})
}

// AllWarnings returns the run's warnings and then those of its trials, in order.
func (r *Run) AllWarnings() []Warning {
	out := slices.Clone(r.Warnings)
	for _, t := range r.Trials {
		out = append(out, t.Warnings...)
	}
	return out
}

// Damaged counts the warnings that mark damage.
func (r *Run) Damaged() int {
	n := 0
	for _, w := range r.AllWarnings() {
		if w.Damage {
			n++
		}
	}
	return n
}

// clocks moves instants of one node's clock to another's.
type clocks map[string]results.Host

func newClocks(hosts []results.Host) clocks {
	c := clocks{}
	for _, h := range hosts {
		c[h.Name] = h
	}
	return c
}

// between returns what to add to an instant on node from's clock to have it on node to's, and how far that may be
// off. Nodes that share a kernel share its clock, whatever was measured through the network.
func (c clocks) between(from, to string) (shift, bound int64) {
	a, okA := c[from]
	b, okB := c[to]
	if !okA || !okB || a.BootID == b.BootID {
		return 0, 0
	}
	return b.ClockOffsetNs - a.ClockOffsetNs, (a.ClockRTTNs + b.ClockRTTNs) / 2
}
