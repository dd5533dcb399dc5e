// SPDX-License-Identifier: Apache-2.0

// Package provision makes a Kubernetes cluster of nodes that answer on SSH: it makes keys, renders Ansible's inventory
// from ours, runs the roles of ansible/, imports the container images and waits until everything is well. It is the same
// for virtual nodes and for boards.
package provision

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/phase"
)

// Where nodes find the bundle.
const (
	kubeTarget   = "/opt/testbed/kube"   // etcd and the Kubernetes programs
	imagesTarget = "/opt/testbed/images" // container images, on workers
)

// Options are the same for all phases of one run, so that the store's keys are found once.
type Options struct {
	Store   *bundle.Store
	Catalog []bundle.Source
	Base    string    // root file system under virtual nodes
	Out     io.Writer // progress inside of a phase
	Verbose io.Writer // what programs that are run say
	Log     *slog.Logger
}

// Before returns the phases that come before virtual nodes are booted, and after boards have been reached.
func Before(c *cluster.Cluster, o Options) []phase.Phase {
	phases := []phase.Phase{&bundlePhase{c, o}}
	if c.Inventory.Substrate == "twin" {
		phases = append(phases, &seedPhase{o})
	}
	return phases
}

// Phases returns the phases that make a cluster of nodes that have been booted.
func Phases(c *cluster.Cluster, o Options) []phase.Phase {
	return []phase.Phase{
		&keysPhase{c, o},
		&playbookPhase{c: c, o: o},
		&imagesPhase{c, o},
		&healthPhase{c, o},
	}
}

// Binds returns the directories of this machine that a virtual node sees read-only, by their path on the node. Boards get
// copies of the same files at the same paths.
func Binds(ctx context.Context, o Options, n inventory.Node) (map[string]string, error) {
	dir, err := kubeDir(ctx, o)
	if err != nil {
		return nil, err
	}
	binds := map[string]string{kubeTarget: dir}
	if n.In(inventory.Worker) {
		binds[imagesTarget] = filepath.Join(o.Store.Dir, "images")
	}
	return binds, nil
}

// kubeDir returns the directory of the Kubernetes programs on this machine.
func kubeDir(ctx context.Context, o Options) (string, error) {
	for _, src := range o.Catalog {
		if k, ok := src.(*bundle.Kubernetes); ok {
			item, err := o.Store.Look(ctx, k)
			return item.Path, err
		}
	}
	return "", errors.New("the catalog has no Kubernetes")
}
