// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/results"
)

func sealCommand(stdout io.Writer) *cobra.Command {
	dryRun := false
	c := &cobra.Command{
		Use:   "seal RUN...",
		Short: "Record the SHA-256 of every file of runs",
		Long: `Record the SHA-256 of every file of runs, in RUN/SHA256SUMS, for analyze verify and sha256sum --check.

testbed and analyze thin seal what they write. A run that is sealed and was changed since is left as it is, and said so:
remove its SHA256SUMS if the change was meant.`,
		Example: "  analyze seal results/quickstart/*",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var errs []error
			for _, dir := range args {
				if err := seal(dir, dryRun, stdout); err != nil {
					errs = append(errs, err)
				}
			}
			return errors.Join(errs...)
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done, write nothing")
	return c
}

func seal(dir string, dryRun bool, stdout io.Writer) error {
	if _, err := results.OpenRun(dir); err != nil {
		if errors.Is(err, results.ErrNoRun) || errors.Is(err, results.ErrSchema) {
			return &cli.MisuseError{Err: err}
		}
		return err
	}
	path := filepath.Join(dir, results.SumsFile)
	wrong, err := results.CheckSeal(dir)
	switch {
	case errors.Is(err, results.ErrUnsealed):
	case err != nil:
		return err
	case len(wrong) > 0:
		return fmt.Errorf("sealing %s: it was changed since it was sealed: %s, and %d more (hint: remove %s if the change was meant)", dir, wrong[0], len(wrong)-1, path)
	default:
		fmt.Fprintf(stdout, "%s is sealed already\n", dir)
		return nil
	}
	if dryRun {
		fmt.Fprintf(stdout, "would write %s\n", path)
		return nil
	}
	if err := results.Seal(dir); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "wrote %s\n", path)
	return nil
}
