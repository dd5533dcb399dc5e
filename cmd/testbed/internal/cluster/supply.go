// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"sync"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/twin"
)

// supply is the twin's power: it cuts and boots virtual nodes.
type supply struct {
	cluster *Cluster
	locks   map[string]*sync.Mutex // by node
}

func newLocks(inv *inventory.Inventory) map[string]*sync.Mutex {
	locks := make(map[string]*sync.Mutex)
	for _, n := range inv.Nodes {
		locks[n.Name] = new(sync.Mutex)
	}
	return locks
}

func (s *supply) lock(node string) (inventory.Node, func(), error) {
	n, ok := s.cluster.Inventory.Node(node)
	if !ok {
		return n, nil, fmt.Errorf("unknown node %q (hint: the nodes are in %s)", node, s.cluster.Inventory.Path)
	}
	s.locks[node].Lock()
	return n, s.locks[node].Unlock, nil
}

// Off cuts the power: the link goes silent first, as no dead machine refuses a connection.
func (s *supply) Off(ctx context.Context, node string) error {
	_, unlock, err := s.lock(node)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.cluster.twin.Cut(ctx, node); err != nil {
		return fmt.Errorf("cutting the power of %s: %w", node, err)
	}
	s.cluster.Fleet.Drop(node)
	return nil
}

// On boots a node that is off and returns when it answers on SSH.
func (s *supply) On(ctx context.Context, node string) error {
	n, unlock, err := s.lock(node)
	if err != nil {
		return err
	}
	defer unlock()
	if on, err := s.cluster.twin.Running(node); err != nil || on {
		return err
	}
	m, err := s.cluster.twin.Machine(node)
	if err != nil {
		return err
	}
	if err := s.cluster.boot(ctx, n, m); err != nil {
		return fmt.Errorf("giving power to %s: %w", node, err)
	}
	return nil
}

// State says whether the node's process 1 lives.
func (s *supply) State(_ context.Context, node string) (power.State, error) {
	_, unlock, err := s.lock(node)
	if err != nil {
		return power.Unknown, err
	}
	defer unlock()
	on, err := s.cluster.twin.Running(node)
	switch {
	case err != nil:
		return power.Unknown, err
	case on:
		return power.On, nil
	default:
		return power.Off, nil
	}
}

// boot starts a node and waits until it answers.
func (c *Cluster) boot(ctx context.Context, n inventory.Node, m twin.Machine) error {
	var err error
	if m.HostKey, err = c.keys.host(n.Name); err != nil {
		return err
	}
	if m.Authorized, err = c.keys.authorized(); err != nil {
		return err
	}
	c.Fleet.Drop(n.Name) // a connection to the node before its last end
	ended, err := c.twin.Boot(ctx, n, m)
	if err != nil {
		return err
	}
	return c.reach(ctx, n.Name, ended)
}
