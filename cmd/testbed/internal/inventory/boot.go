// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"net/netip"
	"runtime"
)

// Boot says how nodes are booted to be written anew (docs/testbed/netboot.md). Nodes need a mac for it.
type Boot struct {
	Interface string       `yaml:"interface"` // of the netboot node, towards the others; default: the one with an address in network.nodes
	Subnet    netip.Prefix `yaml:"subnet"`    // IPv4 for firmware; the service has the first address, nodes theirs by their place in the file
	DHCP      string       `yaml:"dhcp"`      // "server", or "proxy" beside another DHCP server on the link
	Firmware  string       `yaml:"firmware"`  // "pi", or "pc" for virtual machines
	Kernel    string       `yaml:"kernel"`    // of pc: file of the kernel that carries the agent, relative to the inventory
	Modules   string       `yaml:"modules"`   // of pc: directory of its modules, /lib/modules/VERSION of the same kernel
	Disk      string       `yaml:"disk"`      // to write; default: the SD card, or the only disk
}

// Values of Boot's DHCP and Firmware.
const (
	DHCPServer, DHCPProxy  = "server", "proxy"
	FirmwarePi, FirmwarePC = "pi", "pc"
)

// Arch returns the architecture of what boots, as Go and Debian call it: Raspberry Pis, or virtual machines on this one.
func (b Boot) Arch() string {
	if b.Firmware == FirmwarePC {
		return runtime.GOARCH
	}
	return "arm64"
}

// defaultBoot uses a network that RFC 5737 keeps for documentation: it never leaves the link.
var defaultBoot = Boot{Subnet: netip.MustParsePrefix("192.0.2.0/24"), DHCP: DHCPServer, Firmware: FirmwarePi}

// firstLease is the place in the boot subnet of the first node of the file.
const firstLease = 10

// BootServer returns the netboot service's own IPv4 address with the link's length.
func (inv *Inventory) BootServer() netip.Prefix {
	return netip.PrefixFrom(inv.Boot.Subnet.Masked().Addr().Next(), inv.Boot.Subnet.Bits())
}

// BootAddress returns the IPv4 address of a node's firmware: firstLease and its place in the file.
func (inv *Inventory) BootAddress(node string) (netip.Addr, bool) {
	for i, n := range inv.Nodes {
		if n.Name == node {
			b := inv.Boot.Subnet.Masked().Addr().As4()
			v := uint32(b[2])<<8 | uint32(b[3])
			v += uint32(firstLease + i)
			b[2], b[3] = byte(v>>8), byte(v)
			return netip.AddrFrom4(b), true
		}
	}
	return netip.Addr{}, false
}

// boot checks how nodes are booted.
func (c *checker) boot() {
	b := c.Boot
	c.oneOf("boot.dhcp", b.DHCP, DHCPServer, DHCPProxy)
	c.oneOf("boot.firmware", b.Firmware, FirmwarePi, FirmwarePC)
	if c.file.Has("boot") && c.Substrate == "twin" {
		c.file.Problem("boot", "", "a twin's nodes boot from no network")
	}
	switch need := firstLease + len(c.Nodes); {
	case !b.Subnet.IsValid(): // said already
	case !b.Subnet.Addr().Is4() || b.Subnet.Bits() < 16:
		c.file.Problem("boot.subnet", "IPv4, /16 or longer: firmware speaks no other", "%s cannot be the boot network", b.Subnet)
	case b.Subnet != b.Subnet.Masked():
		c.file.Problem("boot.subnet", "write "+b.Subnet.Masked().String(), "%s has bits set behind its length", b.Subnet)
	case 1<<(32-b.Subnet.Bits()) < need+1:
		c.file.Problem("boot.subnet", "as 192.0.2.0/24", "%s is too small for %d nodes", b.Subnet, len(c.Nodes))
	}
	for _, f := range []struct{ key, value string }{{"boot.kernel", b.Kernel}, {"boot.modules", b.Modules}} {
		switch at, pc := f.key, b.Firmware == FirmwarePC; {
		case pc && f.value == "":
			c.file.Problem("boot", "a PC's firmware brings no kernel for the agent", "no %s", at)
		case !pc && f.value != "":
			c.file.Problem(at, "a Raspberry Pi takes its kernel from its image", "for firmware %q alone", FirmwarePC)
		}
	}
}
