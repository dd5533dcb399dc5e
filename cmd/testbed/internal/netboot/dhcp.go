// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/vishvananda/netlink"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
)

// leaseTime is long enough for the slowest card, and short enough to be forgotten on the same day.
const leaseTime = 2 * time.Hour

// raspberryPi is the option 43 that a Raspberry Pi's firmware wants to see before it takes a server for its own
// (PXE specification 2.1 §2.2.3): it looks for the boot menu's text.
var raspberryPi = append(append([]byte{
	6, 1, 3, // PXE_DISCOVERY_CONTROL: no broadcast, no multicast discovery
	10, 4, 0, 'P', 'X', 'E', // PXE_MENU_PROMPT: boot at once
	9, 20, 0, 0, 17, // PXE_BOOT_MENU: type 0, 17 bytes
}, "Raspberry Pi Boot"...), 255)

// bootScript is what a PC's iPXE loads by TFTP, below the directory of its MAC address.
const bootScript = "boot.ipxe"

// address gives the interface the service's address, where it has it not yet.
func (s *Service) address(context.Context) (func() error, error) {
	if s.Interface == "" {
		return nil, nil
	}
	link, err := netlink.LinkByName(s.Interface)
	if err != nil {
		return nil, err
	}
	has, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return nil, err
	}
	for _, a := range has {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.Unmap() == s.Address.Addr() {
			return nil, nil
		}
	}
	a := &netlink.Addr{IPNet: &net.IPNet{IP: s.Address.Addr().AsSlice(), Mask: net.CIDRMask(s.Address.Bits(), 32)}}
	if err := netlink.AddrAdd(link, a); err != nil {
		return nil, err
	}
	return func() error { return netlink.AddrDel(link, a) }, nil
}

// serveDHCP answers on DHCP's port and, as a proxy, on PXE's (PXE specification 2.1 §2.2.1).
func (s *Service) serveDHCP(context.Context) (func() error, error) {
	handle := func(conn net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) {
		reply := s.answer(m)
		if reply == nil {
			return
		}
		// Who has no address yet, or none that it says, hears broadcasts alone.
		if m.ClientIPAddr.IsUnspecified() && !s.atProxyPort(conn) {
			peer = &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort}
		}
		if _, err := conn.WriteTo(reply.ToBytes(), peer); err != nil {
			s.Log.Warn("answering DHCP", "mac", m.ClientHWAddr, "error", err)
		}
	}
	main, err := s.listenDHCP(s.ports.dhcp, handle)
	if err != nil || !s.Proxy {
		return main, err
	}
	second, err := s.listenDHCP(s.ports.proxy, handle)
	if err != nil {
		_ = main()
		return nil, err
	}
	return func() error { _ = main(); return second() }, nil
}

func (s *Service) listenDHCP(port int, handle server4.Handler) (func() error, error) {
	server, err := server4.NewServer(s.Interface, &net.UDPAddr{IP: net.IPv4zero, Port: port}, handle)
	if err != nil {
		return nil, err
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve() // ends with Close
	}()
	return func() error {
		err := server.Close()
		<-served
		return err
	}, nil
}

func (s *Service) atProxyPort(conn net.PacketConn) bool {
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	return ok && local.Port == s.ports.proxy
}

// answer says what a message is answered with; nil: with nothing. Only firmware that wants to boot is answered
// (its class begins with PXEClient), of nodes that have an offer: a system that runs, and any other machine, gets
// its addresses from whom it got them before.
func (s *Service) answer(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	if m.OpCode != dhcpv4.OpcodeBootRequest || len(m.ClientHWAddr) != 6 || !strings.HasPrefix(m.ClassIdentifier(), "PXEClient") {
		return nil
	}
	o := s.offered(inventory.MAC(m.ClientHWAddr))
	if o == nil {
		return nil
	}
	own := s.Address.Addr().AsSlice()
	var kind dhcpv4.MessageType
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		kind = dhcpv4.MessageTypeOffer
		o.report(context.Background(), order.Report{Step: order.Asked})
	case dhcpv4.MessageTypeRequest:
		if id := m.ServerIdentifier(); id != nil && !id.Equal(own) {
			return nil // it took another server's offer
		}
		kind = dhcpv4.MessageTypeAck
	default:
		return nil
	}
	mods := []dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithServerIP(own),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(own)),
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient")),
		dhcpv4.WithOption(dhcpv4.OptTFTPServerName(s.Address.Addr().String())),
	}
	if guid := m.Options.Get(dhcpv4.OptionClientMachineIdentifier); guid != nil {
		mods = append(mods, dhcpv4.WithGeneric(dhcpv4.OptionClientMachineIdentifier, guid))
	}
	if !s.Proxy {
		mods = append(mods,
			dhcpv4.WithYourIP(o.client.Address.AsSlice()),
			dhcpv4.WithNetmask(net.CIDRMask(s.Address.Bits(), 32)),
			dhcpv4.WithLeaseTime(uint32(leaseTime.Seconds())),
		)
	}
	reply, err := dhcpv4.NewReplyFromRequest(m, mods...)
	if err != nil {
		s.Log.Warn("answering DHCP", "mac", m.ClientHWAddr, "error", err)
		return nil
	}
	if isIPXE(m) {
		// iPXE would take a boot menu as a reason to look for boot servers.
		reply.BootFileName = prefix(o.client.MAC) + bootScript
		reply.UpdateOption(dhcpv4.OptBootFileName(reply.BootFileName))
	} else {
		reply.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, raspberryPi))
	}
	return reply
}

// isIPXE says whether it is iPXE that asks, which says so in its user class (RFC 3004, but without its lengths).
func isIPXE(m *dhcpv4.DHCPv4) bool {
	return bytes.Contains(m.Options.Get(dhcpv4.OptionUserClassInformation), []byte("iPXE"))
}

// prefix is the directory that a Raspberry Pi with TFTP_PREFIX=2 asks for its files in: "dc-a6-32-01-36-c2/".
func prefix(mac inventory.MAC) string { return strings.ReplaceAll(mac.String(), ":", "-") + "/" }
