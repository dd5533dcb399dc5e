// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/thin"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/results"
)

func thinCommand(stdout io.Writer) *cobra.Command {
	rule := thin.Rule{Steady: 10, Fault: 1}
	dryRun := false
	c := &cobra.Command{
		Use:   "thin RUN DST",
		Short: "Copy a run without most of its successful samples",
		Long: `Copy a run without most of its successful samples, small enough to be committed.

Every failure, every histogram, counter, event and verdict stays; of the successful samples every k-th of each client
does. What was left out is said in the copy's manifest. Latency curves, percentiles, error windows and CPU
figures of the copy are those of the run, because they do not come from the samples left out; mean times by phase
are of the samples kept. Logs are left behind.`,
		Example: "  analyze thin results/quickstart/20261121T200000Z published/20261121T200000Z",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := thin.Copy(cmd.Context(), args[0], args[1], rule, dryRun)
			if errors.Is(err, results.ErrNoRun) || errors.Is(err, results.ErrSchema) || errors.Is(err, thin.ErrRule) || errors.Is(err, thin.ErrDestination) {
				return &cli.MisuseError{Err: err}
			}
			if err != nil {
				return err
			}
			verb := "kept"
			if dryRun {
				verb = "would keep"
			}
			fmt.Fprintf(stdout, "%s: %s %d of %d samples in %d trials\n", args[1], verb, report.Kept, report.Read, report.Trials)
			return nil
		},
	}
	c.Flags().IntVar(&rule.Steady, "steady", rule.Steady, "keep every k-th successful sample of steady trials")
	c.Flags().IntVar(&rule.Fault, "fault", rule.Fault, "keep every k-th successful sample of fault trials")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "count, write nothing")
	return c
}
