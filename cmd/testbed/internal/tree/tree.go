// SPDX-License-Identifier: Apache-2.0

// Package tree knows the private root of the test bed and the delegation trees below it: who serves which zone at which
// address, what stands in the zones that only refer, and to which level of which tree a question belongs.
package tree

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// Levels of servers, from the root down. Every tree has a root and leaves; what is between gives its depth.
const (
	Root   = "root"
	Upper  = "upper"  // below the root
	Middle = "middle" // between an upper and the leaves
	Leaf   = "leaf"   // dnsingress on the workers, which alone answers with addresses
)

// Levels lists them from the root down.
func Levels() []string { return []string{Root, Upper, Middle, Leaf} }

// Tree is a chain of delegations from the root to the zone that holds the service's name.
type Tree struct {
	Name  string
	Zones []string // from the root's child down; the last is the leaves'
}

// All lists the trees. No name in them is delegated on the Internet, or treated in a way of its own by a resolver, as those
// below test. (RFC 6761 §6.2) are by some.
func All() []Tree {
	return []Tree{
		{"flat", []string{"flat."}},
		{"depth-2", []string{"two.", "apps.two."}},
		{"depth-3", []string{"three.", "site.three.", "apps.site.three."}},
	}
}

// Names lists the levels of the factor "tree".
func Names() []string {
	var names []string
	for _, t := range All() {
		names = append(names, t.Name)
	}
	return names
}

// ByName returns the trees of these names, in the order of All.
func ByName(names ...string) []Tree {
	return slices.DeleteFunc(All(), func(t Tree) bool { return !slices.Contains(names, t.Name) })
}

// LeafZone is the zone that the leaves serve.
func (t Tree) LeafZone() string { return t.Zones[len(t.Zones)-1] }

// Host is the service's name.
func (t Tree) Host() string { return "backend." + t.LeafZone() }

// Holds says whether the name is in the tree: below the root's child, which it alone has.
func (t Tree) Holds(name string) bool {
	name = strings.ToLower(name)
	return name == t.Zones[0] || strings.HasSuffix(name, "."+t.Zones[0])
}

// Plan is the trees on the nodes of a cluster.
type Plan struct {
	Inventory *inventory.Inventory
	Trees     []Tree
	TTL       time.Duration // of delegations and of the name servers' addresses
}

// Server is a name server that only refers: a process on the control node with an address of its own.
type Server struct {
	Level   string
	Address netip.Addr
	Zones   map[string]string // master files by origin
}

// Address returns the address of the servers of a level above the leaves, which the control node has beside its own.
func (p *Plan) Address(level string) netip.Addr {
	a := p.Inventory.Network.Nodes.Masked().Addr().As16()
	a[13], a[15] = 0x53, byte(1+slices.Index(Levels(), level))
	return netip.AddrFrom16(a)
}

// Servers returns the servers above the leaves that the trees need, from the root down.
func (p *Plan) Servers() []Server {
	servers := []Server{
		{Root, p.Address(Root), map[string]string{}},
		{Upper, p.Address(Upper), map[string]string{}},
		{Middle, p.Address(Middle), map[string]string{}},
	}
	var root strings.Builder
	for _, t := range p.Trees {
		root.WriteString(p.delegation(t, 0))
		for i, zone := range t.Zones[:len(t.Zones)-1] {
			servers[1+i].Zones[zone] = p.apex(zone, servers[1+i]) + p.delegation(t, i+1)
		}
	}
	servers[0].Zones["."] = p.apex(".", servers[0]) + fmt.Sprintf("$TTL %d\n", int(p.TTL.Seconds())) + root.String()
	return slices.DeleteFunc(servers, func(s Server) bool { return len(s.Zones) == 0 })
}

// LeafNS is a name server of a leaf's zone.
type LeafNS struct {
	Name    string // with the final dot
	Address netip.Addr
}

// LeafServers returns the name servers of a leaf's zone: dnsingress on every worker, with glue in the zone itself.
func (p *Plan) LeafServers(zone string) []LeafNS {
	var out []LeafNS
	for _, w := range p.Inventory.Group(inventory.Worker) {
		out = append(out, LeafNS{w.Name + "." + zone, w.Address})
	}
	return out
}

// rootTTL is how long resolvers may keep what the root says of itself: six days, as on the Internet.
const rootTTL = 6 * 24 * time.Hour

// apex is the beginning of a zone that refers.
func (p *Plan) apex(zone string, s Server) string {
	ns := nameServer(zone)
	ttl := int(p.TTL.Seconds())
	if zone == "." {
		ttl = int(rootTTL.Seconds())
	}
	return fmt.Sprintf("$TTL %d\n%s SOA %s hostmaster.%s 1 3600 600 604800 %d\n%s NS %s\n%s AAAA %s\n",
		ttl, zone, ns, strings.TrimPrefix(ns, "ns."), ttl, zone, ns, ns, s.Address)
}

// delegation is what the parent of the tree's zone i has of it: the child's own name servers, and their addresses.
func (p *Plan) delegation(t Tree, i int) string {
	zone := t.Zones[i]
	servers := []LeafNS{{nameServer(zone), p.Address(Levels()[1+i])}}
	if zone == t.LeafZone() {
		servers = p.LeafServers(zone)
	}
	var b strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&b, "%s NS %s\n%s AAAA %s\n", zone, s.Name, s.Name, s.Address)
	}
	return b.String()
}

// nameServer names the server of a zone that refers. The root's has a name outside of all trees.
func nameServer(zone string) string {
	if zone == "." {
		return "ns.root."
	}
	return "ns." + zone
}
