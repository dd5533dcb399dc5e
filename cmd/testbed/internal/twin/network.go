// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// bridge is the switch that all nodes hang on. It stands in a namespace of its own, so that the
// host's links, routes, forwarding and firewall stay as they are.
const bridge = "br0"

// whole is the alias of a bridge that lacks nothing: set last.
const whole = "dnsingress testbed"

// switchNamespace holds the bridge, and the orchestrator's address on it.
func switchNamespace(cluster string) string { return cluster + "-sw" }

func nodeNamespace(cluster, node string) string { return cluster + "-" + node }

// quiet are the sysctls of every namespace: addresses are usable at once (no duplicate address
// detection) and nobody listens to router advertisements.
func quiet(forward bool) map[string]string {
	s := map[string]string{
		"ipv6/conf/all/accept_dad": "0", "ipv6/conf/default/accept_dad": "0",
		"ipv6/conf/all/accept_ra": "0", "ipv6/conf/default/accept_ra": "0",
		"ipv6/conf/all/disable_ipv6": "0", "ipv6/conf/default/disable_ipv6": "0",
	}
	if forward {
		s["ipv6/conf/all/forwarding"] = "1"
	}
	return s
}

// raiseSwitch makes the bridge's namespace, unless it stands.
func (t *Twin) raiseSwitch() error {
	name := switchNamespace(t.inv.Cluster)
	if hasNamespace(name) {
		h, err := handle(name)
		if err != nil {
			return err
		}
		defer h.Close()
		if br, err := h.LinkByName(bridge); err == nil && br.Attrs().Alias == whole {
			return nil
		}
	}
	if err := removeNamespace(name); err != nil { // half made before, so that no node is on it
		return err
	}
	if err := makeNamespace(name, quiet(false)); err != nil {
		return err
	}
	h, err := handle(name)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := up(h, "lo"); err != nil {
		return err
	}
	snooping := false
	br := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: &snooping}
	// Else the bridge would take over the least address of its ports, and change it as nodes come and go.
	br.Name, br.HardwareAddr = bridge, t.hardware("")
	if err := h.LinkAdd(br); err != nil {
		return fmt.Errorf("adding bridge %s in %s: %w", bridge, name, err)
	}
	if err := up(h, bridge); err != nil {
		return err
	}
	own := netip.PrefixFrom(t.inv.Orchestrator(), t.inv.Network.Nodes.Bits())
	if err := address(h, bridge, own); err != nil {
		return err
	}
	if err := t.routes(h, bridge, inventory.Node{}); err != nil {
		return err
	}
	if err := h.LinkSetAlias(br, whole); err != nil {
		return fmt.Errorf("marking bridge %s as whole: %w", bridge, err)
	}
	return nil
}

// plugIn makes a node's namespace anew: what a fault or a pod left in an old one is gone, as after a
// real power cut.
func (t *Twin) plugIn(n inventory.Node) error {
	name := nodeNamespace(t.inv.Cluster, n.Name)
	if err := t.unplug(n.Name); err != nil {
		return err
	}
	forward := n.In(inventory.Worker) || n.Runs(inventory.RoleControlPlane)
	if err := makeNamespace(name, quiet(forward)); err != nil {
		return err
	}
	inside, err := netns.GetFromName(name)
	if err != nil {
		return fmt.Errorf("opening network namespace %s: %w", name, err)
	}
	defer inside.Close()
	sw, err := handle(switchNamespace(t.inv.Cluster))
	if err != nil {
		return err
	}
	defer sw.Close()
	br, err := sw.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("finding bridge %s: %w", bridge, err)
	}
	// A board keeps its address over a power cut: with another one, its neighbours would send to the old
	// one for some ten seconds.
	port := &netlink.Veth{
		LinkAttrs: netlink.NewLinkAttrs(),
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(int(inside)), PeerHardwareAddr: t.hardware(n.Name),
	}
	port.Name, port.MasterIndex = n.Name, br.Attrs().Index
	if err := sw.LinkAdd(port); err != nil {
		return fmt.Errorf("adding the link of %s: %w", n.Name, err)
	}
	h, err := handle(name)
	if err != nil {
		return err
	}
	defer h.Close()
	for _, link := range []string{"lo", "eth0"} {
		if err := up(h, link); err != nil {
			return err
		}
	}
	if err := up(sw, n.Name); err != nil {
		return err
	}
	if err := address(h, "eth0", netip.PrefixFrom(n.Address, t.inv.Network.Nodes.Bits())); err != nil {
		return err
	}
	if n.Runs(inventory.RoleControlPlane) {
		// The API server answers on its service address with no kube-proxy in between.
		if err := address(h, "lo", netip.PrefixFrom(t.inv.ClusterOf(n).API(), 128)); err != nil {
			return err
		}
	}
	return t.routes(h, "eth0", n)
}

