// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/experiment"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/fault"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/journal"
)

// open opens the standing cluster, and tells what a testbed that was killed left on it.
func (s streams) open(ctx context.Context, inv *inventory.Inventory, log *slog.Logger) (*cluster.Cluster, error) {
	c, err := cluster.Open(ctx, inv, log)
	if err != nil {
		return nil, err
	}
	if err := s.tell(c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// unopened returns the cluster without asking whether it stands, and tells likewise.
func (s streams) unopened(inv *inventory.Inventory, log *slog.Logger) (*cluster.Cluster, error) {
	c, err := cluster.New(inv, log)
	if err != nil {
		return nil, err
	}
	return c, s.tell(c)
}

// tell warns people of what a testbed that was killed left.
func (s streams) tell(c *cluster.Cluster) error {
	left, err := left(c)
	if err != nil {
		return err
	}
	left.tell(s.Err)
	return nil
}

// remains is what a testbed that was killed left.
type remains struct {
	by      *cluster.Owner // nil: its name is not known any more
	entries []journal.Entry
}

// left returns what was left on a cluster; nothing while somebody holds it, whose business it is.
func left(c *cluster.Cluster) (remains, error) {
	holder, err := c.Holder()
	if err != nil || holder != nil {
		return remains{}, err
	}
	return leftBefore(c)
}

// leftBefore is left for the one who holds the cluster.
func leftBefore(c *cluster.Cluster) (r remains, err error) {
	if r.by, err = c.Interrupted(); err != nil {
		return r, err
	}
	r.entries, err = c.Journal.Standing()
	return r, err
}

func (r remains) nothing() bool { return r.by == nil && len(r.entries) == 0 }

// has says whether an entry is of one of the kinds.
func (r remains) has(kinds ...string) bool {
	return slices.ContainsFunc(r.entries, func(e journal.Entry) bool { return slices.Contains(kinds, e.Kind) })
}

// lines says what stands, one thing a line.
func (r remains) lines() []string {
	var lines []string
	if r.by != nil {
		lines = append(lines, r.by.String()+" was killed before its end")
	}
	for _, e := range r.entries {
		lines = append(lines, "standing: "+e.String())
	}
	return lines
}

// tell warns people.
func (r remains) tell(w io.Writer) {
	if r.nothing() {
		return
	}
	for _, l := range r.lines() {
		fmt.Fprintln(w, "testbed:", l)
	}
	fmt.Fprintln(w, "testbed: (hint: 'testbed up' and 'testbed experiment run' mend what stands, 'testbed down' removes everything)")
}

// mending is the phase that undoes what a testbed that was killed left standing.
type mending struct {
	c    *cluster.Cluster
	repo string
	out  io.Writer
}

func (p *mending) Title() string { return "Mend what a killed testbed left" }

func (p *mending) Plan() []string {
	r, err := left(p.c)
	if err != nil {
		return []string{err.Error()}
	}
	return r.lines()
}

func (p *mending) Skip(context.Context) (string, error) {
	r, err := leftBefore(p.c)
	if err == nil && r.nothing() {
		return "nothing stands", nil
	}
	return "", err
}

func (p *mending) Run(ctx context.Context) error {
	r, err := leftBefore(p.c)
	if err != nil {
		return err
	}
	for _, l := range r.lines() {
		fmt.Fprintln(p.out, "     ", l)
	}
	if r.has(journal.Fault, journal.Run, journal.Trial) {
		env, err := faultEnv(p.c, p.out)
		if err != nil {
			return err
		}
		healed, err := fault.Heal(ctx, env)
		for _, h := range healed {
			fmt.Fprintln(p.out, "      mended", h)
		}
		if err != nil {
			return err
		}
	}
	if r.has(journal.Run, journal.Trial) {
		runner := experiment.Runner{Inventory: p.c.Inventory, Nodes: experiment.OverSSH(p.c.Fleet), Repo: p.repo}
		if err := runner.Abandon(ctx); err != nil {
			return err
		}
		fmt.Fprintln(p.out, "      removed what the experiment had deployed (hint: 'testbed experiment run --resume' goes on with it)")
	}
	// What an 'up' left undone, this one does; a card that was being written stands until it is written whole.
	for _, e := range r.entries {
		if e.Kind == journal.Flash {
			continue
		}
		if err := p.c.Journal.End(e.ID); err != nil {
			return err
		}
	}
	return nil
}
