// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/internal/cli"
)

// listed is one line of `experiment list`, and one object of its JSON.
type listed struct {
	Name     string        `json:"name"`
	File     string        `json:"file"`
	Question string        `json:"question"`
	Form     string        `json:"form,omitempty"`
	Factors  []string      `json:"factors"`
	Systems  []string      `json:"systems"`
	Trials   int           `json:"trials"`
	Estimate time.Duration `json:"estimate_ns"`
}

func experimentListCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the scenarios, what they ask and about how long they take",
		Args:  cobra.NoArgs,
	}
	repo := cmd.Flags().String("repo", "", "directory of the repository (default: from the working directory up)")
	output := outputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		root, err := repository(*repo)
		if err != nil {
			return err
		}
		all, err := listScenarios(filepath.Join(root, "experiments"), vocabulary(root, nil))
		if err != nil {
			return err
		}
		if *output == "json" {
			return s.json(all)
		}
		w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tFORM\tSYSTEMS\tTRIALS\tABOUT\tQUESTION")
		for _, l := range all {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", l.Name, cmp.Or(l.Form, "-"), len(l.Systems), l.Trials, l.Estimate.Round(time.Second), l.Question)
		}
		return w.Flush()
	}
	return cmd
}

// listScenarios reads all scenarios in dir and in its directories of forms; those that are wrong are the error.
func listScenarios(dir string, known scenario.Vocabulary) ([]listed, error) {
	var paths []string
	for _, of := range append([]string{""}, scenario.Forms()...) {
		found, err := filepath.Glob(filepath.Join(dir, of, "*.yaml"))
		if err != nil {
			return nil, fmt.Errorf("listing scenarios: %w", err)
		}
		paths = append(paths, found...)
	}
	all := []listed{}
	var errs []error
	for _, path := range paths {
		sc, _, err := scenario.Read(path, known)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		factors := []string{}
		for _, f := range sc.Given() {
			factors = append(factors, f.String())
		}
		all = append(all, listed{sc.Name, path, strings.Join(strings.Fields(sc.Question), " "), sc.Form, factors, sc.Systems, len(sc.Order()), sc.Estimate()})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &cli.MisuseError{Err: err}
	}
	return all, nil
}
