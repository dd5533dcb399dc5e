// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/system"
	"github.com/dnsingress/dnsingress/internal/results"
)

// pool is what became of the backend's endpoints, in the order in which Kubernetes told it.
type pool struct {
	mu     sync.Mutex
	events []results.Event
}

func (p *pool) add(events []results.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, events...)
	slices.SortStableFunc(p.events, func(a, b results.Event) int { return int(a.UnixNs - b.UnixNs) })
}

// churn deletes pods at each beat, and has Kubernetes replace them. Which ones is drawn; those that are not ready yet are spared.
func (t *trial) churn(ctx context.Context, open, shut time.Time) error {
	c := t.cell.Trials.Churn
	rng := t.random("target")
	for beat := range c.Beats(t.window) {
		at := open.Add(c.At + time.Duration(beat)*c.Every)
		if err := until(ctx, at); err != nil {
			return err
		}
		pods, err := t.bench.Pods(ctx, system.BackendSelector)
		if err != nil {
			return err
		}
		pods = slices.DeleteFunc(pods, func(p kubectl.Pod) bool { return !p.Ready || p.Terminating })
		if len(pods) < c.Pods {
			return fmt.Errorf("churn: %d of %d pods are ready at beat %d, which is to replace %d (hint: a longer every)", len(pods), t.facts.replicas, beat+1, c.Pods)
		}
		rng.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
		if err := t.replace(ctx, pods[:c.Pods], beat); err != nil {
			return err
		}
	}
	if err := until(ctx, shut); err != nil {
		return err
	}
	var err error
	t.came, err = t.bench.Pods(ctx, system.BackendSelector)
	return err
}

// replace deletes pods of whichever clusters, those of one by one command.
func (t *trial) replace(ctx context.Context, pods []kubectl.Pod, beat int) error {
	for _, cluster := range t.Inventory.Clusters() {
		var names []string
		for i := range pods {
			if n, ok := t.Inventory.Node(pods[i].Node); ok && t.Inventory.ClusterOf(n).Member == cluster.Member {
				names = append(names, pods[i].Name)
			}
		}
		if len(names) == 0 {
			continue
		}
		k := kubectl.Client{Shell: t.Nodes, Node: cluster.ControlPlane().Name}
		before := time.Now()
		if _, err := k.Run(ctx, append([]string{"delete", "pods", "-n", "bench", "--wait=false"}, names...)...); err != nil {
			return fmt.Errorf("churn: deleting %d pods: %w", len(names), err)
		}
		for i := range pods {
			if slices.Contains(names, pods[i].Name) {
				t.event(results.Event{
					UnixNs: before.UnixNano(), Kind: results.EventChurn, Name: "deleted", Node: pods[i].Node, Target: pods[i].FullName(),
					Detail: map[string]string{"address": pods[i].Address, "beat": fmt.Sprint(beat + 1)},
				})
				t.churned = append(t.churned, gone{pods[i].Name, pods[i].Address, before.UnixNano()})
			}
		}
	}
	return nil
}

// gone is a pod that was deleted.
type gone struct {
	name, address string
	atNs          int64
}