// hardware returns the Ethernet address of a node's eth0, or of the bridge: unicast, locally
// administered.
func (t *Twin) hardware(node string) net.HardwareAddr {
	sum := sha256.Sum256([]byte("ethernet " + t.machineName(node)))
	return append(net.HardwareAddr{0x02}, sum[:5]...)
}

// routes sends pods' prefixes to their workers and each cluster's service range to its control node.
func (t *Twin) routes(h *netlink.Handle, link string, self inventory.Node) error {
	for _, n := range t.inv.Nodes {
		if n.Name == self.Name {
			continue
		}
		if n.Pods.IsValid() {
			if err := route(h, link, n.Pods, n.Address); err != nil {
				return err
			}
		}
		if n.Runs(inventory.RoleControlPlane) {
			if err := route(h, link, t.inv.ClusterOf(n).Network.Services, n.Address); err != nil {
				return err
			}
		}
	}
	return nil
}

// cutLink takes the node's port on the bridge down: from now on it is silent. No port is no error.
func (t *Twin) cutLink(node string) error {
	name := switchNamespace(t.inv.Cluster)
	if !hasNamespace(name) {
		return nil
	}
	sw, err := handle(name)
	if err != nil {
		return err
	}
	defer sw.Close()
	port, err := sw.LinkByName(node)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finding the link of %s: %w", node, err)
	}
	if err := sw.LinkSetDown(port); err != nil {
		return fmt.Errorf("cutting the link of %s: %w", node, err)
	}
	return nil
}

// unplug removes a node's link and namespace.
func (t *Twin) unplug(node string) error {
	if name := switchNamespace(t.inv.Cluster); hasNamespace(name) {
		sw, err := handle(name)
		if err != nil {
			return err
		}
		defer sw.Close()
		// Deleting one end of a veth pair deletes the other, also while processes still hold its namespace.
		if port, err := sw.LinkByName(node); err == nil {
			if err := sw.LinkDel(port); err != nil {
				return fmt.Errorf("removing the link of %s: %w", node, err)
			}
		}
	}
	return removeNamespace(nodeNamespace(t.inv.Cluster, node))
}

func handle(namespace string) (*netlink.Handle, error) {
	ns, err := netns.GetFromName(namespace)
	if err != nil {
		return nil, fmt.Errorf("opening network namespace %s: %w", namespace, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening netlink in network namespace %s: %w", namespace, err)
	}
	return h, nil
}

func up(h *netlink.Handle, link string) error {
	l, err := h.LinkByName(link)
	if err == nil {
		err = h.LinkSetUp(l)
	}
	if err != nil {
		return fmt.Errorf("setting link %s up: %w", link, err)
	}
	return nil
}

func address(h *netlink.Handle, link string, p netip.Prefix) error {
	l, err := h.LinkByName(link)
	if err == nil {
		err = h.AddrAdd(l, &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD})
	}
	if err != nil {
		return fmt.Errorf("adding address %s to %s: %w", p, link, err)
	}
	return nil
}

func route(h *netlink.Handle, link string, to netip.Prefix, via netip.Addr) error {
	l, err := h.LinkByName(link)
	if err == nil {
		err = h.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(to), Gw: via.AsSlice()})
	}
	if err != nil {
		return fmt.Errorf("adding the route to %s via %s: %w", to, via, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
