// SPDX-License-Identifier: Apache-2.0

// Package thin copies a run without most of its successful samples.
package thin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dnsingress/dnsingress/internal/results"
)

var (
	// ErrRule marks a rule that keeps nothing or makes no sense.
	ErrRule = errors.New("thin: bad rule")
	// ErrDestination marks a destination that exists.
	ErrDestination = errors.New("thin: destination exists")
)

// Rule says which successful samples stay: those whose number on their client is divisible by k. Failures always stay.
type Rule struct {
	Steady, Fault int // k, by kind of trial; 1 keeps all
}

// String is what the manifest says.
func (r Rule) String() string {
	return fmt.Sprintf("kept of samples.parquet: every failure; of successes in the window those with seq divisible by %d in steady trials (weight %d) and by %d in fault trials (weight %d); "+
		"no warm-up, no logs. Histograms, counters and events are whole; the mean times by phase are of the samples kept.", r.Steady, r.Steady, r.Fault, r.Fault)
}

// Outcome counts what was copied.
type Outcome struct {
	Trials     int
	Read, Kept uint64
}

// Copy writes the run in src, thinned, to dst, which must not exist and appears whole or not at all.
func Copy(ctx context.Context, src, dst string, rule Rule, dryRun bool) (Outcome, error) {
	var out Outcome
	if rule.Steady < 1 || rule.Fault < 1 {
		return out, fmt.Errorf("%w: every %d-th and %d-th (hint: k is 1 or more)", ErrRule, rule.Steady, rule.Fault)
	}
	run, err := results.OpenRun(src)
	if err != nil {
		return out, err
	}
	if run.Manifest.Thinning != "" {
		return out, fmt.Errorf("%w: %s is thinned already (hint: thin the run that it was made from)", ErrRule, src)
	}
	if _, err := os.Lstat(dst); !errors.Is(err, fs.ErrNotExist) {
		return out, fmt.Errorf("%w: %s (hint: remove it or name another)", ErrDestination, dst)
	}
	trials, err := run.Trials()
	if err != nil {
		return out, err
	}
	work := ""
	if !dryRun {
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return out, fmt.Errorf("making %s: %w", filepath.Dir(dst), err)
		}
		if work, err = os.MkdirTemp(filepath.Dir(dst), ".thin-*"); err != nil {
			return out, fmt.Errorf("making a place for the copy: %w", err)
		}
		defer os.RemoveAll(work)
		copied := &results.Run{Dir: work, Manifest: run.Manifest}
		copied.Manifest.Thinning = rule.String()
		if err := errors.Join(copied.SaveManifest(), copyFile(src, work, results.ScenarioFile)); err != nil {
			return out, err
		}
	}
	for _, t := range trials {
		if err := out.trial(ctx, t, work, rule); err != nil {
			return out, err
		}
	}
	if dryRun {
		return out, nil
	}
	if err := results.Seal(work); err != nil {
		return out, err
	}
	if err := os.Chmod(work, 0o755); err != nil {
		return out, fmt.Errorf("finishing the copy: %w", err)
	}
	if err := os.Rename(work, dst); err != nil {
		return out, fmt.Errorf("finishing the copy: %w", err)
	}
	return out, nil
}

// trial copies one trial into the run at work, or only counts when work is empty.
func (o *Outcome) trial(ctx context.Context, t results.TrialDir, work string, rule Rule) (err error) {
	o.Trials++
	k := uint64(rule.Steady)
	if t.Trial.Kind == results.KindFault {
		k = uint64(rule.Fault)
	}
	write := func(...results.Sample) error { return nil }
	if work != "" {
		dir := filepath.Join(work, results.TrialsDir, filepath.Base(t.Dir))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making %s: %w", dir, err)
		}
		for _, name := range []string{results.TrialFile, results.VerdictFile, results.HistogramFile, results.ResourcesFile, results.EventsFile, results.LookupsFile, results.QueriesFile, results.AccuracyFile, results.AccuracySecondsFile} {
			if err := copyFile(t.Dir, dir, name); err != nil {
				return err
			}
		}
		if _, err := os.Stat(filepath.Join(t.Dir, results.SamplesFile)); errors.Is(err, fs.ErrNotExist) {
			return nil // an interrupted trial; its verdict says so
		}
		w, err := results.CreateRows[results.Sample](filepath.Join(dir, results.SamplesFile))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.Close()) }()
		write = w.Write
	}
	return results.ReadRows(filepath.Join(t.Dir, results.SamplesFile), func(rows []results.Sample) error {
		for _, s := range rows {
			o.Read++
			if s.OK() && (s.Seq%k != 0 || s.IntendedNs < t.Trial.WindowStartNs) {
				continue
			}
			o.Kept++
			if err := write(s); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}

// copyFile copies a file of a trial; one that the trial does not have is left out.
func copyFile(from, to, name string) (err error) {
	in, err := os.Open(filepath.Join(from, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("copying %s: %w", name, err)
	}
	defer in.Close()
	out, err := os.Create(filepath.Join(to, name))
	if err != nil {
		return fmt.Errorf("copying %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("copying %s: %w", name, err)
	}
	return nil
}
