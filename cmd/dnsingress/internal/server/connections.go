// SPDX-License-Identifier: Apache-2.0

package server

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

const (
	// client6 is the prefix length of what counts as one client over IPv6: who has one address has a /64.
	client6 = 64
	// tlsSize is what a TLS connection counts for: the record buffers of both directions and its state.
	tlsSize = 48 << 10
)

// Limits bound what TCP clients can take. Zero values stand for the defaults.
type Limits struct {
	// Connections are open at once; 4096. For one more, that which has been idle the longest is closed.
	Connections int
	PerClient   int           // open at once from one IPv4 address or IPv6 /64; 256. One more is refused.
	Idle        time.Duration // between the end of one query and the end of the next; 10 s (RFC 7766 §6.2.3)
	Pressed     time.Duration // Idle while more than half of the connections are in use, if that is less; 1 s
	Memory      int           // octets of all buffers, beyond half a kilobyte a connection; 256 MiB
}

func (l Limits) orDefaults() Limits {
	orElse(&l.Connections, 4096)
	orElse(&l.PerClient, 256)
	orElse(&l.Memory, 256<<20)
	if l.Idle <= 0 {
		l.Idle = 10 * time.Second
	}
	if l.Pressed <= 0 {
		l.Pressed = time.Second
	}
	return l
}

// connections is the set of open TCP connections.
type connections struct {
	limits Limits
	mu     sync.Mutex
	idle   list.List // of *stream: those that wait for a query, the longest first
	all    map[*stream]struct{}
	per    map[netip.Addr]int
	held   int
	ending bool
	end    time.Time // by when all are closed, while ending

	numbersSoFar
}

// numbersSoFar is what has become of connections.
type numbersSoFar struct {
	accepted, evicted, perClient, memory, handshakes uint64
}

// numbers is what the metrics show.
type numbers struct {
	numbersSoFar
	open, held int
}

func newConnections(l Limits) *connections {
	return &connections{limits: l, all: map[*stream]struct{}{}, per: map[netip.Addr]int{}}
}

// client is what the connections from an address are counted by.
func client(from netip.Addr) netip.Addr {
	if from.Is4() {
		return from
	}
	p, _ := from.Prefix(client6) // no IPv6 address is shorter
	return p.Addr()
}

// admit takes a connection in, or tells that a limit forbids it. When all places are taken the one that has been
// idle the longest goes.
func (c *connections) admit(s *stream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	who := client(s.from)
	if c.per[who] >= c.limits.PerClient {
		c.perClient++
		return false
	}
	if len(c.all) >= c.limits.Connections {
		oldest := c.idle.Front()
		c.evicted++
		if oldest == nil { // all are being answered
			return false
		}
		victim := oldest.Value.(*stream)
		c.drop(victim)
		victim.abort()
	}
	c.accepted++
	c.all[s] = struct{}{}
	c.per[who]++
	return true
}

// remove forgets a connection that is closed.
func (c *connections) remove(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(s)
	c.held -= s.held
	s.held = 0
}

func (c *connections) drop(s *stream) {
	if _, open := c.all[s]; !open {
		return
	}
	delete(c.all, s)
	c.wake(s)
	who := client(s.from)
	if c.per[who]--; c.per[who] == 0 {
		delete(c.per, who)
	}
}

// reserve tells whether a connection may hold so many octets more; fewer, if n is negative, it always may.
func (c *connections) reserve(s *stream, n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > 0 && c.held+n > c.limits.Memory {
		c.memory++
		return false
	}
	c.held += n
	s.held += n
	return true
}

// await sets the time by which the next query must have come whole, however slowly it trickles in. While a Handler
// works for the connection there is none.
func (c *connections) await(s *stream) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, open := c.all[s]; !open {
		return errEvicted
	}
	if s.office != nil && s.office.open.Load() > 0 {
		s.waits = true
		return s.tcp.SetReadDeadline(c.end) // none, or when the server ends
	}
	s.waits = true
	if s.place == nil {
		s.place = c.idle.PushBack(s)
	} else {
		c.idle.MoveToBack(s.place)
	}
	return s.tcp.SetReadDeadline(c.deadline(time.Now()))
}

func (c *connections) deadline(now time.Time) time.Time {
	idle := c.limits.Idle
	if len(c.all) > c.limits.Connections/2 {
		idle = min(idle, c.limits.Pressed)
	}
	if c.ending {
		idle = min(idle, drainTime)
	}
	at := now.Add(idle)
	if c.ending && at.After(c.end) {
		return c.end
	}
	return at
}

// busy takes a connection that has sent a query out of those that can be closed for another.
func (c *connections) busy(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.waits = false
	c.wake(s)
}

// rest is await for a connection that a Handler has done with, if it waits for a query.
func (c *connections) rest(s *stream) {
	c.mu.Lock()
	waits := s.waits
	c.mu.Unlock()
	if waits {
		_ = c.await(s) // what waits learns of it
	}
}

func (c *connections) wake(s *stream) {
	if s.place != nil {
		c.idle.Remove(s.place)
		s.place = nil
	}
}

// finish makes every connection end as soon as it pauses, and at the latest after a while.
func (c *connections) finish(within time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.ending, c.end = true, now.Add(within)
	for s := range c.all {
		at := c.end
		if s.place != nil {
			at = c.deadline(now)
		}
		_ = s.tcp.SetReadDeadline(at) // fails only where it is closed already
	}
}

func (c *connections) failedHandshake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handshakes++
}

func (c *connections) numbers() numbers {
	c.mu.Lock()
	defer c.mu.Unlock()
	return numbers{c.numbersSoFar, len(c.all), c.held}
}
