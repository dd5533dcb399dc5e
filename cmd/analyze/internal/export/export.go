// SPDX-License-Identifier: Apache-2.0

// Package export writes runs as flat tables for other programs (DuckDB, pandas, R): one file a table, as Parquet or CSV, the
// rows of all runs together. Columns run, trial, system, levels, kind and valid are in every table that has trials, so that
// none needs a join. Rows are streamed: memory does not depend on how many there are.
package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/numbers"
	"github.com/dnsingress/dnsingress/internal/results"
)

// Formats that files are written in.
const (
	Parquet = "parquet"
	CSV     = "csv"
)

// Table is one table that can be exported.
type Table struct {
	Name  string
	Holds string // in words
	write func(e *exporter, path string) (rows int64, err error)
}

// Tables lists every table.
func Tables() []Table {
	return []Table{
		{"trials", "a row a trial, valid or not", writeTrials},
		{"factors", "a row for each level of a trial", writeFactors},
		{"quantities", "a row for each quantity of a valid trial: percentiles, CPU, error windows, measures", writeQuantities},
		{"latencies", "the distribution of each trial's latency: how many requests took at most how long", writeLatencies},
		{"resources", "what each unit used in the window of a trial", writeResources},
		{"events", "what happened in each trial", writeEvents},
		{"samples", "a row an attempt of a request", writeSamples},
	}
}

// Outcome says what a table became.
type Outcome struct {
	Table string `json:"table"`
	Path  string `json:"path"`
	Rows  int64  `json:"rows"`
}

// Write exports the named tables of the runs into dir. Files that cannot be read in whole are an error that comes with the
// outcomes of the rest.
func Write(ctx context.Context, runs []*digest.Run, names []string, format, dir string) ([]Outcome, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making %s: %w", dir, err)
	}
	e := &exporter{ctx: ctx, runs: runs, format: format}
	var out []Outcome
	for _, t := range Tables() {
		if !slices.Contains(names, t.Name) {
			continue
		}
		path := filepath.Join(dir, t.Name+"."+format)
		rows, err := t.write(e, path+".tmp")
		if err == nil {
			err = os.Rename(path+".tmp", path)
		}
		if err != nil {
			return out, errors.Join(fmt.Errorf("exporting %s: %w", t.Name, err), remove(path+".tmp"))
		}
		out = append(out, Outcome{t.Name, path, rows})
	}
	return out, errors.Join(e.damaged...)
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

type exporter struct {
	ctx     context.Context
	runs    []*digest.Run
	format  string
	damaged []error // files of which only a part could be read
}

// Origin is what every row says of where it comes from.
type Origin struct {
	Run    string `parquet:"run,dict"`
	Trial  string `parquet:"trial,dict"`
	System string `parquet:"system,dict"`
	Levels string `parquet:"levels,dict"` // of the factors that vary, but system and fault: "connection=new"
	Kind   string `parquet:"kind,dict"`   // steady | fault
	Valid  bool   `parquet:"valid"`
}

type trialRow struct {
	Origin
	Experiment    string  `parquet:"experiment,dict"`
	Substrate     string  `parquet:"substrate,dict"`
	Commit        string  `parquet:"commit,dict"`
	Index         int64   `parquet:"index"`
	Reasons       string  `parquet:"reasons"`
	RatePerSecond float64 `parquet:"rate_per_second"`
	WindowStartNs int64   `parquet:"window_start_unix_ns"`
	WindowEndNs   int64   `parquet:"window_end_unix_ns"`
	Requests      int64   `parquet:"requests"`
	Failed        int64   `parquet:"failed"`
	Fault         string  `parquet:"fault,dict"`
	FaultNode     string  `parquet:"fault_node,dict"`
	FaultTarget   string  `parquet:"fault_target,dict"`
	FaultBeginNs  int64   `parquet:"fault_begin_unix_ns"`
	FaultEndNs    int64   `parquet:"fault_end_unix_ns"`
	Errors        string  `parquet:"errors"` // by class, as JSON
}

type factorRow struct {
	Origin
	Factor string `parquet:"factor,dict"`
	Level  string `parquet:"level,dict"`
}

type quantityRow struct {
	Origin
	Fault    string  `parquet:"fault,dict"`
	Quantity string  `parquet:"quantity,dict"`
	Unit     string  `parquet:"unit,dict"`
	Value    float64 `parquet:"value"`
	AtLeast  bool    `parquet:"at_least"` // the measured window ended first: Value is a lower bound
}

type latencyRow struct {
	Origin
	LatencyNs  int64 `parquet:"latency_ns"`
	Cumulative int64 `parquet:"cumulative"` // successful requests that took at most so long
}

type resourceRow struct {
	Origin
	results.Resource
}

type eventRow struct {
	Origin
	UnixNs int64  `parquet:"unix_ns"`
	Event  string `parquet:"event,dict"`
	Name   string `parquet:"name,dict"`
	Node   string `parquet:"node,dict"`
	Target string `parquet:"target,dict"`
	Detail string `parquet:"detail"` // as JSON
}

type sampleRow struct {
	Origin
	InWindow bool `parquet:"in_window"` // due in the measured window: what figures are of
	results.Sample
}

