// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/phase"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/twin"
)

// Raising is what the phases that raise a cluster need.
type Raising struct {
	Base  twin.BaseBuild
	Binds func(n inventory.Node) []twin.Bind // asked when the nodes boot; nil: none
	Out   io.Writer                          // progress of the phases
}

// Phases returns what raises the cluster's nodes; Before are run when the machine has been checked
// and before the nodes are booted. Each phase skips what stands already.
func (c *Cluster) Phases(r Raising, before ...phase.Phase) []phase.Phase {
	if r.Binds == nil {
		r.Binds = func(inventory.Node) []twin.Bind { return nil }
	}
	phases := []phase.Phase{&check{c, r}, &base{c, r}}
	phases = append(phases, before...)
	return append(phases, &network{c, r}, &boot{c, r})
}

// check is the phase that looks before anything is made.
type check struct {
	*Cluster
	Raising
}

func (p *check) Title() string { return "Check this machine" }

func (p *check) Run(context.Context) error { return p.twin.Check(p.Base) }

func (p *check) Plan() []string {
	return []string{"this machine: root, kernel features, programs, disk space; no other twin under this name"}
}

// base is the phase that builds the root file system under all nodes.
type base struct {
	*Cluster
	Raising
}

func (p *base) Title() string { return "Build the nodes' base system" }

func (p *base) Skip(context.Context) (string, error) {
	if p.Base.Cached() {
		return "cached as " + p.Base.Key(), nil
	}
	return "", nil
}

func (p *base) Run(ctx context.Context) error { return p.Base.Build(ctx) }

func (p *base) Plan() []string {
	if p.Base.Cached() {
		return []string{"this machine: none, " + p.Base.Path() + " is there"}
	}
	return []string{fmt.Sprintf("this machine: Debian with %d packages and what they need into %s", len(p.Base.Packages), p.Base.Path())}
}

// network is the phase that makes keys and the switch.
type network struct {
	*Cluster
	Raising
}

func (p *network) Title() string { return "Make the keys and the switch" }

func (p *network) Run(context.Context) error {
	if err := p.twin.Raise(p.Base.Path()); err != nil {
		return err
	}
	if err := p.keys.make(p.Inventory); err != nil {
		return err
	}
	return p.Connect()
}

func (p *network) Plan() []string {
	lines := []string{fmt.Sprintf("this machine: a bridge in network namespace %s-sw, %s", p.Inventory.Cluster, p.Inventory.Orchestrator())}
	for _, n := range p.Inventory.Nodes {
		lines = append(lines, n.Name+": an SSH host key, pinned")
	}
	return lines
}

// boot is the phase that boots the nodes that are off.
type boot struct {
	*Cluster
	Raising
}

func (p *boot) Title() string { return fmt.Sprintf("Boot %d nodes", len(p.Inventory.Nodes)) }

func (p *boot) Skip(ctx context.Context) (string, error) {
	for _, n := range p.Inventory.Nodes {
		if s, err := p.Power.State(ctx, n.Name); err != nil || s != power.On {
			return "", err
		}
		if err := p.reach(ctx, n.Name, nil); err != nil {
			return "", err
		}
	}
	return "all are up", nil
}

func (p *boot) Run(ctx context.Context) error {
	return p.Fleet.Each(ctx, p.Inventory.Nodes, 0, func(ctx context.Context, n inventory.Node) error {
		if on, err := p.twin.Running(n.Name); err != nil {
			return err
		} else if on {
			return p.reach(ctx, n.Name, nil)
		}
		return p.Cluster.boot(ctx, n, twin.Machine{Base: p.Base.Path(), Binds: p.Binds(n)})
	})
}

func (p *boot) Plan() []string {
	var lines []string
	for _, n := range p.Inventory.Nodes {
		line := fmt.Sprintf("%s: %s, %s", n.Name, strings.Join(n.Groups, " "), n.Address)
		if n.Pods.IsValid() {
			line += ", pods " + n.Pods.String()
		}
		lines = append(lines, line)
	}
	return lines
}
