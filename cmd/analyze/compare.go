// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/comparison"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/numbers"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/report"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/table"
	"github.com/dnsingress/dnsingress/internal/cli"
)

type compareOptions struct {
	output, report string
	quantities     []string
	dryRun         bool
}

func compareCommand(stdout, stderr io.Writer) *cobra.Command {
	o := compareOptions{output: "table", quantities: []string{"failed", "p50", "p99", "cpu", "window", "failed-requests", "share-settled"}}
	c := &cobra.Command{
		Use:   "compare A B",
		Short: "Set two runs beside each other, system by system",
		Long: `Set two runs beside each other, system by system: two commits, settings or substrates.

First what differs between the runs, then a table for each quantity: medians over valid trials, the ratio of B's to A's,
and whether that is more than chance. As benchstat does, ~ stands for a difference that chance explains; p is that of a
Mann-Whitney test, corrected for the number of tests (Holm). Below 6 trials on a side there is no test.

-o csv and -o json give one row a quantity, with intervals of the ratio and Cliff's delta. --report writes a page with
both runs in interactive plots.`,
		Example: `  analyze compare results/quickstart/20261121T200000Z results/quickstart/20261122T090000Z
  analyze compare --quantity 'p*' --quantity 'cpu-*' A B
  analyze compare --report compare.html A B`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return compare(cmd.Context(), o, args[0], args[1], stdout, stderr)
		},
	}
	c.Flags().StringVarP(&o.output, "output", "o", o.output, "what is printed: table, csv, latex or json")
	c.Flags().StringVar(&o.report, "report", "", "write a page with both runs to this file")
	c.Flags().StringArrayVar(&o.quantities, "quantity", o.quantities, "quantities by name, * for any letters; may be given again")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "write no page")
	return c
}

// wanted returns what tells which quantities the patterns name.
func wanted(patterns []string) (func(name string) bool, error) {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return nil, cli.Misuse("bad pattern %q for a quantity (hint: names, and * for any letters)", p)
		}
	}
	return func(name string) bool {
		for _, p := range patterns {
			if ok, _ := path.Match(p, name); ok {
				return true
			}
		}
		return false
	}, nil
}

func compare(ctx context.Context, o compareOptions, a, b string, stdout, stderr io.Writer) error {
	write := map[string]func(*comparison.Comparison) error{
		"table": func(c *comparison.Comparison) error { return printComparison(stdout, c) },
		"csv":   func(c *comparison.Comparison) error { return c.Rows().CSV(stdout) },
		"json":  func(c *comparison.Comparison) error { return c.Rows().JSON(stdout) },
		"latex": func(c *comparison.Comparison) error {
			for _, t := range c.Tables() {
				if err := t.LaTeX(stdout); err != nil {
					return err
				}
			}
			return nil
		},
	}[o.output]
	if write == nil {
		return cli.Misuse("unknown output %q (hint: table, csv, latex or json)", o.output)
	}
	want, err := wanted(o.quantities)
	if err != nil {
		return err
	}
	runs, err := openRuns(ctx, []string{a, b}, stderr)
	if err != nil {
		return err
	}
	c := comparison.Of(runs[0], runs[1], want)
	switch {
	case len(c.Pairs) > 0:
	case len(c.Alone) > 0:
		return fmt.Errorf("comparing %s and %s: no system has valid trials in both at the same factor levels (hint: %s)", a, b, c.Alone[0])
	case len(numbers.Of(c.A)) > 0 && len(numbers.Of(c.B)) > 0:
		return cli.Misuse("no quantity of %s or %s is called %s (hint: analyze export --table quantities writes all)", a, b, strings.Join(o.quantities, " or "))
	default:
		return fmt.Errorf("comparing %s and %s: neither has a valid trial", a, b)
	}
	if err := write(c); err != nil {
		return err
	}
	if o.report != "" {
		page := report.Comparison{A: c.A, B: c.B, Headlines: c.Headlines(), Tables: append([]*table.Table{}, c.Tables()...)}
		if !o.dryRun {
			if err := replaceFile(o.report, page.Write); err != nil {
				return err
			}
		}
		fmt.Fprintf(stderr, "report   %s\n", o.report)
	}
	if n := runs[0].Damaged() + runs[1].Damaged(); n > 0 {
		return fmt.Errorf("the runs are damaged in %d places, listed above: the tables show the rest", n)
	}
	return nil
}

func printComparison(w io.Writer, c *comparison.Comparison) error {
	var b strings.Builder
	for i, run := range []*digest.Run{c.A, c.B} {
		m := run.Manifest
		fmt.Fprintf(&b, "%s  %s %s on %s, commit %.12s\n", string(rune('A'+i)), m.Experiment, m.RunID, m.Substrate, m.Source.Commit)
	}
	for _, t := range c.Tables() {
		fmt.Fprintf(&b, "\n%s\n\n", t.Caption)
		if err := t.Markdown(&b); err != nil {
			return err
		}
	}
	b.WriteString("\n")
	for _, h := range c.Headlines() {
		fmt.Fprintln(&b, h)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("printing comparison: %w", err)
	}
	return nil
}
