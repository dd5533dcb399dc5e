// SPDX-License-Identifier: Apache-2.0

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
)

// chooseCluster picks a cluster to strike whole, with its own nodes: clients that belong to no cluster go on.
func (e *Env) chooseCluster(ctx context.Context, rng *rand.Rand) (*inventory.Inventory, []inventory.Node, Target, error) {
	cluster, err := e.choose(ctx, rng)
	if err != nil {
		return nil, nil, Target{}, err
	}
	nodes := belonging(cluster)
	return cluster, nodes, Target{Node: cluster.ControlPlane().Name, Name: nameOf(cluster), Members: members(cluster), Nodes: names(nodes)}, nil
}

// nameOf is a cluster's name among others, or alone.
func nameOf(cluster *inventory.Inventory) string { return cmp.Or(cluster.Member, cluster.Cluster) }

// choose picks one of the clusters whose members clients are told: where a system tells of one alone, it is the death of that
// one that matters.
func (e *Env) choose(ctx context.Context, rng *rand.Rand) (*inventory.Inventory, error) {
	clusters := e.Inventory.Clusters()
	if e.Told == nil || len(clusters) == 1 {
		return clusters[rng.IntN(len(clusters))], nil
	}
	told, err := e.Told(ctx)
	if err != nil {
		return nil, err
	}
	clusters = slices.DeleteFunc(clusters, func(c *inventory.Inventory) bool {
		return !slices.ContainsFunc(members(c), func(p netip.Prefix) bool { return slices.ContainsFunc(told, p.Contains) })
	})
	if len(clusters) == 0 {
		return nil, fmt.Errorf("of the addresses that clients are told, %v, none belongs to a cluster", told)
	}
	return clusters[rng.IntN(len(clusters))], nil
}

// newClusterKill cuts the power of all nodes of a cluster.
func newClusterKill(e *Env, _ params) Fault {
	var cluster *inventory.Inventory
	f := &powerCut{env: e, kind: ClusterKill}
	f.aim = func(ctx context.Context, rng *rand.Rand) (t Target, nodes []inventory.Node, err error) {
		cluster, nodes, t, err = e.chooseCluster(ctx, rng)
		return t, nodes, err
	}
	f.recovered = func(ctx context.Context, since time.Time) error {
		if err := e.returned(ctx, cluster, since); err != nil {
			return fmt.Errorf("waiting for cluster %s to be as before: %w", nameOf(cluster), err)
		}
		return nil
	}
	return f
}

// returnTimeout bounds how long a cluster may take from power to pods: its control plane and its kubelets start at once.
const returnTimeout = 3 * time.Minute

// returned waits for pods that were started since: until its kubelet is back, a cluster that died whole tells everybody
// that all is as it was before.
func (e *Env) returned(ctx context.Context, cluster *inventory.Inventory, since time.Time) error {
	return again(ctx, func(ctx context.Context) (string, error) { return e.waiting(ctx, cluster, since) })
}

// again asks what is waited for until that is nothing.
func again(ctx context.Context, ask func(ctx context.Context) (waiting string, err error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, returnTimeout, fmt.Errorf("not within %s", returnTimeout))
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting, err := ask(ctx)
		if err == nil && waiting == "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("%w: %w", context.Cause(ctx), err)
			}
			return fmt.Errorf("%w: %s", context.Cause(ctx), waiting)
		}
	}
}

// waiting names a pod of the backend or of the system that does not run again; empty when all do.
func (e *Env) waiting(ctx context.Context, cluster *inventory.Inventory, since time.Time) (string, error) {
	k := e.client(cluster)
	for _, selector := range []string{e.Backend, e.System} {
		if selector == "" {
			continue
		}
		pods, err := k.Pods(ctx, selector)
		if err != nil {
			return "", err
		}
		if len(pods) == 0 {
			return "no pod of " + selector, nil
		}
		for _, p := range pods {
			if !p.Ready || !p.StartedSince(since) {
				return "pod " + p.FullName() + " is not ready again", nil
			}
		}
	}
	return "", nil
}
