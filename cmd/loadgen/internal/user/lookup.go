// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/internal/dnsclient"
	"github.com/dnsingress/dnsingress/internal/results"
)

// resolutionDelay is how long the A answer waits for the AAAA answer (RFC 8305 §3).
const resolutionDelay = 50 * time.Millisecond

// found is what a lookup gave.
type found struct {
	addrs []netip.Addr
	parts []dnsclient.Result // of the questions that were asked
	more  <-chan part        // the other family's answer, which has not come yet (RFC 8305 §3); nil: there is none to come
}

// part is the end of a lookup for one family.
type part struct {
	dnsclient.Result
	err error
}

// late waits for answers that came too late, and returns how long after the lookup's begin the first came; 0 is none.
func (f *found) late(within time.Duration) (after time.Duration) {
	end := time.Now().Add(within)
	for _, r := range f.parts {
		if d := r.Late(time.Until(end)); d > 0 && (after == 0 || d < after) {
			after = d
		}
	}
	return after
}

// arrange returns the addresses in the order in which this user tries them for request seq. What is
// drawn depends on the request's number alone: so the next attempt takes the next address of one
// order, and a seed draws the same however requests overlap.
func (u *User) arrange(addrs []netip.Addr, seq uint64) []netip.Addr {
	if len(addrs) == 1 {
		return addrs
	}
	var rng *rand.Rand
	if u.habits.Order == dnsclient.OrderRandom {
		rng = rand.New(rand.NewPCG(u.seed, seq))
	}
	out := u.habits.Order.Arrange(addrs, u.sourceFor, rng)
	if u.habits.FailedFor > 0 {
		u.memory.demote(out, time.Now())
	}
	return out
}

// untried returns the first address that is not among those tried; when all are, the n-th in turn.
func untried(addrs, tried []netip.Addr, n int) netip.Addr {
	for _, a := range addrs {
		if !slices.Contains(tried, a) {
			return a
		}
	}
	return addrs[n%len(addrs)]
}

// find returns the target's addresses, noting in s what that took.
func (u *User) find(deadline time.Time, s *results.Sample) (*found, error) {
	if addrs := u.habits.Addresses; len(addrs) > 0 {
		return &found{addrs: addrs}, nil
	}
	if addrs := u.habits.Target.local(); addrs != nil {
		return &found{addrs: addrs}, nil
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	begin := time.Now()
	f, err := u.lookup(ctx)
	s.DNSCached = len(f.parts) > 0
	for _, r := range f.parts {
		s.DNSCached = s.DNSCached && r.Cached
		s.DNSQueries += int32(len(r.Queries))
	}
	if !s.DNSCached {
		s.DNSNs = int64(time.Since(begin))
	}
	return f, err
}

func (u *User) lookup(ctx context.Context) (*found, error) {
	f := &found{}
	ask := func(qtype uint16) error {
		r, err := u.dns.Lookup(ctx, u.habits.Target.Name, qtype)
		f.addrs, f.parts = r.Addrs, append(f.parts, r)
		return err
	}
	switch {
	case u.habits.Family == IPv4:
		return f, ask(dns.TypeA)
	case u.habits.Family == IPv6:
		return f, ask(dns.TypeAAAA)
	case u.habits.Order == dnsclient.OrderHappyEyeballs:
		return u.lookupBoth(ctx)
	}
	err := ask(dns.TypeAAAA)
	if e, ok := err.(*dnsclient.Error); ok && e.Kind == dnsclient.NoData {
		err = ask(dns.TypeA)
	}
	return f, err
}

// lookupBoth asks for both families at once (RFC 8305 §3). The answer with addresses that comes
// first waits for the other only when it is A, and then only for the resolution delay; what comes
// later than that is for the race, and in the cache for the next connection.
func (u *User) lookupBoth(ctx context.Context) (*found, error) {
	ask := func(qtype uint16) <-chan part {
		c := make(chan part, 1)
		go func() {
			own, cancel := outlive(ctx)
			defer cancel()
			r, err := u.dns.Lookup(own, u.habits.Target.Name, qtype)
			c <- part{r, err}
		}()
		return c
	}
	six, four := ask(dns.TypeAAAA), ask(dns.TypeA)
	f := &found{}
	var errs [2]error
	take := func(i int, r part) {
		f.addrs, f.parts, errs[i] = append(f.addrs, r.Addrs...), append(f.parts, r.Result), r.err
	}
	select {
	case r := <-six:
		// No AAAA: A is all there is. An AAAA answer goes on with the A that is there, if it is.
		if take(0, r); r.err != nil {
			take(1, <-four)
			break
		}
		select {
		case r := <-four:
			take(1, r)
		default:
			f.more = four
		}
	case r := <-four:
		take(1, r)
		var delay <-chan time.Time
		if r.err == nil {
			timer := time.NewTimer(resolutionDelay)
			defer timer.Stop()
			delay = timer.C
		}
		select {
		case r := <-six:
			take(0, r)
		case <-delay:
			f.more = six
		}
	}
	if len(f.addrs) > 0 {
		return f, nil
	}
	if e, ok := errs[0].(*dnsclient.Error); ok && e.Kind == dnsclient.NoData {
		return f, errs[1] // the name exists: what A says decides
	}
	return f, errs[0]
}

// outlive returns a context that ends when ctx's deadline passes, and not when ctx is given up.
func outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(context.WithoutCancel(ctx), deadline)
	}
	return context.WithCancel(context.WithoutCancel(ctx))
}

// routes remembers which source address the kernel uses towards a destination. All users share it.
type routes struct {
	port uint16

	mu    sync.Mutex
	known map[netip.Addr]route
}

type route struct {
	source netip.Prefix
	until  time.Time
}

// routeLife bounds how long a change of routes goes unseen.
const routeLife = time.Second

func newRoutes(port uint16) *routes { return &routes{port: port, known: map[netip.Addr]route{}} }

func (r *routes) source(to netip.Addr) netip.Prefix {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.known[to]; ok && now.Before(k.until) {
		return k.source
	}
	if len(r.known) >= 1<<16 {
		clear(r.known)
	}
	k := route{ask(netip.AddrPortFrom(to, r.port)), now.Add(routeLife)}
	r.known[to] = k
	return k.source
}

// ask asks the kernel which source address it would use, as glibc's getaddrinfo does: a connected
// UDP socket sends nothing.
func ask(to netip.AddrPort) netip.Prefix {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Prefix{}
	}
	defer c.Close()
	return onLink(c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap())
}

// onLink returns a source address with the length of its on-link prefix, taken to be /64 (RFC 4291 §2.5.1).
func onLink(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(a, 32)
	}
	return netip.PrefixFrom(a.WithZone(""), 64)
}

func (u *User) sourceFor(to netip.Addr) netip.Prefix {
	if u.from.addr.IsValid() {
		return onLink(u.from.addr)
	}
	return u.routes.source(to)
}
