// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// victims picks the backend pods that a fault strikes, among those that are ready.
func (e *Env) victims(ctx context.Context, rng *rand.Rand, p params) ([]kubectl.Pod, error) {
	pods, err := e.pods(ctx, e.Backend)
	if err != nil {
		return nil, err
	}
	ready := readyOf(pods)
	where := ""
	if p.pod != "" {
		where = " named " + p.pod
		ready = slices.DeleteFunc(ready, func(pod kubectl.Pod) bool { return pod.FullName() != p.pod })
	}
	if p.node != "" {
		where = " on " + p.node
		nodes := named(e.Inventory, p.node)
		ready = slices.DeleteFunc(ready, func(pod kubectl.Pod) bool {
			return !slices.ContainsFunc(nodes, func(n inventory.Node) bool { return n.Name == pod.Node })
		})
	}
	number := p.number(1, len(ready))
	switch {
	case len(ready) == 0:
		return nil, fmt.Errorf("none of %d backend pods%s is ready", len(pods), where)
	case number > len(ready):
		return nil, fmt.Errorf("%d of %d backend pods%s are ready, and %d are to be struck", len(ready), len(pods), where, number)
	}
	if number == 1 {
		return []kubectl.Pod{ready[rng.IntN(len(ready))]}, nil
	}
	rng.Shuffle(len(ready), func(i, j int) { ready[i], ready[j] = ready[j], ready[i] })
	return ready[:number], nil
}

// readyOf picks the pods that are ready and not about to end.
func readyOf(pods []kubectl.Pod) []kubectl.Pod {
	var ready []kubectl.Pod
	for _, p := range pods {
		if p.Ready && !p.Terminating && len(p.Containers) > 0 {
			ready = append(ready, p)
		}
	}
	return ready
}

// targetOf is a fault of pods.
func targetOf(pods []kubectl.Pod) Target {
	var (
		t     Target
		names []string
	)
	for _, p := range pods {
		names = append(names, p.FullName())
		t.Nodes = append(t.Nodes, p.Node)
		if a, err := netip.ParseAddr(p.Address); err == nil {
			t.Members = append(t.Members, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	t.Name, t.Node = list(names), t.Nodes[0]
	if len(pods) == 1 {
		t.Nodes = nil
	}
	return t
}

// onPods makes a fault that each struck pod's node does, with variables of the pod's.
func onPods(e *Env, kind string, p params, parts []string, vars func(pod kubectl.Pod) (map[string]string, error)) *held {
	f := &held{env: e, kind: kind}
	f.aim = func(ctx context.Context, rng *rand.Rand) (Target, []strike, error) {
		pods, err := e.victims(ctx, rng, p)
		if err != nil {
			return Target{}, nil, err
		}
		var strikes []strike
		for _, pod := range pods {
			v, err := vars(pod)
			if err != nil {
				return Target{}, nil, err
			}
			strikes = append(strikes, strike{node: pod.Node, what: pod.FullName(), vars: v, script: script(parts...)})
		}
		return targetOf(pods), strikes, nil
	}
	return f
}

// containers are the variables of faults that strike processes.
func containers(pod kubectl.Pod) (map[string]string, error) {
	var ids []string
	for _, c := range pod.Containers {
		if c.ID == "" {
			return nil, fmt.Errorf("container %s of %s was not started yet", c.Name, pod.FullName())
		}
		ids = append(ids, c.ID)
	}
	return map[string]string{"uid": pod.UID, "containers": strings.Join(ids, " ")}, nil
}

// replacing has the struck pods' owners make others when the fault is over: a kubelet that has tried to restart containers
// waits for up to minutes, and what is known of a pod from this trial would be held against it in the next.
func (f *held) replacing(e *Env) *held {
	aim, struck := f.aim, map[string]string{} // node by pod
	f.aim = func(ctx context.Context, rng *rand.Rand) (Target, []strike, error) {
		t, strikes, err := aim(ctx, rng)
		for _, s := range strikes {
			struck[s.what] = s.node
		}
		return t, strikes, err
	}
	f.recovered = func(ctx context.Context) error { return e.replace(ctx, struck) }
	return f
}

// replace has the owners of pods make others, of all at once: one after the other, each would be missed for itself. The map has their nodes.
func (e *Env) replace(ctx context.Context, pods map[string]string) error {
	_, err := together(sorted(pods), func(pod string) (Instant, error) {
		namespace, name, _ := strings.Cut(pod, "/")
		if _, err := e.kubectl(pods[pod]).Run(ctx, "delete", "pod", "-n", namespace, name, "--grace-period=1", "--ignore-not-found", "--timeout=60s"); err != nil {
			return Instant{}, fmt.Errorf("replacing %s: %w", pod, err)
		}
		return Instant{}, nil
	})
	return err
}

func newPodSIGKILL(e *Env, p params) Fault {
	return onPods(e, PodSIGKILL, p, []string{"pod", "pod-sigkill"}, containers).replacing(e)
}

func newPodFreeze(e *Env, p params) Fault {
	return onPods(e, PodFreeze, p, []string{"pod", "pod-freeze"}, containers)
}

func newContainerKill(e *Env, p params) Fault {
	f := onPods(e, ContainerKill, p, []string{"pod", "container-kill"}, func(pod kubectl.Pod) (map[string]string, error) {
		vars, err := containers(pod)
		if err != nil {
			return nil, err
		}
		for _, c := range pod.Containers {
			if c.Name == p.container || p.container == "" {
				vars["containers"] = c.ID
				return vars, nil
			}
		}
		return nil, fmt.Errorf("%s has no container %q", pod.FullName(), p.container)
	})
	return f.momentary().replacing(e)
}

// momentary says of all strikes that nothing is held.
func (f *held) momentary() *held {
	aim := f.aim
	f.aim = func(ctx context.Context, rng *rand.Rand) (Target, []strike, error) {
		t, strikes, err := aim(ctx, rng)
		for i := range strikes {
			strikes[i].momentary = true
		}
		return t, strikes, err
	}
	return f
}
