// SPDX-License-Identifier: Apache-2.0

// Package fault breaks things on a cluster at a known instant, shows that they broke, holds them
// broken and undoes it, whatever happens in between.
//
// What can be done by the struck node itself is done by it: a transient unit there strikes and mends, by
// the node's own clock, though whoever gave the order is dead by then. What nodes cannot do to
// themselves, as to lose their power, is entered in the cluster's journal before it is done.
package fault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/journal"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
)

// Fault is one fault of one trial. Its methods are called in the order Aim, Begin, End, Recover;
// End and Recover are also called, in this order, when something before them failed.
type Fault interface {
	// Aim chooses the target and prepares what must not cost time later. It breaks nothing.
	Aim(ctx context.Context, rng *rand.Rand) (Target, error)
	// Begin breaks the target at the instant at and returns when it is seen to be broken; of a node that
	// cannot be asked meanwhile, when it is back and has told.
	Begin(ctx context.Context, at time.Time) (Instant, error)
	// End stops holding the target at the instant at, or tells when that ended by itself, after Env.Hold.
	// It does nothing if Begin was never called, or a second time.
	End(ctx context.Context, at time.Time) (Instant, error)
	// Recover brings the cluster back to what it was before and returns when it is.
	Recover(ctx context.Context) error
}

// Target is what a fault breaks.
type Target struct {
	Node string // the first of Nodes; of a whole cluster, its control node
	Name string // a pod as namespace/name, the node, or the cluster
	// Members are the addresses that the fault makes useless, or that a system may take for useless:
	// whether answers hold them is what there is to see.
	Members []netip.Prefix
	// Nodes are all that it strikes where they are several.
	Nodes []string
}

// Strikes says whether the fault may keep a node from being asked, or take away what ran on it.
func (t Target) Strikes(node string) bool { return node == t.Node || slices.Contains(t.Nodes, node) }

// all are the nodes that it strikes.
func (t Target) all() []string {
	if len(t.Nodes) == 0 && t.Node != "" {
		return []string{t.Node}
	}
	return t.Nodes
}

// Instant bounds the moment at which something happened.
type Instant struct {
	Before, After time.Time
	// Clock names the node whose clock was read; empty for the orchestrator's.
	Clock string
}

// Env is what faults work with.
type Env struct {
	Inventory *inventory.Inventory
	Shell     kubectl.Shell
	Power     power.Controller
	// Backend selects the pods of the service.
	Backend string
	// System selects the pods of what stands in front of it; empty when that has none.
	System string
	// Told returns the addresses that clients are given now; nil where they are given none by DNS.
	Told func(ctx context.Context) ([]netip.Addr, error)
	// Healthy waits until all that stands on the cluster is ready.
	Healthy func(ctx context.Context) error
	// With holds the fault's parameters, see Kinds.
	With map[string]string
	// Hold is how long the fault is to last: nodes end it by themselves then. Default DefaultHold.
	Hold time.Duration
	// Journal gets an entry for as long as the fault stands; nil: none.
	Journal *journal.Journal
	// Annotate tells others that the fault began, and returns what tells them that it is over; nil: nobody.
	Annotate func(ctx context.Context, kind string, t Target, began Instant) (ended func(ctx context.Context, i Instant) error, err error)
	// Warn is told what goes wrong with annotations, which spoils no trial; nil: nobody.
	Warn func(error)
	// Dir is where, on a node, each fault has a directory of its own. Default: /dev/shm/testbed-faults, which a reboot
	// forgets together with everything that a fault does to a kernel.
	Dir string
}

// DefaultHold bounds faults of which nobody says how long they are to last.
const DefaultHold = 10 * time.Minute

func (e *Env) hold() time.Duration { return cmp.Or(e.Hold, DefaultHold) }
func (e *Env) dir() string         { return cmp.Or(e.Dir, "/dev/shm/testbed-faults") }

func (e *Env) healthy(ctx context.Context) error {
	if e.Healthy == nil {
		return nil
	}
	return e.Healthy(ctx)
}

// kubectl runs on the control node of the cluster that a node belongs to.
func (e *Env) kubectl(node string) *kubectl.Client {
	n, _ := e.Inventory.Node(node)
	return e.client(e.Inventory.ClusterOf(n))
}

func (e *Env) client(cluster *inventory.Inventory) *kubectl.Client {
	return &kubectl.Client{Shell: e.Shell, Node: cluster.ControlPlane().Name}
}

// pods lists the pods of all clusters that selector matches.
func (e *Env) pods(ctx context.Context, selector string) ([]kubectl.Pod, error) {
	var all []kubectl.Pod
	for _, c := range e.Inventory.Clusters() {
		pods, err := e.client(c).Pods(ctx, selector)
		if err != nil {
			return nil, err
		}
		all = append(all, pods...)
	}
	return all, nil
}

// New returns a fault of the given kind, if it can be on the cluster.
func New(name string, e Env) (Fault, error) {
	k, p, err := check(name, e.With, e.Inventory)
	if err != nil {
		return nil, err
	}
	if k.power && e.Power == nil {
		return nil, fmt.Errorf("fault %s needs control of the nodes' power, which this substrate has not", name)
	}
	return &recorded{env: &e, kind: name, Fault: k.make(&e, p)}, nil
}

// Ready says why a fault cannot be on the standing cluster, as far as only that can tell: what its kernels have, and which
// services run. It breaks nothing.
func Ready(ctx context.Context, e Env, name string) error {
	k, p, err := check(name, e.With, e.Inventory)
	if err != nil {
		return err
	}
	if k.ready == nil {
		return nil
	}
	if err := k.ready(ctx, &e, p); err != nil {
		return fmt.Errorf("fault %s cannot be here: %w", name, err)
	}
	return nil
}

// together does something to several things at once: it happened between the first and the last.
func together[T any](things []T, do func(T) (Instant, error)) (Instant, error) {
	instants, errs := make([]Instant, len(things)), make([]error, len(things))
	var running sync.WaitGroup
	for k, thing := range things {
		running.Go(func() { instants[k], errs[k] = do(thing) })
	}
	running.Wait()
	var span Instant
	for _, i := range instants {
		if i.Before.IsZero() {
			continue
		}
		if span.Before.IsZero() || i.Before.Before(span.Before) {
			span.Before, span.Clock = i.Before, i.Clock
		}
		if i.After.After(span.After) {
			span.After = i.After
		}
	}
	return span, errors.Join(errs...)
}

// list joins names for people.
func list(names []string) string { return strings.Join(names, ", ") }

func sleepUntil(ctx context.Context, at time.Time) error {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
