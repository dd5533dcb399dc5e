// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/policy"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func checkCommand(s streams) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "check FILE...",
		Short: "Say whether SteeringPolicies are in order, or everything that is wrong with them",
		Long: `Say whether SteeringPolicies are in order, or everything that is wrong with them.

A file holds any number of documents; - is standard input. Every mistake has its place:
FILE:LINE:COLUMN, within PromQL and bounds too. No cluster is asked.

Exit codes: 0 all are in order, 2 something is wrong.`,
		Example: `  dnsingress check deploy/policies/latency.yaml
  kubectl get steeringpolicy latency -o yaml | dnsingress check -`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			var errs []error
			all := []checked{}
			for _, path := range files {
				policies, err := readPolicies(s, path)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				for _, p := range policies {
					all = append(all, summarise(path, p))
				}
			}
			if len(errs) > 0 {
				return cli.Misuse("%w", errors.Join(errs...))
			}
			return printChecked(s.out, output, all)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return c
}

func checkOutput(output string) error {
	if output != "table" && output != "json" {
		return cli.Misuse("unknown output %q (hint: table or json)", output)
	}
	return nil
}

// readPolicies reads a file, or standard input for -.
func readPolicies(s streams, path string) ([]policy.Policy, error) {
	if path != "-" {
		return policy.Load(path)
	}
	data, err := io.ReadAll(s.in)
	if err != nil {
		return nil, fmt.Errorf("reading standard input: %w", err)
	}
	return policy.Parse("standard input", data)
}

// checked is one policy that is in order.
type checked struct {
	File      string   `json:"file"`
	Namespace string   `json:"namespace,omitempty"`
	Name      string   `json:"name"`
	Targets   []string `json:"targets"`
	Signals   []string `json:"signals"`
	Checks    []string `json:"health_checks"`
	Rules     int      `json:"rules"`
	Selection string   `json:"selection"`
}

func summarise(path string, p policy.Policy) checked {
	c := checked{
		File: path, Namespace: p.Namespace, Name: p.Name, Targets: []string{},
		Signals: []string{}, Checks: []string{}, Rules: len(p.Steer.Rules), Selection: string(p.Steer.Selection.Kind),
	}
	for _, t := range p.Targets {
		c.Targets = append(c.Targets, t.String())
	}
	c.Targets = append(c.Targets, p.Hostnames...)
	if c.Selection == "" {
		c.Selection = "window"
	}
	for _, one := range p.Signals {
		c.Signals = append(c.Signals, one.Name)
	}
	for _, one := range p.Checks {
		c.Checks = append(c.Checks, one.Name)
	}
	return c
}

func printChecked(w io.Writer, output string, all []checked) error {
	if output == "json" {
		return printJSON(w, all)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FILE\tPOLICY\tTARGETS\tSIGNALS\tCHECKS\tRULES\tSELECTION")
	for _, c := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", c.File, strings.TrimPrefix(c.Namespace+"/"+c.Name, "/"), strings.Join(c.Targets, ","),
			orDash(strings.Join(c.Signals, ",")), orDash(strings.Join(c.Checks, ",")), c.Rules, c.Selection)
	}
	return t.Flush()
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
