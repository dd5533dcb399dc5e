// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/wiring"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func powerCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "power",
		Short: "Cut the power of nodes, or give it back; what switches show",
	}
	cmd.AddCommand(
		s.powerVerb("off", "Cut the power: nothing on the node says goodbye", func(ctx context.Context, c *cluster.Cluster, node string) error {
			return c.Power.Off(ctx, node)
		}),
		s.powerVerb("on", "Give power, and wait until the node answers on SSH", func(ctx context.Context, c *cluster.Cluster, node string) error {
			return c.Power.On(ctx, node)
		}),
		s.powerVerb("cycle", "Cut the power, give it back, and wait until the node answers on SSH", cycle),
		s.powerPorts(),
		s.powerBudget(),
		s.powerWiring(),
	)
	return cmd
}

// cycle boots a node anew; that it has power again is not yet that it answers.
func cycle(ctx context.Context, c *cluster.Cluster, node string) error {
	started, err := c.Budget.Start(ctx, node)
	if err != nil {
		return err
	}
	defer started()
	if p, ok := c.Power.(power.Cycler); ok {
		err = p.Cycle(ctx, node)
	} else {
		err = c.Power.Off(ctx, node)
	}
	if err != nil {
		return err
	}
	return c.Power.On(ctx, node)
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
				where := ""
				if !n.Port.IsZero() {
					where = " at " + n.Port.String()
				}
				fmt.Fprintf(s.Out, "%s: power %s%s\n", n.Name, verb, where)
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

func (s streams) powerPorts() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ports",
		Short: "Show the ports of all switches: power, watts, who is plugged in",
		Long: `Show the ports of all switches: power, watts, who is plugged in.

NODE is who the inventory has there, NEIGHBOURS are the addresses that LLDP and the switch's table
show. A port that must not be switched, because it leads elsewhere, says why.`,
		Args: cobra.NoArgs,
	}
	path, output := inventoryFlag(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		c, _, err := s.known(cmd, *path)
		if err != nil {
			return err
		}
		defer c.Close()
		ports, err := c.Ports(cmd.Context())
		if err != nil {
			return err
		}
		if *output == "json" {
			return s.json(ports)
		}
		w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SWITCH\tPORT\tNODE\tPOWER\tWATTS\tCLASS\tLINK\tNEIGHBOURS\tNOT SWITCHED")
		for _, p := range ports {
			watts, link, seen := "-", "down", make([]string, 0, len(p.Neighbours))
			if p.Watts != nil {
				watts = fmt.Sprintf("%.2f", *p.Watts)
			}
			if p.Link {
				link = "up"
			}
			for _, mac := range p.Neighbours {
				seen = append(seen, mac.String())
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Switch, p.Index, dash(p.Node), p.Power, watts, dash(p.Class), link, dash(strings.Join(seen, ",")), dash(p.Denied))
		}
		return w.Flush()
	}
	return cmd
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// switchBudget is one line of `power budget`, and one object of its JSON.
type switchBudget struct {
	Switch string     `json:"switch"`
	Nodes  int        `json:"nodes"`
	Idle   float64    `json:"idle_watts"`  // all of them
	Worst  float64    `json:"worst_watts"` // all of them
	Budget float64    `json:"budget_watts"`
	Waves  [][]string `json:"waves"` // nodes that may start together
}

func (s streams) powerBudget() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "budget",
		Short: "Show what nodes may draw, and which may start together",
		Args:  cobra.NoArgs,
	}
	path, output := inventoryFlag(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		inv, _, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		lines := budgets(inv)
		if *output == "json" {
			return s.json(lines)
		}
		w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SWITCH\tNODES\tIDLE W\tWORST W\tBUDGET W\tSTART TOGETHER")
		for _, l := range lines {
			sizes := make([]string, len(l.Waves))
			for i, wave := range l.Waves {
				sizes[i] = fmt.Sprint(len(wave))
			}
			fmt.Fprintf(w, "%s\t%d\t%g\t%g\t%g\t%s\n", l.Switch, l.Nodes, l.Idle, l.Worst, l.Budget, dash(strings.Join(sizes, ", then ")))
		}
		return w.Flush()
	}
	return cmd
}

// budgets adds up what each switch powers.
func budgets(inv *inventory.Inventory) []switchBudget {
	lines := make([]switchBudget, 0, len(inv.Switches))
	b := power.NewBudget(inv)
	for _, sw := range inv.Switches {
		line := switchBudget{Switch: sw.Name, Budget: sw.BudgetWatts, Waves: [][]string{}}
		var nodes []inventory.Node
		for _, n := range inv.Nodes {
			if n.Port.Switch == sw.Name {
				nodes = append(nodes, n)
				line.Idle += n.Watts.Idle
				line.Worst += n.Watts.Worst
			}
		}
		line.Nodes = len(nodes)
		for _, wave := range b.Waves(nodes) {
			var names []string
			for _, n := range wave {
				names = append(names, n.Name)
			}
			line.Waves = append(line.Waves, names)
		}
		lines = append(lines, line)
	}
	return lines
}

func (s streams) powerWiring() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wiring",
		Short: "Draw which node is plugged in at which port, as SVG",
		Args:  cobra.NoArgs,
	}
	path := inventoryFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		inv, _, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		if len(inv.Switches) == 0 {
			return cli.Misuse("%s has no switches (hint: switches: and port: as in pi-cluster/inventory.yaml)", inv.Path)
		}
		return wiring.SVG(s.Out, inv)
	}
	return cmd
}
