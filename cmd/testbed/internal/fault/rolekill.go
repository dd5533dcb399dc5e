// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// RoleLabel says of a pod template in deploy/ what its pods are to a name service. Where no pod of a system has it, each is
// everything: it reads what is to be published, answers with it, and is asked by resolvers.
const RoleLabel = "testbed.dnsingress.dev/role"

// Roles of pods.
const (
	RoleAuthoritative = "authoritative"
	RoleForwarder     = "forwarder"
	RoleProvisioning  = "provisioning"
	RoleClusterDNS    = "cluster-dns" // of no system: it stands beside one
)

// replacedAfter is when a backend pod is replaced after what writes records was killed: that is dead by then.
const replacedAfter = 500 * time.Millisecond

// roleKiller kills the processes of the pods that have a role in one cluster, all of them unless a count is given. When
// provisioning is dead, a backend pod of the cluster is replaced: without a change, nobody would miss who writes changes.
func roleKiller(kind, role string) func(e *Env, p params) Fault {
	return func(e *Env, p params) Fault {
		f := &held{env: e, kind: kind}
		var killed []kubectl.Pod
		var control string
		ready := 0 // of all that have the role
		f.aim = func(ctx context.Context, rng *rand.Rand) (Target, []strike, error) {
			cluster, err := e.choose(ctx, rng)
			if err != nil {
				return Target{}, nil, err
			}
			control = cluster.ControlPlane().Name
			t := Target{Node: control, Name: nameOf(cluster), Members: members(cluster)}
			all, err := e.roleOf(ctx, control, role)
			if err != nil {
				return Target{}, nil, err
			}
			if ready = len(all); ready == 0 {
				return Target{}, nil, fmt.Errorf("none of the pods of %s is a running %s (hint: label %s)", e.has(role), role, RoleLabel)
			}
			if killed, err = some(rng, all, p); err != nil {
				return Target{}, nil, fmt.Errorf("of %s: %w", e.has(role), err)
			}
			var strikes []strike
			for _, pod := range killed {
				vars, err := containers(pod)
				if err != nil {
					return Target{}, nil, err
				}
				strikes = append(strikes, strike{node: pod.Node, what: pod.FullName(), vars: vars, script: script("pod", "pod-sigkill")})
				t.Nodes = append(t.Nodes, pod.Node)
			}
			if role != RoleProvisioning {
				return t, strikes, nil
			}
			victim, address, err := e.replaceable(ctx, rng, control)
			if err != nil {
				return Target{}, nil, err
			}
			s := e.deletion(victim, false)
			s.after = replacedAfter
			t.Nodes = append(t.Nodes, victim.Node) // its pod goes too
			t.Members = []netip.Prefix{netip.PrefixFrom(address, address.BitLen())}
			return t, append(strikes, s), nil
		}
		// The pods are replaced at once: their kubelet, which has tried to restart them, would wait for up to minutes.
		f.released = func(ctx context.Context) error {
			nodes := map[string]string{}
			for _, pod := range killed {
				nodes[pod.FullName()] = pod.Node
			}
			return e.replace(ctx, nodes)
		}
		f.recovered = func(ctx context.Context) error {
			return again(ctx, func(ctx context.Context) (string, error) {
				pods, err := e.roleOf(ctx, control, role)
				if err != nil || len(pods) >= ready {
					return "", err
				}
				return fmt.Sprintf("%d of %d pods that are %s are ready", len(pods), ready, role), nil
			})
		}
		return f
	}
}

// has is the selector of the pods among which are those with a role; empty where the system has no pods.
func (e *Env) has(role string) string {
	if role == RoleClusterDNS {
		return RoleLabel + "=" + role
	}
	return e.System
}

// roleOf lists the ready pods of a cluster with a role.
func (e *Env) roleOf(ctx context.Context, control, role string) ([]kubectl.Pod, error) {
	of := e.has(role)
	if of == "" {
		return nil, errors.New("the system has no pods")
	}
	pods, err := (&kubectl.Client{Shell: e.Shell, Node: control}).Pods(ctx, of)
	if err != nil {
		return nil, err
	}
	return withRole(pods, role), nil
}

// some picks those pods that are to be struck: all unless a count is given.
func some(rng *rand.Rand, pods []kubectl.Pod, p params) ([]kubectl.Pod, error) {
	number := p.number(len(pods), len(pods))
	if number > len(pods) {
		return nil, fmt.Errorf("%d pods are running, and %d are to be struck", len(pods), number)
	}
	if number < len(pods) {
		rng.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
	}
	return pods[:number], nil
}

// replaceable picks a backend pod of a cluster.
func (e *Env) replaceable(ctx context.Context, rng *rand.Rand, control string) (kubectl.Pod, netip.Addr, error) {
	backends, err := (&kubectl.Client{Shell: e.Shell, Node: control}).Pods(ctx, e.Backend)
	if err != nil {
		return kubectl.Pod{}, netip.Addr{}, err
	}
	if backends = readyOf(backends); len(backends) == 0 {
		return kubectl.Pod{}, netip.Addr{}, errors.New("no backend pod of the cluster is ready")
	}
	victim := backends[rng.IntN(len(backends))]
	address, err := netip.ParseAddr(victim.Address)
	if err != nil {
		return kubectl.Pod{}, netip.Addr{}, fmt.Errorf("reading the address of %s: %w", victim.FullName(), err)
	}
	return victim, address, nil
}

// withRole picks the running pods with the role.
func withRole(pods []kubectl.Pod, role string) []kubectl.Pod {
	labelled := false
	for _, p := range pods {
		labelled = labelled || p.Labels[RoleLabel] != ""
	}
	var list []kubectl.Pod
	for _, p := range readyOf(pods) {
		if !labelled || p.Labels[RoleLabel] == role {
			list = append(list, p)
		}
	}
	return list
}
