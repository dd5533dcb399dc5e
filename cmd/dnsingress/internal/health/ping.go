// SPDX-License-Identifier: Apache-2.0

package health

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Protocol numbers for reading ICMP messages (IANA).
const (
	protocolICMP   = 1
	protocolICMPv6 = 58
)

// ping sends one echo request and waits for its reply. It needs either the right to open ping sockets
// (net.ipv4.ping_group_range, which serves IPv6 as well) or the capability NET_RAW.
func ping(ctx context.Context, address netip.Addr) error {
	address = address.Unmap()
	var request icmp.Type = ipv6.ICMPTypeEchoRequest
	var answer icmp.Type = ipv6.ICMPTypeEchoReply
	protocol := protocolICMPv6
	if address.Is4() {
		request, answer, protocol = ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply, protocolICMP
	}
	conn, to, err := listenPing(address)
	if err != nil {
		return fmt.Errorf("opening a socket for ICMP: %w (hint: net.ipv4.ping_group_range or the capability NET_RAW)", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	// The token tells our reply from others': on a raw socket they all arrive, and on a ping socket the kernel
	// chooses the identifier.
	token := make([]byte, 16)
	_, _ = rand.Read(token) // it never fails
	message, err := (&icmp.Message{Type: request, Body: &icmp.Echo{ID: os.Getpid() & 0xffff, Seq: 1, Data: token}}).Marshal(nil)
	if err != nil {
		return err
	}
	if _, err := conn.WriteTo(message, to); err != nil {
		return err
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("no echo reply: %w", ctx.Err())
			}
			return err
		}
		if addressOf(from) != address {
			continue
		}
		m, err := icmp.ParseMessage(protocol, buf[:n])
		if err != nil || m.Type != answer {
			continue
		}
		if echo, ok := m.Body.(*icmp.Echo); ok && bytes.Equal(echo.Data, token) {
			return nil
		}
	}
}

// listenPing opens a ping socket, or a raw one where that is not allowed, and gives the address in its form.
func listenPing(address netip.Addr) (*icmp.PacketConn, net.Addr, error) {
	unprivileged, raw, local := "udp6", "ip6:ipv6-icmp", "::"
	if address.Is4() {
		unprivileged, raw, local = "udp4", "ip4:icmp", "0.0.0.0"
	}
	conn, err := icmp.ListenPacket(unprivileged, local)
	if err == nil {
		return conn, &net.UDPAddr{IP: address.AsSlice(), Zone: address.Zone()}, nil
	}
	if conn, rawErr := icmp.ListenPacket(raw, local); rawErr == nil {
		return conn, &net.IPAddr{IP: address.AsSlice(), Zone: address.Zone()}, nil
	}
	return nil, nil, err
}

// addressOf is the address of a peer of either kind of socket.
func addressOf(a net.Addr) netip.Addr {
	var ip net.IP
	var zone string
	switch a := a.(type) {
	case *net.UDPAddr:
		ip, zone = a.IP, a.Zone
	case *net.IPAddr:
		ip, zone = a.IP, a.Zone
	}
	address, _ := netip.AddrFromSlice(ip)
	return address.Unmap().WithZone(zone)
}
