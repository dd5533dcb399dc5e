// SPDX-License-Identifier: Apache-2.0

package power

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// device is a switch that is open. Many who look at its ports at the same time share one answer: controllers limit how often
// they are asked.
type device struct {
	inventory.Switch
	driver Switch
	lock   lock
	fresh  time.Duration // how old an answer may be

	look chan struct{} // holds one value while nobody asks

	mu    sync.Mutex
	last  []Port
	asked time.Time // when the last answer was asked for
	since time.Time // what was asked for earlier no longer holds
}

func newDevice(s inventory.Switch, driver Switch, l lock, fresh time.Duration) *device {
	d := &device{Switch: s, driver: driver, lock: l, fresh: fresh, look: make(chan struct{}, 1)}
	d.look <- struct{}{}
	return d
}

// changed makes all answers old that were asked for until now.
func (d *device) changed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since = time.Now()
}

// ports returns how all ports are: as somebody was told just now, or since this call began, or as the switch tells.
func (d *device) ports(ctx context.Context) ([]Port, error) {
	came := time.Now()
	select {
	case <-d.look:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { d.look <- struct{}{} }()
	d.mu.Lock()
	last, good := d.last, d.last != nil && d.asked.After(d.since) && (d.asked.After(came) || time.Since(d.asked) < d.fresh)
	d.mu.Unlock()
	if good {
		return last, nil
	}
	asked := time.Now()
	ports, err := d.driver.Ports(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking %s for its ports: %w", d.Name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last, d.asked = ports, asked
	return ports, nil
}

// port returns the port of a node.
func (d *device) port(ctx context.Context, n inventory.Node) (Port, error) {
	ports, err := d.ports(ctx)
	if err != nil {
		return Port{}, err
	}
	i := slices.IndexFunc(ports, func(p Port) bool { return p.Index == n.Port.Index })
	if i < 0 {
		return Port{}, fmt.Errorf("%s has no port %d, where %s is to be plugged in", d.Name, n.Port.Index, n.Name)
	}
	return ports[i], nil
}
