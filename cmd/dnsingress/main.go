// SPDX-License-Identifier: Apache-2.0

// Command dnsingress is an authoritative DNS server that publishes the addresses of a service's own pods and
// decides by readiness and live metrics which of them are in the answer.
package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/manual"
)

func main() { os.Exit(cli.Main(command)) }

// streams are the process's standard streams.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func command(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	s := streams{stdin, stdout, stderr}
	c := &cobra.Command{
		Use:     "dnsingress",
		Short:   "Answer DNS queries with the pods that should get the traffic",
		Version: cli.Version(),
	}
	c.SetIn(stdin)
	c.SetOut(stdout)
	c.SetErr(stderr)
	c.AddCommand(runCommand(s), serveCommand(s), checkZoneCommand(s), lookupCommand(s), dnssecCommand(s), explainCommand(s), forwardsCommand(s), registrationsCommand(s), peersCommand(s), checkCommand(s), steerCommand(s), recordsCommand(s), webhookCommand(s), manual.Command(c))
	return c
}
