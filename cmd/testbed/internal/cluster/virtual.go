// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/twin"
)

// virtual is the substrate of virtual nodes.
type virtual struct {
	*Cluster
	twin  *twin.Twin
	locks map[string]*sync.Mutex // by node
}

func (v *virtual) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return v.twin.Dial(ctx, network, address)
}

func (v *virtual) standing() (bool, error) {
	_, ok, err := v.twin.Standing()
	return ok, err
}

func (v *virtual) down(ctx context.Context) error { return v.twin.Down(ctx) }

func (v *virtual) leftovers() ([]string, error) { return v.twin.Leftovers() }

func newLocks(inv *inventory.Inventory) map[string]*sync.Mutex {
	locks := make(map[string]*sync.Mutex)
	for _, n := range inv.Nodes {
		locks[n.Name] = new(sync.Mutex)
	}
	return locks
}

func (v *virtual) lock(node string) (inventory.Node, func(), error) {
	n, ok := v.Inventory.Node(node)
	if !ok {
		return n, nil, fmt.Errorf("unknown node %q (hint: the nodes are in %s)", node, v.Inventory.Path)
	}
	v.locks[node].Lock()
	return n, v.locks[node].Unlock, nil
}

// Off cuts the power: the link goes silent first, as no dead machine refuses a connection.
func (v *virtual) Off(ctx context.Context, node string) error {
	_, unlock, err := v.lock(node)
	if err != nil {
		return err
	}
	defer unlock()
	if err := v.twin.Cut(ctx, node); err != nil {
		return fmt.Errorf("cutting the power of %s: %w", node, err)
	}
	v.Fleet.Drop(node)
	return nil
}

// On boots a node that is off and returns when it answers on SSH.
func (v *virtual) On(ctx context.Context, node string) error {
	n, unlock, err := v.lock(node)
	if err != nil {
		return err
	}
	defer unlock()
	if on, err := v.twin.Running(node); err != nil || on {
		return err
	}
	m, err := v.twin.Machine(node)
	if err != nil {
		return err
	}
	if err := v.boot(ctx, n, m); err != nil {
		return fmt.Errorf("giving power to %s: %w", node, err)
	}
	return nil
}

// State says whether the node's process 1 lives.
func (v *virtual) State(_ context.Context, node string) (power.State, error) {
	_, unlock, err := v.lock(node)
	if err != nil {
		return power.Unknown, err
	}
	defer unlock()
	on, err := v.twin.Running(node)
	switch {
	case err != nil:
		return power.Unknown, err
	case on:
		return power.On, nil
	default:
		return power.Off, nil
	}
}

// boot starts a node, when the switch it is said to hang on has the power for that, and waits until it answers.
func (v *virtual) boot(ctx context.Context, n inventory.Node, m twin.Machine) error {
	started, err := v.Budget.Start(ctx, n.Name)
	if err != nil {
		return err
	}
	defer started()
	if m.HostKey, err = v.keys.host(n.Name); err != nil {
		return err
	}
	if m.Authorized, err = v.keys.authorized(); err != nil {
		return err
	}
	v.Fleet.Drop(n.Name) // a connection to the node before its last end
	ended, err := v.twin.Boot(ctx, n, m)
	if err != nil {
		return err
	}
	return v.reach(ctx, n.Name, ended)
}
