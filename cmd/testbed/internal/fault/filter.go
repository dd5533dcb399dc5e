// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// rest is the side of a partition with all nodes that are not on the other.
const rest = "rest"

// sides returns the nodes on both sides of a partition: half of the workers and all others, unless it is said.
func sides(p params, inv *inventory.Inventory) (left, right []inventory.Node) {
	if p.sides[0] == nil {
		workers := inv.Group(inventory.Worker)
		left = workers[:len(workers)/2]
		return left, without(inv, left)
	}
	both := [2][]inventory.Node{}
	for i, side := range p.sides {
		for _, name := range side {
			for _, n := range named(inv, name) {
				if !slices.ContainsFunc(both[i], func(m inventory.Node) bool { return m.Name == n.Name }) {
					both[i] = append(both[i], n)
				}
			}
		}
	}
	for i, side := range p.sides {
		if side[0] == rest {
			both[i] = without(inv, both[1-i])
		}
	}
	return both[0], both[1]
}

func without(inv *inventory.Inventory, nodes []inventory.Node) []inventory.Node {
	return slices.DeleteFunc(slices.Clone(inv.Nodes), func(n inventory.Node) bool {
		return slices.ContainsFunc(nodes, func(m inventory.Node) bool { return m.Name == n.Name })
	})
}

// table is the nftables table of a fault.
const table = "testbed-fault"

// rulesOf makes a strike that has a table on a node.
func rulesOf(n inventory.Node, family, name, rules string) strike {
	return strike{
		node: n.Name, what: n.Name, script: script("rules"),
		vars: map[string]string{"family": family, "table": name, "rules": rules},
	}
}

// newGroupPartition parts two groups of nodes as a dead link between two racks does. Each node drops what comes from the other
// side, and what its pods send there: neither direction is left, and nobody is told that a packet was dropped, which an error of
// one's own firewall would be. Neighbour discovery goes on: when it is over, nobody has to find anybody first.
func newGroupPartition(e *Env, p params) Fault {
	f := &held{env: e, kind: GroupPartition}
	left, right := sides(p, e.Inventory)
	f.aim = func(context.Context, *rand.Rand) (Target, []strike, error) {
		var strikes []strike
		for _, n := range left {
			strikes = append(strikes, rulesOf(n, "ip6", table, apart(right)))
		}
		for _, n := range right {
			strikes = append(strikes, rulesOf(n, "ip6", table, apart(left)))
		}
		t := targetOfNodes(left)
		t.Nodes = nil
		for _, n := range left {
			t.Nodes = append(t.Nodes, n.Name)
		}
		t.Name = list(t.Nodes) + " | " + list(names(right))
		return t, strikes, nil
	}
	f.seen = func(ctx context.Context) error {
		return cmp.Or(e.silent(ctx, left[0], right[0]), e.silent(ctx, right[0], left[0]))
	}
	f.recovered = func(ctx context.Context) error { return e.ready(ctx, append(slices.Clone(left), right...)) }
	return f
}

func names(nodes []inventory.Node) []string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.Name)
	}
	return list
}

// own lists the addresses of nodes and of their pods.
func own(nodes []inventory.Node) []string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.Address.String())
		if n.Pods.IsValid() {
			list = append(list, n.Pods.String())
		}
	}
	return list
}

// discovery accepts what finds neighbours: nobody has to find anybody first when a partition is over.
const discovery = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert } accept"

// apart is the table of a node that hears nothing from others. Prerouting sees what comes in, and what its pods send.
func apart(others []inventory.Node) string {
	return fmt.Sprintf(`table ip6 %s {
	set others { type ipv6_addr; flags interval; elements = { %s } }
	chain prerouting {
		type filter hook prerouting priority raw;
		`+discovery+`
		ip6 saddr @others drop
		ip6 daddr @others drop
	}
}`, table, strings.Join(own(others), ", "))
}

// newPodPartition cuts pods off from everybody, as a dead link of a pod's or a rule that forgot it does: what is sent there is lost, of
// which nobody is told, and so are the kubelet's probes. The pod's node, and a proxy on it, go on as before.
func newPodPartition(e *Env, p params) Fault {
	return onPods(e, PodPartition, p, []string{"rules"}, func(pod kubectl.Pod) (map[string]string, error) {
		address, err := netip.ParseAddr(pod.Address)
		if err != nil {
			return nil, fmt.Errorf("%s has no address: %w", pod.FullName(), err)
		}
		name := table + "-" + pod.UID // several may be on one node
		return map[string]string{"family": "ip6", "table": name, "rules": alone(name, address)}, nil
	})
}

