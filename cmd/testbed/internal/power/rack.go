// SPDX-License-Identifier: Apache-2.0

package power

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

const (
	// patience is how long a switch may take to carry out an order. A UniFi controller hands settings to its switch within
	// about 15 s.
	patience = 60 * time.Second
	// interval between two looks at a port.
	interval = time.Second
	// dark is how long a cycled node has no power: capacitors on the board and its hat must empty.
	dark = 3 * time.Second
)

// Rack switches the nodes of an inventory by the ports that they are plugged in at. It is safe for concurrent use.
type Rack struct {
	inv   *inventory.Inventory
	locks string // directory
	log   *slog.Logger
	open  func(inventory.Switch) (Switch, error)

	patience, interval, dark time.Duration

	mu      sync.Mutex
	devices map[string]*device // by name; opened when first needed
}

// Open returns the rack; it asks nobody anything yet. locks is a directory that all testbeds of this machine share.
func Open(inv *inventory.Inventory, locks string, log *slog.Logger) *Rack {
	r := &Rack{inv: inv, locks: locks, log: log, patience: patience, interval: interval, dark: dark, devices: make(map[string]*device)}
	r.open = r.driver
	return r
}

// Close ends sessions.
func (r *Rack) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(r.devices)) {
		errs = append(errs, r.devices[name].driver.Close())
	}
	clear(r.devices)
	return errors.Join(errs...)
}

// driver makes the driver of a switch.
func (r *Rack) driver(s inventory.Switch) (Switch, error) {
	switch s.Driver {
	case inventory.DriverUniFi, inventory.DriverUniFiLegacy:
		return openUniFi(r.inv, s, r.log)
	case inventory.DriverSSH:
		return openShell(r.inv, s)
	case inventory.DriverCommand:
		words := slices.Clone(s.Command)
		if strings.Contains(words[0], "/") {
			file, err := r.inv.File(words[0])
			if err != nil {
				return nil, err
			}
			if words[0], err = filepath.Abs(file); err != nil { // a bare name would be looked for elsewhere
				return nil, fmt.Errorf("finding the program: %w", err)
			}
		}
		return &command{words: words}, nil
	default:
		return nil, fmt.Errorf("driver %q switches no ports", s.Driver)
	}
}

