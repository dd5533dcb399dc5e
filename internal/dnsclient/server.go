// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// Server is a recursive resolver at an address. Each query has a socket of its own, as with
// a platform's stub resolver: a fresh source port (RFC 5452 §9.2), and no late reply mistaken for another's.
type Server netip.AddrPort

// Exchange sends query once and returns the reply with its ID.
func (s Server) Exchange(ctx context.Context, network string, query *dns.Msg) (*dns.Msg, error) {
	return s.From(netip.Addr{}).Exchange(ctx, network, query)
}

// From returns the resolver as it is asked from a source address, which may belong to a prefix that
// is routed to this machine without being configured. An invalid address leaves it to the kernel.
func (s Server) From(source netip.Addr) Exchanger { return stub{s, source} }

// stub asks a server from a source address.
type stub struct {
	server Server
	source netip.Addr
}

func (s stub) Exchange(ctx context.Context, network string, query *dns.Msg) (*dns.Msg, error) {
	// The context's deadline rules; a generous timeout switches off the library's own of 2 s.
	c := dns.Client{Net: network, Timeout: time.Hour}
	if s.source.IsValid() {
		c.Dialer = &net.Dialer{Timeout: time.Hour, Control: func(_, _ string, raw syscall.RawConn) (err error) {
			if e := raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
			}); e != nil {
				return e
			}
			return err
		}}
		if network == "udp" {
			c.Dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.source, 0))
		} else {
			c.Dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.source, 0))
		}
	}
	reply, _, err := c.ExchangeContext(ctx, query, netip.AddrPort(s.server).String())
	return reply, err
}

// String returns the server's address.
func (s stub) String() string { return s.server.String() }

// String returns the address as "[::1]:53".
func (s Server) String() string { return netip.AddrPort(s).String() }

// ParseServer reads a resolver's address: "[::1]:53", "::1" or "192.0.2.1"; the port is 53 when left out.
func ParseServer(s string) (Server, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return Server(netip.AddrPortFrom(a, 53)), nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Port() == 0 {
		return Server{}, fmt.Errorf("%q is no address of a resolver (hint: [::1]:53 or ::1)", s)
	}
	return Server(ap), nil
}

// SystemServer returns the first resolver that the resolv.conf at path names.
// Its search list and options are not used: simulated clients ask for absolute names.
func SystemServer(path string) (Server, error) {
	conf, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return Server{}, fmt.Errorf("reading resolvers: %w", err)
	}
	if len(conf.Servers) == 0 {
		return Server{}, fmt.Errorf("reading resolvers: %s names none: %w", path, os.ErrNotExist)
	}
	port, err := strconv.ParseUint(conf.Port, 10, 16)
	if err != nil {
		return Server{}, fmt.Errorf("reading resolvers: %s: port %q: %w", path, conf.Port, err)
	}
	a, err := netip.ParseAddr(conf.Servers[0])
	if err != nil {
		return Server{}, fmt.Errorf("reading resolvers: %s: %w", path, err)
	}
	return Server(netip.AddrPortFrom(a, uint16(port))), nil
}
