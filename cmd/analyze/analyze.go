// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/figure"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/verify"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/results"
)

type options struct {
	out, output string
	figures     string // a figures file; empty: the default set
	dryRun      bool
}

// figureSet reads a figures file; without one it gives the default set.
func figureSet(path string) ([]figure.Spec, error) {
	if path == "" {
		return figure.Defaults(), nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &cli.MisuseError{Err: fmt.Errorf("reading figures: %w", err)}
	}
	set, err := figure.Parse(path, data)
	if err != nil {
		return nil, &cli.MisuseError{Err: err}
	}
	return set, nil
}

// analyze draws every run; one that cannot be read does not keep the others from being drawn.
func analyze(ctx context.Context, o options, dirs []string, stdout, stderr io.Writer) error {
	if o.output != "table" && o.output != "json" {
		return cli.Misuse("unknown output %q (hint: table or json)", o.output)
	}
	set, err := figureSet(o.figures)
	if err != nil {
		return err
	}
	var errs []error
	var summaries []summary
	for _, dir := range dirs {
		run, err := openRun(ctx, dir, stderr)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out := o.out
		switch {
		case out == "":
			out = filepath.Join(dir, "figures")
		case len(dirs) > 1:
			out = filepath.Join(out, filepath.Base(filepath.Clean(dir)))
		}
		sheet := lay(run, set)
		if o.dryRun {
			for _, f := range sheet.files() {
				fmt.Fprintln(stdout, filepath.Join(out, f.Name))
			}
			fmt.Fprintln(stdout, filepath.Join(out, verify.DerivedFile))
		} else if err := sheet.save(out, o.figures); err != nil {
			errs = append(errs, err)
			continue
		}
		if o.output == "json" {
			summaries = append(summaries, sheet.summary(out))
		} else if !o.dryRun {
			if err := sheet.print(stdout, stderr, out); err != nil {
				return err
			}
		}
		if err := sheet.verdict(); err != nil {
			errs = append(errs, err)
		}
	}
	if o.output == "json" && !o.dryRun && len(summaries) > 0 {
		var v any = summaries
		if len(dirs) == 1 {
			v = summaries[0]
		}
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			return fmt.Errorf("printing summary: %w", err)
		}
	}
	return errors.Join(errs...)
}

// openRun reads a run. To name what is none, or one of another format, is misuse.
func openRun(ctx context.Context, dir string, stderr io.Writer) (*digest.Run, error) {
	run, err := digest.Open(ctx, dir, progress(stderr, dir))
	if errors.Is(err, results.ErrNoRun) || errors.Is(err, results.ErrSchema) {
		return nil, &cli.MisuseError{Err: err}
	}
	return run, err
}

// openRuns reads all runs and tells what is wrong in them; the error is of all that cannot be read.
func openRuns(ctx context.Context, dirs []string, stderr io.Writer) (runs []*digest.Run, err error) {
	var errs []error
	for _, dir := range dirs {
		run, err := openRun(ctx, dir, stderr)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, w := range run.AllWarnings() {
			fmt.Fprintf(stderr, "warning: %s: %s\n", dir, w)
		}
		runs = append(runs, run)
	}
	return runs, errors.Join(errs...)
}

// progress tells people at a terminal how far reading is; nothing is written to files and pipes.
func progress(stderr io.Writer, dir string) func(done, all int) {
	f, ok := stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(done, all int) {
		fmt.Fprintf(f, "\r\x1b[Kreading %s: %d of %d trials", dir, done, all)
		if done == all {
			fmt.Fprint(f, "\r\x1b[K")
		}
	}
}

// verdict is the error that a run which was drawn in part, or not at all, ends with.
func (s *sheet) verdict() error {
	if len(s.figures) == 0 && slices.ContainsFunc(s.run.Trials, func(t digest.Trial) bool { return t.Used() }) {
		return fmt.Errorf("nothing could be drawn of %s: its valid trials have nothing that the figures show (hint: warnings above say of each figure why)", s.run.Dir)
	}
	if len(s.figures) == 0 {
		return fmt.Errorf("nothing could be drawn of %s: it has no valid trial (hint: the report lists why)", s.run.Dir)
	}
	if n := s.run.Damaged(); n > 0 {
		return fmt.Errorf("%s is damaged in %d places, listed above: the figures show the rest", s.run.Dir, n)
	}
	return nil
}

// print writes the result tables, warnings and paths for people.
func (s *sheet) print(stdout, stderr io.Writer, out string) error {
	m := s.run.Manifest
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s on %s, seed %d\n", m.Experiment, m.RunID, m.Substrate, m.Seed)
	if m.Question != "" {
		fmt.Fprintf(&b, "%s\n", m.Question)
	}
	for _, t := range s.tables {
		if t.quiet {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n\n", t.Caption)
		if err := t.Markdown(&b); err != nil {
			return err
		}
	}
	fmt.Fprintf(&b, "\nreport   %s\n", filepath.Join(out, reportFile))
	for _, f := range s.figures {
		fmt.Fprintf(&b, "figure   %s\n", filepath.Join(out, f.Name+".pdf"))
	}
	for _, t := range s.tables {
		fmt.Fprintf(&b, "table    %s\n", filepath.Join(out, t.Name+".csv"))
	}
	if _, err := io.WriteString(stdout, b.String()); err != nil {
		return fmt.Errorf("printing results: %w", err)
	}
	for _, w := range s.run.AllWarnings() {
		fmt.Fprintf(stderr, "warning: %s\n", w)
	}
	return nil
}
