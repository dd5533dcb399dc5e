// SPDX-License-Identifier: Apache-2.0

// Package cluster is what `testbed up` leaves standing and every other command opens: nodes that
// answer on SSH, and their power.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
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

	keys keys
	twin *twin.Twin
	log  *slog.Logger
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
	if inv.Substrate != "twin" {
		return nil, fmt.Errorf("substrate %q is not known to this testbed (hint: twin)", inv.Substrate)
	}
	dir, err := filepath.Abs(StateDir(inv.Cluster))
	if err != nil {
		return nil, fmt.Errorf("finding the state directory: %w", err)
	}
	c := &Cluster{Inventory: inv, StateDir: dir, log: log, keys: keys{filepath.Join(dir, "ssh")}, twin: twin.New(inv, dir, log)}
	c.Enter = c.twin.Enter()
	c.Power = &supply{cluster: c, locks: newLocks(inv)}
	return c, nil
}

// Open returns the standing cluster of an inventory; that none stands is an error. Close it.
func Open(_ context.Context, inv *inventory.Inventory, log *slog.Logger) (*Cluster, error) {
	c, err := New(inv, log)
	if err != nil {
		return nil, err
	}
	_, ok, err := c.twin.Standing()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("no cluster %q stands (hint: testbed up --substrate %s -i %s)", inv.Cluster, inv.Substrate, inv.Path)
	}
	if err := c.Connect(); err != nil {
		return nil, err
	}
	return c, nil
}

// Connect readies the fleet: the keys must be there.
func (c *Cluster) Connect() error {
	identity, err := c.keys.identity()
	if err != nil {
		return err
	}
	c.Fleet = remote.Open(c.Inventory, remote.Keys{Identity: identity, KnownHosts: c.keys.knownHosts()}, c.twin.Dial, c.log)
	return nil
}

// Close ends the SSH connections; the cluster stands on.
func (c *Cluster) Close() error {
	if c.Fleet == nil {
		return nil
	}
	return c.Fleet.Close()
}

// Down removes the cluster and all that it left, whole or half made.
func (c *Cluster) Down(ctx context.Context) error { return c.twin.Down(ctx) }

// Leftovers lists what stands of the cluster.
func (c *Cluster) Leftovers() ([]string, error) { return c.twin.Leftovers() }

const (
	reachTimeout  = 90 * time.Second
	reachInterval = 100 * time.Millisecond
)

// reach waits until a node answers on SSH, or died.
func (c *Cluster) reach(ctx context.Context, node string, ended <-chan error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, fmt.Errorf("no answer on SSH within %s", reachTimeout))
	defer cancel()
	tick := time.NewTicker(reachInterval)
	defer tick.Stop()
	for {
		_, err := c.Fleet.Run(ctx, node, remote.Command{Line: ":"})
		if err == nil {
			return nil
		}
		if refused := (*remote.HostKeyError)(nil); errors.As(err, &refused) {
			return err
		}
		c.log.Debug("not reached yet", "node", node, "error", err)
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			return fmt.Errorf("reaching %s: %w\n%s", node, context.Cause(ctx), c.twin.Console(node))
		case <-tick.C:
		}
	}
}
