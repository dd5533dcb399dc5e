// SPDX-License-Identifier: Apache-2.0

package power

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// Switch is one device that gives power over its ports. It does as it is told: which ports may be touched
// is Rack's to decide. It is safe for concurrent use, but for Set, which Rack calls under a lock.
type Switch interface {
	// Ports tells how all ports are, in order.
	Ports(ctx context.Context) ([]Port, error)
	// Set turns the power of a port on or off. nil says that the switch took the order, not that it carried it out.
	Set(ctx context.Context, port int, on bool) error
	// Close ends a session that the switch or its controller keeps.
	Close() error
}

// interrupter is a switch that can interrupt the power of a port, and not keep it off.
type interrupter interface {
	Interrupt(ctx context.Context, port int) error
}

// Port is how a port of a switch is.
type Port struct {
	Index   int      `json:"index"`
	Power   State    `json:"power"`           // whether it delivers power now
	Enabled bool     `json:"enabled"`         // whether it is set to deliver power to who asks for it
	Watts   *float64 `json:"watts,omitempty"` // what it delivers; nil: the switch does not tell
	Class   string   `json:"class,omitempty"` // as the switch writes it
	Link    bool     `json:"link"`
	Uplink  bool     `json:"uplink,omitempty"` // the switch's own way to its controller
	// Neighbours are the machines that LLDP or the switch's table of addresses shows behind the port.
	Neighbours []inventory.MAC `json:"neighbours,omitempty"`
	// Device is the neighbour that is a network device of the same controller: another switch, a gateway.
	Device inventory.MAC `json:"device,omitzero"`
}

// errHold tells that a switch's interface has no way to keep a port off.
var errHold = errors.New("UniFi's official API interrupts the power of a port and cannot keep it off (hint: driver unifi-legacy, or 'testbed power cycle')")

// IgnoredError says that a switch accepted an order and did not carry it out.
type IgnoredError struct {
	Port  inventory.Port
	Order string        // "off", "on" or "cycle"
	After time.Duration // how long it was given
	Still string        // how the port is
}

func (e *IgnoredError) Error() string {
	return fmt.Sprintf("%s accepted %q for port %d and did nothing: %s later the port %s (hint: the log of the switch or of its controller; 'testbed power ports')",
		e.Port.Switch, e.Order, e.Port.Index, e.After, e.Still)
}

// DeniedError says that a port must not be touched.
type DeniedError struct {
	Port inventory.Port
	Node string
	Why  string
}

func (e *DeniedError) Error() string {
	return fmt.Sprintf("refusing to switch %s for %s: %s", e.Port, e.Node, e.Why)
}

// denied says why the port of a node must not be touched; "" if it may.
func denied(sw inventory.Switch, n inventory.Node, p Port) string {
	who := func(mac inventory.MAC) bool { return !mac.IsZero() && slices.Contains(p.Neighbours, mac) }
	switch {
	case slices.Contains(sw.Deny, p.Index):
		return "it is denied in the inventory"
	case p.Uplink:
		return "it is the uplink of the switch"
	case who(sw.Controller):
		return fmt.Sprintf("the switch's controller %s is behind it", sw.Controller)
	case !p.Device.IsZero():
		return fmt.Sprintf("the network device %s is behind it", p.Device)
	case !n.MAC.IsZero() && len(p.Neighbours) > 0 && !who(n.MAC):
		return fmt.Sprintf("%s is behind it, and the node's address is %s (hint: the cable, or mac: and port: in the inventory; 'testbed power ports')", p.Neighbours[0], n.MAC)
	}
	return ""
}

// describe says how a port is, as the end of a sentence.
func (p Port) describe() string {
	switch {
	case p.Power == On && p.Watts != nil:
		return fmt.Sprintf("delivers %.1f W", *p.Watts)
	case p.Power == On:
		return "delivers power"
	case p.Enabled:
		return "is enabled, and nothing draws power from it"
	default:
		return "is off"
	}
}
