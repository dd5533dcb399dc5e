// SPDX-License-Identifier: Apache-2.0

package user

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"

	"github.com/dnsingress/dnsingress/internal/dnsclient"
)

// NewPopulation returns n users. What they draw is decided by seed.
func NewPopulation(n int, h *Habits, traits Traits, seed uint64) ([]*User, error) {
	users := make([]*User, n)
	origin := h.Sources.Masked().Addr()
	routes := newRoutes(h.Target.Port)
	habits := h.spread(traits.deal(n, h, seed))
	for i := range users {
		u := &User{
			id:     int32(i),
			habits: habits[i],
			seed:   rand.New(rand.NewPCG(seed, uint64(i))).Uint64(),
			routes: routes,
			budget: budget{share: h.RetryBudget, saved: 1},
		}
		u.conns.limits = limits{h.MaxRequests, h.MaxAge, h.MaxIdle}
		u.shared.limits = u.conns.limits
		if h.Sources.IsValid() {
			origin = origin.Next()
			if !h.Sources.Contains(origin) {
				return nil, fmt.Errorf("prefix %s has no address for each of %d clients", h.Sources, n)
			}
			u.from.addr = origin
		}
		if h.Ports.set() {
			if h.Ports.count() < n {
				return nil, fmt.Errorf("ports %s are fewer than %d clients", h.Ports, n)
			}
			u.from.ports = h.Ports.slice(i, n)
		}
		if h.AsksDNS() {
			config := u.habits.DNS
			if config.Exchanger == nil {
				config.Exchanger = h.Resolver.From(netip.Addr{})
				if netip.AddrPort(h.Resolver).Addr().Is4() == u.from.addr.Is4() { // else it cannot be asked from there
					config.Exchanger = h.Resolver.From(u.from.addr)
				}
			}
			u.dns = dnsclient.New(config)
		}
		users[i] = u
	}
	return users, nil
}

// deal returns the habits of each of n users. Users of the same habits share them.
func (t Traits) deal(n int, h *Habits, seed uint64) []*Habits {
	type kind struct {
		ttl       dnsclient.TTL
		order     dnsclient.Order
		protocol  Protocol
		keepAlive bool
	}
	kinds := make([]kind, n)
	for i := range kinds {
		kinds[i] = kind{h.DNS.TTL, h.Order, h.Protocol, h.KeepAlive}
	}
	// Each trait is dealt by itself, so that they do not depend on each other.
	stream := uint64(0)
	next := func() *rand.Rand { stream++; return rand.New(rand.NewPCG(seed, ^stream)) }
	each(t.TTL, n, next(), func(i int, v dnsclient.TTL) { kinds[i].ttl = v })
	each(t.Order, n, next(), func(i int, v dnsclient.Order) { kinds[i].order = v })
	each(t.Protocol, n, next(), func(i int, v Protocol) { kinds[i].protocol = v })
	each(t.KeepAlive, n, next(), func(i int, v bool) { kinds[i].keepAlive = v })

	known := map[kind]*Habits{{h.DNS.TTL, h.Order, h.Protocol, h.KeepAlive}: h}
	out := make([]*Habits, n)
	for i, k := range kinds {
		own, ok := known[k]
		if !ok {
			c := *h
			c.DNS.TTL, c.Order, c.Protocol, c.KeepAlive = k.ttl, k.order, k.protocol, k.keepAlive
			own = &c
			known[k] = own
		}
		out[i] = own
	}
	return out
}

// spread gives users the targets in turn: the first h.Target, and so on. Users of the same habits and target share them.
func (h *Habits) spread(habits []*Habits) []*Habits {
	if len(h.Others) == 0 {
		return habits
	}
	type kind struct {
		habits *Habits
		target *Target
	}
	known := map[kind]*Habits{}
	for i, of := range habits {
		k := kind{of, h.Target}
		if n := i % (len(h.Others) + 1); n > 0 {
			k.target = h.Others[n-1]
		}
		if known[k] == nil {
			own := *of
			own.Target = k.target
			if own.TLS != nil && k.target != h.Target {
				own.TLS = own.TLS.Clone()
				own.TLS.ServerName = k.target.Name
			}
			known[k] = &own
		}
		habits[i] = known[k]
	}
	return habits
}

func each[T any](s Shares[T], n int, rng *rand.Rand, set func(int, T)) {
	if len(s) == 0 {
		return
	}
	for i, v := range s.deal(n, rng) {
		set(i, v)
	}
}

// Settle waits until everything about the attempts of users that ended is noted.
func Settle(users []*User) {
	for _, u := range users {
		u.pending.Wait()
	}
}

// Close closes the users' connections, and waits until everything about their attempts is noted.
func Close(users []*User) {
	var all sync.WaitGroup
	for _, u := range users {
		all.Go(u.Close)
	}
	all.Wait()
}

// origin is where a user's connections come from.
type origin struct {
	addr  netip.Addr // invalid: the kernel's choice
	ports *portRing  // nil: the kernel's choice
}
