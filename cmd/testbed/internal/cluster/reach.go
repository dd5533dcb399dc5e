// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
)

const (
	reachTimeout  = 90 * time.Second
	reachInterval = 100 * time.Millisecond
	// A packet that is sent while the node's link comes up is lost, and TCP would wait ever longer to
	// send it again: rather knock anew.
	knockTimeout = time.Second
)

// reach waits until a node answers on SSH, or died.
func (c *Cluster) reach(ctx context.Context, node string, ended <-chan error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reachTimeout, fmt.Errorf("no answer on SSH within %s", reachTimeout))
	defer cancel()
	tick := time.NewTicker(reachInterval)
	defer tick.Stop()
	for {
		err := c.knock(ctx, node)
		if err == nil {
			_, err = c.Fleet.Run(ctx, node, remote.Command{Line: ":"})
		}
		if err == nil {
			return nil
		}
		if refused := (*remote.HostKeyError)(nil); errors.As(err, &refused) {
			return err
		}
		c.log.Debug("not reached yet", "node", node, "error", err)
		select {
		case ended := <-ended:
			return ended
		case <-ctx.Done():
			return fmt.Errorf("reaching %s: %w (the last attempt: %w) (hint: 'testbed power cycle %[1]s' boots a virtual node anew)", node, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// knock tries whether anybody listens where the node's SSH server will.
func (c *Cluster) knock(ctx context.Context, node string) error {
	n, ok := c.Inventory.Node(node)
	if !ok {
		return fmt.Errorf("unknown node %q", node)
	}
	ctx, cancel := context.WithTimeout(ctx, knockTimeout)
	defer cancel()
	conn, err := c.nodes.dial(ctx, "tcp", netip.AddrPortFrom(n.Address, uint16(c.Inventory.SSH.Port)).String())
	if err != nil {
		return err
	}
	return conn.Close()
}
