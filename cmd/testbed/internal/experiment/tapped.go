// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/tree"
	"github.com/dnsingress/dnsingress/internal/results"
)

// tapped is a server that writes down what it is asked.
type tapped struct {
	level, node string
	address     netip.Addr
}

func (r *Runner) tapped() []tapped {
	var all []tapped
	for _, s := range r.plan().Servers() {
		all = append(all, tapped{s.Level, r.Inventory.ControlPlane().Name, s.Address})
	}
	for _, w := range r.Inventory.Group(inventory.Worker) {
		all = append(all, tapped{tree.Leaf, w.Name, w.Address})
	}
	return all
}

// tapTimeout bounds the wait for a server to write down what it was asked; it does so each second.
const tapTimeout = 20 * time.Second

// queries writes, for each trial, what the servers were asked for its clients from the instant from to the end of the window.
func (r *round) queries(ctx context.Context, from, to int64) error {
	servers := r.tapped()
	marker := fmt.Sprintf("end-of-%03d.invalid.", r.lead.out.Index) // RFC 6761 §6.4: nobody else asks for it
	if err := r.mark(ctx, servers, marker); err != nil {
		return err
	}
	client := map[netip.Addr]string{}
	for _, n := range r.nodes {
		client[n.Address] = n.Name
	}
	rows := make([][]results.Query, len(r.trials))
	for _, s := range servers {
		asked, err := r.readTap(ctx, s, marker)
		if err != nil {
			return err
		}
		for _, a := range asked {
			q := a.Query
			q.Level, q.Server, q.Client = s.level, s.node, client[a.By]
			if q.Client == "" || q.AtNs < from || q.AtNs >= to || q.Name == marker {
				continue
			}
			for i, t := range r.trials {
				if t.client.Name == q.Client && r.belongs(t, q.Name) {
					rows[i] = append(rows[i], q)
				}
			}
		}
	}
	var errs []error
	for i, t := range r.trials {
		slices.SortFunc(rows[i], func(a, b results.Query) int { return int(a.AtNs - b.AtNs) })
		w, err := results.CreateRows[results.Query](filepath.Join(t.dir, results.QueriesFile))
		if err == nil {
			err = errors.Join(w.Write(rows[i]...), w.Close())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// belongs says whether a question is the trial's: one in its tree, or in none, such as those that a resolver asks of the root
// itself for all trees at once.
func (r *round) belongs(t *trial, name string) bool {
	return t.tree.Holds(name) || !slices.ContainsFunc(r.plan().Trees, func(other tree.Tree) bool { return other.Holds(name) })
}

// mark asks every server for the marker: when it is written down, so is everything before.
func (r *round) mark(ctx context.Context, servers []tapped, marker string) error {
	args := []string{loadgenPath, "dns"}
	for _, s := range servers {
		args = append(args, netip.AddrPortFrom(s.address, 53).String())
	}
	args = append(args, "--name", marker, "--rate", "50", "--duration", fmt.Sprintf("%dms", 40*len(servers)), "-q", "-o", "json", "--max-lag", "0", "--max-cpu", "0")
	if _, err := r.Nodes.Shell(ctx, r.nodes[0].Name, "exec '"+strings.Join(args, "' '")+"'", nil); err != nil {
		return fmt.Errorf("marking the end of the round at the name servers: %w", err)
	}
	return nil
}

// readTap returns what a server was asked before the marker.
func (r *round) readTap(ctx context.Context, s tapped, marker string) ([]tree.Asked, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, tapTimeout, fmt.Errorf("%s does not write down within %s that it was asked for %s", s.level, tapTimeout, marker))
	defer cancel()
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for {
		var file bytes.Buffer
		if err := r.Nodes.Get(ctx, s.node, path.Join(tree.TapDir, s.level), &file); err != nil {
			return nil, fmt.Errorf("fetching what %s was asked: %w", s.level, err)
		}
		var asked []tree.Asked
		whole := false
		if err := tree.ReadTap(&file, func(a tree.Asked) {
			whole = whole || a.Query.Name == marker
			asked = append(asked, a)
		}); err != nil {
			return nil, fmt.Errorf("%s on %s: %w", s.level, s.node, err)
		}
		if whole {
			return asked, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
