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
)

// replacedAfter is when a backend pod is replaced after what writes records was killed: that is dead by then.
const replacedAfter = 500 * time.Millisecond

// roleKiller kills the processes of the pods that have a role in one cluster, all of them unless a count is given. When
// provisioning is dead, a backend pod of the cluster is replaced: without a change, nobody would miss who writes changes.
func roleKiller(kind, role string) func(e *Env, p params) Fault {
	return func(e *Env, p params) Fault {
		f := &held{env: e, kind: kind}
		var killed []kubectl.Pod
		f.aim = func(ctx context.Context, rng *rand.Rand) (Target, []strike, error) {
			cluster, err := e.choose(ctx, rng)
			if err != nil {
				return Target{}, nil, err
			}
			t := Target{Node: cluster.ControlPlane().Name, Name: nameOf(cluster), Members: members(cluster)}
			if killed, err = e.roleOf(ctx, rng, cluster.ControlPlane().Name, role, p); err != nil {
				return Target{}, nil, err
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
			victim, address, err := e.replaceable(ctx, rng, cluster.ControlPlane().Name)
			if err != nil {
				return Target{}, nil, err
			}
			s := e.deletion(victim, false)
			s.after = replacedAfter
			t.Members = []netip.Prefix{netip.PrefixFrom(address, address.BitLen())}
			return t, append(strikes, s), nil
		}
		// The pods are replaced at once: their kubelet, which has tried to restart them, would wait for up to minutes.
		f.released = func(ctx context.Context) error {
			var errs []error
			for _, pod := range killed {
				errs = append(errs, e.replace(ctx, pod.Node, pod.FullName()))
			}
			return errors.Join(errs...)
		}
		return f
	}
}

// roleOf picks the running pods of a cluster with a role that are to be killed.
func (e *Env) roleOf(ctx context.Context, rng *rand.Rand, control, role string, p params) ([]kubectl.Pod, error) {
	if e.System == "" {
		return nil, errors.New("the system has no pods")
	}
	pods, err := (&kubectl.Client{Shell: e.Shell, Node: control}).Pods(ctx, e.System)
	if err != nil {
		return nil, err
	}
	found := withRole(pods, role)
	number := p.number(len(found), len(found))
	if len(found) == 0 {
		return nil, fmt.Errorf("none of %d pods of %s is a running %s (hint: label %s)", len(pods), e.System, role, RoleLabel)
	}
	if number > len(found) {
		return nil, fmt.Errorf("%d pods of %s are running, and %d are to be struck", len(found), e.System, number)
	}
	if number < len(found) {
		rng.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	}
	return found[:number], nil
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
