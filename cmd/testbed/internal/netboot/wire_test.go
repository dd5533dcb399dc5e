// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/pin/tftp/v3"
	"github.com/vishvananda/netlink"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// alone runs the test again in a process that has a network namespace of its own; it returns true there.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv("NETBOOT_TEST_ALONE") != "" {
		return true
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root: it makes a network namespace")
		}
		t.Skip("NOT TESTED without root: what firmware hears on a wire")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "NETBOOT_TEST_ALONE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("in a network namespace of its own: %v", err)
	}
	return false
}

// firmware is a Raspberry Pi's, as far as it speaks: over real sockets on an interface without any address.
type firmware struct {
	t    *testing.T
	mac  inventory.MAC
	conn net.PacketConn
}

// wire makes a link with the service at one end, and firmware that uses the other.
func wire(t *testing.T, mac inventory.MAC) (service string, f *firmware) {
	t.Helper()
	veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "firmware", PeerHardwareAddr: net.HardwareAddr(mac[:])}
	veth.Name = "service"
	must(t, netlink.LinkAdd(veth))
	for _, name := range []string{"lo", "service", "firmware"} {
		link, err := netlink.LinkByName(name)
		must(t, err)
		must(t, netlink.LinkSetUp(link))
	}
	// Both ends are in one network namespace, this test's own: what comes from a local address counts all the same.
	must(t, os.WriteFile("/proc/sys/net/ipv4/conf/all/accept_local", []byte("1"), 0))
	conn, err := server4.NewIPv4UDPConn("firmware", &net.UDPAddr{Port: dhcpv4.ClientPort})
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return "service", &firmware{t, mac, conn}
}

// ask sends a message and returns the answer; nil: there is none in a time in which there always is one.
func (f *firmware) ask(to *net.UDPAddr, m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	f.t.Helper()
	_, err := f.conn.WriteTo(m.ToBytes(), to)
	must(f.t, err)
	buf := make([]byte, 1500)
	for {
		must(f.t, f.conn.SetReadDeadline(time.Now().Add(2*time.Second)))
		n, _, err := f.conn.ReadFrom(buf)
		if err != nil {
			return nil
		}
		if r, err := dhcpv4.FromBytes(buf[:n]); err == nil && r.TransactionID == m.TransactionID && r.OpCode == dhcpv4.OpcodeBootReply {
			return r
		}
	}
}

// file loads a file by TFTP.
func (f *firmware) file(server, name string) string {
	f.t.Helper()
	c, err := tftp.NewClient(net.JoinHostPort(server, "69"))
	must(f.t, err)
	c.SetBlockSize(1468)
	w, err := c.Receive(name, "octet")
	must(f.t, err)
	var b bytes.Buffer
	_, err = w.WriteTo(&b)
	must(f.t, err)
	return b.String()
}

var everybody = &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ServerPort}

func address(t *testing.T, link, a string) {
	t.Helper()
	l, err := netlink.LinkByName(link)
	must(t, err)
	p, err := netlink.ParseAddr(a)
	must(t, err)
	must(t, netlink.AddrAdd(l, p))
}

func TestFirmwareOnAWire(t *testing.T) {
	if !alone(t) {
		return
	}
	link, f := wire(t, macOne)
	s, _ := testService(t, func(c *Config) { c.Interface = link })
	must(t, s.Start(t.Context()))
	o := withBoot(t, s)

	stranger := message(t, inventory.MAC{2, 0, 0, 0, 0, 9}, dhcpv4.MessageTypeDiscover)
	if r := f.ask(everybody, stranger); r != nil {
		t.Fatalf("a stranger is answered: %s", r.Summary())
	}
	offer := f.ask(everybody, message(t, macOne, dhcpv4.MessageTypeDiscover))
	if offer == nil {
		t.Fatal("no offer")
	}
	ack := f.ask(everybody, message(t, macOne, dhcpv4.MessageTypeRequest,
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier())), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr))))
	if ack == nil || ack.MessageType() != dhcpv4.MessageTypeAck {
		t.Fatalf("no acknowledgement: %v", ack)
	}
	ones, _ := ack.SubnetMask().Size()
	address(t, "firmware", netip.PrefixFrom(netip.MustParseAddr(ack.YourIPAddr.String()), ones).String())
	server := ack.TFTPServerName()
	if got := f.file(server, "dc-a6-32-01-36-c1/config.txt"); !strings.Contains(got, "kernel=kernel_2712.img") {
		t.Errorf("config.txt: %q", got)
	}
	if got := f.file(server, "dc-a6-32-01-36-c1/cmdline.txt"); !strings.Contains(got, "testbed.address=192.0.2.11/24") || !strings.Contains(got, "http://192.0.2.1:8069/v1/order/"+o.token) {
		t.Errorf("cmdline.txt: %q", got)
	}
	if got := f.file(server, "dc-a6-32-01-36-c1/kernel_2712.img"); len(got) != 600_000 {
		t.Errorf("the kernel has %d bytes", len(got))
	}

	must(t, s.Close())
	l, err := netlink.LinkByName(link)
	must(t, err)
	if left, err := netlink.AddrList(l, netlink.FAMILY_V4); err != nil || len(left) > 0 {
		t.Errorf("the service has left addresses behind: %v, %v", left, err)
	}
}

// TestProxyOnAWire has another server give the address: the service says only where to boot from, by broadcast to who has
// none yet, and on PXE's own port to who has.
func TestProxyOnAWire(t *testing.T) {
	if !alone(t) {
		return
	}
	link, f := wire(t, macOne)
	address(t, link, "192.0.2.1/24")
	s, _ := testService(t, func(c *Config) { c.Interface, c.Proxy = link, true })
	must(t, s.Start(t.Context()))
	withBoot(t, s)

	offer := f.ask(everybody, message(t, macOne, dhcpv4.MessageTypeDiscover))
	if offer == nil || !offer.YourIPAddr.IsUnspecified() || !bytes.Contains(offer.Options.Get(dhcpv4.OptionVendorSpecificInformation), []byte("Raspberry Pi Boot")) {
		t.Fatalf("the offer: %v", offer)
	}
	other := dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 0, 2, 99)))
	if r := f.ask(everybody, message(t, macOne, dhcpv4.MessageTypeRequest, other)); r != nil {
		t.Errorf("what was asked of the other server is answered: %s", r.Summary())
	}
	address(t, "firmware", "192.0.2.77/24")
	m := message(t, macOne, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(net.IPv4(192, 0, 2, 77)))
	if r := f.ask(&net.UDPAddr{IP: offer.ServerIPAddr, Port: 4011}, m); r == nil || r.MessageType() != dhcpv4.MessageTypeAck {
		t.Errorf("on port 4011: %v", r)
	}
	if got := f.file("192.0.2.1", "dc-a6-32-01-36-c1/cmdline.txt"); !strings.Contains(got, "testbed.address=192.0.2.") {
		t.Errorf("cmdline.txt: %q", got)
	}
	must(t, s.Close())
}
