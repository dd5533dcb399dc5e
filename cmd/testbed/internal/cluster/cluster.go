// SPDX-License-Identifier: Apache-2.0

// Package cluster is what `testbed up` leaves standing and every other command opens: nodes that
// answer on SSH, and their power.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/journal"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/phase"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/twin"
)

// Cluster is one cluster on its substrate.
type Cluster struct {
	Inventory *inventory.Inventory
	Fleet     *remote.Fleet
	Power     power.Controller
	StateDir  string   // of this cluster: keys in ssh/, certificates in pki/, nodes in nodes/
	Enter     []string // words that put a local program into the nodes' network; none where it is there already
	Journal   *journal.Journal
	// Budget says which nodes may start, or be written, at once.
	Budget *power.Budget
	// Work is the `up` that goes on, which decides what its phases work on; nil: on everything.
	Work *Work

	keys  keys
	nodes substrate
	rack  *power.Rack // of boards
	log   *slog.Logger
	died  *Owner // who held the cluster before us and died, found by Hold
}

// substrate is where nodes come from.
type substrate interface {
	power.Controller
	// phases returns what makes the nodes answer on SSH.
	phases(r Raising, before []phase.Phase) []phase.Phase
	// standing says whether `up` has made or taken the nodes.
	standing() (bool, error)
	// down gives the nodes up: it removes them, or leaves them alone.
	down(ctx context.Context) error
	// leftovers lists what down would remove.
	leftovers() ([]string, error)
	dial(ctx context.Context, network, address string) (net.Conn, error)
}

// StateDir returns where the state of a cluster is: $TESTBED_STATE_DIR/CLUSTER, by default
// /var/lib/dnsingress-testbed/CLUSTER.
func StateDir(cluster string) string {
	root := os.Getenv("TESTBED_STATE_DIR")
	if root == "" {
		root = "/var/lib/dnsingress-testbed"
	}
	return filepath.Join(root, cluster)
}

// CacheDir returns where things are kept that any cluster may use again: $TESTBED_CACHE_DIR, by
// default dnsingress in the user's cache directory.
func CacheDir() (string, error) {
	if dir := os.Getenv("TESTBED_CACHE_DIR"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache directory: %w (hint: set TESTBED_CACHE_DIR)", err)
	}
	return filepath.Join(dir, "dnsingress"), nil
}

// New returns the cluster of an inventory, whether it stands or not; it makes nothing.
func New(inv *inventory.Inventory, log *slog.Logger) (*Cluster, error) {
	dir, err := filepath.Abs(StateDir(inv.Cluster))
	if err != nil {
		return nil, fmt.Errorf("finding the state directory: %w", err)
	}
	c := &Cluster{
		Inventory: inv, StateDir: dir, Journal: journal.New(filepath.Join(dir, "standing")),
		Budget: power.NewBudget(inv), log: log, keys: keys{filepath.Join(dir, "ssh")},
	}
	switch inv.Substrate {
	case "twin":
		t := twin.New(inv, dir, log)
		c.nodes, c.Enter = &virtual{Cluster: c, twin: t, locks: newLocks(inv)}, t.Enter()
	case "pi":
		c.nodes, c.rack = &boards{c}, power.Open(inv, filepath.Dir(dir), log)
		c.Budget.Meter = c.rack
	default:
		return nil, fmt.Errorf("unknown substrate %q (hint: twin or pi)", inv.Substrate)
	}
	c.Power = c.nodes
	return c, nil
}

// Open returns the standing cluster of an inventory; that none stands is an error. Close it.
func Open(_ context.Context, inv *inventory.Inventory, log *slog.Logger) (*Cluster, error) {
	c, err := New(inv, log)
	if err != nil {
		return nil, err
	}
	if ok, err := c.Standing(); err != nil {
		return nil, err
	} else if !ok {
		return nil, fmt.Errorf("no cluster %q stands (hint: testbed up --substrate %s -i %s)", inv.Cluster, inv.Substrate, inv.Path)
	}
	if err := c.Connect(); err != nil {
		return nil, err
	}
	return c, nil
}

// Standing says whether anything of the cluster has been made or taken.
func (c *Cluster) Standing() (bool, error) { return c.nodes.standing() }

// Connect readies the fleet: the keys must be there.
func (c *Cluster) Connect() error {
	identity, err := c.keys.identity()
	if err != nil {
		return err
	}
	c.Fleet = remote.Open(c.Inventory, remote.Keys{Identity: identity, KnownHosts: c.keys.knownHosts()}, c.nodes.dial, c.log)
	return nil
}

// Close ends the SSH connections; the cluster stands on.
func (c *Cluster) Close() error {
	var errs []error
	if c.rack != nil {
		errs = append(errs, c.rack.Close())
	}
	if c.Fleet != nil {
		errs = append(errs, c.Fleet.Close())
	}
	return errors.Join(errs...)
}

// Ports tells how the ports of all switches are; no node needs to stand for it. A twin has none.
func (c *Cluster) Ports(ctx context.Context) ([]power.PortOf, error) {
	if c.rack == nil {
		return nil, errors.New("virtual nodes are plugged in nowhere (hint: an inventory of boards, as pi-cluster/inventory.yaml)")
	}
	return c.rack.Ports(ctx)
}

// Phases returns what raises the cluster's nodes; those of before are run when all has been checked
// and before the nodes are booted. Each phase skips what stands already.
func (c *Cluster) Phases(r Raising, before ...phase.Phase) []phase.Phase {
	return c.nodes.phases(r, before)
}

// Down removes a twin and all that it left, whole or half made; boards are left as they are.
func (c *Cluster) Down(ctx context.Context) error { return c.nodes.down(ctx) }

// Leftovers lists what Down would remove.
func (c *Cluster) Leftovers() ([]string, error) { return c.nodes.leftovers() }
