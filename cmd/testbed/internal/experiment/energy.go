// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
)

// readingsEvery is how often switches are asked what their ports give. Their controllers hand new readings on every few seconds.
const readingsEvery = 2 * time.Second

// recordPower begins to record what nodes draw, where the substrate can tell; stop ends it.
func (t *trial) recordPower(ctx context.Context) (stop func()) {
	meter, ok := t.Power.(power.Meter)
	if !ok {
		return func() {}
	}
	t.draw = power.Record(ctx, meter, readingsEvery, t.Log)
	return t.draw.Stop
}

// energy returns the microjoules that a node drew from its port in the time of u; 0 where nobody can tell.
func (t *trial) energy(u *usage) int64 {
	if t.draw == nil {
		return 0
	}
	joules, _, ok := t.draw.Joules(u.node, u.start.at, u.end.at)
	if !ok {
		return 0
	}
	return int64(joules * 1e6)
}
