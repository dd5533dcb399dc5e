// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// pick chooses the nodes that a fault strikes.
func (p params) pick(e *Env, rng *rand.Rand) []inventory.Node {
	nodes := slices.Clone(p.candidates(e.Inventory))
	number := p.number(1, len(nodes))
	if number == 1 {
		return []inventory.Node{nodes[rng.IntN(len(nodes))]}
	}
	rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return nodes[:number]
}

// targetOfNodes is a fault of nodes.
func targetOfNodes(nodes []inventory.Node) Target {
	var t Target
	for _, n := range nodes {
		t.Nodes = append(t.Nodes, n.Name)
		if n.In(inventory.Worker) {
			t.Members = append(t.Members, n.Pods, netip.PrefixFrom(n.Address, n.Address.BitLen()))
		}
	}
	t.Name, t.Node = list(t.Nodes), t.Nodes[0]
	if len(nodes) == 1 {
		t.Nodes = nil
	}
	return t
}

// onNodes makes a fault that each struck node does to itself.
func onNodes(e *Env, kind string, p params, parts []string, vars func(n inventory.Node) map[string]string) (*held, *[]inventory.Node) {
	var struck []inventory.Node
	f := &held{env: e, kind: kind}
	f.aim = func(_ context.Context, rng *rand.Rand) (Target, []strike, error) {
		struck = p.pick(e, rng)
		var strikes []strike
		for _, n := range struck {
			strikes = append(strikes, strike{node: n.Name, what: n.Name, vars: vars(n), script: script(parts...)})
		}
		return targetOfNodes(struck), strikes, nil
	}
	// A worker that nobody heard of for a while is not ready, and what it told of its pods is old.
	f.recovered = func(ctx context.Context) error { return e.ready(ctx, struck) }
	return f, &struck
}

// ready waits until Kubernetes says that the workers among nodes are ready.
func (e *Env) ready(ctx context.Context, nodes []inventory.Node) error {
	for _, n := range nodes {
		if !n.In(inventory.Worker) {
			continue
		}
		if _, err := e.kubectl(n.Name).Run(ctx, "wait", "node/"+n.Name, "--for=condition=Ready", "--timeout=120s"); err != nil {
			return fmt.Errorf("waiting for %s: %w", n.Name, err)
		}
	}
	return nil
}

// silent checks from a node that others do not answer it.
func (e *Env) silent(ctx context.Context, from inventory.Node, others ...inventory.Node) error {
	for _, n := range others {
		out, err := e.Shell.Shell(ctx, from.Name, fmt.Sprintf("! ping -6 -q -c 1 -W 1 %s", kubectl.Quote(n.Address.String())), nil)
		if err != nil {
			return fmt.Errorf("%s still reaches %s: %w: %s", from.Name, n.Name, err, out)
		}
	}
	return nil
}

// newLinkDown takes nodes' links down. They cannot be asked meanwhile: they know beforehand when it ends.
func newLinkDown(e *Env, p params) Fault {
	f, struck := onNodes(e, LinkDown, p, []string{"link-down"}, func(inventory.Node) map[string]string {
		return map[string]string{"towards": e.Inventory.Orchestrator().String()}
	})
	f.blind = true
	f.seen = func(ctx context.Context) error {
		i := slices.IndexFunc(e.Inventory.Nodes, func(n inventory.Node) bool {
			return !slices.ContainsFunc(*struck, func(s inventory.Node) bool { return s.Name == n.Name })
		})
		if i < 0 {
			return nil // nobody is left to look
		}
		return e.silent(ctx, e.Inventory.Nodes[i], *struck...)
	}
	return f
}

const defaultDelay = 50 * time.Millisecond

func newPacketDelay(e *Env, p params) Fault {
	f, _ := onNodes(e, PacketDelay, p, []string{"packet-delay"}, func(inventory.Node) map[string]string {
		us := func(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) + "us" }
		vars := map[string]string{"towards": e.Inventory.Orchestrator().String(), "delay": us(cmp.Or(p.delay, defaultDelay)), "jitter": ""}
		if p.jitter > 0 {
			vars["jitter"] = us(p.jitter)
		}
		return vars
	})
	return f
}

// diskPath is where the file system is that is filled. Of virtual nodes, /run alone is their own: it is in memory, and
// containerd and Prometheus have their state there.
func diskPath(p params, inv *inventory.Inventory) string {
	if p.path == "" && inv.Substrate == "twin" {
		return "/run"
	}
	return cmp.Or(p.path, "/var/lib")
}

func newDiskFull(e *Env, p params) Fault {
	f, _ := onNodes(e, DiskFull, p, []string{"disk-full"}, func(inventory.Node) map[string]string {
		shared := ""
		if e.Inventory.Substrate == "twin" {
			shared = "yes"
		}
		return map[string]string{"dir": diskPath(p, e.Inventory), "shared": shared}
	})
	return f
}

const defaultSkew = 2 * time.Second

func newClockSkew(e *Env, p params) Fault {
	f, _ := onNodes(e, ClockSkew, p, []string{"clock-skew"}, func(inventory.Node) map[string]string {
		return map[string]string{"by": strconv.FormatInt(int64(cmp.Or(p.by, defaultSkew)), 10)}
	})
	return f
}
