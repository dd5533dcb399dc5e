// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
)

// Off cuts the power of a board at its switch.
func (b *boards) Off(ctx context.Context, node string) error {
	err := b.elsewhere(node)
	if err == nil {
		err = b.rack.Off(ctx, node)
	}
	if err != nil {
		return fmt.Errorf("cutting the power of %s: %w", node, err)
	}
	b.drop(node)
	return nil
}

// On gives power to a board when the budget of its switch allows, and returns when the board answers on SSH.
func (b *boards) On(ctx context.Context, node string) error {
	started, err := b.Budget.Start(ctx, node)
	if err != nil {
		return err
	}
	defer started()
	if err := b.rack.On(ctx, node); err != nil {
		return fmt.Errorf("giving power to %s: %w", node, err)
	}
	b.drop(node)
	return b.reach(ctx, node, nil)
}

// Cycle interrupts the power of a board and returns when it has power again. Where the switch does not show that it did as it
// was told, a board that has booted anew since is proof enough.
func (b *boards) Cycle(ctx context.Context, node string) error {
	if err := b.elsewhere(node); err != nil {
		return fmt.Errorf("cycling the power of %s: %w", node, err)
	}
	started, err := b.Budget.Start(ctx, node)
	if err != nil {
		return err
	}
	defer started()
	before := b.bootID(ctx, node)
	err = b.rack.Cycle(ctx, node)
	b.drop(node)
	if ignored := (*power.IgnoredError)(nil); errors.As(err, &ignored) && before != "" {
		if after := b.bootID(ctx, node); after != "" && after != before {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("cycling the power of %s: %w", node, err)
	}
	return nil
}

// Watts returns what boards draw, as their switches tell.
func (b *boards) Watts(ctx context.Context) (map[string]float64, error) { return b.rack.Watts(ctx) }

// State says what the board's switch shows. Of a board that is plugged in nowhere, or whose switch does not answer, only this
// much is known: one that answers is on.
func (b *boards) State(ctx context.Context, node string) (power.State, error) {
	state, err := b.rack.State(ctx, node)
	if err == nil && state != power.Unknown {
		return state, nil
	}
	b.log.Debug("the switch tells nothing", "node", node, "error", err)
	if err := b.knock(ctx, node); err != nil {
		return power.Unknown, ctx.Err()
	}
	return power.On, nil
}

// drop forgets the connection to a board that was cut off.
func (b *boards) drop(node string) {
	if b.Fleet != nil {
		b.Fleet.Drop(node)
	}
}

// bootID returns the identity of the board's running kernel; "" if it does not answer.
func (b *boards) bootID(ctx context.Context, node string) string {
	if b.Fleet == nil || b.knock(ctx, node) != nil {
		return ""
	}
	r, err := b.Fleet.Run(ctx, node, remote.Command{Line: "cat /proc/sys/kernel/random/boot_id"})
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(r.Stdout))
}

// elsewhere refuses to cut the power of the machine that this program runs on.
func (b *boards) elsewhere(node string) error {
	n, ok := b.Inventory.Node(node)
	if !ok {
		return nil // said by whoever looks for it
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("listing this machine's addresses: %w", err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == n.Address {
			return errors.New("it is the machine that this command runs on (hint: from another one)")
		}
	}
	return nil
}

// Cycle cuts the power of a virtual node and boots it again.
func (v *virtual) Cycle(ctx context.Context, node string) error {
	if err := v.Off(ctx, node); err != nil {
		return err
	}
	return v.On(ctx, node)
}
