// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
)

var (
	macOne   = inventory.MAC{0xdc, 0xa6, 0x32, 0x01, 0x36, 0xc1}
	macTwo   = inventory.MAC{0xdc, 0xa6, 0x32, 0x01, 0x36, 0xc2}
	leaseOne = netip.MustParseAddr("192.0.2.11")
)

// testService has an offer for worker-1 and none for worker-2.
func testService(t *testing.T, change func(*Config)) (*Service, *Offer) {
	t.Helper()
	c := Config{
		Address:   netip.MustParsePrefix("192.0.2.1/24"),
		Clients:   []Client{{"worker-1", macOne, leaseOne}, {"worker-2", macTwo, netip.MustParseAddr("192.0.2.12")}},
		Initramfs: []byte("initramfs"),
	}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Offer("worker-1", order.Write, Image{Image: order.Image{ID: "new", Size: 1 << 20, SHA256: strings.Repeat("0", 64)}}, "")
	if err != nil {
		t.Fatal(err)
	}
	return s, o
}

// message is what a Raspberry Pi's firmware sends (boot EEPROM, "DHCP_OPTION97" and the log lines of its network
// boot in the documentation): class and architecture of a PXE client, and a machine identifier that begins RPi5.
func message(t *testing.T, mac inventory.MAC, kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithHwAddr(net.HardwareAddr(mac[:])),
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00000:UNDI:002001")),
		dhcpv4.WithGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{0, 0}),
		dhcpv4.WithGeneric(dhcpv4.OptionClientMachineIdentifier, append([]byte{0}, "RPi5\x70\x41\xd0\x00\x36\xc1\x01\x32\x01\x02\x03\x04"...)),
		dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionVendorSpecificInformation, dhcpv4.OptionTFTPServerName),
	}, mods...)...)
	if err != nil {
		t.Fatal(err)
	}
	// Over the wire and back.
	m, err = dhcpv4.FromBytes(m.ToBytes())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRaspberryPiIsAnswered(t *testing.T) {
	s, o := testService(t, nil)
	for _, kind := range []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest} {
		m := message(t, macOne, kind)
		r := s.answer(m)
		if r == nil {
			t.Fatalf("%s: no answer", kind)
		}
		r, err := dhcpv4.FromBytes(r.ToBytes())
		if err != nil {
			t.Fatal(err)
		}
		want := map[dhcpv4.MessageType]dhcpv4.MessageType{
			dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeRequest: dhcpv4.MessageTypeAck,
		}[kind]
		if r.MessageType() != want || r.TransactionID != m.TransactionID || r.YourIPAddr.String() != "192.0.2.11" || r.ServerIPAddr.String() != "192.0.2.1" {
			t.Errorf("%s: %s", kind, r.Summary())
		}
		if !bytes.Contains(r.Options.Get(dhcpv4.OptionVendorSpecificInformation), []byte("\x11Raspberry Pi Boot")) || r.TFTPServerName() != "192.0.2.1" || r.ClassIdentifier() != "PXEClient" {
			t.Errorf("%s: the firmware would pass on: %s", kind, r.Summary())
		}
		if !bytes.Equal(r.Options.Get(dhcpv4.OptionClientMachineIdentifier), m.Options.Get(dhcpv4.OptionClientMachineIdentifier)) {
			t.Errorf("%s: the machine identifier does not come back (PXE 2.1 §2.4.4)", kind)
		}
	}
	if r := <-o.Reports; r.Step != order.Asked {
		t.Errorf("reported %+v", r)
	}
}

func TestIPXEIsAnswered(t *testing.T) {
	s, _ := testService(t, nil)
	r := s.answer(message(t, macOne, dhcpv4.MessageTypeDiscover, dhcpv4.WithGeneric(dhcpv4.OptionUserClassInformation, []byte("iPXE"))))
	if r == nil || r.BootFileName != "dc-a6-32-01-36-c1/boot.ipxe" || r.Options.Has(dhcpv4.OptionVendorSpecificInformation) {
		t.Errorf("%v", r)
	}
}

func TestOthersHearNothing(t *testing.T) {
	s, o := testService(t, nil)
	another := dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 0, 2, 99)))
	reply := message(t, macOne, dhcpv4.MessageTypeDiscover)
	reply.OpCode = dhcpv4.OpcodeBootReply
	tests := []struct {
		name string
		m    *dhcpv4.DHCPv4
	}{
		{"a node that is not to be written", message(t, macTwo, dhcpv4.MessageTypeDiscover)},
		{"a machine that nobody knows", message(t, inventory.MAC{2, 1, 1, 1, 1, 1}, dhcpv4.MessageTypeDiscover)},
		{"a system that runs", message(t, macOne, dhcpv4.MessageTypeDiscover, dhcpv4.WithOption(dhcpv4.OptClassIdentifier("dhcpcd")))},
		{"a client of another server", message(t, macOne, dhcpv4.MessageTypeRequest, another)},
		{"a client that gives its address back", message(t, macOne, dhcpv4.MessageTypeRelease)},
		{"another server", reply},
	}
	for _, tt := range tests {
		if r := s.answer(tt.m); r != nil {
			t.Errorf("%s is answered: %s", tt.name, r.Summary())
		}
	}
	o.Withdraw()
	if r := s.answer(message(t, macOne, dhcpv4.MessageTypeDiscover)); r != nil {
		t.Errorf("a node that was written is answered: %s", r.Summary())
	}
}

func TestProxyGivesNoAddress(t *testing.T) {
	s, _ := testService(t, func(c *Config) { c.Proxy = true })
	r := s.answer(message(t, macOne, dhcpv4.MessageTypeDiscover))
	if r == nil || !r.YourIPAddr.IsUnspecified() || r.Options.Has(dhcpv4.OptionIPAddressLeaseTime) || r.ServerIPAddr.String() != "192.0.2.1" || r.ClassIdentifier() != "PXEClient" {
		t.Errorf("%v", r)
	}
}

func TestBadConfig(t *testing.T) {
	_, err := New(Config{
		Address: netip.MustParsePrefix("192.0.2.1/24"),
		Clients: []Client{{"worker-1", macOne, leaseOne}, {"worker-2", macOne, leaseOne}, {"worker-3", inventory.MAC{}, leaseOne}},
	})
	if err == nil || !strings.Contains(err.Error(), "worker-1 and worker-2 have the same MAC address") || !strings.Contains(err.Error(), "worker-3 has no MAC address (hint:") {
		t.Errorf("error %v", err)
	}
	if _, err := New(Config{Address: netip.MustParsePrefix("fd6e::1/64")}); err == nil || !strings.Contains(err.Error(), "IPv4") {
		t.Errorf("error %v", err)
	}
}

func FuzzAnswer(f *testing.F) {
	m, err := dhcpv4.NewDiscovery(net.HardwareAddr(macOne[:]), dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m.ToBytes())
	s, err := New(Config{Address: netip.MustParsePrefix("192.0.2.1/24"), Clients: []Client{{"worker-1", macOne, leaseOne}}})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := s.Offer("worker-1", order.Revert, Image{}, ""); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, err := dhcpv4.FromBytes(packet)
		if err != nil {
			return
		}
		if r := s.answer(m); r != nil && !bytes.Equal(r.ClientHWAddr, macOne[:]) {
			t.Errorf("%s is answered", m.ClientHWAddr)
		}
	})
}
