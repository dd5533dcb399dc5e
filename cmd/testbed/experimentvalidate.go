// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/fault"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/resolver"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/system"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/tree"
	"github.com/dnsingress/dnsingress/internal/cli"
)

// vocabulary is what scenarios may name, and what is known of it without a cluster: by the manifests of the repository at repo, and
// by an inventory where there is one. Empty and nil: what holds anywhere.
func vocabulary(repo string, inv *inventory.Inventory) scenario.Vocabulary {
	v := scenario.Vocabulary{
		Systems: system.Names(), Faults: fault.Kinds(),
		Resolvers: resolver.Resolvers(), Behaviours: resolver.Behaviours(), Trees: tree.Names(),
		Levels: map[scenario.Factor][]string{
			scenario.Pack: system.Packs(), scenario.Front: system.Fronts(), scenario.TLS: {"off", "on"},
			scenario.Retry: system.Retries(), scenario.Timers: system.TimerLevels(),
		},
		Means: func(name string, f scenario.Factor) bool {
			s, ok := system.ByName(name)
			applies, _ := s.Accepts(f.String(), "")
			return ok && applies
		},
		Strikes: func(f scenario.Fault, systems []string) error {
			if fault.NeedsSystem(f.Kind) {
				for _, name := range systems {
					if s, ok := system.ByName(name); ok && s.Dir == "" {
						return fmt.Errorf("fault %s strikes a system's own pods, and %s has none", f.Kind, name)
					}
				}
			}
			return fault.Check(f.Kind, f.With, inv)
		},
		Hits: func(f scenario.Fault, setup scenario.Setup) error {
			if f.Kind == fault.ClusterDNSKill && !setup.ClusterDNS {
				return fmt.Errorf("fault %s strikes the cluster's own DNS, which stands where that is asked alone (hint: factor cached, level %s)", f.Kind, scenario.ByCluster)
			}
			return nil
		},
	}
	if repo != "" {
		v.Fits = func(name string, setup scenario.Setup) error {
			s, ok := system.ByName(name)
			if !ok {
				return nil // said already
			}
			return s.Check(repo, setup)
		}
	}
	if inv != nil {
		v.Workers, v.Clients = len(inv.Clusters()[0].Group(inventory.Worker)), len(inv.Group(inventory.Client))
	}
	return v
}

func experimentValidateCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check scenarios and print everything that is wrong with them",
		Long: `Check scenarios and print everything that is wrong with them, each finding with its place.

With -i, they are held against an inventory too: whether it has what their faults strike, as many
workers and as many clients. Nothing has to stand.`,
		Args: cobra.MinimumNArgs(1),
	}
	path := cmd.Flags().StringP("inventory", "i", "", "inventory that the scenarios are to run on (default: none is looked at)")
	repo := cmd.Flags().String("repo", "", "directory of the repository (default: from the working directory up)")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		known, err := knownTo(*repo, *path)
		if err != nil {
			return err
		}
		var errs []error
		for _, path := range args {
			sc, _, err := scenario.Read(path, known)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			fmt.Fprintf(s.Out, "%s: %d trials of %d systems, about %s\n", path, len(sc.Order()), len(sc.Systems), sc.Estimate().Round(time.Second))
		}
		if err := errors.Join(errs...); err != nil {
			return &cli.MisuseError{Err: err}
		}
		return nil
	}
	return cmd
}

// knownTo is the vocabulary by a repository, if the working directory is in one or it is named, and by an inventory if one is named.
func knownTo(repo, path string) (scenario.Vocabulary, error) {
	root, err := repository(repo)
	if err != nil {
		if repo != "" {
			return scenario.Vocabulary{}, err
		}
		root = ""
	}
	if path == "" {
		return vocabulary(root, nil), nil
	}
	inv, err := inventory.Load(path)
	if err != nil {
		return scenario.Vocabulary{}, &cli.MisuseError{Err: err}
	}
	return vocabulary(root, inv), nil
}

func experimentSchemaCommand(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of scenarios, for editors",
		Long: `Print the JSON Schema of scenarios, for editors: experiments/scenario.schema.json is what it prints.

A file names it in its first line, as "# yaml-language-server: $schema=scenario.schema.json".`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			known := vocabulary("", nil)
			slices.Sort(known.Faults)
			schema, err := scenario.Schema(known)
			if err != nil {
				return err
			}
			_, err = s.Out.Write(schema)
			return err
		},
	}
}
