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

func fullListener() (*listener, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	l := &listener{fd: fd}
	if err := errors.Join(
		unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}),
		unix.Listen(fd, 0)); err != nil {
		l.close()
		return nil, err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		l.close()
		return nil, err
	}
	l.addr = netip.AddrPortFrom(netip.IPv6Loopback(), uint16(sa.(*unix.SockaddrInet6).Port))
	for range 10 {
		c, err := net.DialTimeout("tcp", l.addr.String(), 200*time.Millisecond)
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
