// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
)

// powerCut cuts a worker's power and gives it back. A dead machine tells no time, so its instants
// are bounded by the orchestrator's clock.
type powerCut struct {
	env          Env
	node         string
	begun, ended bool
}

func (f *powerCut) Aim(_ context.Context, rng *rand.Rand) (Target, error) {
	workers := f.env.Inventory.Group(inventory.Worker)
	f.node = workers[rng.IntN(len(workers))].Name
	return Target{Node: f.node, Name: f.node}, nil
}

func (f *powerCut) Begin(ctx context.Context, at time.Time) (Instant, error) {
	if err := sleepUntil(ctx, at); err != nil {
		return Instant{}, err
	}
	f.begun = true
	i := Instant{Before: time.Now()}
	if err := f.env.Power.Off(ctx, f.node); err != nil {
		return Instant{}, fmt.Errorf("cutting the power of %s: %w", f.node, err)
	}
	i.After = time.Now()
	state, err := f.env.Power.State(ctx, f.node)
	if err != nil {
		return i, fmt.Errorf("asking for the power of %s: %w", f.node, err)
	}
	if state != power.Off {
		return i, fmt.Errorf("cutting the power of %s: its power is %s", f.node, state)
	}
	return i, nil
}

func (f *powerCut) End(ctx context.Context, at time.Time) (Instant, error) {
	if !f.begun || f.ended {
		return Instant{}, nil
	}
	if err := sleepUntil(ctx, at); err != nil {
		return Instant{}, err
	}
	i := Instant{Before: time.Now()}
	if err := f.env.Power.On(ctx, f.node); err != nil {
		return Instant{}, fmt.Errorf("giving power to %s: %w", f.node, err)
	}
	f.ended = true
	i.After = time.Now()
	return i, nil
}

func (f *powerCut) Recover(ctx context.Context) error {
	if !f.begun {
		return nil
	}
	if _, err := f.env.kubectl(f.node).Run(ctx, "wait", "node/"+f.node, "--for=condition=Ready", "--timeout=120s"); err != nil {
		return fmt.Errorf("waiting for %s: %w", f.node, err)
	}
	return f.env.Healthy(ctx)
}

func sleepUntil(ctx context.Context, at time.Time) error {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
