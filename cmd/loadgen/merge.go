// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/cli"
)

const mergeLong = `merge adds what several generators of one run left in their --out directories, and prints it as the
summary of one. Histograms are added cell by cell, so that percentiles are those of all requests (to the
histograms' 0.1 %), and never averages of percentiles. The generators' windows must be the same. The
verdict is valid when each is. With --out, the merged histogram.hlog and phases.hlog and summary.json are
written; samples stay where they are.`

func mergeCommand(stdout io.Writer) *cobra.Command {
	var out, output string
	var dryRun bool
	c := &cobra.Command{
		Use:     "merge DIR...",
		Short:   "Add the results of several generators exactly",
		Long:    mergeLong,
		Example: "  loadgen merge results/client-1 results/client-2 --out results/all -o json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var p problems
			p.oneOf("--output", output, "table", "json")
			if len(p) > 0 {
				return &cli.MisuseError{Err: p[0]}
			}
			m, err := record.ReadMerged(args)
			if err != nil {
				return err
			}
			if out != "" && !dryRun {
				if err := m.Write(out); err != nil {
					return err
				}
			}
			return writeSummary(stdout, output, fmt.Sprintf("%d generators", len(args)), &outcome{Summary: m.Summary})
		},
	}
	c.Flags().StringVar(&out, "out", "", "directory for the merged files (default: none are written)")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "write nothing")
	c.Flags().StringVarP(&output, "output", "o", "table", "format of the summary: table or json")
	return c
}
