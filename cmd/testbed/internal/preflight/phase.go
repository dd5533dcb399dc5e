// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/phase"
)

// Options are the same for all phases of one `up`.
type Options struct {
	Cluster *cluster.Cluster
	Store   *bundle.Store
	Catalog []bundle.Source // whose programs are started
	Accept  []string        // checks whose findings are told and stop nothing
	Out     io.Writer
}

// accepts says whether the user lives with what a check finds; "programs: envoy" names one program.
func (o Options) accepts(check string) bool { return slices.Contains(o.Accept, check) }

// Names returns what --accept may name.
func Names(inv *inventory.Inventory, catalog []bundle.Source) []string {
	var names []string
	for _, c := range Checks(inv, Standard(inv.Substrate)) {
		if c.Stops {
			names = append(names, c.Name)
		}
	}
	for _, image := range bundle.Images(catalog) {
		names = append(names, Programs+": "+image.Repository)
	}
	return names
}

// Before returns the phase that looks at all nodes before any is changed, but at those whose cards are still to be written:
// there is nothing to look at. Nodes on which something stops it are given up.
func Before(o Options) phase.Phase {
	return &before{o, "Preflight", func(n inventory.Node) bool { return !o.Cluster.Work.Blank(n) }}
}

// Written returns the phase that looks likewise at the nodes whose cards have been written since.
func Written(o Options) phase.Phase {
	return &before{o, "Preflight of what was written", o.Cluster.Work.Written}
}

type before struct {
	Options
	title string
	is    func(inventory.Node) bool // among those that it looks at
}

func (p *before) Title() string { return p.title }

// nodes returns those that it looks at.
func (p *before) nodes() []inventory.Node {
	return slices.DeleteFunc(slices.Clone(p.Cluster.Work.Of(p.Cluster.Inventory.Nodes)), func(n inventory.Node) bool { return !p.is(n) })
}

func (p *before) Skip(context.Context) (string, error) {
	if len(p.nodes()) == 0 {
		return "no node", nil
	}
	return "", nil
}

func (p *before) Plan() []string {
	inv, nodes := p.Cluster.Inventory, p.nodes()
	var lines []string
	for _, n := range nodes {
		names := []string{Reachable, HostKey, Clock}
		for _, c := range of(Checks(inv, Standard(inv.Substrate)), inv, n, speaker(nodes), false) {
			names = append(names, c.Name)
		}
		if p.starts(n) {
			names = append(names, "each baseline's program started once")
		}
		lines = append(lines, n.Name+": "+strings.Join(names, ", "))
	}
	return lines
}

// starts says whether programs are started on a node: on each worker, or on one for all that share a kernel.
func (p *before) starts(n inventory.Node) bool {
	if !n.In(inventory.Worker) {
		return false
	}
	return p.Cluster.Inventory.Substrate != "twin" || n.Name == speaker(p.nodes()).Name
}

func (p *before) Run(ctx context.Context) error {
	c, nodes := p.Cluster, p.nodes()
	findings, err := Run(ctx, c.Fleet, c.Inventory, nodes, Standard(c.Inventory.Substrate), false)
	if err != nil {
		return err
	}
	programs, err := Tried(ctx, p.Store, p.Catalog)
	if err != nil {
		return err
	}
	stopped := map[string][]error{}
	for _, f := range Bad(findings) {
		if f.Stops && !p.accepts(f.Check) {
			stopped[f.Node] = append(stopped[f.Node], errors.New(f.String()))
			continue
		}
		fmt.Fprintf(p.Out, "      %s: %s\n", f.Node, f)
	}
	return c.Each(ctx, "preflight", nodes, 0, func(ctx context.Context, n inventory.Node) (string, error) {
		if bad := stopped[n.Name]; len(bad) > 0 {
			return "", errors.Join(bad...)
		}
		if !p.starts(n) {
			return "", nil
		}
		wanted := slices.DeleteFunc(slices.Clone(programs), func(t Program) bool { return p.accepts(Programs + ": " + t.Name) })
		return fmt.Sprintf("%d programs start", len(wanted)), Start(ctx, c.Fleet, c.Inventory.Substrate, n, wanted)
	})
}

// After returns the phase that ends an `up`: a report of the health of all nodes. It fails on nothing but findings that stop
// an `up`: the others are told, with their cure.
func After(o Options) phase.Phase { return &after{Options: o} }

type after struct{ Options }

func (p *after) Title() string { return "Report the cluster's health" }

func (p *after) Plan() []string {
	var lines []string
	for _, n := range p.Cluster.Work.Of(p.Cluster.Inventory.Nodes) {
		lines = append(lines, n.Name+": all that 'testbed doctor' asks")
	}
	return lines
}

func (p *after) Run(ctx context.Context) error {
	c := p.Cluster
	nodes := c.Work.Of(c.Inventory.Nodes)
	findings, err := Run(ctx, c.Fleet, c.Inventory, nodes, Standard(c.Inventory.Substrate), true)
	if err != nil {
		return err
	}
	unwell := map[string]bool{}
	for _, f := range Bad(findings) {
		unwell[f.Node] = true
		fmt.Fprintf(p.Out, "      %s: %s\n", f.Node, f)
	}
	fmt.Fprintf(p.Out, "      %d of %d nodes are well, %d checks\n", len(nodes)-len(unwell), len(nodes), len(findings))
	return nil
}
