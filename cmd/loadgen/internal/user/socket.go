// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a TCP connection to one address. It is made by hand because a dial of package net costs
// a goroutine, two timers and two system calls more, about a seventh of the CPU time of a request,
// and may connect twice. The runtime's poller and os.File do the waiting.
type socket struct {
	*os.File
	raw syscall.RawConn
	to  netip.AddrPort

	now  turn
	step func(uintptr) bool // receive, as a value that is made once
	peek func(uintptr)
	dead bool
}

// connect makes a connection by the deadline, from where a user's connections come. When ctx ends first it gives up.
func connect(ctx context.Context, to netip.AddrPort, from origin, deadline time.Time) (*socket, error) {
	tries := 1
	if from.ports != nil {
		tries = from.ports.size
	}
	var err error
	for range tries {
		var s *socket
		if s, err = connectOnce(ctx, to, from, deadline); err == nil {
			return s, nil
		}
		if from.ports == nil || !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			break
		}
		// The port is in use, or was lately to the same place: the next one.
	}
	return nil, fmt.Errorf("connecting to %s: %w", to, err)
}

func connectOnce(ctx context.Context, to netip.AddrPort, from origin, deadline time.Time) (*socket, error) {
	remote, family, err := sockaddr(to)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "tcp")
	raw, err := f.SyscallConn()
	if err == nil {
		err = f.SetDeadline(deadline)
	}
	if err == nil && ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })()
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = bind(fd, to, from)
	}
	if err == nil {
		err = await(raw, remote)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &socket{File: f, raw: raw, to: to}, nil
}

// bind gives a new socket its source. An address may belong to a prefix that is routed to this
// machine without being configured (ip route add local PREFIX dev lo), and without ports of the
// user's own the choice of the port is left to connect, so that each pair of addresses has all ports.
func bind(fd int, to netip.AddrPort, from origin) error {
	if !from.addr.IsValid() && from.ports == nil {
		return nil
	}
	at := from.addr
	if !at.IsValid() {
		at = netip.IPv6Unspecified()
		if to.Addr().Unmap().Is4() {
			at = netip.IPv4Unspecified()
		}
	}
	port := uint16(0)
	if from.ports != nil {
		port = from.ports.take()
		// A port of which a connection has just ended may be used again towards another address.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
	} else if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	local, _, err := sockaddr(netip.AddrPortFrom(at, port))
	if err != nil {
		return err
	}
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1),
		unix.Bind(fd, local))
}

// openUDP returns a UDP socket that is connected to an address, from where a user's connections come.
func openUDP(to netip.AddrPort, from origin) (*net.UDPConn, error) {
	tries := 1
	if from.ports != nil {
		tries = from.ports.size
	}
	var err error
	for range tries {
		d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
			if e := raw.Control(func(fd uintptr) { err = bindUDP(int(fd), to, from) }); e != nil {
				return e
			}
			return err
		}}
		var c net.Conn
		if c, err = d.Dial("udp", to.String()); err == nil {
			return c.(*net.UDPConn), nil
		}
		if from.ports == nil || !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return nil, err
}

func bindUDP(fd int, to netip.AddrPort, from origin) error {
	if !from.addr.IsValid() && from.ports == nil {
		return nil
	}
	at, port := from.addr, uint16(0)
	if !at.IsValid() {
		at = netip.IPv6Unspecified()
		if to.Addr().Unmap().Is4() {
			at = netip.IPv4Unspecified()
		}
	}
	if from.ports != nil {
		port = from.ports.take()
	}
	local, _, err := sockaddr(netip.AddrPortFrom(at, port))
	if err != nil {
		return err
	}
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1),
		unix.Bind(fd, local))
}

// await connects within the poller's Write, which has begun to listen by then, so that no event is
// missed. The poller may wake for nothing (an unconnected socket counts as hung up); asking again
// by connect itself tells: EALREADY until it is decided, then 0, EISCONN or the error.
func await(raw syscall.RawConn, to unix.Sockaddr) error {
	var result error
	err := raw.Write(func(fd uintptr) (done bool) {
		result = unix.Connect(int(fd), to)
		switch {
		case errors.Is(result, unix.EISCONN):
			result = nil
		case errors.Is(result, unix.EINPROGRESS), errors.Is(result, unix.EALREADY), errors.Is(result, unix.EINTR):
			return false
		}
		return true
	})
	if err != nil {
		return err // the deadline
	}
	return result
}

func sockaddr(a netip.AddrPort) (unix.Sockaddr, int, error) {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}, unix.AF_INET, nil
	}
	sa := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" {
		i, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, 0, fmt.Errorf("finding interface %q: %w", zone, err)
		}
		sa.ZoneId = uint32(i.Index)
	}
	return sa, unix.AF_INET6, nil
}

// RemoteAddr and LocalAddr make a net.Conn, for crypto/tls; the local address is not looked up.
func (s *socket) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.to) }

// LocalAddr returns an unspecified address.
func (s *socket) LocalAddr() net.Addr { return &net.TCPAddr{} }
