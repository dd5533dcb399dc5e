// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/figure"
	"github.com/dnsingress/dnsingress/internal/cli"
)

// figuresCommand shows what a figures file may say.
func figuresCommand(stdout io.Writer) *cobra.Command {
	kinds, check, output := false, "", ""
	c := &cobra.Command{
		Use:   "figures",
		Short: "Print the default set of figures, a file to begin with",
		Long: `Print the default set of figures, a file to begin with.

A figures file declares what analyze draws, a few lines a figure:

  version: 1
  figures:
    - name: keepalive-p999          # of the files
      kind: rate-latency            # how it is drawn: analyze figures --kinds
      where: {connection: [keepalive], system: [nginx, dnsingress]}
      series: [system]              # the factors whose levels are lines, rows or panels
      each: [connection]            # a figure for each level; without it: of each factor that varies and is told apart by nothing else
      x: rate                       # a factor with numbers; of pareto a quantity
      y: p99.9                      # a quantity: analyze figures --kinds lists them
      title: Latency of kept connections

Besides the run's factors there are "kind" (steady, fault, churn, find-max, idle) and "fault" (the fault's kind; none, churn-10, find-max or idle where nothing was broken).`,
		Example: "  analyze figures --kinds\n  analyze figures --check mine.yaml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			switch {
			case output != "table" && output != "json":
				return cli.Misuse("unknown output %q (hint: table or json)", output)
			case output == "json" && !kinds:
				return cli.Misuse("a figures file is YAML (hint: -o json is for --kinds)")
			case check != "":
				set, err := figureSet(check)
				if err != nil {
					return err
				}
				return say(stdout, fmt.Sprintf("%s: %d figures\n", check, len(set)))
			case kinds && output == "json":
				return kindsJSON(stdout)
			case kinds:
				return say(stdout, kindList())
			default:
				return say(stdout, string(figure.DefaultFile()))
			}
		},
	}
	c.Flags().BoolVar(&kinds, "kinds", false, "list the kinds of figures and the quantities instead")
	c.Flags().StringVarP(&output, "output", "o", "table", "how --kinds prints: table or json")
	c.Flags().StringVar(&check, "check", "", "check a figures file instead")
	return c
}

func say(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// kindsJSON prints what kindList does, for programs.
func kindsJSON(w io.Writer) error {
	type kind struct {
		Name string `json:"name"`
		X    string `json:"x"`
		Y    string `json:"y"`
		Does string `json:"shows"`
	}
	type quantity struct {
		Name string `json:"name"`
		Axis string `json:"axis"`
	}
	var list struct {
		Kinds      []kind     `json:"kinds"`
		Quantities []quantity `json:"quantities"`
	}
	for _, k := range figure.Kinds() {
		list.Kinds = append(list.Kinds, kind{k.Name, k.X.String(), k.Y, k.Does})
	}
	for _, q := range digest.Quantities() {
		list.Quantities = append(list.Quantities, quantity{q.Name, q.Label})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(list); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

func kindList() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tX\tY\tSHOWS")
	for _, k := range figure.Kinds() {
		y := k.Y
		if y == "" {
			y = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.Name, k.X, y, k.Does)
	}
	fmt.Fprintln(w, "\nQUANTITY\tAXIS")
	for _, q := range digest.Quantities() {
		fmt.Fprintf(w, "%s\t%s\n", q.Name, q.Label)
	}
	fmt.Fprintln(w, "p99.9\tany percentile of latency")
	fmt.Fprintln(w, "lookup_cold_p50_ms\tany measure that trials hold (measures in trial.json)")
	_ = w.Flush() // into memory
	return b.String()
}
