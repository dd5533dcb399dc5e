// SPDX-License-Identifier: Apache-2.0

// Command testbed raises a cluster, runs experiments on it and removes it.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/manual"
)

func main() { os.Exit(cli.Main(command)) }

// streams are where commands read and write.
type streams struct {
	In       io.Reader
	Out, Err io.Writer
}

func command(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	s := streams{stdin, stdout, stderr}
	root := &cobra.Command{
		Use:     "testbed",
		Short:   "Raise a cluster of nodes, run experiments on it, remove it",
		Version: cli.Version(),
	}
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.PersistentFlags().String("log", "warn", "log level: debug, info, warn or error")
	root.AddCommand(
		upCommand(s),
		downCommand(s),
		statusCommand(s),
		doctorCommand(s),
		sshCommand(s),
		execCommand(s),
		logsCommand(s),
		powerCommand(s),
		netbootCommand(s),
		faultCommand(s),
		imageCommand(s),
		flashCommand(s),
		bundleCommand(s),
		experimentCommand(s),
		manual.Command(root),
	)
	return root
}

// defaultInventory is the small twin.
const defaultInventory = "pi-cluster/inventory.twin.yaml"

// inventoryFlag adds -i to a command.
func inventoryFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("inventory", "i", defaultInventory, "file of the cluster's nodes")
}

// load reads the inventory and makes the logger of a command.
func (s streams) load(cmd *cobra.Command, path string) (*inventory.Inventory, *slog.Logger, error) {
	level, err := cmd.Flags().GetString("log")
	if err != nil {
		return nil, nil, err
	}
	log, err := cli.Logger(s.Err, level)
	if err != nil {
		return nil, nil, err
	}
	inv, err := inventory.Load(path)
	if err != nil {
		return nil, nil, cli.Misuse("%w", err)
	}
	return inv, log, nil
}

// known returns the cluster that an inventory describes, of which nothing is asked. Who gets it closes it.
func (s streams) known(cmd *cobra.Command, path string) (*cluster.Cluster, *slog.Logger, error) {
	inv, log, err := s.load(cmd, path)
	if err != nil {
		return nil, nil, err
	}
	c, err := cluster.New(inv, log)
	return c, log, err
}

// outputFlag adds -o to a command that lists.
func outputFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("output", "o", "table", "table or json")
}

func checkOutput(format string) error {
	if format != "table" && format != "json" {
		return cli.Misuse("unknown output %q (hint: table or json)", format)
	}
	return nil
}

// json prints what a command lists with -o json.
func (s streams) json(value any) error {
	enc := json.NewEncoder(s.Out)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}

// repository returns the directory of go.mod with our module path, from the working directory up.
func repository(flag string) (string, error) {
	dir, err := findRepository(flag)
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	return dir, nil
}
