// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/verify"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func verifyCommand(stdout, stderr io.Writer) *cobra.Command {
	output := "table"
	c := &cobra.Command{
		Use:   "verify [PATH...]",
		Short: "Check runs, and derive every figure, number and claim again",
		Long: `Check runs, and derive every figure, number and claim again.

PATHs are searched for runs, for directories that analyze drew into, for numbers.tex and for claims.yaml; without one, results
and paper are. Checked are:

  hashes   every file of a run has the SHA-256 that was recorded (SHA256SUMS; see analyze seal)
  schema   every file of a run is of the format's version, with its columns
  figures  every figure, table and report is, byte by byte, what the run gives (on another architecture: to rounding)
  numbers  every macro of numbers.tex is what the runs give
  claims   every claim of claims.yaml holds, and the text beside it claims nothing else

Exit status: 0 everything holds; 1 something does not, and is named; 2 misuse, or there is nothing to verify.`,
		Example: "  analyze verify\n  analyze verify results/quickstart paper/claims.yaml\n  analyze verify -o json | jq '.[] | select(.holds | not)'",
		RunE: func(cmd *cobra.Command, args []string) error {
			return verifyPaths(cmd.Context(), args, output, stdout, stderr)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", output, "what is printed: table or json")
	return c
}

func verifyPaths(ctx context.Context, paths []string, output string, stdout, stderr io.Writer) error {
	if output != "table" && output != "json" {
		return cli.Misuse("unknown output %q (hint: table or json)", output)
	}
	if len(paths) == 0 {
		for _, usual := range []string{"results", "paper"} {
			if _, err := os.Stat(usual); err == nil {
				paths = append(paths, usual)
			}
		}
	}
	found, err := verify.Find(paths)
	if err != nil {
		return &cli.MisuseError{Err: err}
	}
	if found.Empty() {
		return cli.Misuse("nothing to verify (hint: name runs, directories of figures, numbers.tex or claims.yaml; without a name results and paper are searched)")
	}
	findings := []verify.Finding{}
	v := verify.Verifier{Open: opener(ctx, stderr), Derive: derive, Report: func(f verify.Finding) {
		if output == "json" {
			findings = append(findings, f)
			return
		}
		word := "ok  "
		if !f.Holds {
			word = "FAIL"
		}
		fmt.Fprintf(stdout, "%s  %-7s  %s: %s\n", word, f.Check, f.Path, f.Says)
	}}
	made, failed, err := v.All(ctx, found)
	if err != nil {
		return err
	}
	if output == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(findings); err != nil {
			return fmt.Errorf("printing findings: %w", err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, made)
	}
	if output != "json" {
		fmt.Fprintf(stdout, "%d checks hold\n", made)
	}
	return nil
}

// opener reads runs, each once.
func opener(ctx context.Context, stderr io.Writer) func(dir string) (*digest.Run, error) {
	type opened struct {
		run *digest.Run
		err error
	}
	known := map[string]opened{}
	return func(dir string) (*digest.Run, error) {
		key, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("finding %s: %w", dir, err)
		}
		o, ok := known[key]
		if !ok {
			o.run, o.err = digest.Open(ctx, filepath.Clean(dir), progress(stderr, dir))
			known[key] = o
		}
		return o.run, o.err
	}
}

// derive is what analyze writes of a run.
func derive(_ context.Context, run *digest.Run, figures string) ([]verify.File, error) {
	set, err := figureSet(figures)
	if err != nil {
		return nil, err
	}
	return lay(run, set).files(), nil
}
