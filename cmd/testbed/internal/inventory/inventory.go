// SPDX-License-Identifier: Apache-2.0

// Package inventory reads the one file that says which nodes make a cluster: pi-cluster/*.yaml.
package inventory

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"

	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// The groups that a node may be in.
const (
	Control = "control" // what runs the cluster, by roles: etcd and the API server, Prometheus, the netboot service
	Worker  = "worker"  // kubelet and containerd; has a /64 for its pods
	Client  = "client"  // load generators and their resolver
)

// Inventory is what one file holds: the nodes of a cluster, or of several beside each other.
type Inventory struct {
	Version    int        `yaml:"version"`
	Cluster    string     `yaml:"cluster"`   // name of the whole: part of namespaces, directories and cgroups
	Substrate  string     `yaml:"substrate"` // "twin" or "pi"
	Network    Network    `yaml:"network"`
	Zone       string     `yaml:"zone"` // what dnsingress serves, with the final dot: "apps.test."
	SSH        SSH        `yaml:"ssh"`
	Kubernetes Kubernetes `yaml:"kubernetes"`
	Watts      Watts      `yaml:"watts" json:",omitzero"` // of each node that has none of its own
	Switches   []Switch   `yaml:"switches" json:",omitempty"`
	Image      string     `yaml:"image" json:",omitempty"` // of each node that has none of its own
	Images     []Image    `yaml:"images" json:",omitempty"`
	Boot       Boot       `yaml:"boot" json:",omitzero"`
	Grafana    Grafana    `yaml:"grafana" json:",omitzero"`
	Nodes      []Node     `yaml:"nodes"` // in the order of the file
	Path       string     `yaml:"-"`     // the file, as given to Load

	// Member is the name of the one cluster that this inventory is the view of, see Clusters.
	Member string `yaml:"-" json:",omitempty"`
}

// Network holds the cluster's prefixes: IPv6 unique local (RFC 4193), none overlapping another.
type Network struct {
	Nodes    netip.Prefix `yaml:"nodes"`    // a /64; the nodes' addresses are in it
	Services netip.Prefix `yaml:"services"` // Kubernetes' service range, /108 to /112
}

// SSH says how nodes are reached. A twin has keys of its own; boards are reached with the operator's,
// whose paths are relative to the inventory's directory and may begin with "~/".
type SSH struct {
	User       string `yaml:"user"`                // default root
	Port       int    `yaml:"port"`                // default 22
	Identity   string `yaml:"identity" json:"-"`   // private key; default ~/.ssh/id_ed25519
	KnownHosts string `yaml:"knownHosts" json:"-"` // the boards' host keys, pinned; default ~/.ssh/known_hosts
}

// Kubernetes holds what differs between clusters.
type Kubernetes struct {
	// Heartbeat is "short" (a dead node is noticed in about 8 s) or "stock" (Kubernetes' own defaults).
	Heartbeat string `yaml:"heartbeat"`
}

// Node is one host.
type Node struct {
	Name    string       `yaml:"name"`
	Groups  []string     `yaml:"groups"`
	Address netip.Addr   `yaml:"address"`
	Pods    netip.Prefix `yaml:"pods"` // the /64 routed to this worker; zero for other nodes
	// Cluster is the Kubernetes cluster that the node belongs to, where the inventory holds several.
	// Clients may belong to none: they are everybody's.
	Cluster string `yaml:"cluster" json:",omitempty"`

	Roles   []string `yaml:"roles" json:",omitempty"`   // of control nodes, see RoleControlPlane
	MAC     MAC      `yaml:"mac" json:",omitzero"`      // of its Ethernet port
	Port    Port     `yaml:"port" json:",omitzero"`     // where it is plugged in and gets its power
	Watts   Watts    `yaml:"watts" json:",omitzero"`    // set for all nodes with a port
	Image   string   `yaml:"image" json:",omitempty"`   // the id of what its card holds
	HostKey string   `yaml:"hostKey" json:",omitempty"` // its SSH server's public key, pinned here; else in ssh.knownHosts
}

// In says whether the node is in the group.
func (n Node) In(group string) bool { return slices.Contains(n.Groups, group) }

// Load reads and checks an inventory. The error holds every problem of the file, one a line, each as
// "file:line:column: what (hint: …)".
func Load(path string) (*Inventory, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the inventory: %w (hint: -i pi-cluster/inventory.twin.yaml)", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading the inventory: %w", err)
	}
	if len(src) > maxSize {
		return nil, fmt.Errorf("reading the inventory: %s is larger than %d bytes", path, maxSize)
	}
	return Parse(path, src)
}

// maxSize of an inventory file; 22 nodes need 2 KB.
const maxSize = 1 << 20

// Parse is Load for the file's bytes; path is used in messages.
func Parse(path string, src []byte) (*Inventory, error) {
	inv := &Inventory{Path: path, SSH: SSH{User: "root", Port: 22, Identity: "~/.ssh/id_ed25519", KnownHosts: "~/.ssh/known_hosts"}, Kubernetes: Kubernetes{Heartbeat: "short"}, Boot: defaultBoot}
	c := checker{strictyaml.Decode(path, src, inv), inv}
	inv.complete()
	c.check()
	if err := c.file.Err(); err != nil {
		return nil, err
	}
	return inv, nil
}

// Group returns the nodes of a group in the order of the file.
func (inv *Inventory) Group(name string) []Node {
	var nodes []Node
	for _, n := range inv.Nodes {
		if n.In(name) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// Node returns the node of that name.
func (inv *Inventory) Node(name string) (Node, bool) {
	i := slices.IndexFunc(inv.Nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		return Node{}, false
	}
	return inv.Nodes[i], true
}

// API returns the address that the Kubernetes API server answers on inside the cluster: the first of
// the service range.
func (inv *Inventory) API() netip.Addr { return inv.Network.Services.Masked().Addr().Next() }

// ClusterDNS returns the address of the Service of the cluster's own DNS: the tenth, as kubeadm gives it.
func (inv *Inventory) ClusterDNS() netip.Addr {
	b := inv.Network.Services.Masked().Addr().As16()
	b[15] += 10
	return netip.AddrFrom16(b)
}

// Orchestrator returns the address that the machine running testbed has in the nodes' network.
func (inv *Inventory) Orchestrator() netip.Addr {
	b := inv.Network.Nodes.Masked().Addr().As16()
	b[14], b[15] = 0xff, 0xfe
	return netip.AddrFrom16(b)
}
