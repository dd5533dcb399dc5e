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
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/preflight"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/provision"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/twin"
	"github.com/dnsingress/dnsingress/internal/cli"
)

// stages of `up`, in order; --until names the last one to run.
var stages = []string{"base", "boot", "preflight", "cluster"}

func upCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Raise the cluster of an inventory: flash, boot and provision its nodes",
		Long: `Raise the cluster of an inventory: look at all nodes before anything is changed, write the cards of boards whose image
is not the inventory's, boot, provision over SSH, preload the images, report the health of all nodes.

What stands already is left as it is, so that 'up' after an interrupt or an error goes on where that one ended; what a killed
testbed left broken is mended first. A node that fails is given up and the others go on; in the end 'up' names those given up
and exits with 1. 'up --resume' leaves out what each node did in the last 'up'. 'testbed down' removes everything.`,
		Example: `  testbed up -i pi-cluster/inventory.yaml --dry-run
  testbed up -i pi-cluster/inventory.yaml --limit worker-3,client`,
		Args: cobra.NoArgs,
	}
	path := inventoryFlag(cmd)
	substrate := cmd.Flags().String("substrate", "", "twin or pi; must be the inventory's (a guard against the wrong file)")
	until := cmd.Flags().String("until", "cluster", "stop after: "+strings.Join(stages, ", "))
	dry := cmd.Flags().Bool("dry-run", false, "print what would be done on which host")
	limit := cmd.Flags().StringSlice("limit", nil, "only these nodes, groups, roles or clusters")
	resume := cmd.Flags().Bool("resume", false, "go on with the last 'up', which did not end well: leave out what nodes have done")
	accept := cmd.Flags().StringSlice("accept", nil, "checks whose findings are told but stop nothing, as 'testbed doctor' names them")
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
			catalog = bundle.Join(catalog, extra...)
		}
		if err := checkAccept(*accept, preflight.Names(inv, catalog)); err != nil {
			return err
		}
		var only []string
		if len(*limit) > 0 {
			nodes, err := choose(inv, *limit)
			if err != nil {
				return err
			}
			only = names(nodes)
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
		if c.Work, err = c.NewWork(s.Out, only, *resume); err != nil {
			return err
		}
		phases, err := s.upPhases(c, raisingFlags{root, *until, catalog, *accept, *verbose}, log)
		if err != nil {
			return err
		}
		m := &phase.Manager{Log: log, Out: s.Out, Dry: *dry}
		if *dry {
			return m.Run(cmd.Context(), phases...)
		}
		release, err := c.Hold("up")
		if err != nil {
			return err
		}
		defer release()
		err = m.Run(cmd.Context(), phases...)
		if err == nil {
			err = c.Work.End()
		}
		return explain(cmd.Context(), c, err)
	}
	return cmd
}

// raisingFlags are the flags of `up` that its phases want to know.
type raisingFlags struct {
	repo, until string
	catalog     []bundle.Source
	accept      []string
	verbose     bool
}

// checkAccept refuses checks that there are not, or that stop nothing.
func checkAccept(given, known []string) error {
	for _, name := range given {
		if !slices.Contains(known, name) {
			return cli.Misuse("no check %q stops an 'up' (hint: %s)", name, strings.Join(known, "; "))
		}
	}
	return nil
}

// upPhases is `up`, read from top to bottom.
func (s streams) upPhases(c *cluster.Cluster, f raisingFlags, log *slog.Logger) ([]phase.Phase, error) {
	cache, err := cluster.CacheDir()
	if err != nil {
		return nil, err
	}
	packages, err := bundle.NodePackages(f.repo)
	if err != nil {
		return nil, err
	}
	store, err := bundle.Open(cache, f.repo)
	if err != nil {
		return nil, err
	}
	programs := io.Discard
	if f.verbose {
		programs = s.Err
	}
	base := twin.BaseBuild{Cache: cache, Packages: packages, Mirror: os.Getenv("TESTBED_DEBIAN_MIRROR"), Out: programs}
	options := provision.Options{Store: store, Catalog: f.catalog, Base: base.Path(), Out: s.Out, Verbose: programs, Log: log}
	raising := cluster.Raising{
		Base: base,
		Seed: func(ctx context.Context, n inventory.Node) (string, error) { return provision.Seed(ctx, options, n) },
		Binds: func(ctx context.Context, n inventory.Node) ([]twin.Bind, error) {
			return binds(ctx, options, n)
		},
	}
	raising.AtOnce = c.Budget.AtOnce
	if raising.Imaging, err = s.imaging(c, log); err != nil {
		return nil, err
	}
	look := preflight.Options{Cluster: c, Store: store, Catalog: f.catalog, Accept: f.accept, Out: s.Out}
	mend := &mending{c, f.repo, s.Out}
	before := provision.Before(c, options)
	if f.until == "base" {
		return c.Phases(raising)[:2], nil // check, and base or meet
	}
	var raise []phase.Phase
	if c.Inventory.Substrate == "twin" { // there is nothing to look at before the nodes are booted
		raise = append(c.Phases(raising, before...), mend, preflight.Before(look))
	} else {
		raise = c.Phases(raising, append(before, mend, preflight.Before(look))...)
		if f.until == "preflight" {
			return raise[:len(raise)-1], nil // whose last one writes cards
		}
		raise = append(raise, preflight.Written(look))
	}
	switch f.until {
	case "boot", "preflight":
		return raise, nil
	default:
		raise = append(raise, provision.Phases(c, options)...)
		return append(raise, preflight.After(look)), nil
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
		return fmt.Errorf("%w\n(what stands, stands: 'testbed up --resume' goes on with it, 'testbed up' looks at all again, 'testbed down' removes it)", err)
	}
	return err
}
