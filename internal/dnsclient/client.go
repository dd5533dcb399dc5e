// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"context"
	"errors"
	"net/netip"
	"os"
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
	Timeout   time.Duration // of one attempt; must be positive
	Attempts  int           // allowed in one lookup; 0 is 1
	TTL       TTL
	Now       func() time.Time // nil: time.Now
}

// Client is one simulated client: a cache of its own, at most one query in flight a question.
// It is safe for concurrent use.
type Client struct {
	cfg Config

	mu      sync.Mutex
	cache   Cache
	flights map[question]*flight
}

// flight is a lookup under way; done is closed when the result stands.
type flight struct {
	done   chan struct{}
	result Result
	err    error
}

// Query is one query that was sent, and how it ended.
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
// the caller's patience goes on for its own timeout, and its answer is kept: later lookups have it.
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
		f = &flight{done: make(chan struct{})}
		c.flights[q] = f
		go c.fly(context.WithoutCancel(ctx), q, f)
	}
	c.mu.Unlock()

	select {
	case <-f.done:
	case <-ctx.Done():
		return Result{Shared: joined}, &Error{Kind: Timeout, Name: q.name, Type: qtype, Err: ctx.Err()}
	}
	r := f.result
	if joined {
		r.Shared, r.Queries = true, nil
	}
	return r, f.err
}

// fly asks until there is an answer or no attempt is left, keeps the answer and lands the flight.
func (c *Client) fly(ctx context.Context, q question, f *flight) {
	var answer Answer
	var err error
	for range c.cfg.Attempts {
		if answer, err = c.attempt(ctx, q, &f.result.Queries); err == nil {
			break
		}
	}
	f.err = err
	if err == nil {
		f.result.Addrs = answer.Addrs
		if answer.Err != nil {
			f.err = answer.Err
		}
	}
	c.mu.Lock()
	if err == nil {
		c.cache.Put(c.cfg.Now(), q.name, q.qtype, answer)
	}
	delete(c.flights, q)
	c.mu.Unlock()
	close(f.done)
}

// attempt asks over UDP, and over TCP when the reply did not fit (RFC 7766 §5), within one timeout.
func (c *Client) attempt(ctx context.Context, q question, log *[]Query) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	m := new(dns.Msg).SetQuestion(q.name, q.qtype).SetEdns0(udpSize, false)
	for _, network := range []string{"udp", "tcp"} {
		sent := c.cfg.Now()
		reply, err := c.cfg.Exchanger.Exchange(ctx, network, m)
		entry := Query{Network: network, Sent: sent, Elapsed: c.cfg.Now().Sub(sent), Rcode: -1, Err: err}
		if err == nil {
			entry.Rcode, entry.Truncated = reply.Rcode, reply.Truncated
		}
		*log = append(*log, entry)
		switch {
		case err != nil && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)):
			return Answer{}, &Error{Kind: Timeout, Name: q.name, Type: q.qtype}
		case err != nil:
			return Answer{}, &Error{Kind: Other, Name: q.name, Type: q.qtype, Err: err}
		case reply.Truncated && network == "udp":
			continue
		}
		return Interpret(q.name, q.qtype, reply)
	}
	panic("unreachable: a reply over TCP is final")
}
