// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func logsCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logs GROUP",
		Short: "Print the journals of nodes",
		Long: `Print the journals of nodes. GROUP is as in 'testbed exec'; behind each line's node, where there are several, stands
journalctl's line. With --console, a virtual node's console is printed, also of one that is off.`,
		Example: `  testbed logs worker -u kubelet --since -5min
  testbed logs control-1 -u etcd -f`,
		Args: cobra.ExactArgs(1),
	}
	path := inventoryFlag(cmd)
	units := cmd.Flags().StringSliceP("unit", "u", nil, "only these units of systemd")
	count := cmd.Flags().IntP("lines", "n", 100, "the last so many lines of each node (0: all)")
	follow := cmd.Flags().BoolP("follow", "f", false, "go on with new lines until interrupted")
	since := cmd.Flags().String("since", "", "from this time on, as journalctl has it: '-5min', '10:00'")
	until := cmd.Flags().String("until", "", "up to this time")
	kernel := cmd.Flags().BoolP("kernel", "k", false, "only the kernel's messages")
	console := cmd.Flags().Bool("console", false, "the console of virtual nodes")
	output := cmd.Flags().StringP("output", "o", "lines", "lines, or json: journalctl's objects, one a line")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *output != "lines" && *output != "json" {
			return cli.Misuse("unknown output %q (hint: lines or json)", *output)
		}
		inv, log, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		nodes, err := choose(inv, args)
		if err != nil {
			return err
		}
		if *console && inv.Substrate != "twin" {
			return cli.Misuse("boards have no console that testbed reads (hint: without --console)")
		}
		c, err := s.open(cmd.Context(), inv, log)
		if err != nil {
			return err
		}
		defer c.Close()
		if *console {
			return s.consoles(c, nodes)
		}
		line := "exec journalctl --no-pager --quiet"
		for _, u := range *units {
			line += " --unit=" + kubectl.Quote(u)
		}
		if *count > 0 {
			line += " --lines=" + strconv.Itoa(*count)
		}
		for name, value := range map[string]string{"--since=": *since, "--until=": *until} {
			if value != "" {
				line += " " + name + kubectl.Quote(value)
			}
		}
		for word, wanted := range map[string]bool{" --follow": *follow, " --dmesg": *kernel, " --output=short-iso-precise --no-hostname": *output == "lines", " --output=json": *output == "json"} {
			if wanted {
				line += word
			}
		}
		together := linesOf(s.Out, nodes)
		return c.Fleet.Each(cmd.Context(), nodes, 0, func(ctx context.Context, n inventory.Node) error {
			name := n.Name
			if len(nodes) == 1 || *output == "json" { // whose objects have _HOSTNAME
				name = ""
			}
			out := together.of(name)
			defer out.Close()
			_, err := c.Fleet.Run(ctx, n.Name, remote.Command{Line: line, Stdout: out})
			return err
		})
	}
	return cmd
}

// consoles prints what virtual nodes wrote to their consoles since they were booted.
func (s streams) consoles(c *cluster.Cluster, nodes []inventory.Node) error {
	for _, n := range nodes {
		f, err := os.Open(filepath.Join(c.StateDir, "nodes", n.Name, "console.log"))
		if err != nil {
			return fmt.Errorf("opening the console of %s: %w", n.Name, err)
		}
		if len(nodes) > 1 {
			fmt.Fprintf(s.Out, "== %s\n", n.Name)
		}
		_, err = io.Copy(s.Out, f)
		f.Close()
		if err != nil {
			return fmt.Errorf("printing the console of %s: %w", n.Name, err)
		}
	}
	return nil
}
