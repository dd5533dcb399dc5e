// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/claim"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func claimsCommand(stdout, stderr io.Writer) *cobra.Command {
	output := "table"
	c := &cobra.Command{
		Use:   "claims FILE",
		Short: "Hold the claims of a text against the runs that they rest on",
		Long: `Hold the claims of a text against the runs that they rest on.

FILE (paper/claims.yaml) names for each claim a scenario, a statistic of its newest run, and the relation that is expected. The
LaTeX files beside it are read too: every claim must be cited by \claim{ID}, what is cited must be claimed, and no quantity may be
typed by hand. analyze verify does the same among other things.

Exit status: 0 every claim holds; 1 one does not, or the text is wrong; 2 misuse, or FILE is none that can be read.`,
		Example: "  analyze claims paper/claims.yaml\n  analyze claims -o latex paper/claims.yaml > claims.tex",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return holdClaims(cmd.Context(), args[0], output, stdout, stderr)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", output, "what is printed: table, json, csv or latex")
	return c
}

func holdClaims(ctx context.Context, path, output string, stdout, stderr io.Writer) error {
	write := map[string]func([]claim.Outcome) error{
		"table": func(o []claim.Outcome) error { return claim.Table(o).Markdown(stdout) },
		"json":  func(o []claim.Outcome) error { return claim.Table(o).JSON(stdout) },
		"csv":   func(o []claim.Outcome) error { return claim.Table(o).CSV(stdout) },
		"latex": func(o []claim.Outcome) error { return claim.LaTeX(stdout, o) },
	}[output]
	if write == nil {
		return cli.Misuse("unknown output %q (hint: table, json, csv or latex)", output)
	}
	if _, err := claim.Read(path); err != nil {
		return &cli.MisuseError{Err: err}
	}
	outcomes, err := claim.Check(ctx, path, func(dir string) (*digest.Run, error) { return digest.Open(ctx, dir, progress(stderr, dir)) })
	if err != nil {
		return err
	}
	if err := write(outcomes); err != nil {
		return err
	}
	var errs []error
	for _, o := range outcomes {
		switch {
		case o.Holds:
		case o.Claim != nil:
			errs = append(errs, fmt.Errorf("%s:%d: claim %s does not hold: %s", path, o.Line, o.ID, o.Says))
		default:
			errs = append(errs, errors.New(o.Says))
		}
	}
	return errors.Join(errs...)
}