func (r *Rack) device(name string) (*device, error) {
	s, ok := r.inv.Switch(name)
	if !ok {
		return nil, fmt.Errorf("unknown switch %q (hint: switches: in %s)", name, r.inv.Path)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.devices[name]; d != nil {
		return d, nil
	}
	driver, err := r.open(s)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	d := newDevice(s, driver, newLock(r.locks, s), r.interval)
	r.devices[name] = d
	return d, nil
}

// plugged returns the node and its switch.
func (r *Rack) plugged(node string) (inventory.Node, *device, error) {
	n, ok := r.inv.Node(node)
	if !ok {
		return n, nil, fmt.Errorf("unknown node %q (hint: the nodes are in %s)", node, r.inv.Path)
	}
	if n.Port.IsZero() {
		return n, nil, fmt.Errorf("nobody knows where %s is plugged in (hint: port: {switch: NAME, index: N} in %s)", node, r.inv.Path)
	}
	d, err := r.device(n.Port.Switch)
	return n, d, err
}

// touchable returns the port of a node if it may be switched.
func (d *device) touchable(ctx context.Context, n inventory.Node) (Port, error) {
	p, err := d.port(ctx, n)
	if err != nil {
		return p, err
	}
	if why := denied(d.Switch, n, p); why != "" {
		return p, &DeniedError{Port: n.Port, Node: n.Name, Why: why}
	}
	return p, nil
}

// State says whether the port of the node delivers power.
func (r *Rack) State(ctx context.Context, node string) (State, error) {
	n, d, err := r.plugged(node)
	if err != nil {
		return Unknown, err
	}
	p, err := d.port(ctx, n)
	return p.Power, err
}

// Off cuts the power of a node and returns when the switch shows that the port delivers none.
func (r *Rack) Off(ctx context.Context, node string) error { return r.set(ctx, node, false) }

// On gives power and returns when the switch shows that the node draws some.
func (r *Rack) On(ctx context.Context, node string) error { return r.set(ctx, node, true) }

func (r *Rack) set(ctx context.Context, node string, on bool) error {
	n, d, err := r.plugged(node)
	if err != nil {
		return err
	}
	p, err := d.touchable(ctx, n)
	if err != nil {
		return err
	}
	return r.order(ctx, n, d, p, on)
}

// order gives the order if it is needed, and waits until it is carried out.
func (r *Rack) order(ctx context.Context, n inventory.Node, d *device, p Port, on bool) error {
	word, want := "off", Off
	if on {
		word, want = "on", On
	}
	if p.Power == want && p.Enabled == on {
		return nil
	}
	release, err := d.lock.hold(ctx)
	if err != nil {
		return err
	}
	err = d.driver.Set(ctx, p.Index, on)
	d.changed()
	release()
	if err != nil {
		return fmt.Errorf("switching %s %s: %w", n.Port, word, err)
	}
	last, err := r.await(ctx, d, n, func(p Port) bool { return p.Power == want })
	if errors.Is(err, errPatience) {
		if on && last.Enabled {
			return fmt.Errorf("%s is on, and %s draws no power from it (hint: the cable, the PoE hat, the budget of %s)", n.Port, n.Name, d.Name)
		}
		return &IgnoredError{Port: n.Port, Order: word, After: r.patience, Still: last.describe()}
	}
	return err
}

// errPatience ends await.
var errPatience = errors.New("patience is over")

// await looks at a port, once at least, until it is as it is to be or patience is over; it returns how it was last.
func (r *Rack) await(ctx context.Context, d *device, n inventory.Node, done func(Port) bool) (Port, error) {
	begun := time.Now()
	tick := time.NewTicker(r.interval)
	defer tick.Stop()
	for {
		p, err := d.port(ctx, n)
		if err != nil || done(p) {
			return p, err
		}
		if time.Since(begun) >= r.patience {
			return p, errPatience
		}
		select {
		case <-ctx.Done():
			return p, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Cycle interrupts the power of a node and returns when it has power again. A node that had none gets some.
func (r *Rack) Cycle(ctx context.Context, node string) error {
	n, d, err := r.plugged(node)
	if err != nil {
		return err
	}
	p, err := d.touchable(ctx, n)
	if err != nil {
		return err
	}
	if short, ok := d.driver.(interrupter); ok {
		return r.interrupt(ctx, n, d, short)
	}
	err = r.order(ctx, n, d, p, false)
	if err == nil {
		wait := time.NewTimer(r.dark)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	// Whatever happened: a node that was to be cycled is not to stay off.
	if lost := r.restore(context.WithoutCancel(ctx), n, d); lost != nil {
		lost = fmt.Errorf("%s may stay without power: %w", node, lost)
		if err != nil {
			return fmt.Errorf("%w; %w", err, lost)
		}
		return lost
	}
	return err
}

// restore gives power to a node. It asks for the port anew.
func (r *Rack) restore(ctx context.Context, n inventory.Node, d *device) error {
	p, err := d.port(ctx, n)
	if err != nil {
		return err
	}
	return r.order(ctx, n, d, p, true)
}

// interrupt lets a switch cycle a port by itself. Only what is seen counts: power or link must go, and power come back.
func (r *Rack) interrupt(ctx context.Context, n inventory.Node, d *device, short interrupter) error {
	release, err := d.lock.hold(ctx)
	if err != nil {
		return err
	}
	err = short.Interrupt(ctx, n.Port.Index)
	d.changed()
	release()
	if err != nil {
		return fmt.Errorf("cycling %s: %w", n.Port, err)
	}
	for _, done := range []func(Port) bool{
		func(p Port) bool { return p.Power == Off || !p.Link },
		func(p Port) bool { return p.Power == On },
	} {
		last, err := r.await(ctx, d, n, done)
		if errors.Is(err, errPatience) {
			return &IgnoredError{Port: n.Port, Order: "cycle", After: r.patience, Still: last.describe()}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// PortOf is a port with the node that is to be plugged in there.
type PortOf struct {
	Switch string `json:"switch"`
	Port
	Node   string `json:"node,omitempty"`
	Denied string `json:"denied,omitempty"` // why it is not switched
}

// Ports tells how all ports of all switches are, in the order of the inventory.
func (r *Rack) Ports(ctx context.Context) ([]PortOf, error) {
	var all []PortOf
	for _, s := range r.inv.Switches {
		d, err := r.device(s.Name)
		if err != nil {
			return nil, err
		}
		ports, err := d.ports(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range ports {
			var n inventory.Node
			at := inventory.Port{Switch: s.Name, Index: p.Index}
			if i := slices.IndexFunc(r.inv.Nodes, func(n inventory.Node) bool { return n.Port == at }); i >= 0 {
				n = r.inv.Nodes[i]
			}
			all = append(all, PortOf{Switch: s.Name, Port: p, Node: n.Name, Denied: denied(s, n, p)})
		}
	}
	return all, nil
}

// Watts returns what nodes draw.
func (r *Rack) Watts(ctx context.Context) (map[string]float64, error) {
	ports, err := r.Ports(ctx)
	if err != nil {
		return nil, err
	}
	watts := make(map[string]float64)
	for _, p := range ports {
		if p.Node != "" && p.Watts != nil {
			watts[p.Node] = *p.Watts
		}
	}
	return watts, nil
}
