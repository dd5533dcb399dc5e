// SPDX-License-Identifier: Apache-2.0

// Package fault breaks things on a cluster at a known instant, shows that they broke, holds them
// broken and undoes it, whatever happens in between.
package fault

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
)

// Kinds of fault.
const (
	PodSIGKILL   = "pod-sigkill"    // the processes of a backend pod are killed and kept from restarting
	PodSlow      = "pod-slow"       // every request of a backend pod takes Slowness longer
	PodDelete    = "pod-delete"     // a backend pod is deleted, and another with another address takes its place
	NodePowerCut = "node-power-cut" // a worker loses its power

	ClusterKill      = "cluster-kill"      // all nodes of a cluster lose their power
	ClusterPartition = "cluster-partition" // a cluster is cut off from everybody, but not from itself
	DNSKill          = "dns-kill"          // a cluster's authoritative servers are killed and kept from restarting
	ForwarderKill    = "forwarder-kill"    // likewise the servers that resolvers ask, where they are others
	ProvisioningKill = "provisioning-kill" // likewise what writes records, and then a backend pod is replaced
)

// Kinds lists what New makes.
func Kinds() []string {
	return []string{PodSIGKILL, PodSlow, PodDelete, NodePowerCut, ClusterKill, ClusterPartition, DNSKill, ForwarderKill, ProvisioningKill}
}

// Fault is one fault of one trial. Its methods are called in the order Aim, Begin, Hold, End,
// Recover; End and Recover are also called, in this order, when something before them failed.
type Fault interface {
	// Aim chooses the target and prepares what must not cost time later. It breaks nothing.
	Aim(ctx context.Context, rng *rand.Rand) (Target, error)
	// Begin breaks the target at the instant at and returns when it is seen to be broken.
	Begin(ctx context.Context, at time.Time) (Instant, error)
	// End stops holding the target at the instant at. It does nothing if Begin was never called, or a second time.
	End(ctx context.Context, at time.Time) (Instant, error)
	// Recover brings the cluster back to what it was before and returns when it is.
	Recover(ctx context.Context) error
}

// Target is what a fault breaks.
type Target struct {
	Node string // of a whole cluster, its control node
	Name string // a pod as namespace/name, the node, or the cluster
	// Members are the addresses that the fault makes useless, or that a system may take for useless:
	// whether answers hold them is what there is to see.
	Members []netip.Prefix
	// Nodes are all that it strikes where they are several.
	Nodes []string
}

// Strikes says whether the fault may keep a node from being asked, or take away what ran on it.
func (t Target) Strikes(node string) bool { return node == t.Node || slices.Contains(t.Nodes, node) }

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
	// HeldDir holds, on a node, one file a pod that is kept from restarting: the path of its pids.max
	// and the value to put back. Default: /run/testbed/held, which a reboot forgets together with the cgroups.
	HeldDir string
}

// kubectl runs on the control node of the cluster that a node belongs to.
func (e *Env) kubectl(node string) *kubectl.Client {
	n, _ := e.Inventory.Node(node)
	return e.client(e.Inventory.ClusterOf(n))
}

func (e *Env) client(cluster *inventory.Inventory) *kubectl.Client {
	return &kubectl.Client{Shell: e.Shell, Node: cluster.Group(inventory.Control)[0].Name}
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

func (e *Env) held() string { return cmp.Or(e.HeldDir, "/run/testbed/held") }

// New returns a fault of the given kind.
func New(kind string, e Env) (Fault, error) {
	switch kind {
	case PodSIGKILL:
		return &podKill{env: e}, nil
	case PodSlow:
		return &podSlow{env: e}, nil
	case PodDelete:
		return &podDelete{env: e}, nil
	case NodePowerCut:
		if e.Power == nil {
			return nil, fmt.Errorf("fault %s needs control of the nodes' power, which this substrate has not", kind)
		}
		return &powerCut{env: e}, nil
	case ClusterKill, ClusterPartition:
		return newClusterFault(kind, e)
	case DNSKill:
		return &roleKill{env: e, kind: kind, role: RoleAuthoritative}, nil
	case ForwarderKill:
		return &roleKill{env: e, kind: kind, role: RoleForwarder}, nil
	case ProvisioningKill:
		return &roleKill{env: e, kind: kind, role: RoleProvisioning}, nil
	}
	return nil, fmt.Errorf("unknown fault kind %q", kind)
}

// Heal undoes what a run that was killed left broken: nodes without power or cut off, pods kept from restarting.
// It returns what it undid.
func Heal(ctx context.Context, e Env) ([]string, error) {
	var healed []string
	for _, n := range e.Inventory.Nodes {
		if e.Power != nil {
			state, err := e.Power.State(ctx, n.Name)
			if err != nil {
				return healed, fmt.Errorf("asking for the power of %s: %w", n.Name, err)
			}
			if state == power.Off {
				if err := e.Power.On(ctx, n.Name); err != nil {
					return healed, fmt.Errorf("giving power to %s: %w", n.Name, err)
				}
				healed = append(healed, n.Name+": power was off")
			}
		}
		joined, err := join(ctx, e, n.Name)
		if err != nil {
			return healed, err
		}
		if joined {
			healed = append(healed, n.Name+": was cut off from other clusters")
		}
		if !slices.Contains(n.Groups, inventory.Worker) {
			continue
		}
		undone, err := releasePods(ctx, e, n.Name)
		if err != nil {
			return healed, err
		}
		if undone {
			healed = append(healed, n.Name+": pods were kept from restarting")
		}
	}
	return healed, nil
}
