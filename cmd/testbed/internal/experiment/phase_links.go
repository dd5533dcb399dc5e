// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// linksPhase shapes the workers' links where the scenario says so: what a node sends, by a token bucket (tc-tbf(8)). What it gets
// is what others send. Then it notes how nodes stand before the first trial.
type linksPhase struct{ *Runner }

func (p *linksPhase) Title() string { return "Shape links, and note how nodes stand" }

func (p *linksPhase) Plan() []string {
	var lines []string
	if p.Scenario.Links != "" {
		for _, w := range p.Inventory.Group(inventory.Worker) {
			lines = append(lines, w.Name+": what it sends is shaped to "+p.Scenario.Links)
		}
	}
	return lines
}

// shapeScript shapes, or leaves alone, the interface that has the node's address.
const shapeScript = `
dev=$(ip -o -6 addr show to "$address" | awk '{print $2; exit}')
[ -n "$dev" ] || { echo "no interface has $address" >&2; exit 1; }
`

func (p *linksPhase) Run(ctx context.Context) (err error) {
	if p.Scenario.Links != "" {
		// A bucket of 20 ms at 100 Mbit/s, and a queue of 50 ms: about that of a switch's port.
		if err := p.shape(ctx, "tc qdisc replace dev $dev root tbf rate "+p.Scenario.Links+" burst 256k latency 50ms"); err != nil {
			return fmt.Errorf("shaping links to %s: %w", p.Scenario.Links, err)
		}
	}
	p.before, err = p.lookAround(ctx)
	return err
}

func (p *linksPhase) CleanUp(ctx context.Context) error {
	if p.Scenario.Links == "" {
		return nil
	}
	if err := p.shape(ctx, "tc qdisc del dev $dev root 2>/dev/null; :"); err != nil {
		return fmt.Errorf("giving links their speed back: %w", err)
	}
	return nil
}

func (p *linksPhase) shape(ctx context.Context, line string) error {
	return each(ctx, p.Inventory.Group(inventory.Worker), func(ctx context.Context, n inventory.Node) error {
		_, err := p.Nodes.Shell(ctx, n.Name, fmt.Sprintf("address=%s\n%s%s", n.Address, shapeScript, line), nil)
		return err
	})
}
