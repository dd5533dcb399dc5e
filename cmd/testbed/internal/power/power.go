// SPDX-License-Identifier: Apache-2.0

// Package power cuts the power of nodes and gives it back: over the ports of switches (UniFi's two interfaces, a switch's
// own shell, a program of the operator's), and says what nodes draw and how many may start at once.
package power

import (
	"context"
	"fmt"
)

// Controller cuts and restores the power of nodes, by name. Calls for one node follow each other;
// calls for several may run at once.
type Controller interface {
	// Off cuts the power: nothing that ran on the node says goodbye. It returns when the node is dead.
	// A node that is off already stays so.
	Off(ctx context.Context, node string) error
	// On gives power and returns when the node answers on SSH. A node that is on already stays so.
	On(ctx context.Context, node string) error
	State(ctx context.Context, node string) (State, error)
}

// Cycler is a Controller that can also interrupt the power of a node.
type Cycler interface {
	// Cycle cuts the power and gives it back. It returns when the node has power again, and does not
	// wait for it to answer.
	Cycle(ctx context.Context, node string) error
}

// Meter is a Controller that knows what nodes draw.
type Meter interface {
	// Watts returns what each node draws now, by name. Nodes of whose switch nobody knows it are left out.
	Watts(ctx context.Context) (map[string]float64, error)
}

// State is what is known of a node's power.
type State int

// The states of a node.
const (
	Unknown State = iota
	Off
	On
)

func (s State) String() string {
	switch s {
	case Off:
		return "off"
	case On:
		return "on"
	default:
		return "unknown"
	}
}

// MarshalText writes the state as in String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *State) UnmarshalText(text []byte) error {
	for _, known := range []State{Unknown, Off, On} {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("unknown power state %q", text)
}
