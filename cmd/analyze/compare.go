// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/table"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

func compareCommand(stdout, stderr io.Writer) *cobra.Command {
	output := "table"
	c := &cobra.Command{
		Use:   "compare A B",
		Short: "Set two runs beside each other, system by system",
		Long: `Set two runs beside each other, system by system: two commits, settings or substrates.

Medians over valid steady trials with their range, and the ratio of B's to A's. With 6 or more trials on both sides a
Mann-Whitney test is given, its p corrected for the number of tests (Holm); with fewer there is none.`,
		Example: "  analyze compare results/quickstart/20261121T200000Z results/quickstart/20261122T090000Z",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return compare(cmd.Context(), args[0], args[1], output, stdout, stderr)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", output, "what is printed: table, csv, latex or json")
	return c
}

func compare(ctx context.Context, a, b, output string, stdout, stderr io.Writer) error {
	write := map[string]func(*table.Table) error{
		"table": func(t *table.Table) error { return t.Markdown(stdout) },
		"csv":   func(t *table.Table) error { return t.CSV(stdout) },
		"latex": func(t *table.Table) error { return t.LaTeX(stdout) },
		"json":  func(t *table.Table) error { return t.JSON(stdout) },
	}[output]
	if write == nil {
		return cli.Misuse("unknown output %q (hint: table, csv, latex or json)", output)
	}
	var runs [2]*digest.Run
	var errs []error
	for i, dir := range []string{a, b} {
		run, err := digest.Open(ctx, dir, progress(stderr, dir))
		if errors.Is(err, results.ErrNoRun) || errors.Is(err, results.ErrSchema) {
			err = &cli.MisuseError{Err: err}
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, w := range run.AllWarnings() {
			fmt.Fprintf(stderr, "warning: %s: %s\n", dir, w)
		}
		runs[i] = run
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	t := compareTable(runs[0], runs[1])
	if len(t.Rows) == 0 {
		return fmt.Errorf("comparing %s and %s: no system has valid trials in both at the same factor levels", a, b)
	}
	if err := write(t); err != nil {
		return err
	}
	if n := runs[0].Damaged() + runs[1].Damaged(); n > 0 {
		return fmt.Errorf("the runs are damaged in %d places, listed above: the table shows the rest", n)
	}
	return nil
}

func compareTable(a, b *digest.Run) *table.Table {
	t := &table.Table{
		Name:    "compare",
		Caption: fmt.Sprintf("%s %s (A) against %s %s (B)", a.Manifest.Experiment, a.Manifest.RunID, b.Manifest.Experiment, b.Manifest.RunID),
		Columns: []table.Column{
			{Head: "system", Key: "system"},
			{Head: "levels", Key: "levels", Wide: true},
			{Head: "quantity", Key: "quantity"},
			{Head: "A", Key: "a", Right: true, Spread: true},
			{Head: "B", Key: "b", Right: true, Spread: true},
			{Head: "B/A", Key: "ratio", Right: true},
			{Head: "p (Holm)", Key: "p_holm", Right: true},
			{Head: "Cliff's delta", Key: "cliffs_delta", Right: true},
		},
	}
	if a.Manifest.Substrate != b.Manifest.Substrate {
		t.Notes = append(t.Notes, fmt.Sprintf("A ran on %s, B on %s: compare ratios between systems, not the systems' own figures.", a.Manifest.Substrate, b.Manifest.Substrate))
	}
	type row struct {
		cells []table.Cell
		test  *stats.RankTest
	}
	var rows []row
	var p []float64
	others := b.Cells()
	for _, cell := range a.Cells() {
		i := slices.IndexFunc(others, func(c digest.Cell) bool { return c.Levels == cell.Levels })
		if i < 0 {
			continue
		}
		for _, s := range cell.Systems {
			j := slices.IndexFunc(others[i].Systems, func(o digest.System) bool { return o.Name == s.Name })
			if j < 0 {
				continue
			}
			other := others[i].Systems[j]
			for _, q := range []struct {
				name string
				a, b stats.Summary
			}{
				{"failed (%)", s.ErrorPercent, other.ErrorPercent},
				{"p50 (ms)", s.P50, other.P50},
				{"p99 (ms)", s.P99, other.P99},
				{"CPU (s/1,000 req)", s.CPU, other.CPU},
			} {
				if q.a.N() == 0 || q.b.N() == 0 {
					continue
				}
				ratio := math.NaN()
				if q.a.Median != 0 {
					ratio = q.b.Median / q.a.Median
				}
				r := row{cells: []table.Cell{table.Text(s.Name), table.Text(cell.Levels), table.Text(q.name), table.Over(q.a), table.Over(q.b), table.Number(ratio)}}
				if test, err := stats.MannWhitney(q.b.Values, q.a.Values); err == nil {
					r.test = &test
					p = append(p, test.P)
				}
				rows = append(rows, r)
			}
		}
	}
	adjusted := stats.Holm(p)
	for _, r := range rows {
		test := []table.Cell{table.Number(math.NaN()), table.Number(math.NaN())}
		if r.test != nil {
			test = []table.Cell{table.Number(adjusted[0]), table.Number(r.test.Delta)}
			adjusted = adjusted[1:]
		}
		t.Rows = append(t.Rows, append(r.cells, test...))
	}
	t.Notes = append(t.Notes, "In brackets: 95 % interval of the median from 6 trials on, else the range over trials. Below 6 trials on a side there is no test.")
	return t
}
