// SPDX-License-Identifier: Apache-2.0

package power

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// Budget says which nodes may start, or be written, at the same time: on each switch, those that do count with their worst,
// all others as idle or, where that is more, as measured. Nodes that are plugged in nowhere are always allowed. It is safe
// for concurrent use.
type Budget struct {
	inv *inventory.Inventory

	// Meter tells what nodes draw, where there is one.
	Meter Meter

	mu       sync.Mutex
	starting map[string]int     // by node: how many have called Start and not ended it
	measured map[string]float64 // by node, watts
	asked    time.Time          // when the meter was
	changed  chan struct{}      // closed when something may have become possible
}

// Who starts many nodes together asks a meter once, and does not wait for one that does not answer.
const (
	freshness  = 10 * time.Second
	meterGrace = 5 * time.Second
)

// NewBudget returns the budget of an inventory's switches.
func NewBudget(inv *inventory.Inventory) *Budget {
	return &Budget{inv: inv, starting: make(map[string]int), measured: make(map[string]float64), changed: make(chan struct{})}
}

// measure asks the meter what nodes draw, unless that is known from just now. A meter that does not answer changes nothing.
func (b *Budget) measure(ctx context.Context) {
	b.mu.Lock()
	known := b.Meter == nil || time.Since(b.asked) < freshness
	if !known {
		b.asked = time.Now()
	}
	b.mu.Unlock()
	if known {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, meterGrace)
	defer cancel()
	watts, err := b.Meter.Watts(ctx)
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.Copy(b.measured, watts)
	b.wake()
}

// Start waits until the node fits at its worst, and holds the place until started is called. Who calls it again for a node
// that is starting is not made to wait.
func (b *Budget) Start(ctx context.Context, node string) (started func(), err error) {
	n, ok := b.inv.Node(node)
	if !ok {
		return nil, fmt.Errorf("unknown node %q (hint: the nodes are in %s)", node, b.inv.Path)
	}
	b.measure(ctx)
	for {
		b.mu.Lock()
		if b.starting[node] > 0 || b.fits(n, b.starting) {
			b.starting[node]++
			b.mu.Unlock()
			return sync.OnceFunc(func() { b.end(node) }), nil
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for power for %s: %w", node, context.Cause(ctx))
		}
	}
}

func (b *Budget) end(node string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.starting[node]--; b.starting[node] == 0 {
		delete(b.starting, node)
	}
	b.wake()
}

func (b *Budget) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// fits says whether the node can start beside those that are starting. A node that no budget would ever allow is allowed
// alone: the inventory's check has refused what could not be, and a measured draw above the worst must not block for ever.
func (b *Budget) fits(n inventory.Node, starting map[string]int) bool {
	s, ok := b.inv.Switch(n.Port.Switch)
	if !ok {
		return true
	}
	alone, total := true, 0.0
	for _, m := range b.inv.Nodes {
		if m.Port.Switch != s.Name {
			continue
		}
		switch {
		case m.Name == n.Name:
			total += m.Watts.Worst
		case starting[m.Name] > 0:
			total += m.Watts.Worst
			alone = false
		default:
			total += math.Max(m.Watts.Idle, b.measured[m.Name])
		}
	}
	return alone || total <= s.BudgetWatts
}

// Waves divides nodes into groups that may start together, in order, as if each waited for the one before it.
func (b *Budget) Waves(nodes []inventory.Node) [][]inventory.Node {
	b.mu.Lock()
	defer b.mu.Unlock()
	var waves [][]inventory.Node
	for rest := slices.Clone(nodes); len(rest) > 0; {
		starting := make(map[string]int)
		var wave, later []inventory.Node
		for _, n := range rest {
			if b.fits(n, starting) {
				starting[n.Name]++
				wave = append(wave, n)
			} else {
				later = append(later, n)
			}
		}
		waves, rest = append(waves, wave), later
	}
	return waves
}

// AtOnce returns how many of the nodes may start together.
func (b *Budget) AtOnce(nodes []inventory.Node) int {
	most := 0
	for _, wave := range b.Waves(nodes) {
		most = max(most, len(wave))
	}
	return most
}
