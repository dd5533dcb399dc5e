// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func powerCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "power",
		Short: "Cut the power of nodes, or give it back",
	}
	cmd.AddCommand(
		s.powerVerb("off", "Cut the power: nothing on the node says goodbye", func(ctx context.Context, c *cluster.Cluster, node string) error {
			return c.Power.Off(ctx, node)
		}),
		s.powerVerb("on", "Give power, and wait until the node answers on SSH", func(ctx context.Context, c *cluster.Cluster, node string) error {
			return c.Power.On(ctx, node)
		}),
		s.powerVerb("cycle", "Cut the power and give it back", func(ctx context.Context, c *cluster.Cluster, node string) error {
			if err := c.Power.Off(ctx, node); err != nil {
				return err
			}
			return c.Power.On(ctx, node)
		}),
	)
	return cmd
}

func (s streams) powerVerb(verb, short string, do func(ctx context.Context, c *cluster.Cluster, node string) error) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " NODE...", Short: short, Args: cobra.MinimumNArgs(1)}
	path := inventoryFlag(cmd)
	dry := cmd.Flags().Bool("dry-run", false, "print what would be done")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		inv, log, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		var nodes []inventory.Node
		for _, name := range args {
			n, ok := inv.Node(name)
			if !ok {
				return cli.Misuse("unknown node %q (hint: the nodes are in %s)", name, inv.Path)
			}
			nodes = append(nodes, n)
		}
		if *dry {
			for _, n := range nodes {
				fmt.Fprintf(s.Out, "%s: power %s\n", n.Name, verb)
			}
			return nil
		}
		c, err := cluster.Open(cmd.Context(), inv, log)
		if err != nil {
			return err
		}
		defer c.Close()
		return c.Fleet.Each(cmd.Context(), nodes, 0, func(ctx context.Context, n inventory.Node) error {
			start := time.Now()
			if err := do(ctx, c, n.Name); err != nil {
				return err
			}
			fmt.Fprintf(s.Out, "%s: power %s … %.1fs\n", n.Name, verb, time.Since(start).Seconds())
			return nil
		})
	}
	return cmd
}
