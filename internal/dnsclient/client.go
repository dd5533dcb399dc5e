// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// udpSize is the reply size offered by EDNS: what crosses every IPv6 path unfragmented.
const udpSize = 1232

// Exchanger sends one query and returns the reply to it: one packet or stream, no retry.
// The network is "udp" or "tcp". The context carries the deadline.
type Exchanger interface {
	Exchange(ctx context.Context, network string, query *dns.Msg) (*dns.Msg, error)
}

// Config is what makes one client differ from another.
type Config struct {
	Exchanger Exchanger
	Timeout   time.Duration // of one attempt, after which the next begins; must be positive
	Attempts  int           // allowed in one lookup; 0 is 1
	Deadline  time.Duration // of one lookup, all its attempts; 0: it ends when its last attempt does
	// Linger is how long after the deadline an answer is still listened for, to be told as late;
	// it is never used. 0 is not at all.
	Linger time.Duration
	TTL    TTL
	Now    func() time.Time // nil: time.Now
}

// Client is one simulated client: a cache of its own, at most one lookup under way a question.
// It is safe for concurrent use.
type Client struct {
	cfg Config

	mu      sync.Mutex
	cache   Cache
	flights map[question]*flight
}

// Query is one query that was sent, and how it ended, or stands, by the end of the lookup.
type Query struct {
	Network   string
	Sent      time.Time
	Elapsed   time.Duration
	Rcode     int // of the reply; -1 when none came
	Truncated bool
	Err       error
}

// Result is how a lookup went. Addrs is shared with the cache: it must not be modified.
type Result struct {
	Addrs   []netip.Addr
	Cached  bool    // answered from memory
	Shared  bool    // joined a lookup of the same question that was under way
	Queries []Query // sent on behalf of this lookup; none when Cached or Shared

	flight *flight
}

// New returns a client with an empty cache. It panics when cfg has no exchanger or no timeout.
func New(cfg Config) *Client {
	if cfg.Exchanger == nil || cfg.Timeout <= 0 {
		panic("dnsclient: Config needs an Exchanger and a positive Timeout")
	}
	cfg.Attempts = max(cfg.Attempts, 1)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Client{cfg: cfg, cache: Cache{TTL: cfg.TTL}, flights: map[question]*flight{}}
}

// Lookup returns the addresses of type qtype (A or AAAA) that name has.
// Its error is an *Error, also when ctx ends first (kind Timeout). A lookup that outlives
// the caller's patience goes on to its own deadline, and its answer is kept: later lookups have it.
// An answer that comes after the lookup's own deadline is late, and lost on the client.
func (c *Client) Lookup(ctx context.Context, name string, qtype uint16) (Result, error) {
	q := question{dns.CanonicalName(name), qtype}
	c.mu.Lock()
	if a, ok := c.cache.Get(c.cfg.Now(), q.name, qtype); ok {
		c.mu.Unlock()
		r := Result{Addrs: a.Addrs, Cached: true}
		if a.Err != nil {
			return r, a.Err
		}
		return r, nil
	}
	f, joined := c.flights[q]
	if !joined {
		f = newFlight(c, q)
		c.flights[q] = f
		f.begin()
	}
	c.mu.Unlock()

	select {
	case <-f.landed:
	case <-ctx.Done():
		return Result{Shared: joined, flight: f}, &Error{Kind: Timeout, Name: q.name, Type: qtype, Err: ctx.Err()}
	}
	r := f.result
	r.flight = f
	if joined {
		r.Shared, r.Queries = true, nil
	}
	return r, f.err
}

// Late waits until it is known whether an answer came after the lookup had ended without one, or
// after the caller's patience had, but not longer than within. It returns how long after the
// lookup's begin the answer came; 0 is none.
func (r Result) Late(within time.Duration) time.Duration {
	if r.flight == nil {
		return 0
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-r.flight.over:
	case <-timer.C:
	}
	r.flight.mu.Lock()
	defer r.flight.mu.Unlock()
	return r.flight.answered
}

// keep takes an answer into the cache.
func (c *Client) keep(q question, a Answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cache.Put(c.cfg.Now(), q.name, q.qtype, a)
}

// forget drops a flight, so that the next lookup asks anew.
func (c *Client) forget(q question) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, q)
}
