// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/phase"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/twin"
)

func (v *virtual) phases(r Raising, before []phase.Phase) []phase.Phase {
	phases := []phase.Phase{&check{v, r}, &base{v, r}}
	phases = append(phases, before...)
	return append(phases, &network{v, r}, &boot{v, r})
}

// check is the phase that looks before anything is made.
type check struct {
	*virtual
	Raising
}

func (p *check) Title() string { return "Check this machine" }

func (p *check) Run(context.Context) error {
	return errors.Join(p.twin.Check(p.Base), programs())
}

func (p *check) Plan() []string {
	return []string{"this machine: root, kernel features, programs, disk space; no other twin under this name"}
}

// base is the phase that builds the root file system under all nodes.
type base struct {
	*virtual
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
	*virtual
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
	*virtual
	Raising
}

func (p *boot) Title() string { return fmt.Sprintf("Boot %d nodes", len(p.Work.Of(p.Inventory.Nodes))) }

// Skip finds every node up, with the directories that it would be booted with.
func (p *boot) Skip(ctx context.Context) (string, error) {
	var off atomic.Bool
	err := p.Fleet.Each(ctx, p.Work.Of(p.Inventory.Nodes), 0, func(ctx context.Context, n inventory.Node) error {
		m, err := p.machine(ctx, n)
		if err != nil {
			return err
		}
		as, err := p.runsAs(n, m)
		if err != nil || !as {
			off.Store(true)
			return err
		}
		return p.reach(ctx, n.Name, nil)
	})
	if err != nil || off.Load() {
		return "", err
	}
	return "all are up", nil
}

func (p *boot) Run(ctx context.Context) error {
	return p.Each(ctx, "boot", p.Inventory.Nodes, 0, func(ctx context.Context, n inventory.Node) (string, error) {
		m, err := p.machine(ctx, n)
		if err != nil {
			return "", err
		}
		if as, err := p.runsAs(n, m); err != nil {
			return "", err
		} else if as {
			return "", p.reach(ctx, n.Name, nil)
		}
		if err := p.Power.Off(ctx, n.Name); err != nil {
			return "", err
		}
		return "answers", p.virtual.boot(ctx, n, m)
	})
}

func (p *boot) machine(ctx context.Context, n inventory.Node) (twin.Machine, error) {
	m := twin.Machine{Base: p.Base.Path()}
	var err error
	if m.Binds, err = p.Binds(ctx, n); err == nil && p.Seed != nil {
		m.Seed, err = p.Seed(ctx, n)
	}
	return m, err
}

// runsAs says whether the node runs and was booted as m.
func (p *boot) runsAs(n inventory.Node, m twin.Machine) (bool, error) {
	on, err := p.twin.Running(n.Name)
	if err != nil || !on {
		return false, err
	}
	was, err := p.twin.Machine(n.Name)
	return was.Base == m.Base && slices.Equal(was.Binds, m.Binds), err
}

func (p *boot) Plan() []string {
	var lines []string
	for _, n := range p.Work.Of(p.Inventory.Nodes) {
		line := fmt.Sprintf("%s: %s, %s", n.Name, strings.Join(n.Groups, " "), n.Address)
		if n.Cluster != "" {
			line += ", cluster " + n.Cluster
		}
		if n.Pods.IsValid() {
			line += ", pods " + n.Pods.String()
		}
		lines = append(lines, line)
	}
	return lines
}
