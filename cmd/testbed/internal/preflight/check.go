// SPDX-License-Identifier: Apache-2.0

// Package preflight says whether nodes are such that a measurement on them can be believed: before `testbed up` changes
// anything, and whenever `testbed doctor` is asked. The checks are data; one script asks a node for all of them at once.
package preflight

import (
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// Check is one condition of a measurement that can be believed.
type Check struct {
	Name  string // "throttling"
	Reads string // what is looked at, for people
	Bound string // what it must be, for people
	Cure  string // what to do where it is not so

	// Script is a fragment of POSIX shell that prints what Judge is given. It changes nothing. Checks without one are made
	// from outside of the node.
	Script string
	// Judge returns the value for people and whether it is within the bound. A value that says nothing of this node (it has
	// no such sensor) is "".
	Judge func(value string) (shown string, ok bool)

	// On says which nodes are asked; nil: all.
	On func(n inventory.Node) bool
	// Kernel marks what virtual nodes on one machine share: it is asked of one of them.
	Kernel bool
	// Boards marks what only boards can tell.
	Boards bool
	// Stops marks what keeps `up` from going on with the node. What is found otherwise, provisioning may cure: `up` tells it
	// at its end.
	Stops bool
	// Late marks what there is only once a node has been provisioned.
	Late bool
}

// Names of the checks that are made from outside of the node.
const (
	Reachable = "ssh"
	HostKey   = "host key"
	Clock     = "clock"
	Programs  = "programs" // also the start of their names: "programs: envoy"
)

// Bounds that checks hold values against.
type Bounds struct {
	Clock       time.Duration // how far a node's clock may be from ours, plus half the round trip
	Chrony      time.Duration // how far chrony may think that it is off
	Celsius     float64
	FreeBytes   uint64  // on each file system that a node writes to
	MemoryBytes uint64  // available
	Busy        float64 // share of the node's CPUs used by anything, with no experiment running
}

// Standard returns the bounds for a substrate. A Pi 5 throttles from 80 °C on and is not to come near. Virtual nodes share the
// machine's clock and disk.
func Standard(substrate string) Bounds {
	b := Bounds{Clock: 5 * time.Millisecond, Chrony: time.Millisecond, Celsius: 75, FreeBytes: 4 << 30, MemoryBytes: 1 << 30, Busy: 0.25}
	if substrate == "twin" {
		b.FreeBytes = 1 << 30
	}
	return b
}

// Checks returns all checks of a cluster's nodes.
func Checks(inv *inventory.Inventory, b Bounds) []Check {
	return append(append(machineChecks(b), kernelChecks()...), clusterChecks(inv)...)
}

// of returns the checks that a node is asked; late: also those that need provisioning.
func of(checks []Check, inv *inventory.Inventory, n, speaker inventory.Node, late bool) []Check {
	var mine []Check
	for _, c := range checks {
		switch {
		case c.On != nil && !c.On(n), c.Late && !late, c.Boards && inv.Substrate == "twin":
		case c.Kernel && inv.Substrate == "twin" && n.Name != speaker.Name:
		default:
			mine = append(mine, c)
		}
	}
	return mine
}

// script asks a node for all checks at once: what each prints stands below a line "@@ NAME". The fragments have the node's
// address as $address.
func script(checks []Check, n inventory.Node) string {
	var s strings.Builder
	s.WriteString("export LC_ALL=C PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/testbed/kube address=" + n.Address.String() + "\n")
	for _, c := range checks {
		if c.Script != "" {
			s.WriteString("printf '\\n@@ " + c.Name + "\\n'\n{\n" + strings.TrimSpace(c.Script) + "\n} 2>/dev/null </dev/null\n")
		}
	}
	s.WriteString("printf '\\n@@ end\\n'\n")
	return s.String()
}

// parse returns what a script printed, by check, and whether it came to its end.
func parse(out string) (values map[string]string, whole bool) {
	values = map[string]string{}
	name := ""
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, "@@ "); ok {
			name = strings.TrimSuffix(rest, "\n")
			values[name] = ""
			continue
		}
		if name != "" {
			values[name] += line
		}
	}
	for k, v := range values {
		values[k] = strings.TrimSpace(v)
	}
	_, whole = values["end"]
	delete(values, "end")
	return values, whole
}
