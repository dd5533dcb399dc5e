// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// The parameters of faults.
const (
	withPod       = "pod"       // NAMESPACE/NAME; default: the trial's seed picks one
	withNode      = "node"      // a node, or a group that the seed picks from
	withCount     = "count"     // how many are struck at once, or "all"
	withContainer = "container" // its name; default: the pod's first
	withSides     = "sides"     // nodes and groups, with commas, on both sides of a |; one side may be "rest"
	withLoss      = "loss"      // a share, as 5%
	withDelay     = "delay"     // a duration
	withJitter    = "jitter"    // a duration
	withBy        = "by"        // a duration
	withPath      = "path"      // an absolute path
)

// params are a fault's parameters as they were given: what was not is zero.
type params struct {
	pod, node, container, path string
	count                      int // all of them: every
	sides                      [2][]string
	loss                       float64 // a share
	delay, jitter, by          time.Duration
}

const every = -1

// number of things to strike out of n.
func (p params) number(otherwise, n int) int {
	switch p.count {
	case 0:
		return min(otherwise, n)
	case every:
		return n
	}
	return p.count
}

// bounds of durations: longer ones are slips of the pen.
const (
	maxDelay = time.Minute
	maxSkew  = 24 * time.Hour
)

// parse reads parameters. The error tells everything that is wrong with them.
func (k Kind) parse(with map[string]string) (params, error) {
	var (
		p    params
		errs []error
	)
	for _, key := range sorted(with) {
		if !slices.Contains(k.With, key) {
			hint := "it takes none"
			if len(k.With) > 0 {
				hint = "it takes " + list(k.With)
			}
			errs = append(errs, fmt.Errorf("fault %s takes no %q (hint: %s)", k.Name, key, hint))
			continue
		}
		if err := p.set(k, key, with[key]); err != nil {
			errs = append(errs, fmt.Errorf("%s of fault %s: %w", key, k.Name, err))
		}
	}
	return p, errors.Join(errs...)
}

func (p *params) set(k Kind, key, value string) (err error) {
	switch key {
	case withPod:
		p.pod = value
		if namespace, name, ok := strings.Cut(value, "/"); !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
			return fmt.Errorf("%q is no pod (hint: NAMESPACE/NAME)", value)
		}
	case withNode:
		p.node = value
	case withContainer:
		p.container = value
	case withCount:
		if value == "all" {
			p.count = every
			return nil
		}
		if p.count, err = strconv.Atoi(value); err != nil || p.count < 1 {
			return fmt.Errorf("%q is no number of things to strike (hint: 1 or more, or all)", value)
		}
	case withSides:
		return p.setSides(value)
	case withLoss:
		number, percent := strings.CutSuffix(value, "%")
		share, err := strconv.ParseFloat(number, 64)
		if !percent || err != nil || !(share >= 0.01 && share <= 99) {
			return fmt.Errorf("%q is no share of packets (hint: 0.01%% to 99%%)", value)
		}
		p.loss = share / 100
	case withDelay:
		p.delay, err = duration(value, time.Millisecond, maxDelay)
	case withJitter:
		p.jitter, err = duration(value, 0, maxDelay)
	case withBy:
		if k.Name == ClockSkew {
			if p.by, err = duration(strings.TrimPrefix(value, "-"), 50*time.Millisecond, maxSkew); strings.HasPrefix(value, "-") {
				p.by = -p.by
			}
			return err
		}
		p.by, err = duration(value, time.Millisecond, maxDelay)
	case withPath:
		if p.path = path.Clean(value); !path.IsAbs(value) {
			return fmt.Errorf("%q is no absolute path", value)
		}
	}
	return err
}

func duration(text string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		return 0, fmt.Errorf("%q is no such time (hint: %s to %s)", text, least, most)
	}
	return d, nil
}

func (p *params) setSides(text string) error {
	left, right, ok := strings.Cut(text, "|")
	if !ok || strings.Contains(right, "|") {
		return fmt.Errorf("%q has no two sides (hint: worker-1,worker-2|rest)", text)
	}
	for i, side := range []string{left, right} {
		for name := range strings.SplitSeq(side, ",") {
			if name = strings.TrimSpace(name); name == "" {
				return fmt.Errorf("%q has a side with an empty name (hint: worker-1,worker-2|rest)", text)
			}
			p.sides[i] = append(p.sides[i], name)
		}
	}
	return nil
}

func sorted(with map[string]string) []string {
	keys := make([]string, 0, len(with))
	for key := range with {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// named returns the nodes that a name means: one, or those of a group.
func named(inv *inventory.Inventory, name string) []inventory.Node {
	if n, ok := inv.Node(name); ok {
		return []inventory.Node{n}
	}
	return inv.Group(name)
}

// candidates are the nodes that a fault of nodes may strike.
func (p params) candidates(inv *inventory.Inventory) []inventory.Node {
	if p.node == "" {
		return inv.Group(inventory.Worker)
	}
	return named(inv, p.node)
}
