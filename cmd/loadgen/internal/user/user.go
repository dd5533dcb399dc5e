// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/dnsclient"
	"github.com/dnsingress/dnsingress/internal/results"
)

// Family is which addresses a user asks for.
type Family string

// The families. Auto asks for AAAA, and for A when there is no AAAA.
const (
	Auto Family = "auto"
	IPv6 Family = "ipv6"
	IPv4 Family = "ipv4"
)

// Habits are what the users of a population have in common.
type Habits struct {
	Client   string // name of the node, for the samples
	Target   *Target
	Timeout  time.Duration // of one attempt, all phases together, from its actual send
	Attempts int           // per request, at least 1
	MaxBody  int64         // bytes

	KeepAlive   bool
	MaxRequests int           // on one connection; 0 is no limit
	MaxAge      time.Duration // of a connection that is given another request; 0 is no limit
	MaxIdle     time.Duration // between requests; 0 is no limit

	Addresses []netip.Addr     // when set, no DNS is asked
	DNS       dnsclient.Config // otherwise
	Family    Family
	Order     dnsclient.Order
	Sources   netip.Prefix // when valid, user n sends from its n-th address (1 is the first)
	TLS       *tls.Config
}

// User is one simulated client. It is safe for concurrent use: the load is open loop, so a user
// may have several requests in flight.
type User struct {
	id     int32
	habits *Habits
	dns    *dnsclient.Client
	source netip.Addr
	seed   uint64 // of what the user draws
	conns  pool
}

// NewPopulation returns n users. What they draw is decided by seed.
func NewPopulation(n int, h *Habits, seed uint64) ([]*User, error) {
	users := make([]*User, n)
	source := h.Sources.Masked().Addr()
	for i := range users {
		u := &User{
			id:     int32(i),
			habits: h,
			conns:  pool{maxRequests: h.MaxRequests, maxAge: h.MaxAge, maxIdle: h.MaxIdle},
			seed:   rand.New(rand.NewPCG(seed, uint64(i))).Uint64(),
		}
		if h.Sources.IsValid() {
			source = source.Next()
			if !h.Sources.Contains(source) {
				return nil, fmt.Errorf("prefix %s has no address for each of %d clients", h.Sources, n)
			}
			u.source = source
		}
		if h.AsksDNS() {
			u.dns = dnsclient.New(h.DNS)
		}
		users[i] = u
	}
	return users, nil
}

// AsksDNS reports whether the users have to look the target's name up.
func (h *Habits) AsksDNS() bool { return len(h.Addresses) == 0 && h.Target.local() == nil }

// local returns the addresses of a host that is an address itself, or is localhost (RFC 6761 §6.3), else nil.
func (t *Target) local() []netip.Addr {
	name := strings.ToLower(strings.TrimSuffix(t.Name, "."))
	switch {
	case t.addr.IsValid():
		return []netip.Addr{t.addr}
	case name == "localhost" || strings.HasSuffix(name, ".localhost"):
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	return nil
}

// Do makes one request that was due at intended, and notes every attempt.
func (u *User) Do(seq uint64, intended time.Time, note record.Note) {
	for n := range max(u.habits.Attempts, 1) {
		sent := time.Now()
		s := results.Sample{
			Client: u.habits.Client, User: u.id, Seq: seq, Attempt: int32(n),
			IntendedNs: intended.UnixNano(),
			SentNs:     intended.UnixNano() + int64(sent.Sub(intended)), // by the monotonic clock
		}
		c, keep, err := u.attempt(sent, n, &s)
		s.TotalNs = int64(time.Since(intended))
		s.Error = class(err)
		last := err == nil || n+1 >= u.habits.Attempts
		note(&s, last, err)
		if c != nil {
			u.conns.release(c, keep && u.habits.KeepAlive)
		}
		if last {
			return
		}
	}
}

// Close closes the idle connections.
func (u *User) Close() { u.conns.close() }

func (u *User) attempt(sent time.Time, n int, s *results.Sample) (c *conn, keep bool, err error) {
	deadline := sent.Add(u.habits.Timeout)
	if u.habits.KeepAlive {
		c = u.conns.take(sent)
	}
	if s.Reused = c != nil; s.Reused {
		s.Peer = c.peer
	} else {
		to, err := u.address(deadline, n, s)
		if err != nil {
			return nil, false, lookupFailure(err)
		}
		if c, err = dial(u.habits.Target, to, u.source, u.habits.TLS, deadline, s); err != nil {
			return nil, false, err
		}
	}
	keep, err = c.exchange(u.habits.Target, deadline, u.habits.MaxBody, s)
	return c, keep, err
}

// address returns the one address that the n-th attempt of a request goes to.
func (u *User) address(deadline time.Time, n int, s *results.Sample) (netip.Addr, error) {
	addrs := u.habits.Addresses
	if len(addrs) == 0 {
		if addrs = u.habits.Target.local(); addrs != nil {
			return addrs[n%len(addrs)], nil
		}
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		defer cancel()
		begin := time.Now()
		var cached bool
		var err error
		addrs, cached, err = u.lookup(ctx)
		if s.DNSCached = cached; !cached {
			s.DNSNs = int64(time.Since(begin))
		}
		if err != nil {
			return netip.Addr{}, err
		}
	}
	if len(addrs) == 1 {
		return addrs[0], nil
	}
	// What is drawn depends on the request's number alone: so the next attempt takes the next address of one order,
	// and a seed draws the same however requests overlap.
	arranged := u.habits.Order.Arrange(addrs, u.sourceFor, rand.New(rand.NewPCG(u.seed, s.Seq)))
	return arranged[n%len(arranged)], nil
}

func (u *User) lookup(ctx context.Context) ([]netip.Addr, bool, error) {
	ask := func(qtype uint16) ([]netip.Addr, bool, error) {
		r, err := u.dns.Lookup(ctx, u.habits.Target.Name, qtype)
		return r.Addrs, r.Cached, err
	}
	if u.habits.Family == IPv4 {
		return ask(dns.TypeA)
	}
	addrs, cached, err := ask(dns.TypeAAAA)
	if e, ok := err.(*dnsclient.Error); ok && e.Kind == dnsclient.NoData && u.habits.Family == Auto {
		var also bool
		addrs, also, err = ask(dns.TypeA)
		cached = cached && also
	}
	return addrs, cached, err
}

// sourceFor asks the kernel which source address it would use, as glibc's getaddrinfo does: a
// connected UDP socket sends nothing. On-link prefixes are taken to be /64 (RFC 4291 §2.5.1).
func (u *User) sourceFor(to netip.Addr) netip.Prefix {
	from := u.source
	if !from.IsValid() {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, u.habits.Target.Port)))
		if err != nil {
			return netip.Prefix{}
		}
		defer c.Close()
		from = c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	}
	if from.Is4() {
		return netip.PrefixFrom(from, 32)
	}
	return netip.PrefixFrom(from.WithZone(""), 64)
}
