// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/internal/results"
)

// shared holds one user's connections that carry several requests at a time (HTTP/2, HTTP/3). A
// user opens one, and requests that come meanwhile wait for it, as browsers do; it opens another
// when the server's limit on concurrent requests or the user's own limits are reached.
type shared struct {
	limits

	mu      sync.Mutex
	conns   []*conn
	opening *opening
	closed  bool
}

// opening is a connection that an attempt is making; done is closed when it stands or has failed.
type opening struct {
	done chan struct{}
	err  error
}

// roomy is a link that knows how many requests it can carry.
type roomy interface{ room() bool }

// take returns a connection for one more request, dialing one if need be. An attempt that waited
// for the dial of another has waited in its connect phase, and fails as that does.
func (p *shared) take(deadline time.Time, s *results.Sample, dial func() (*conn, error)) (*conn, error) {
	for {
		p.mu.Lock()
		if c := p.fitting(time.Now()); c != nil {
			p.ride(c)
			p.mu.Unlock()
			s.Reused, s.Peer = true, c.peer
			return c, nil
		}
		o := p.opening
		if o == nil {
			o = &opening{done: make(chan struct{})}
			p.opening = o
			p.mu.Unlock()
			return p.open(o, dial)
		}
		p.mu.Unlock()
		begin := time.Now()
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		select {
		case <-o.done:
		case <-ctx.Done():
		}
		err := ctx.Err()
		cancel()
		s.ConnectNs += int64(time.Since(begin))
		switch {
		case err != nil:
			return nil, &failure{class: results.ErrConnectTimeout, err: os.ErrDeadlineExceeded}
		case o.err != nil:
			return nil, o.err
		}
	}
}

func (p *shared) open(o *opening, dial func() (*conn, error)) (*conn, error) {
	c, err := dial()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opening = nil
	o.err = err
	close(o.done)
	if err != nil {
		return nil, err
	}
	if r, ok := c.link.(roomy); ok {
		r.room() // for the request that dialed
	}
	p.ride(c)
	p.conns = append(p.conns, c)
	return c, nil
}

func (p *shared) ride(c *conn) {
	c.requests++
	c.riders++
}

// fitting returns a connection that can carry one more request, and closes those that never will
// and carry none. It is called with the lock held.
func (p *shared) fitting(now time.Time) *conn {
	kept := p.conns[:0]
	var found *conn
	for _, c := range p.conns {
		c.doomed = c.doomed || c.stale() || p.full(c, now) || c.riders == 0 && p.idled(c, now)
		switch {
		case c.doomed && c.riders == 0:
			c.close()
			continue
		case !c.doomed && found == nil && c.link.(roomy).room():
			found = c
		}
		kept = append(kept, c)
	}
	clear(p.conns[len(kept):])
	p.conns = kept
	return found
}

// release ends a request's ride.
func (p *shared) release(c *conn, keep bool) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	c.riders--
	c.idle = now
	c.doomed = c.doomed || !keep || p.closed || p.full(c, now)
	if c.riders > 0 || !c.doomed {
		return
	}
	for i, o := range p.conns {
		if o == c {
			p.conns = append(p.conns[:i], p.conns[i+1:]...)
			break
		}
	}
	c.close()
}

func (p *shared) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.conns {
		c.close()
	}
	p.conns = nil
}