// alone is the table of a node whose pod is heard by nobody, and hears its node alone: prerouting sees what comes from
// other nodes and pods, and what the pod sends.
func alone(name string, pod netip.Addr) string {
	return fmt.Sprintf(`table ip6 %s {
	chain prerouting {
		type filter hook prerouting priority raw;
		`+discovery+`
		ip6 saddr %[2]s drop
		ip6 daddr %[2]s drop
	}
}`, name, pod)
}

const defaultLoss = 0.05

// newPacketLoss loses packets of nodes at random, in both directions: netem is not needed for it.
func newPacketLoss(e *Env, p params) Fault {
	share := cmp.Or(p.loss, defaultLoss)
	f, _ := onNodes(e, PacketLoss, p, []string{"rules", "packet-loss"}, func(n inventory.Node) map[string]string {
		perMyriad := int(share*10000 + 0.5)
		return map[string]string{
			"family": "netdev", "table": table, "towards": e.Inventory.Orchestrator().String(),
			"per_myriad": fmt.Sprint(perMyriad), "rules": lossRules(table, device, perMyriad),
		}
	})
	return f
}

// device stands for the link that leads to the others, in rules that a node is given.
const device = "@device@"

// lossRules is a table that drops some of all packets that enter and leave by a device.
func lossRules(table, device string, perMyriad int) string {
	chain := func(hook string) string {
		return fmt.Sprintf("	chain %s { type filter hook %[1]s device \"%s\" priority 0; counter name seen; numgen random mod 10000 < %d counter name lost drop; }\n", hook, device, perMyriad)
	}
	return fmt.Sprintf("table netdev %s {\n	counter seen { }\n	counter lost { }\n%s%s}", table, chain("ingress"), chain("egress"))
}

// newClusterPartition cuts a cluster off from everybody, but not from itself.
func newClusterPartition(e *Env, _ params) Fault {
	f := &held{env: e, kind: ClusterPartition}
	var (
		cluster *inventory.Inventory
		nodes   []inventory.Node
	)
	f.aim = func(ctx context.Context, rng *rand.Rand) (Target, []strike, error) {
		var (
			t   Target
			err error
		)
		if cluster, nodes, t, err = e.chooseCluster(ctx, rng); err != nil {
			return Target{}, nil, err
		}
		var strikes []strike
		for _, n := range nodes {
			strikes = append(strikes, rulesOf(n, "ip6", table, island(cluster)))
		}
		return t, strikes, nil
	}
	f.seen = func(ctx context.Context) error {
		for _, c := range e.Inventory.Group(inventory.Client) {
			if c.Cluster != cluster.Member {
				return e.silent(ctx, c, nodes...)
			}
		}
		return nil
	}
	return f
}

// inside lists the addresses that the cluster's nodes go on talking to: its own, neighbour discovery, and the orchestrator,
// which is no part of any cluster.
func inside(cluster *inventory.Inventory) []string {
	list := []string{"::1", "::", "fe80::/10", "ff00::/8", cluster.Orchestrator().String(), cluster.Network.Services.String()}
	return append(list, own(belonging(cluster))...)
}

// belonging are a cluster's own nodes: clients of everybody are not among them.
func belonging(cluster *inventory.Inventory) []inventory.Node {
	return slices.DeleteFunc(slices.Clone(cluster.Nodes), func(n inventory.Node) bool { return n.Cluster != cluster.Member })
}

// island is the table that cuts a node of the cluster off. Those outside know nothing of it, so that both directions are
// dropped here: prerouting sees what comes in and what pods send, output what the node itself sends.
func island(cluster *inventory.Inventory) string {
	const chain = "	chain %[1]s { type filter hook %[1]s priority raw; ip6 saddr != @inside drop; ip6 daddr != @inside drop; }\n"
	return fmt.Sprintf("table ip6 %s {\n	set inside { type ipv6_addr; flags interval; elements = { %s } }\n"+
		fmt.Sprintf(chain, "prerouting")+fmt.Sprintf(chain, "output")+"}", table, strings.Join(inside(cluster), ", "))
}

// members are the addresses that names can have in a cluster: of its pods, and of workers that carry proxies.
func members(c *inventory.Inventory) []netip.Prefix {
	var list []netip.Prefix
	for _, n := range c.Group(inventory.Worker) {
		list = append(list, n.Pods, netip.PrefixFrom(n.Address, n.Address.BitLen()))
	}
	return list
}
