// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/phase"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/provision"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/twin"
	"github.com/dnsingress/dnsingress/internal/cli"
)

// stages of `up`, in order; --until names the last one to run.
var stages = []string{"base", "boot", "cluster"}

func upCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Raise the cluster of an inventory: boot its nodes, provision them",
		Long: `Raise the cluster of an inventory: boot its nodes and provision them over SSH.

What stands already is left as it is, so that 'up' after an interrupt or an error goes on where that
one ended. 'testbed down' removes everything.`,
		Args: cobra.NoArgs,
	}
	path := inventoryFlag(cmd)
	substrate := cmd.Flags().String("substrate", "", "twin or pi; must be the inventory's (a guard against the wrong file)")
	until := cmd.Flags().String("until", "cluster", "stop after: "+strings.Join(stages, ", "))
	dry := cmd.Flags().Bool("dry-run", false, "print what would be done on which host")
	repo := cmd.Flags().String("repo", "", "directory of the repository (default: from the working directory up)")
	with := cmd.Flags().StringSlice("with", nil, "systems whose images are not among the standard ones and are to be built too: "+strings.Join(bundle.Extras(), ", "))
	verbose := cmd.Flags().BoolP("verbose", "v", false, "show the output of the programs that are run")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		inv, log, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		if *substrate != "" && *substrate != inv.Substrate {
			return cli.Misuse("%s describes substrate %q, not %q", *path, inv.Substrate, *substrate)
		}
		if !slices.Contains(stages, *until) {
			return cli.Misuse("unknown stage %q (hint: %s)", *until, strings.Join(stages, ", "))
		}
		catalog := bundle.Standard()
		for _, system := range *with {
			extra := bundle.Extra(system)
			if extra == nil {
				return cli.Misuse("no system %q needs more than the standard images (hint: %s)", system, strings.Join(bundle.Extras(), ", "))
			}
			catalog = append(catalog, extra...)
		}
		c, err := cluster.New(inv, log)
		if err != nil {
			return err
		}
		defer c.Close()
		root, err := repository(*repo)
		if err != nil {
			return err
		}
		phases, err := s.upPhases(c, root, *until, catalog, *verbose, log)
		if err != nil {
			return err
		}
		if !*dry {
			release, err := c.Hold("up")
			if err != nil {
				return err
			}
			defer release()
		}
		m := &phase.Manager{Log: log, Out: s.Out, Dry: *dry}
		return explain(cmd.Context(), c, m.Run(cmd.Context(), phases...))
	}
	return cmd
}

// upPhases is `up`, read from top to bottom.
func (s streams) upPhases(c *cluster.Cluster, repo, until string, catalog []bundle.Source, verbose bool, log *slog.Logger) ([]phase.Phase, error) {
	cache, err := cluster.CacheDir()
	if err != nil {
		return nil, err
	}
	packages, err := twin.Packages(repo)
	if err != nil {
		return nil, err
	}
	store, err := bundle.Open(cache, repo)
	if err != nil {
		return nil, err
	}
	programs := io.Discard
	if verbose {
		programs = s.Err
	}
	options := provision.Options{Store: store, Catalog: catalog, Out: s.Out, Log: log}
	raising := cluster.Raising{
		Base: twin.BaseBuild{Cache: cache, Packages: packages, Mirror: os.Getenv("TESTBED_DEBIAN_MIRROR"), Out: programs},
		Binds: func(ctx context.Context, n inventory.Node) ([]twin.Bind, error) {
			return binds(ctx, options, n)
		},
	}
	raise := c.Phases(raising, provision.Before(c, options)...)
	switch until {
	case "base":
		return c.Phases(raising)[:2], nil // check, and base or meet
	case "boot":
		return raise, nil
	default:
		return append(raise, provision.Phases(c, options)...), nil
	}
}

// binds returns what a node sees of this machine's bundle.
func binds(ctx context.Context, o provision.Options, n inventory.Node) ([]twin.Bind, error) {
	sources, err := provision.Binds(ctx, o, n)
	if err != nil {
		return nil, err
	}
	var list []twin.Bind
	for _, target := range slices.Sorted(maps.Keys(sources)) {
		list = append(list, twin.Bind{Source: sources[target], Target: target})
	}
	return list, nil
}

// explain adds to the error of an `up` that failed half-way what to do next.
func explain(ctx context.Context, c *cluster.Cluster, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if stands, _ := c.Standing(); stands {
		return fmt.Errorf("%w\n(what stands, stands: 'testbed up' goes on with it, 'testbed down' removes it)", err)
	}
	return err
}
