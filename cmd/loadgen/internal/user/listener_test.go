// SPDX-License-Identifier: Apache-2.0

package user

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// listener is a socket that accepts nothing and whose backlog is full: no SYN is answered.
type listener struct {
	addr    netip.AddrPort
	fd      int
	fillers []net.Conn
}

// bound returns a socket with a port of its own on [::1], which nobody else gets.
func bound() (fd int, addr netip.AddrPort, err error) {
	fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, addr, err
	}
	err = unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()})
	sa, e := unix.Getsockname(fd)
	if err = errors.Join(err, e); err != nil {
		_ = unix.Close(fd)
		return -1, addr, err
	}
	return fd, netip.AddrPortFrom(netip.IPv6Loopback(), uint16(sa.(*unix.SockaddrInet6).Port)), nil
}

func fullListener() (*listener, error) {
	fd, addr, err := bound()
	if err != nil {
		return nil, err
	}
	l := &listener{fd: fd, addr: addr}
	if err := unix.Listen(fd, 0); err != nil {
		l.close()
		return nil, err
	}
	for range 10 {
		c, err := net.DialTimeout("tcp", l.addr.String(), 500*time.Millisecond)
		if timedOut(err) {
			return l, nil
		}
		if err != nil {
			l.close()
			return nil, err
		}
		l.fillers = append(l.fillers, c)
	}
	l.close()
	return nil, fmt.Errorf("a backlog of 0 took %d connections", len(l.fillers))
}

func (l *listener) close() {
	for _, c := range l.fillers {
		c.Close()
	}
	_ = unix.Close(l.fd)
}
