// SPDX-License-Identifier: Apache-2.0

package user

import (
	"sync"
	"time"
)

// limits are a user's own on a connection that is used again; 0 is none.
type limits struct {
	maxRequests int
	maxAge      time.Duration
	maxIdle     time.Duration
}

// full reports whether c has had its share of requests or years.
func (l limits) full(c *conn, now time.Time) bool {
	return l.maxRequests > 0 && c.requests >= l.maxRequests || l.maxAge > 0 && now.Sub(c.born) >= l.maxAge
}

// idled reports whether c has waited too long for a request.
func (l limits) idled(c *conn, now time.Time) bool {
	return l.maxIdle > 0 && now.Sub(c.idle) >= l.maxIdle
}

// pool holds one user's idle connections that carry a request at a time, the most recently used
// last. A connection is the name's, as in browsers and in net/http: it is used again whatever the
// DNS says by then.
type pool struct {
	limits

	mu     sync.Mutex
	idle   []*conn
	closed bool
}

// take returns the most recently used connection that may carry a request at now, or nil.
func (p *pool) take(now time.Time) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		last := len(p.idle) - 1
		c := p.idle[last]
		p.idle[last], p.idle = nil, p.idle[:last]
		if !p.full(c, now) && !p.idled(c, now) && !c.stale() {
			c.requests++
			return c
		}
		c.close()
	}
	return nil
}

// release takes a connection back after a request, or closes it.
func (p *pool) release(c *conn, keep bool) {
	if !keep {
		c.close()
		return
	}
	now := time.Now()
	c.idle = now
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.full(c, now) {
		c.close()
		return
	}
	// The least recently used come first: those that have idled too long are closed here, so that
	// they do not stand open until somebody needs them.
	n := 0
	for n < len(p.idle) && (p.full(p.idle[n], now) || p.idled(p.idle[n], now)) {
		p.idle[n].close()
		n++
	}
	p.idle = append(p.idle[n:], c)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		c.close()
	}
	p.idle = nil
}
