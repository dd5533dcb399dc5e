// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// checker notes what is wrong with an inventory whose form is right. Values that the file lacks, or
// has in a wrong form, are zero here; what is wrong with the form has been said already.
type checker struct {
	file *strictyaml.File
	*Inventory
}

func (c *checker) check() {
	for _, key := range []string{"version", "cluster", "substrate", "network.nodes", "network.services", "zone", "nodes"} {
		c.need("", key)
	}
	if c.Version != 1 && c.file.Has("version") {
		c.file.Problem("version", "this testbed reads version 1", "unknown version %d", c.Version)
	}
	c.name("cluster", c.Cluster)
	c.oneOf("substrate", c.Substrate, "twin", "pi")
	c.oneOf("kubernetes.heartbeat", c.Kubernetes.Heartbeat, "short", "stock")
	if c.SSH.User != "root" {
		c.file.Problem("ssh.user", "provisioning needs root", "unsupported user %q", c.SSH.User)
	}
	if c.SSH.Port < 1 || c.SSH.Port > 65535 {
		c.file.Problem("ssh.port", "1 to 65535", "%d is no port", c.SSH.Port)
	}
	for _, key := range []string{"ssh.identity", "ssh.knownHosts"} {
		if c.Substrate == "twin" && c.file.Has(key) {
			c.file.Problem(key, "", "a twin makes its own keys")
		}
	}
	c.zone()
	c.prefix("network.nodes", c.Network.Nodes, 64, 64)
	c.prefix("network.services", c.Network.Services, 108, 112) // the API server refuses more than 20 bits
	if c.Network.Nodes.IsValid() && c.Network.Services.IsValid() && c.Network.Nodes.Overlaps(c.Network.Services) {
		c.file.Problem("network.services", "a range outside of network.nodes", "%s overlaps the nodes' network %s", c.Network.Services, c.Network.Nodes)
	}
	for i := range c.Nodes {
		c.node(i)
	}
	c.groups()
	c.hardware()
	c.boot()
	c.grafana()
	if c.file.Err() == nil {
		c.empty()
	}
}

// empty notes values that are there and right in form, but empty.
func (c *checker) empty() {
	type value struct {
		path  string
		empty bool
	}
	values := []value{
		{"substrate", c.Substrate == ""},
		{"kubernetes.heartbeat", c.Kubernetes.Heartbeat == ""},
		{"network.nodes", !c.Network.Nodes.IsValid()},
		{"network.services", !c.Network.Services.IsValid()},
		{"nodes", len(c.Nodes) == 0},
	}
	for i, n := range c.Nodes {
		path := fmt.Sprintf("nodes[%d].", i)
		values = append(values, value{path + "address", !n.Address.IsValid()}, value{path + "pods", n.In(Worker) && !n.Pods.IsValid()})
		for j, g := range n.Groups {
			values = append(values, value{fmt.Sprintf("%sgroups[%d]", path, j), g == ""})
		}
	}
	for _, v := range values {
		if v.empty {
			c.file.Problem(v.path, "", "empty")
		}
	}
}

// need notes a key that is not there.
func (c *checker) need(parent, key string) {
	path := strings.TrimPrefix(parent+"."+key, ".")
	if !c.file.Has(path) {
		c.file.Problem(path, "", "missing")
	}
}

func (c *checker) oneOf(path, value string, known ...string) {
	if value != "" && !slices.Contains(known, value) {
		c.file.Problem(path, strings.Join(known, " or "), "unknown value %q", value)
	}
}

// name checks a name that becomes a host name, a network namespace, a network interface (15 bytes at
// most on Linux) and a directory.
func (c *checker) name(path, name string) {
	if !c.file.Has(path) {
		return
	}
	ok := len(name) > 0 && len(name) <= 15 && name[0] >= 'a' && name[0] <= 'z' && name[len(name)-1] != '-'
	if !ok || !plain(name) {
		c.file.Problem(path, "a letter, then letters, digits and hyphens, 15 at most, all lower case", "%q is no name", name)
	}
}

func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

func (c *checker) zone() {
	if !c.file.Has("zone") {
		return
	}
	ok := len(c.Zone) > 1 && len(c.Zone) <= 200 && strings.HasSuffix(c.Zone, ".")
	for label := range strings.SplitSeq(strings.TrimSuffix(c.Zone, "."), ".") {
		ok = ok && len(label) > 0 && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-' && plain(label)
	}
	if !ok {
		c.file.Problem("zone", `lower case, with the final dot: "apps.test."`, "%q is no zone", c.Zone)
	}
}

