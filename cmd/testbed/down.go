// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func downCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove the cluster and all that it left on this machine",
		Long: `Remove the cluster and all that it left on this machine: processes, mounts, namespaces, links, cgroups,
state. It needs no state file, and works on what a killed 'up' left. What is cached stays.`,
		Args: cobra.NoArgs,
	}
	path := inventoryFlag(cmd)
	dry := cmd.Flags().Bool("dry-run", false, "print what would be removed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, _, err := s.known(cmd, *path)
		if err != nil {
			return err
		}
		if *dry {
			left, err := c.Leftovers()
			for _, l := range left {
				fmt.Fprintln(s.Out, l)
			}
			return err
		}
		release, err := c.Hold("down")
		if err != nil {
			return err
		}
		defer release()
		// An interrupt would leave half of it: this takes a second.
		if err := c.Down(context.WithoutCancel(cmd.Context())); err != nil {
			return err
		}
		if c.Inventory.Substrate == "pi" {
			fmt.Fprintf(s.Out, "cluster %s is forgotten; its boards run on\n", c.Inventory.Cluster)
			return nil
		}
		fmt.Fprintf(s.Out, "cluster %s is gone\n", c.Inventory.Cluster)
		return nil
	}
	return cmd
}
