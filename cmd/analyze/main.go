// SPDX-License-Identifier: Apache-2.0

// Command analyze turns run directories into figures, tables and a report.
package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/manual"
)

func main() { os.Exit(cli.Main(command)) }

func command(_ io.Reader, stdout, stderr io.Writer) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "analyze RUN...",
		Short: "Draw the figures, tables and report of runs",
		Long: `Draw the figures, tables and report of runs.

Each RUN is a directory such as results/<experiment>/<run-id>. Its figures (PDF, PNG
and SVG), tables (LaTeX, Markdown and CSV) and report.html go to RUN/figures; the result table and the
paths are printed. Trials that are not valid are left out, and said so.

Exit status: 0 all was drawn; 1 nothing could be drawn, or a file of the run is damaged (what the
rest shows is drawn); 2 misuse, or RUN is no run that this version reads.`,
		Example: `  analyze results/quickstart/20261121T200000Z
  analyze --out /tmp/figures results/quickstart/*
  analyze -o json RUN | jq '.cells[0].systems[] | {name, p99_ms}'
  analyze figures >mine.yaml && analyze --figures mine.yaml RUN
  analyze compare RUN OTHER
  analyze verify`,
		Args:    cobra.MinimumNArgs(1),
		Version: cli.Version(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return analyze(cmd.Context(), o, args, stdout, stderr)
		},
	}
	c.Flags().StringVar(&o.out, "out", "", "directory for what is drawn (default RUN/figures; with several runs a directory for each in it)")
	c.Flags().StringVar(&o.figures, "figures", "", "file that declares what is drawn (default: every figure that the run has data for; analyze figures shows that set)")
	c.Flags().StringVarP(&o.output, "output", "o", "table", "what is printed: table or json")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "read and check the runs, print which files would be written, write none")
	c.AddCommand(
		compareCommand(stdout, stderr), liveCommand(stdout, stderr), exportCommand(stdout, stderr), verifyCommand(stdout, stderr), figuresCommand(stdout),
		numbersCommand(stdout, stderr), claimsCommand(stdout, stderr), thinCommand(stdout), sealCommand(stdout), manual.Command(c),
	)
	return c
}
