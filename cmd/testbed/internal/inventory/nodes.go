// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"
)

// nodes reads the list of nodes and checks what holds between them.
func (p *parser) nodes(at *yaml.Node, inv *Inventory) []Node {
	if at.Kind != yaml.SequenceNode {
		p.fail(at, `- {name: worker-1, groups: [worker], address: "…", pods: "…/64"}`, "nodes is a list, not %s", kind(at))
		return nil
	}
	var nodes []Node
	names := make(map[string]*yaml.Node)
	addresses := make(map[netip.Addr]string)
	for _, c := range at.Content {
		v := p.mapping(c, "a node", "name", "groups", "address", "pods")
		if v == nil {
			continue
		}
		var n Node
		if at := p.need(c, v, "name"); at != nil {
			n.Name = p.name(at, "node")
			if first := names[n.Name]; first != nil {
				p.fail(at, "", "node %q is there twice, first in line %d", n.Name, first.Line)
			}
			if n.Name == "lo" || n.Name == "br0" || n.Name == "sw" || n.Name == "localhost" {
				p.fail(at, "as worker-1", "node name %q is taken", n.Name)
			}
			names[n.Name] = at
		}
		if at := p.need(c, v, "groups"); at != nil {
			n.Groups = p.groups(at)
		}
		if at := p.need(c, v, "address"); at != nil {
			n.Address = p.address(at)
			p.checkAddress(at, n, inv, addresses)
		}
		n.Pods = p.pods(c, v["pods"], n, inv, nodes)
		nodes = append(nodes, n)
	}
	p.checkGroups(at, nodes)
	return nodes
}

func (p *parser) groups(at *yaml.Node) []string {
	if at.Kind != yaml.SequenceNode || len(at.Content) == 0 {
		p.fail(at, "[control], [worker] or [client]", "groups is a list of at least one group, not %s", kind(at))
		return nil
	}
	var groups []string
	for _, c := range at.Content {
		g := p.oneOf(resolve(c), "group", Control, Worker, Client)
		if slices.Contains(groups, g) {
			p.fail(c, "", "group %q is there twice", g)
			continue
		}
		groups = append(groups, g)
	}
	return groups
}

func (p *parser) checkAddress(at *yaml.Node, n Node, inv *Inventory, seen map[netip.Addr]string) {
	if !n.Address.IsValid() {
		return
	}
	if other, ok := seen[n.Address]; ok {
		p.fail(at, "", "%s has the address of %s", n.Name, other)
	}
	seen[n.Address] = n.Name
	network := inv.Network.Nodes
	switch {
	case !network.IsValid(): // said already
	case !network.Contains(n.Address):
		p.fail(at, "an address of "+network.String(), "address %s of %s is outside of the nodes' network", n.Address, n.Name)
	case n.Address == network.Addr():
		p.fail(at, "", "address %s is the subnet-router anycast address (RFC 4291 §2.6.1)", n.Address)
	case n.Address == inv.Orchestrator():
		p.fail(at, "", "address %s is the orchestrator's own", n.Address)
	}
}

// pods reads a node's pod prefix: workers have one, others none.
func (p *parser) pods(node, at *yaml.Node, n Node, inv *Inventory, before []Node) netip.Prefix {
	if at == nil {
		if n.In(Worker) {
			p.fail(node, `pods: "fd6e:7369:0:11::/64"`, "worker %q has no prefix for its pods", n.Name)
		}
		return netip.Prefix{}
	}
	if !n.In(Worker) {
		p.fail(at, "", "%s is no worker: it has no pods", n.Name)
		return netip.Prefix{}
	}
	pre := p.prefix(at, "pods of "+n.Name, 64, 64)
	if !pre.IsValid() {
		return pre
	}
	for _, other := range []struct {
		what string
		netip.Prefix
	}{{"the nodes' network", inv.Network.Nodes}, {"the service range", inv.Network.Services}} {
		if other.IsValid() && pre.Overlaps(other.Prefix) {
			p.fail(at, "a /64 of its own", "pods %s of %s overlap %s %s", pre, n.Name, other.what, other.Prefix)
		}
	}
	for _, b := range before {
		if b.Pods.IsValid() && pre.Overlaps(b.Pods) {
			p.fail(at, "a /64 of its own", "pods %s of %s overlap those of %s", pre, n.Name, b.Name)
		}
	}
	return pre
}

// checkGroups checks that the cluster has all that an experiment needs.
func (p *parser) checkGroups(at *yaml.Node, nodes []Node) {
	count := make(map[string]int)
	for _, n := range nodes {
		for _, g := range n.Groups {
			count[g]++
		}
	}
	for _, g := range []string{Control, Worker, Client} {
		if count[g] == 0 {
			p.fail(at, "groups: ["+g+"]", "no node is in group %q", g)
		}
	}
	if count[Control] > 1 {
		p.fail(at, "one control node", "%d nodes are in group %q", count[Control], Control)
	}
}
