// SPDX-License-Identifier: Apache-2.0

package user

import (
	"sync"
	"time"
)

// pool holds one user's idle connections, the most recently used last. A connection is the
// name's, as in browsers and in net/http: it is used again whatever the DNS says by then.
type pool struct {
	maxRequests int
	maxAge      time.Duration
	maxIdle     time.Duration

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
		if p.fit(c, now) && !c.stale() {
			return c
		}
		c.close()
	}
	return nil
}

// release takes a connection back after a request, or closes it.
func (p *pool) release(c *conn, keep bool) {
	now := time.Now()
	c.idle = now
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || !keep || !p.fit(c, now) {
		c.close()
		return
	}
	// The least recently used come first: those that have idled too long are closed here, so that
	// they do not stand open until somebody needs them.
	n := 0
	for n < len(p.idle) && !p.fit(p.idle[n], now) {
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

// fit reports whether the limits allow c one more request.
func (p *pool) fit(c *conn, now time.Time) bool {
	return (p.maxRequests == 0 || c.requests < p.maxRequests) &&
		(p.maxAge == 0 || now.Sub(c.born) < p.maxAge) &&
		(p.maxIdle == 0 || now.Sub(c.idle) < p.maxIdle)
}
