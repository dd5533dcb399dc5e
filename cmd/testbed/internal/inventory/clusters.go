// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"fmt"
	"net/netip"
	"slices"
)

// memberBits is how many bits longer than network.services the part of one cluster is: a cluster
// that joins moves no other's API server.
const memberBits = 4

// maxMembers is how many clusters one inventory can hold.
const maxMembers = 1 << memberBits

// Clusters returns one inventory for each Kubernetes cluster, in the order of the file, as if each
// stood alone: with its nodes, the clients that belong to no cluster, and a service range that is its
// own part of network.services. An inventory whose nodes name no cluster holds one: itself.
func (inv *Inventory) Clusters() []*Inventory {
	names := inv.memberNames()
	if len(names) == 0 {
		return []*Inventory{inv}
	}
	members := make([]*Inventory, len(names))
	for i, name := range names {
		m := *inv
		m.Member = name
		m.Network.Services = part(inv.Network.Services, i)
		m.Nodes = slices.DeleteFunc(slices.Clone(inv.Nodes), func(n Node) bool { return n.Cluster != name && n.Cluster != "" })
		members[i] = &m
	}
	return members
}

// ClusterOf returns the cluster that a node belongs to; for a client of none it is the first.
func (inv *Inventory) ClusterOf(n Node) *Inventory {
	members := inv.Clusters()
	i := slices.IndexFunc(members, func(m *Inventory) bool { return m.Member == n.Cluster })
	return members[max(i, 0)]
}

// memberNames lists the clusters that nodes name. A view has no further ones.
func (inv *Inventory) memberNames() []string {
	if inv.Member != "" {
		return nil
	}
	var names []string
	for _, n := range inv.Nodes {
		if n.Cluster != "" && !slices.Contains(names, n.Cluster) {
			names = append(names, n.Cluster)
		}
	}
	return names
}

// part returns the i-th of the maxMembers parts of a service range.
func part(services netip.Prefix, i int) netip.Prefix {
	bits := services.Bits() + memberBits
	b := services.Masked().Addr().As16()
	// The part's number ends at bit "bits" of the address, which is in its last three bytes.
	shifted := uint32(i) << (128 - bits)
	b[13] |= byte(shifted >> 16)
	b[14] |= byte(shifted >> 8)
	b[15] |= byte(shifted)
	return netip.PrefixFrom(netip.AddrFrom16(b), bits)
}

// members holds nodes to the clusters that they name: each needs a control plane and a worker of
// its own.
func (c *checker) members() {
	names := c.memberNames()
	if len(names) > maxMembers {
		c.file.Problem("nodes", "at most 16: each has a part of network.services", "%d clusters", len(names))
	}
	for i, n := range c.Nodes {
		path := fmt.Sprintf("nodes[%d]", i)
		switch {
		case c.file.Has(path + ".cluster"):
			c.name(path+".cluster", n.Cluster)
		case len(names) > 0 && (n.In(Control) || n.In(Worker)):
			c.file.Problem(path, "cluster: "+names[0], "%q belongs to no cluster, though others do", n.Name)
		}
	}
	for _, name := range names {
		c.group(Control, name)
		c.group(Worker, name)
	}
}

// group wants a node of the group in the cluster, and of control nodes one that runs the control plane and one that
// runs Prometheus.
func (c *checker) group(group, cluster string) {
	of := ""
	if cluster != "" {
		of = " of cluster " + cluster
	}
	var members []Node
	for _, n := range c.Nodes {
		if n.In(group) && (cluster == "" || n.Cluster == cluster) {
			members = append(members, n)
		}
	}
	if len(members) == 0 && len(c.Nodes) > 0 {
		c.file.Problem("nodes", "groups: ["+group+"]", "no node%s is in group %q", of, group)
	}
	if len(members) == 0 || group != Control {
		return
	}
	for _, role := range roles {
		count := len(slices.DeleteFunc(slices.Clone(members), func(n Node) bool { return !n.Runs(role) }))
		needed := role == RoleControlPlane || role == RolePrometheus
		if count > 1 || needed && count == 0 {
			c.file.Problem("nodes", "one a cluster: control nodes have roles: ["+role+"]; several clusters have cluster: NAME on their nodes",
				"%d control nodes%s have the role %s", count, of, role)
		}
	}
}
