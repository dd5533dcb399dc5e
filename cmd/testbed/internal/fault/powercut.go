// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
)

// powerCut cuts the power of nodes and gives it back. A dead machine tells no time, so its instants are bounded by the
// orchestrator's clock.
type powerCut struct {
	env  *Env
	kind string
	// aim chooses the nodes.
	aim func(ctx context.Context, rng *rand.Rand) (Target, []inventory.Node, error)
	// recovered returns when what ran before runs again.
	recovered func(ctx context.Context, since time.Time) error

	nodes []inventory.Node
	begun bool
	ended time.Time
}

func newPowerCut(e *Env, p params) Fault {
	f := &powerCut{env: e, kind: NodePowerCut}
	f.aim = func(_ context.Context, rng *rand.Rand) (Target, []inventory.Node, error) {
		nodes := p.pick(e, rng)
		return targetOfNodes(nodes), nodes, nil
	}
	f.recovered = func(ctx context.Context, _ time.Time) error { return e.ready(ctx, f.nodes) }
	return f
}

func (f *powerCut) Aim(ctx context.Context, rng *rand.Rand) (Target, error) {
	t, nodes, err := f.aim(ctx, rng)
	if err != nil {
		return Target{}, fmt.Errorf("aiming %s: %w", f.kind, err)
	}
	f.nodes = nodes
	return t, nil
}

func (f *powerCut) Begin(ctx context.Context, at time.Time) (Instant, error) {
	if err := sleepUntil(ctx, at); err != nil {
		return Instant{}, err
	}
	f.begun = true
	i, err := together(f.nodes, func(n inventory.Node) (Instant, error) {
		i := Instant{Before: time.Now()}
		if err := f.env.Power.Off(ctx, n.Name); err != nil {
			return Instant{}, fmt.Errorf("cutting the power of %s: %w", n.Name, err)
		}
		i.After = time.Now()
		return i, nil
	})
	if err != nil {
		return i, err
	}
	for _, n := range f.nodes {
		state, err := f.env.Power.State(ctx, n.Name)
		if err != nil {
			return i, fmt.Errorf("asking for the power of %s: %w", n.Name, err)
		}
		if state != power.Off {
			return i, fmt.Errorf("cutting the power of %s: its power is %s", n.Name, state)
		}
	}
	return i, nil
}

func (f *powerCut) End(ctx context.Context, at time.Time) (Instant, error) {
	if !f.begun || !f.ended.IsZero() {
		return Instant{}, nil
	}
	if err := sleepUntil(ctx, at); err != nil {
		return Instant{}, err
	}
	i, err := together(f.nodes, func(n inventory.Node) (Instant, error) {
		i := Instant{Before: time.Now()}
		if err := f.env.Power.On(ctx, n.Name); err != nil {
			return Instant{}, fmt.Errorf("giving power to %s: %w", n.Name, err)
		}
		i.After = time.Now()
		return i, nil
	})
	if err == nil {
		f.ended = i.Before
	}
	return i, err
}

func (f *powerCut) Recover(ctx context.Context) error {
	if !f.begun {
		return nil
	}
	if f.ended.IsZero() { // End failed, or was never called
		if _, err := f.End(ctx, time.Now()); err != nil {
			return err
		}
	}
	// What the nodes were told before is forgotten with their memory; what is left of it is of no power cut.
	_, errs := together(f.nodes, func(n inventory.Node) (Instant, error) {
		_, _, err := mend(ctx, f.env, n.Name, "*")
		return Instant{}, err
	})
	if err := errors.Join(errs, f.recovered(ctx, f.ended)); err != nil {
		return err
	}
	return f.env.healthy(ctx)
}
