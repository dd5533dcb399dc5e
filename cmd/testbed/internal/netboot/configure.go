// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// Configure returns the service of an inventory on this machine, which must have an interface on the nodes' link. Agent
// is the program of the initramfs, built for the nodes.
func Configure(inv *inventory.Inventory, agent []byte, log *slog.Logger) (Config, error) {
	c := Config{Proxy: inv.Boot.DHCP == inventory.DHCPProxy, Log: log}
	link, addresses, err := bootLink(inv)
	if err != nil {
		return c, err
	}
	c.Interface, c.Address = link, inv.BootServer()
	if c.Proxy {
		if c.Address, err = within(inv.Boot.Subnet, addresses); err != nil {
			return c, fmt.Errorf("being a DHCP proxy on %s: %w", link, err)
		}
	}
	for _, n := range inv.Nodes {
		if address, ok := inv.BootAddress(n.Name); ok && !n.MAC.IsZero() {
			c.Clients = append(c.Clients, Client{n.Name, n.MAC, address})
		}
	}
	if inv.Boot.Firmware == inventory.FirmwarePC {
		c.Kernel = beside(inv, inv.Boot.Kernel)
		if _, err := os.Stat(c.Kernel); err != nil {
			return c, fmt.Errorf("finding the kernel for the agent: %w (hint: boot.kernel in %s)", err, inv.Path)
		}
	}
	c.Initramfs, err = InitramfsFor(inv, agent)
	return c, err
}

// InitramfsFor returns the initramfs for an inventory's nodes. A Raspberry Pi's kernel has the drivers of its card and its
// cable built in (bcm2712_defconfig: MACB, MMC_SDHCI_BRCMSTB).
func InitramfsFor(inv *inventory.Inventory, agent []byte) ([]byte, error) {
	var modules []Module
	if inv.Boot.Firmware == inventory.FirmwarePC {
		var err error
		if modules, err = Modules(os.DirFS(beside(inv, inv.Boot.Modules)), Drivers); err != nil {
			return nil, fmt.Errorf("%w (hint: boot.modules in %s)", err, inv.Path)
		}
	}
	return Initramfs(agent, modules)
}

// beside resolves a path that is relative to the inventory.
func beside(inv *inventory.Inventory, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(inv.Path), path)
}

// bootLink returns the interface towards the nodes and its addresses.
func bootLink(inv *inventory.Inventory) (string, []netip.Prefix, error) {
	links, err := net.Interfaces()
	if err != nil {
		return "", nil, fmt.Errorf("listing this machine's interfaces: %w", err)
	}
	for _, l := range links {
		addresses, err := l.Addrs()
		if err != nil {
			return "", nil, fmt.Errorf("listing the addresses of %s: %w", l.Name, err)
		}
		var list []netip.Prefix
		inside := false
		for _, a := range addresses {
			p, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			list = append(list, p)
			inside = inside || inv.Network.Nodes.Contains(p.Addr())
		}
		if l.Name == inv.Boot.Interface || inv.Boot.Interface == "" && inside {
			return l.Name, list, nil
		}
	}
	if inv.Boot.Interface != "" {
		return "", nil, fmt.Errorf("this machine has no interface %s (hint: boot.interface in %s; run testbed on %s)", inv.Boot.Interface, inv.Path, inv.Netboot().Name)
	}
	return "", nil, fmt.Errorf("no interface of this machine has an address in %s (hint: run testbed on %s, or name boot.interface in %s)", inv.Network.Nodes, inv.Netboot().Name, inv.Path)
}

// within returns which of the addresses is in the boot network.
func within(subnet netip.Prefix, addresses []netip.Prefix) (netip.Prefix, error) {
	for _, a := range addresses {
		if subnet.Contains(a.Addr()) {
			return netip.PrefixFrom(a.Addr(), subnet.Bits()), nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("it has no address in %s (hint: boot.subnet is the network of the other DHCP server)", subnet)
}
