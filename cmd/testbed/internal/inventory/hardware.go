// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"errors"
	"fmt"
	"net"
	"slices"
)

// What a control node does. One that names no roles does RoleControlPlane and RolePrometheus.
const (
	RoleControlPlane = "control-plane" // etcd, the API server, controllers: exactly one node a cluster, as two members of etcd tolerate no failure
	RolePrometheus   = "prometheus"    // exactly one node a cluster
	RoleOrchestrator = "orchestrator"  // where people run testbed
	RoleNetboot      = "netboot"       // serves DHCP, TFTP and HTTP to nodes that are to be written anew
)

var roles = []string{RoleControlPlane, RolePrometheus, RoleOrchestrator, RoleNetboot}

// The drivers of switches, see package power.
const (
	DriverUniFi       = "unifi"        // UniFi Network's official API: reads and power-cycles; cannot hold a port off
	DriverUniFiLegacy = "unifi-legacy" // the API of UniFi Network's own pages: all that is needed, watts too
	DriverSSH         = "ssh"          // the switch's own shell
	DriverCommand     = "command"      // a program of the operator's
	DriverTwin        = "twin"         // virtual nodes: no switch, but its budget counts
)

var drivers = []string{DriverUniFi, DriverUniFiLegacy, DriverSSH, DriverCommand, DriverTwin}

// Switch powers nodes over their Ethernet ports. Secrets never stand in the file.
type Switch struct {
	Name        string  `yaml:"name"`
	Driver      string  `yaml:"driver"`
	Ports       int     `yaml:"ports"`       // how many it has, counted from 1; default 24
	BudgetWatts float64 `yaml:"budgetWatts"` // what its supply gives to all ports together
	// Deny lists ports that are never touched, besides those that LLDP shows to lead to switches or to the
	// controller.
	Deny []int `yaml:"deny" json:",omitempty"`

	URL        string `yaml:"url" json:",omitempty"`       // unifi, unifi-legacy: the controller, https://HOST[:PORT]
	Site       string `yaml:"site" json:",omitempty"`      // unifi, unifi-legacy: default "default"
	MAC        MAC    `yaml:"mac" json:",omitzero"`        // unifi, unifi-legacy: which of the controller's devices it is
	Controller MAC    `yaml:"controller" json:",omitzero"` // the controller's own, whose port is denied
	CA         string `yaml:"ca" json:"-"`                 // unifi, unifi-legacy: PEM file of the controller's certificate or of who signed it; default: the system's authorities
	SSH        string `yaml:"ssh" json:",omitempty"`       // ssh: USER@HOST or USER@[HOST]:PORT; its host key is pinned in ssh.knownHosts
	// Credentials is a file that only its owner may read, or env:NAME for a variable with that content. unifi:
	// the API key. unifi-legacy: the API key, or user and password on two lines. ssh: a private key.
	Credentials string   `yaml:"credentials" json:"-"`
	Command     []string `yaml:"command" json:",omitempty"` // command: the program and its first arguments
}

// Port is where a node is plugged in.
type Port struct {
	Switch string `yaml:"switch"`
	Index  int    `yaml:"index"` // from 1, as printed on the switch
}

// IsZero says that the node is plugged in nowhere that the inventory knows.
func (p Port) IsZero() bool { return p == Port{} }

func (p Port) String() string { return fmt.Sprintf("%s port %d", p.Switch, p.Index) }

// Watts is what a node draws from its switch.
type Watts struct {
	Idle  float64 `yaml:"idle"`  // up, doing nothing
	Worst float64 `yaml:"worst"` // starting, being written, or under full load
}

// defaultWatts are those of a board of which nothing is known: a class 4 device takes up to 30 W from
// its port (IEEE 802.3-2022 §145.2.8, power sourcing equipment's side).
var defaultWatts = Watts{Idle: 5, Worst: 30}

