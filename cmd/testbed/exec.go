// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
)

// execResult is what a command did on one node.
type execResult struct {
	Node    string  `json:"node"`
	Code    int     `json:"code"`            // of the command; -1 where it did not run to its end
	Error   string  `json:"error,omitempty"` // why it did not
	Stdout  string  `json:"stdout"`
	Stderr  string  `json:"stderr"`
	Seconds float64 `json:"seconds"`
}

func execCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec GROUP -- CMD...",
		Short: "Run a command on several nodes at once",
		Long: `Run a command on several nodes at once, as root. GROUP is a group, a role, a cluster, the name of a node, "all", or
several of them with commas. The words of the command are joined with spaces and given to each node's shell. Each line of
output stands behind its node's name. When it failed on a node, testbed exits with 1; an interrupt ends it everywhere.`,
		Example: `  testbed exec worker -- uname -r
  testbed exec all -o json -- chronyc tracking`,
		Args: cobra.MinimumNArgs(2),
	}
	path := inventoryFlag(cmd)
	output := outputFlag(cmd)
	parallel := cmd.Flags().Int("parallel", 0, "nodes at once (0: all)")
	timeout := cmd.Flags().Duration("timeout", 0, "end the command on a node after this time (0: never)")
	dry := cmd.Flags().Bool("dry-run", false, "print what would be run where")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		inv, log, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		nodes, err := choose(inv, args[:1])
		if err != nil {
			return err
		}
		line := strings.Join(args[1:], " ")
		if *dry {
			for _, n := range nodes {
				fmt.Fprintf(s.Out, "%s: %s\n", n.Name, line)
			}
			return nil
		}
		c, err := s.open(cmd.Context(), inv, log)
		if err != nil {
			return err
		}
		defer c.Close()
		return s.exec(cmd.Context(), c, nodes, line, *parallel, *timeout, *output == "json")
	}
	return cmd
}

func (s streams) exec(ctx context.Context, c *cluster.Cluster, nodes []inventory.Node, line string, parallel int, timeout time.Duration, asJSON bool) error {
	out, errs := linesOf(s.Out, nodes), linesOf(s.Err, nodes)
	var mu sync.Mutex
	byName := map[string]execResult{}
	err := c.Fleet.Each(ctx, nodes, parallel, func(ctx context.Context, n inventory.Node) error {
		if timeout > 0 {
			limited, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no end within %s", timeout))
			defer cancel()
			ctx = limited
		}
		r := execResult{Node: n.Name}
		start := time.Now()
		command := remote.Command{Line: line}
		var stdout, stderr bytes.Buffer
		if asJSON {
			command.Stdout, command.Stderr = &stdout, &stderr
		} else {
			o, e := out.of(n.Name), errs.of(n.Name)
			defer o.Close()
			defer e.Close()
			command.Stdout, command.Stderr = o, e
		}
		_, err := c.Fleet.Run(ctx, n.Name, command)
		var exit *remote.ExitError
		switch {
		case errors.As(err, &exit):
			r.Code = exit.Code
		case err != nil:
			r.Code, r.Error = -1, err.Error()
		}
		r.Stdout, r.Stderr, r.Seconds = stdout.String(), stderr.String(), time.Since(start).Seconds()
		mu.Lock()
		defer mu.Unlock()
		byName[n.Name] = r
		return nil
	})
	if err != nil {
		return err
	}
	results := make([]execResult, len(nodes))
	var failed []string
	for i, n := range nodes {
		r := byName[n.Name]
		results[i] = r
		switch {
		case r.Error != "":
			failed = append(failed, r.Error)
		case r.Code != 0:
			failed = append(failed, fmt.Sprintf("%s: it ended with code %d", n.Name, r.Code))
		}
	}
	if asJSON {
		if err := s.json(results); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("the command failed on %d of %d nodes:\n  %s", len(failed), len(nodes), strings.Join(failed, "\n  "))
	}
	return nil
}