// uniqueLocal is all that the testbed may use: load must never leave it (RFC 4193).
var uniqueLocal = netip.MustParsePrefix("fd00::/8")

func (c *checker) prefix(path string, p netip.Prefix, shortest, longest int) {
	length := fmt.Sprintf("/%d to /%d", shortest, longest)
	if shortest == longest {
		length = fmt.Sprintf("/%d", shortest)
	}
	switch {
	case !p.IsValid(): // said already
	case !uniqueLocal.Contains(p.Addr()) || p.Bits() < uniqueLocal.Bits():
		c.file.Problem(path, "IPv6 unique local, from fd00::/8", "%s is not unique local", p)
	case p.Bits() < shortest || p.Bits() > longest:
		c.file.Problem(path, length, "%s has the wrong length", p)
	case p != p.Masked():
		c.file.Problem(path, "write "+p.Masked().String(), "%s has bits set behind its length", p)
	}
}

// node checks a node, also against those before it.
func (c *checker) node(i int) {
	n, path := c.Nodes[i], fmt.Sprintf("nodes[%d]", i)
	for _, key := range []string{"name", "groups", "address"} {
		c.need(path, key)
	}
	c.name(path+".name", n.Name)
	if slices.Contains([]string{"lo", "br0", "sw", "localhost"}, n.Name) {
		c.file.Problem(path+".name", "as worker-1", "the name %q is taken", n.Name)
	}
	if len(n.Groups) == 0 && c.file.Has(path+".groups") {
		c.file.Problem(path+".groups", "[control], [worker] or [client]", "no group")
	}
	for j, g := range n.Groups {
		at := fmt.Sprintf("%s.groups[%d]", path, j)
		c.oneOf(at, g, Control, Worker, Client)
		if slices.Contains(n.Groups[:j], g) {
			c.file.Problem(at, "", "%q is there twice", g)
		}
	}
	c.address(path+".address", n)
	c.pods(path, n)
	for _, b := range c.Nodes[:i] {
		if n.Name != "" && n.Name == b.Name {
			c.file.Problem(path+".name", "", "%q is there twice", n.Name)
		}
		if n.Address.IsValid() && n.Address == b.Address {
			c.file.Problem(path+".address", "", "%s is the address of %s", n.Address, b.Name)
		}
		if n.Pods.IsValid() && b.Pods.IsValid() && n.Pods.Overlaps(b.Pods) {
			c.file.Problem(path+".pods", "a /64 of its own", "%s overlaps the pods of %s", n.Pods, b.Name)
		}
	}
}

func (c *checker) address(path string, n Node) {
	a, network := n.Address, c.Network.Nodes
	switch {
	case !a.IsValid(): // said already
	case a.Is4() || a.Is4In6():
		c.file.Problem(path, "IPv6 unique local, from fd00::/8", "%s is IPv4: the testbed has IPv6 only", a)
	case a.Zone() != "" || !uniqueLocal.Contains(a):
		c.file.Problem(path, "IPv6 unique local, from fd00::/8", "%s is not unique local", a)
	case !network.IsValid(): // said already
	case !network.Contains(a):
		c.file.Problem(path, "an address of "+network.String(), "%s is outside of the nodes' network", a)
	case a == network.Masked().Addr():
		c.file.Problem(path, "", "%s is the subnet-router anycast address (RFC 4291 §2.6.1)", a)
	case a == c.Orchestrator():
		c.file.Problem(path, "", "%s is the orchestrator's own address", a)
	}
}

// pods checks a node's pod prefix: workers have one, others none.
func (c *checker) pods(path string, n Node) {
	at := path + ".pods"
	if n.In(Worker) != c.file.Has(at) {
		if n.In(Worker) {
			c.file.Problem(path, `pods: "fd6e:7369:0:11::/64"`, "worker %q has no prefix for its pods", n.Name)
		} else {
			c.file.Problem(at, "", "%q is no worker: it has no pods", n.Name)
		}
		return
	}
	c.prefix(at, n.Pods, 64, 64)
	for _, other := range []struct {
		what string
		netip.Prefix
	}{{"the nodes' network", c.Network.Nodes}, {"the service range", c.Network.Services}} {
		if n.Pods.IsValid() && other.IsValid() && n.Pods.Overlaps(other.Prefix) {
			c.file.Problem(at, "a /64 of its own", "%s overlaps %s %s", n.Pods, other.what, other.Prefix)
		}
	}
}

// groups checks that there is all that an experiment needs: clients anywhere, the rest in every cluster.
func (c *checker) groups() {
	if len(c.memberNames()) == 0 {
		c.group(Control, "")
		c.group(Worker, "")
	}
	c.group(Client, "")
	c.members()
}
