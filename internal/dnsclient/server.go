// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/miekg/dns"
)

// Server is a recursive resolver at an address. Each query has a socket of its own, as with
// a platform's stub resolver: a fresh source port (RFC 5452 §9.2), and no late reply mistaken for another's.
type Server netip.AddrPort

// Exchange sends query once and returns the reply with its ID.
func (s Server) Exchange(ctx context.Context, network string, query *dns.Msg) (*dns.Msg, error) {
	// The context's deadline rules; a generous timeout switches off the library's own of 2 s.
	c := dns.Client{Net: network, Timeout: time.Hour}
	reply, _, err := c.ExchangeContext(ctx, query, netip.AddrPort(s).String())
	return reply, err
}

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
