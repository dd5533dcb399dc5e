// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/provision"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func bundleCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Build what nodes need: Kubernetes, container images",
		Long: `Build what nodes need and no package of theirs gives: etcd and the Kubernetes programs, and the container
images, from pinned sources into the cache. What is cached for the same inputs is not built again.
'testbed up' does the same.

With KUBE_BIN_DIR set, the Kubernetes programs are taken from that directory and not built.`,
		Args: cobra.NoArgs,
	}
	only := cmd.Flags().StringSlice("only", nil, "build only these, by name: kubernetes, image/dnsingress, … (default: all but what --with of 'testbed up' adds)")
	dry := cmd.Flags().Bool("dry-run", false, "say what is cached and what is not, build nothing")
	arch := cmd.Flags().String("arch", runtime.GOARCH, "architecture of the nodes: amd64 or arm64")
	repo := cmd.Flags().String("repo", "", "directory of the repository (default: from the working directory up)")
	format := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*format); err != nil {
			return err
		}
		sources := bundle.Standard()
		if len(*only) > 0 {
			var err error
			if sources, err = bundle.Choose(bundle.Catalog(), *only); err != nil {
				return cli.Misuse("%w", err)
			}
		}
		root, err := repository(*repo)
		if err != nil {
			return err
		}
		cache, err := cluster.CacheDir()
		if err != nil {
			return err
		}
		store, err := bundle.Open(cache, root)
		if err != nil {
			return err
		}
		if *arch != "amd64" && *arch != "arm64" {
			return cli.Misuse("unknown architecture %q (hint: amd64 or arm64)", *arch)
		}
		store.Arch = *arch
		store.Report = func(p bundle.Progress) { provision.ReportBuild(s.Err, p) }
		rows, err := makeBundle(cmd.Context(), store, sources, *dry)
		if err != nil {
			return err
		}
		if *format == "json" {
			return s.json(rows)
		}
		return bundle.WriteTable(s.Out, rows)
	}
	return cmd
}

// makeBundle builds the sources, or only looks for them, and describes each.
func makeBundle(ctx context.Context, store *bundle.Store, sources []bundle.Source, dry bool) ([]bundle.Row, error) {
	store.FindKeys(ctx, sources)
	rows := []bundle.Row{}
	for _, src := range sources {
		before, err := store.Look(ctx, src)
		if err != nil {
			return nil, err
		}
		item := before
		if !dry {
			if item, err = store.Get(ctx, src); err != nil {
				return nil, err
			}
		}
		row, err := bundle.NewRow(item, before)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}
