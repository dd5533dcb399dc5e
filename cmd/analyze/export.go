// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/export"
	"github.com/dnsingress/dnsingress/internal/cli"
)

type exportOptions struct {
	out, format, output string
	tables              []string
	dryRun              bool
}

func exportCommand(stdout, stderr io.Writer) *cobra.Command {
	o := exportOptions{out: "export", format: export.Parquet, output: "table"}
	var holds []string
	for _, t := range export.Tables() {
		o.tables = append(o.tables, t.Name)
		holds = append(holds, fmt.Sprintf("  %-11s %s", t.Name, t.Holds))
	}
	c := &cobra.Command{
		Use:   "export RUN...",
		Short: "Write runs as flat tables, for DuckDB, pandas or R",
		Long: `Write runs as flat tables, for DuckDB, pandas or R: one file a table, the rows of all RUNs together.

` + strings.Join(holds, "\n") + `

Every row says of which run, trial, system and levels it is, and whether the trial is valid. Instants are UTC nanoseconds,
durations nanoseconds, as package results has them. Trials that are not valid are exported too: leave them out by their
column valid. Latencies are the recorded histograms; samples of a thinned run are those that were kept.`,
		Example: `  analyze export results/quickstart/*
  analyze export --format csv --table quantities --out /tmp/q RUN
  duckdb -c "SELECT system, median(value) FROM 'export/quantities.parquet' WHERE quantity = 'p99' GROUP BY system"`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return exportRuns(cmd.Context(), o, args, stdout, stderr)
		},
	}
	c.Flags().StringVar(&o.out, "out", o.out, "directory for the files; those that are there are replaced")
	c.Flags().StringVar(&o.format, "format", o.format, "parquet or csv")
	c.Flags().StringSliceVar(&o.tables, "table", o.tables, "tables to write")
	c.Flags().StringVarP(&o.output, "output", "o", o.output, "what is printed: table or json")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "read the runs, print which files would be written, write none")
	return c
}

func exportRuns(ctx context.Context, o exportOptions, dirs []string, stdout, stderr io.Writer) error {
	if o.output != "table" && o.output != "json" {
		return cli.Misuse("unknown output %q (hint: table or json)", o.output)
	}
	if o.format != export.Parquet && o.format != export.CSV {
		return cli.Misuse("unknown format %q (hint: parquet or csv)", o.format)
	}
	var known []string
	for _, t := range export.Tables() {
		known = append(known, t.Name)
	}
	for _, name := range o.tables {
		if !slices.Contains(known, name) {
			return cli.Misuse("unknown table %q (hint: %s)", name, strings.Join(known, ", "))
		}
	}
	runs, err := openRuns(ctx, dirs, stderr)
	if err != nil {
		return err
	}
	if o.dryRun {
		for _, name := range known {
			if slices.Contains(o.tables, name) {
				fmt.Fprintln(stdout, filepath.Join(o.out, name+"."+o.format))
			}
		}
		return nil
	}
	outcomes, err := export.Write(ctx, runs, o.tables, o.format, o.out)
	if o.output == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return errors.Join(enc.Encode(append([]export.Outcome{}, outcomes...)), err)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TABLE\tROWS\tFILE")
	for _, t := range outcomes {
		fmt.Fprintf(w, "%s\t%d\t%s\n", t.Table, t.Rows, t.Path)
	}
	return errors.Join(w.Flush(), err)
}
