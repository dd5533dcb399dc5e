// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// clusterFault strikes all nodes of one cluster of several at once.
type clusterFault struct {
	env   Env
	kind  string
	means means

	cluster      *inventory.Inventory
	nodes        []inventory.Node // its own: clients that belong to no cluster go on
	began, ended time.Time
}

// means is what is done to each node of the cluster.
type means interface {
	// strike breaks the node at the instant at, and relieve undoes it; both return when it is seen to be so.
	strike(ctx context.Context, node string, at time.Time) (Instant, error)
	relieve(ctx context.Context, node string, at time.Time) (Instant, error)
	// recovered returns when what the cluster ran before runs again.
	recovered(ctx context.Context, cluster *inventory.Inventory, since time.Time) error
}

func newClusterFault(kind string, e Env) (Fault, error) {
	f := &clusterFault{env: e, kind: kind}
	switch {
	case e.Inventory.Clusters()[0].Member == "":
		return nil, fmt.Errorf("fault %s needs an inventory with several clusters (hint: -i pi-cluster/inventory.clusters.yaml)", kind)
	case kind == ClusterPartition:
		f.means = &partition{f}
	case e.Power == nil:
		return nil, fmt.Errorf("fault %s needs control of the nodes' power, which this substrate has not", kind)
	default:
		f.means = &blackout{f}
	}
	return f, nil
}

func (f *clusterFault) Aim(ctx context.Context, rng *rand.Rand) (Target, error) {
	var err error
	if f.cluster, err = f.env.choose(ctx, rng); err != nil {
		return Target{}, fmt.Errorf("aiming %s: %w", f.kind, err)
	}
	t := Target{Node: f.cluster.Group(inventory.Control)[0].Name, Name: f.cluster.Member, Members: members(f.cluster)}
	for _, n := range f.cluster.Nodes {
		if n.Cluster == f.cluster.Member {
			f.nodes = append(f.nodes, n)
			t.Nodes = append(t.Nodes, n.Name)
		}
	}
	return t, nil
}

// choose picks one of the clusters whose members clients are told: where a system tells of one alone, it is the death of that
// one that matters.
func (e *Env) choose(ctx context.Context, rng *rand.Rand) (*inventory.Inventory, error) {
	clusters := e.Inventory.Clusters()
	if e.Told == nil {
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

// members are the addresses that names can have in a cluster: of its pods, and of workers that carry proxies.
func members(c *inventory.Inventory) []netip.Prefix {
	var list []netip.Prefix
	for _, n := range c.Group(inventory.Worker) {
		list = append(list, n.Pods, netip.PrefixFrom(n.Address, n.Address.BitLen()))
	}
	return list
}

func (f *clusterFault) Begin(ctx context.Context, at time.Time) (Instant, error) {
	f.began = at
	return f.all(func(node string) (Instant, error) { return f.means.strike(ctx, node, at) })
}

func (f *clusterFault) End(ctx context.Context, at time.Time) (Instant, error) {
	if f.began.IsZero() || !f.ended.IsZero() {
		return Instant{}, nil
	}
	i, err := f.all(func(node string) (Instant, error) { return f.means.relieve(ctx, node, at) })
	if err == nil {
		f.ended = i.Before
	}
	return i, err
}

func (f *clusterFault) Recover(ctx context.Context) error {
	if f.began.IsZero() {
		return nil
	}
	if err := f.means.recovered(ctx, f.cluster, f.ended); err != nil {
		return fmt.Errorf("waiting for cluster %s to be as before: %w", f.cluster.Member, err)
	}
	return f.env.Healthy(ctx)
}

// all does something to all nodes of the cluster at once.
func (f *clusterFault) all(do func(node string) (Instant, error)) (Instant, error) {
	return together(f.nodes, func(n inventory.Node) (Instant, error) { return do(n.Name) })
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

// blackout cuts the power of all nodes and gives it back.
type blackout struct{ *clusterFault }

func (b *blackout) strike(ctx context.Context, node string, at time.Time) (Instant, error) {
	cut := &powerCut{env: b.env, node: node}
	return cut.Begin(ctx, at)
}

func (b *blackout) relieve(ctx context.Context, node string, at time.Time) (Instant, error) {
	cut := &powerCut{env: b.env, node: node, begun: true}
	return cut.End(ctx, at)
}

// returnTimeout bounds how long a cluster may take from power to pods: its control plane and its kubelets start at once.
const returnTimeout = 3 * time.Minute

// recovered waits for pods that were started since: until its kubelet is back, a cluster that died whole tells everybody
// that all is as it was before.
func (b *blackout) recovered(ctx context.Context, cluster *inventory.Inventory, since time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, returnTimeout, fmt.Errorf("not within %s", returnTimeout))
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting, err := b.waiting(ctx, cluster, since)
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
func (b *blackout) waiting(ctx context.Context, cluster *inventory.Inventory, since time.Time) (string, error) {
	k := b.env.client(cluster)
	for _, selector := range []string{b.env.Backend, b.env.System} {
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
