// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/system"
)

// Abandon removes from the cluster what a run that was killed had there: load, resolvers and trees, systems and backend. The
// runner needs no scenario for it. Nothing of the run's results is lost: it can be gone on with.
func (r *Runner) Abandon(ctx context.Context) error {
	if err := each(ctx, r.Inventory.Group(inventory.Client), func(ctx context.Context, n inventory.Node) error {
		if _, err := r.Nodes.Shell(ctx, n.Name, "pkill -KILL -x loadgen; :", nil); err != nil {
			return fmt.Errorf("ending load generators: %w", err)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := r.dismantle(ctx); err != nil {
		return err
	}
	bench := &system.Bench{Repo: r.Repo, Inventory: r.Inventory, Shell: r.Nodes}
	if err := bench.CleanUp(ctx); err != nil {
		return fmt.Errorf("removing systems and backend: %w", err)
	}
	return nil
}
