// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
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

// roleKill kills the processes of all pods that have a role in one cluster, as podKill does for one. When provisioning is
// dead, a backend pod of the cluster is replaced: without a change, nobody would miss who writes changes.
type roleKill struct {
	env        Env
	kind, role string

	cluster      *inventory.Inventory
	kills        []*podKill
	victim       kubectl.Pod // the backend pod that is replaced
	begun, ended bool
}

func (f *roleKill) Aim(ctx context.Context, rng *rand.Rand) (Target, error) {
	if f.env.System == "" {
		return Target{}, fmt.Errorf("aiming %s: the system has no pods", f.kind)
	}
	var err error
	if f.cluster, err = f.env.choose(ctx, rng); err != nil {
		return Target{}, fmt.Errorf("aiming %s: %w", f.kind, err)
	}
	k := f.env.client(f.cluster)
	pods, err := k.Pods(ctx, f.env.System)
	if err != nil {
		return Target{}, err
	}
	t := Target{Node: k.Node, Name: f.cluster.Member, Members: members(f.cluster)}
	for _, p := range withRole(pods, f.role) {
		kill := &podKill{env: f.env, pod: p}
		if err := kill.find(ctx); err != nil {
			return Target{}, err
		}
		f.kills = append(f.kills, kill)
		t.Nodes = append(t.Nodes, p.Node)
	}
	if len(f.kills) == 0 {
		return Target{}, fmt.Errorf("aiming %s: none of %d pods of %s is a running %s (hint: label %s)", f.kind, len(pods), f.env.System, f.role, RoleLabel)
	}
	if f.role != RoleProvisioning {
		return t, nil
	}
	backends, err := k.Pods(ctx, f.env.Backend)
	if err != nil {
		return Target{}, err
	}
	backends = running(backends)
	if len(backends) == 0 {
		return Target{}, fmt.Errorf("aiming %s: no backend pod of the cluster is ready", f.kind)
	}
	f.victim = backends[rng.IntN(len(backends))]
	address, err := netip.ParseAddr(f.victim.Address)
	if err != nil {
		return Target{}, fmt.Errorf("aiming %s: reading the address of %s: %w", f.kind, f.victim.FullName(), err)
	}
	t.Members = []netip.Prefix{netip.PrefixFrom(address, address.BitLen())}
	return t, nil
}

// withRole picks the running pods with the role.
func withRole(pods []kubectl.Pod, role string) []kubectl.Pod {
	labelled := false
	for _, p := range pods {
		labelled = labelled || p.Labels[RoleLabel] != ""
	}
	var list []kubectl.Pod
	for _, p := range running(pods) {
		if !labelled || p.Labels[RoleLabel] == role {
			list = append(list, p)
		}
	}
	return list
}

func (f *roleKill) Begin(ctx context.Context, at time.Time) (Instant, error) {
	f.begun = true
	i, err := together(f.kills, func(k *podKill) (Instant, error) { return k.Begin(ctx, at) })
	if err != nil || f.victim.Name == "" {
		return i, err
	}
	if _, err := f.env.client(f.cluster).Run(ctx, "delete", "pod", "-n", f.victim.Namespace, f.victim.Name, "--grace-period=1", "--wait=false"); err != nil {
		return i, fmt.Errorf("replacing %s: %w", f.victim.FullName(), err)
	}
	return i, nil
}

// End replaces the pods at once: their kubelet, which has tried to restart them, would wait for up to minutes.
func (f *roleKill) End(ctx context.Context, at time.Time) (Instant, error) {
	if !f.begun || f.ended {
		return Instant{}, nil
	}
	i, err := together(f.kills, func(k *podKill) (Instant, error) {
		i, err := k.End(ctx, at)
		if err == nil {
			err = k.replace(ctx)
		}
		return i, err
	})
	f.ended = err == nil
	return i, err
}

func (f *roleKill) Recover(ctx context.Context) error {
	if !f.begun {
		return nil
	}
	if !f.ended {
		if _, err := together(f.kills, func(k *podKill) (Instant, error) { return Instant{}, k.replace(ctx) }); err != nil {
			return err
		}
	}
	return f.env.Healthy(ctx)
}
