// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func sshCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ssh NODE [-- CMD...]",
		Short: "Open a shell on a node, or run a command there",
		Long: `Open a shell on a node, or run a command there, as root. The words of the command are joined with
spaces and given to the node's shell, as ssh(1) does; its exit code is testbed's.`,
		Args: cobra.MinimumNArgs(1),
	}
	path := inventoryFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		inv, log, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		if _, ok := inv.Node(args[0]); !ok {
			return cli.Misuse("unknown node %q (hint: the nodes are in %s)", args[0], inv.Path)
		}
		c, err := s.open(cmd.Context(), inv, log)
		if err != nil {
			return err
		}
		defer c.Close()
		line := strings.Join(args[1:], " ")
		in, isFile := s.In.(*os.File)
		if line == "" && isFile && term.IsTerminal(int(in.Fd())) {
			err = s.shell(cmd.Context(), c, args[0], in)
		} else {
			if line == "" {
				line = "exec bash -s" // a script on stdin
			}
			_, err = c.Fleet.Run(cmd.Context(), args[0], remote.Command{Line: line, Stdin: s.In, Stdout: s.Out, Stderr: s.Err})
		}
		if exit := (*remote.ExitError)(nil); errors.As(err, &exit) {
			return &cli.StatusError{Code: exit.Code}
		}
		return err
	}
	return cmd
}

// shell connects the user's terminal with one on the node.
func (s streams) shell(ctx context.Context, c *cluster.Cluster, node string, in *os.File) error {
	fd := int(in.Fd())
	width, height, err := term.GetSize(fd)
	if err != nil {
		return err
	}
	before, err := term.MakeRaw(fd)
	if err != nil {
		return err
	}
	defer term.Restore(fd, before)
	changed, resized := make(chan os.Signal, 1), make(chan [2]int, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-changed:
				if w, h, err := term.GetSize(fd); err == nil {
					select {
					case resized <- [2]int{w, h}:
					case <-done:
						return
					}
				}
			case <-done:
				return
			}
		}
	}()
	name := os.Getenv("TERM")
	if name == "" {
		name = "vt100"
	}
	return c.Fleet.Shell(ctx, node, "", remote.Terminal{Name: name, Width: width, Height: height, Resized: resized, Stdin: in, Stdout: s.Out})
}
