// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/search"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// kneeMeasure is the measure of a find-max trial that rates are shares of.
const kneeMeasure = "knee_requests_per_s"

// errNoKnee ends a trial before it begins: to repeat it would not help.
var errNoKnee = errors.New("no valid trial of this run tells the knee")

// resolveRate makes a share of a knee a rate: of the median of the knees that this run found for the same system and levels.
func (t *trial) resolveRate() error {
	part, ok := t.cell.Share()
	if !ok {
		return nil
	}
	trials, err := t.run.Trials()
	if err != nil {
		return err
	}
	knee, ok := t.knee(trials)
	if !ok {
		return fmt.Errorf("%w of %s (hint: the verdicts of its find-max trials)", errNoKnee, t.cell)
	}
	t.offered.Rate = part * knee
	t.out.Rate = t.offered.Rate
	return nil
}

// knee is the median of what valid trials found for the cell.
func (t *trial) knee(trials []results.TrialDir) (float64, bool) {
	var found []float64
	want := t.factors(t.cell)
	for _, d := range trials {
		same := d.Verdict.Valid && d.Trial.Kind == results.KindFindMax && d.Trial.System == t.cell.System
		for _, f := range t.Scenario.Given() {
			same = same && (f == scenario.Rate || d.Trial.Factors[f.String()] == want[f.String()])
		}
		if rate := d.Trial.Measures[kneeMeasure]; same && rate > 0 {
			found = append(found, rate)
		}
	}
	if len(found) == 0 {
		return 0, false
	}
	return stats.Median(found), true
}

// Of every search: steps whose requests are sent too late say nothing of the system, and few requests say nothing at all.
const (
	leastInTime   = 0.99
	leastRequests = 20
)

// seek searches the cell's knee. Each step is a run of all its client nodes at once; the one that confirms is measured like any
// trial's window.
func (t *trial) seek(ctx context.Context) error {
	m := t.cell.Trials.FindMax
	options := search.Options{
		Goal: search.Goal{P99: m.P99, Success: m.Success, SendRate: leastInTime},
		From: m.From, Most: m.Most, Least: leastRequests / m.Step.Seconds(), Precision: m.Precision,
	}
	account, err := search.Run(ctx, options, t.probe)
	t.account, t.facts.search = &account, &account
	t.out.Rate = account.Rate
	return errors.Join(err, results.WriteJSON(filepath.Join(t.dir, results.LogsDir, "search.json"), account))
}

// probe makes one run at a rate.
func (t *trial) probe(ctx context.Context, rate float64, confirms bool) (search.Measured, error) {
	t.offered.Rate = rate
	if confirms {
		t.window, t.usage, t.facts.missing, t.facts.throttled = t.cell.Trials.Window, nil, nil, nil
		if err := errors.Join(t.load(ctx), ctx.Err()); err != nil {
			return search.Measured{}, err
		}
		return t.measured(ctx)
	}
	t.window = t.cell.Trials.FindMax.Step
	start := time.Now().Add(lead)
	shut := start.Add(t.offered.Warmup + t.window)
	var all group
	for i, n := range t.clients() {
		all.do(func() error { return t.generate(ctx, i, n.Name, start, shut) })
	}
	if err := errors.Join(all.wait(), ctx.Err()); err != nil {
		return search.Measured{}, err
	}
	return t.measured(ctx)
}

// summary is what is read of a generator's summary.
type summary struct {
	Requests  uint64            `json:"requests"`
	Succeeded uint64            `json:"succeeded"`
	InTime    uint64            `json:"in_time"`
	Errors    map[string]uint64 `json:"errors"`
	Causes    map[string]string `json:"causes"`
	Accuracy  *accuracySummary  `json:"accuracy"`
}

// summaries reads what each generator printed at the end of its last run.
func (t *trial) summaries() ([]summary, error) {
	var all []summary
	for _, n := range t.clients() {
		path := filepath.Join(t.dir, results.LogsDir, "loadgen-"+n.Name+".json")
		var s summary
		b, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(b, &s)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the summary of the generator on %s: %w", n.Name, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// measured puts the generators' last run together.
func (t *trial) measured(ctx context.Context) (search.Measured, error) {
	all, err := t.summaries()
	if err != nil {
		return search.Measured{}, err
	}
	parts, err := os.MkdirTemp(t.dir, ".step-")
	if err != nil {
		return search.Measured{}, fmt.Errorf("making a directory for a step: %w", err)
	}
	defer os.RemoveAll(parts)
	var files []string
	for _, n := range t.clients() {
		files = append(files, partPath(parts, n.Name, results.HistogramFile))
	}
	if err := each(ctx, t.clients(), func(ctx context.Context, n inventory.Node) error {
		return t.fetch(ctx, n.Name, t.sampleDir()+"/"+results.HistogramFile, partPath(parts, n.Name, results.HistogramFile))
	}); err != nil {
		return search.Measured{}, err
	}
	latency, err := mergeHistograms(filepath.Join(parts, results.HistogramFile), files)
	if err != nil {
		return search.Measured{}, err
	}
	m := together(all)
	m.P99 = time.Duration(latency.ValueAtQuantile(99))
	t.Log.Debug("step", "trial", t.out.ID, "rate", t.offered.Rate, "p99", m.P99, "success", m.Success, "in_time", m.SendRate)
	return m, nil
}

// together adds the generators' counts up.
func together(all []summary) search.Measured {
	var sum summary
	var m search.Measured
	for _, s := range all {
		sum.Requests, sum.Succeeded, sum.InTime = sum.Requests+s.Requests, sum.Succeeded+s.Succeeded, sum.InTime+s.InTime
		if s.Errors[results.ErrOther] > 0 && !slices.Contains(m.Invalid, s.Causes[results.ErrOther]) {
			m.Invalid = append(m.Invalid, s.Causes[results.ErrOther])
		}
	}
	due := float64(max(sum.Requests, 1))
	m.Success, m.SendRate = float64(sum.Succeeded)/due, float64(sum.InTime)/due
	return m
}