// each calls visit for every trial of every run.
func (e *exporter) each(visit func(run *digest.Run, t *digest.Trial, of Origin) error) error {
	for _, run := range e.runs {
		levels := run.Levels()
		for i := range run.Trials {
			if err := e.ctx.Err(); err != nil {
				return err
			}
			t := &run.Trials[i]
			if err := visit(run, t, Origin{run.Manifest.RunID, t.ID, t.System, levels(t), t.Kind, t.Used()}); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeTrials(e *exporter, path string) (int64, error) {
	return rows(e.format, path, func(add func(trialRow) error) error {
		return e.each(func(run *digest.Run, t *digest.Trial, of Origin) error {
			m := run.Manifest
			errors, err := asJSON(t.Errors)
			if err != nil {
				return err
			}
			reasons, err := asJSON(t.Verdict.Reasons)
			if err != nil {
				return err
			}
			row := trialRow{
				Origin: of, Experiment: m.Experiment, Substrate: m.Substrate, Commit: m.Source.Commit, Index: int64(t.Index), Reasons: reasons, RatePerSecond: t.Rate,
				WindowStartNs: t.WindowStartNs, WindowEndNs: t.WindowEndNs, Requests: int64(t.Requests), Failed: int64(t.Failed), Errors: errors,
			}
			if f := t.Fault; f != nil {
				row.Fault, row.FaultNode, row.FaultTarget, row.FaultBeginNs, row.FaultEndNs = f.Kind, f.Node, f.Target, f.BeginNs, f.EndNs
			}
			return add(row)
		})
	})
}

func writeFactors(e *exporter, path string) (int64, error) {
	return rows(e.format, path, func(add func(factorRow) error) error {
		return e.each(func(_ *digest.Run, t *digest.Trial, of Origin) error {
			for _, factor := range slices.Sorted(maps.Keys(t.Factors)) {
				if err := add(factorRow{of, factor, t.Factors[factor]}); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func writeQuantities(e *exporter, path string) (int64, error) {
	return rows(e.format, path, func(add func(quantityRow) error) error {
		for _, run := range e.runs {
			kinds := map[string]string{}
			for i := range run.Trials {
				kinds[run.Trials[i].ID] = run.Trials[i].Kind
			}
			for _, q := range numbers.Of(run) {
				for i, v := range q.Values {
					of := Origin{run.Manifest.RunID, q.Trials[i], q.System, q.Levels, kinds[q.Trials[i]], true}
					if err := add(quantityRow{of, q.Fault, q.Name, q.Unit, v, q.Cut[i]}); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

func writeLatencies(e *exporter, path string) (int64, error) {
	return rows(e.format, path, func(add func(latencyRow) error) error {
		return e.each(func(_ *digest.Run, t *digest.Trial, of Origin) error {
			if t.Latency == nil {
				return nil
			}
			for _, s := range t.Latency.Steps() {
				if err := add(latencyRow{of, s.Ns, s.Count}); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func writeResources(e *exporter, path string) (int64, error) {
	return rows(e.format, path, func(add func(resourceRow) error) error {
		return e.each(func(_ *digest.Run, t *digest.Trial, of Origin) error {
			return e.part(read(filepath.Join(t.Dir, results.ResourcesFile), func(r *results.Resource) error { return add(resourceRow{of, *r}) }))
		})
	})
}

func writeSamples(e *exporter, path string) (int64, error) {
	return rows(e.format, path, func(add func(sampleRow) error) error {
		return e.each(func(_ *digest.Run, t *digest.Trial, of Origin) error {
			n := 0
			return e.part(read(filepath.Join(t.Dir, results.SamplesFile), func(s *results.Sample) error {
				if n++; n%(1<<16) == 0 && e.ctx.Err() != nil {
					return e.ctx.Err()
				}
				return add(sampleRow{of, s.IntendedNs >= t.WindowStartNs && s.IntendedNs < t.WindowEndNs, *s})
			}))
		})
	})
}

func writeEvents(e *exporter, path string) (int64, error) {
	return rows(e.format, path, func(add func(eventRow) error) error {
		return e.each(func(_ *digest.Run, t *digest.Trial, of Origin) error {
			events, err := results.ReadEvents(filepath.Join(t.Dir, results.EventsFile))
			if err != nil {
				e.damaged = append(e.damaged, err)
			}
			for _, x := range events {
				detail, err := asJSON(x.Detail)
				if err != nil {
					return err
				}
				if err := add(eventRow{of, x.UnixNs, x.Kind, x.Name, x.Node, x.Target, detail}); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// writeError marks an error of the file that is written, which ends the export: one of a file that is read does not.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

// read calls visit for every row of a Parquet file of a run.
func read[T any](path string, visit func(*T) error) error {
	return results.ReadRows(path, func(batch []T) error {
		for i := range batch {
			if err := visit(&batch[i]); err != nil {
				return writeError{err}
			}
		}
		return nil
	})
}

// part keeps what is wrong with a file of the run and lets the rest be exported.
func (e *exporter) part(err error) error {
	if w := (writeError{}); err == nil || errors.As(err, &w) {
		return err
	}
	e.damaged = append(e.damaged, err)
	return nil
}

func asJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encoding %T: %w", v, err)
	}
	if s := string(b); s != "null" {
		return s, nil
	}
	return "", nil
}