// Image is an operating system to write to cards.
type Image struct {
	ID     string `yaml:"id"`
	URL    string `yaml:"url"`                    // https://…, or a path relative to the inventory
	SHA256 string `yaml:"sha256"`                 // of that file as it is, hexadecimal
	Init   string `yaml:"init" json:",omitempty"` // what reads the customisation at the first boot: cloud-init or firstrun; default: what the image has
	// What is added to the board's own files, in the order given.
	Config  []string          `yaml:"config" json:",omitempty"`  // lines of config.txt
	Cmdline []string          `yaml:"cmdline" json:",omitempty"` // arguments of the kernel
	EEPROM  map[string]string `yaml:"eeprom" json:",omitempty"`  // settings of the boot EEPROM, over those that re-imaging needs
	// Packages is a directory of Debian packages that the first boot installs without a network, relative to the inventory.
	Packages string `yaml:"packages" json:",omitempty"`
}

// MAC is an EUI-48 address; the zero value is none.
type MAC [6]byte

// IsZero says that there is none.
func (m MAC) IsZero() bool { return m == MAC{} }

// String returns the address as aa:bb:cc:dd:ee:ff.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// MarshalText writes the address as String does, and none as nothing.
func (m MAC) MarshalText() ([]byte, error) {
	if m.IsZero() {
		return nil, nil
	}
	return []byte(m.String()), nil
}

// UnmarshalText reads an address in any usual form: with colons, hyphens or dots.
func (m *MAC) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = MAC{}
		return nil
	}
	hw, err := net.ParseMAC(string(text))
	switch {
	case err != nil || len(hw) != len(m):
		return errors.New("not a MAC address, as aa:bb:cc:dd:ee:ff")
	case hw[0]&1 != 0:
		return errors.New("the address of a group, not of a machine")
	case MAC(hw).IsZero():
		return errors.New("nobody's address")
	}
	*m = MAC(hw)
	return nil
}

// Runs says whether the node has the role.
func (n Node) Runs(role string) bool {
	if len(n.Roles) == 0 && n.In(Control) {
		return role == RoleControlPlane || role == RolePrometheus
	}
	return slices.Contains(n.Roles, role)
}

// ControlPlane returns the node with etcd and the API server: of the first cluster where there are several.
func (inv *Inventory) ControlPlane() Node { return inv.with(RoleControlPlane) }

// Prometheus returns the node with Prometheus: of the first cluster where there are several.
func (inv *Inventory) Prometheus() Node { return inv.with(RolePrometheus) }

// Netboot returns the node with the netboot service; it is the zero Node where there is none.
func (inv *Inventory) Netboot() Node { return inv.with(RoleNetboot) }

func (inv *Inventory) with(role string) Node {
	i := slices.IndexFunc(inv.Nodes, func(n Node) bool { return n.Runs(role) })
	if i < 0 {
		return Node{}
	}
	return inv.Nodes[i]
}

// Switch returns the switch of that name.
func (inv *Inventory) Switch(name string) (Switch, bool) {
	i := slices.IndexFunc(inv.Switches, func(s Switch) bool { return s.Name == name })
	if i < 0 {
		return Switch{}, false
	}
	return inv.Switches[i], true
}

// ImageOf returns the image that a node is to have; false: the inventory names none.
func (inv *Inventory) ImageOf(n Node) (Image, bool) {
	i := slices.IndexFunc(inv.Images, func(image Image) bool { return image.ID == n.Image })
	if i < 0 || n.Image == "" {
		return Image{}, false
	}
	return inv.Images[i], true
}

// complete fills in what the file leaves to defaults.
func (inv *Inventory) complete() {
	if inv.Watts == (Watts{}) && len(inv.Switches) > 0 {
		inv.Watts = defaultWatts
	}
	for i := range inv.Switches {
		s := &inv.Switches[i]
		if s.Ports == 0 {
			s.Ports = 24
		}
		if s.Site == "" && (s.Driver == DriverUniFi || s.Driver == DriverUniFiLegacy) {
			s.Site = "default"
		}
	}
	for i := range inv.Nodes {
		n := &inv.Nodes[i]
		if !n.Port.IsZero() && n.Watts == (Watts{}) {
			n.Watts = inv.Watts
		}
		if n.Image == "" {
			n.Image = inv.Image
		}
	}
}
