// SPDX-License-Identifier: Apache-2.0

// Command loadgen loads a service in an open loop, as a population of clients that resolve names
// and hold connections like real ones, and records every attempt.
package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/manual"
)

func main() { os.Exit(cli.Main(command)) }

func command(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:     "loadgen",
		Short:   "An open-loop load generator that resolves names as clients do",
		Version: cli.Version(),
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(httpCommand(stdout, stderr), dnsCommand(stdin, stdout, stderr), fanoutCommand(stdout, stderr), relayCommand(stdout, stderr), mergeCommand(stdout), watchCommand(stderr), manual.Command(root))
	return root
}
