// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/fault"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/preflight"
)

func doctorCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what would invalidate a measurement now, with the cure",
		Long: `Say what would invalidate a measurement now, with the cure: nodes that do not answer or show another's host key, clocks,
throttling, temperature, governor, page size, address space, space, kernel features, other load, what a trial left, programs
that were never started on a node's kernel, kubelets, pods, scrapes. It changes nothing. It exits with 1 if there is anything.`,
		Args: cobra.NoArgs,
	}
	path := inventoryFlag(cmd)
	output := outputFlag(cmd)
	limit := cmd.Flags().StringSlice("limit", nil, "only these nodes, groups, roles or clusters")
	all := cmd.Flags().Bool("all", false, "also print what is well")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		inv, log, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		nodes := inv.Nodes
		if len(*limit) > 0 {
			if nodes, err = choose(inv, *limit); err != nil {
				return err
			}
		}
		c, err := cluster.Open(cmd.Context(), inv, log)
		if err != nil {
			return err
		}
		defer c.Close()
		findings, err := examine(cmd.Context(), c, nodes)
		if err != nil {
			return err
		}
		bad := preflight.Bad(findings)
		switch {
		case *output == "json":
			err = s.json(findings)
		case *all:
			err = findingsTable(s.Out, findings)
		case len(bad) > 0:
			err = findingsTable(s.Out, bad)
		default:
			fmt.Fprintf(s.Out, "nothing would invalidate a measurement: %d nodes, %d checks\n", len(nodes), len(findings))
		}
		if err == nil && len(bad) > 0 {
			err = fmt.Errorf("%d of %d checks would invalidate a measurement now", len(bad), len(findings))
		}
		return err
	}
	return cmd
}

// examine makes all checks, of the cluster as a whole first.
func examine(ctx context.Context, c *cluster.Cluster, nodes []inventory.Node) ([]preflight.Finding, error) {
	findings := []preflight.Finding{}
	whole := func(check, value, bound, cure string) {
		findings = append(findings, preflight.Finding{Node: c.Inventory.Cluster, Check: check, OK: cure == "", Value: value, Bound: bound, Cure: cure})
	}
	holder, err := c.Holder()
	if err != nil {
		return nil, err
	}
	if holder != nil {
		whole("in use", holder.String(), "free", "wait for its end")
	} else {
		whole("in use", "no", "free", "")
	}
	left, err := left(c)
	if err != nil {
		return nil, err
	}
	for _, l := range left.lines() {
		whole("standing", l, "nothing", "testbed up mends it")
	}
	broken, err := faultsLeft(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, l := range broken {
		whole("fault", l, "nothing broken", "testbed fault clear")
	}
	found, err := preflight.Run(ctx, c.Fleet, c.Inventory, nodes, preflight.Standard(c.Inventory.Substrate), true)
	return append(findings, found...), err
}

// faultsLeft lists what faults left on the nodes that answer; those that do not are findings of their own.
func faultsLeft(ctx context.Context, c *cluster.Cluster) ([]string, error) {
	env, err := faultEnv(c, io.Discard)
	if err != nil {
		return nil, err
	}
	found, _ := fault.Leftovers(ctx, env) // the error is of nodes that do not answer
	return found, ctx.Err()
}

// findingsTable has a second line for each cure.
func findingsTable(out io.Writer, findings []preflight.Finding) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tCHECK\tVALUE\tMUST BE")
	for _, f := range findings {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Node, f.Check, f.Value, f.Bound)
		if f.Cure != "" {
			fmt.Fprintf(w, "\tcure: %s\n", f.Cure)
		}
	}
	return w.Flush()
}
