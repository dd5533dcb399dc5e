// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/numbers"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/results"
)

func numbersCommand(stdout, stderr io.Writer) *cobra.Command {
	var out string
	var cited []string
	dryRun := false
	c := &cobra.Command{
		Use:   "numbers RUN|RESULTS...",
		Short: "Write every quantity of runs as a LaTeX macro",
		Long: `Write every quantity of runs as a LaTeX macro with what it rests on: run, trials, command.

A directory that holds runs by experiment, such as results, stands for the newest finished run of each experiment, one on boards
before one on a twin; a run with a part of the levels of another does not take its place. A macro is called after experiment, levels, system, fault and quantity: \QuickstartNginxPNineNine is
the median over trials of p99, …Spread its interval or range, …OverDnsingress the ratio to another system. Lower bounds say so.

With --cited only what these LaTeX files cite is written, and one who cites what no run has is told so with the nearest name.
The file's header says what it was made of: analyze verify writes it again and compares.`,
		Example: `  analyze numbers results/quickstart/20261121T200000Z | grep PNineNine
  analyze numbers results --cited paper/results.tex -o paper/numbers.tex`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return writeNumbers(cmd.Context(), args, cited, out, dryRun, stdout, stderr)
		},
	}
	c.Flags().StringVarP(&out, "out", "o", "", "file to write (default: standard output)")
	c.Flags().StringArrayVar(&cited, "cited", nil, "LaTeX file whose citations are wanted; may be given again (default: everything)")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say whether the file would change, write nothing")
	return c
}

func writeNumbers(ctx context.Context, args, cited []string, out string, dryRun bool, stdout, stderr io.Writer) error {
	if dryRun && out == "" {
		return cli.Misuse("--dry-run without a file (hint: --out FILE)")
	}
	dir := filepath.Dir(out)
	var from numbers.Source
	for _, arg := range args {
		runs := []string{arg}
		if _, err := results.OpenRun(arg); errors.Is(err, results.ErrNoRun) {
			latest, none := numbers.Latest(arg)
			if none != nil {
				return &cli.MisuseError{Err: fmt.Errorf("%w; %w", err, none)}
			}
			runs = latest
		}
		from.Runs = append(from.Runs, runs...)
	}
	for _, paths := range []*[]string{&from.Runs, &cited} {
		for i, p := range *paths {
			relative, err := relativeTo(dir, p)
			if err != nil {
				return err
			}
			(*paths)[i] = relative
		}
	}
	from.Cited = cited
	data, err := numbers.Make(ctx, dir, from, func(dir string) (*digest.Run, error) {
		run, err := digest.Open(ctx, dir, progress(stderr, dir))
		if err != nil {
			return nil, err
		}
		for _, w := range run.AllWarnings() {
			if w.Damage {
				fmt.Fprintf(stderr, "warning: %s: %s\n", dir, w)
			}
		}
		return run, nil
	})
	if err != nil {
		return err
	}
	if out == "" {
		_, err := stdout.Write(data)
		return err
	}
	old, err := os.ReadFile(out)
	same := err == nil && bytes.Equal(old, data)
	n := strings.Count(string(data), "\\newcommand")
	if dryRun {
		verb := "would change"
		if same {
			verb = "would stay as it is"
		}
		fmt.Fprintf(stdout, "%s %s: %d macros of %d runs\n", out, verb, n, len(from.Runs))
		return nil
	}
	if !same { // what did not change keeps its time
		if err := os.WriteFile(out+".tmp", data, 0o644); err != nil {
			return fmt.Errorf("writing numbers: %w", err)
		}
		if err := os.Rename(out+".tmp", out); err != nil {
			return fmt.Errorf("writing numbers: %w", err)
		}
	}
	fmt.Fprintf(stdout, "%s: %d macros of %d runs\n", out, n, len(from.Runs))
	return nil
}

// relativeTo is path as it is called from dir, with slashes.
func relativeTo(dir, path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err == nil {
		path, err = filepath.Rel(dir, absolute)
	}
	if err != nil {
		return "", fmt.Errorf("naming %s relative to %s: %w", path, dir, err)
	}
	return filepath.ToSlash(path), nil
}
