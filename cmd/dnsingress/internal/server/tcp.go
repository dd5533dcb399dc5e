// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	lengthLen = 2 // of the prefix of every message, RFC 1035 §4.2.2
	// writeTime is how long a client may take to accept what it has asked for.
	writeTime = 5 * time.Second
	// pressedIdle is the idle limit while more than half of the connections are in use.
	pressedIdle = time.Second
	// drainTime is what open connections and full sockets get to be answered when the server ends.
	drainTime = 500 * time.Millisecond
)

// Limits bound what TCP clients can take. Zero values stand for the defaults.
type Limits struct {
	Connections int           // open at once, of some 200 kB each where clients do not read; 1024
	PerClient   int           // open at once from one address; 256
	Idle        time.Duration // between the end of one query and the end of the next; 10 s (RFC 7766 §6.2.3)
}

func (l Limits) orDefaults() Limits {
	if l.Connections <= 0 {
		l.Connections = 1024
	}
	if l.PerClient <= 0 {
		l.PerClient = 256
	}
	if l.Idle <= 0 {
		l.Idle = 10 * time.Second
	}
	return l
}

// connections is the set of open TCP connections.
type connections struct {
	limits Limits
	mu     sync.Mutex
	open   map[*net.TCPConn]netip.Addr
	per    map[netip.Addr]int
	ending bool

	accepted, full, perClient uint64
}

func newConnections(l Limits) *connections {
	return &connections{limits: l, open: map[*net.TCPConn]netip.Addr{}, per: map[netip.Addr]int{}}
}

// admit takes a connection in, or tells that a limit forbids it.
func (c *connections) admit(conn *net.TCPConn, from netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ending:
		return false
	case len(c.open) >= c.limits.Connections:
		c.full++
		return false
	case c.per[from] >= c.limits.PerClient:
		c.perClient++
		return false
	}
	c.accepted++
	c.open[conn] = from
	c.per[from]++
	return true
}

func (c *connections) remove(conn *net.TCPConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.open[conn]
	delete(c.open, conn)
	if c.per[from]--; c.per[from] == 0 {
		delete(c.per, from)
	}
}

// await sets the time by which the next query must have come whole, however slowly it trickles in.
func (c *connections) await(conn *net.TCPConn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return nil // its deadline is set already
	}
	idle := c.limits.Idle
	if len(c.open) > c.limits.Connections/2 {
		idle = min(idle, pressedIdle)
	}
	return conn.SetReadDeadline(time.Now().Add(idle))
}

// end gives what is open a last chance to be answered.
func (c *connections) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
	for conn := range c.open {
		_ = conn.SetReadDeadline(time.Now().Add(drainTime)) // fails only where it is closed already
	}
}

func (c *connections) numbers() (open int, accepted, full, perClient uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open), c.accepted, c.full, c.perClient
}

// tcpServer serves one TCP listener.
type tcpServer struct {
	listener *net.TCPListener
	conns    *connections
	workers  *sync.Pool // of *tcpWorker
	tally    *tally
	log      *slog.Logger
}

// tcpWorker answers what one connection has sent; it is lent to it for as long as that takes.
type tcpWorker struct {
	serve  *guard
	out    [2 * (lengthLen + maxMessage)]byte // replies are gathered as long as the longest would still fit
	events []event
}

// run accepts until the listener is closed, and returns when every connection has ended.
func (s *tcpServer) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for complained := false; ; {
		conn, err := s.listener.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // no file descriptors, or the client went away; the first is worth a line
			if !complained {
				s.log.Warn("accepting a TCP connection", "address", s.listener.Addr().String(), "error", err)
				complained = true
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		from := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if !s.conns.admit(conn, from) {
			conn.Close()
			continue
		}
		all.Go(func() {
			defer s.conns.remove(conn)
			defer conn.Close()
			s.serve(conn, from)
		})
	}
}

// serve answers one connection until it ends, breaks a rule or stays idle.
func (s *tcpServer) serve(conn *net.TCPConn, from netip.Addr) {
	in := make([]byte, 512) // grows to what the client needs
	have := 0
	for {
		if s.conns.await(conn) != nil {
			return
		}
		for !whole(in[:have]) {
			if have >= lengthLen {
				if need := lengthLen + int(binary.BigEndian.Uint16(in)); need > len(in) {
					in = append(in[:have], make([]byte, need-have)...)
				}
			}
			n, err := conn.Read(in[have:])
			have += n
			if err != nil && !whole(in[:have]) {
				return // closed, idle for too long, or cut off
			}
		}
		used, err := s.answer(conn, in[:have], from)
		if err != nil {
			return
		}
		have = copy(in, in[used:have])
	}
}

// whole tells whether b begins with a whole message.
func whole(b []byte) bool {
	return len(b) >= lengthLen && len(b)-lengthLen >= int(binary.BigEndian.Uint16(b))
}

// answer replies to every whole message in b, in their order, and returns their size. Each answer takes about
// a microsecond, so there is none that others should overtake.
func (s *tcpServer) answer(conn *net.TCPConn, b []byte, from netip.Addr) (used int, err error) {
	w := s.workers.Get().(*tcpWorker)
	defer s.workers.Put(w)
	begin, size := time.Now(), 0
	w.events = w.events[:0]
	peer := Peer{Addr: from, TCP: true}
	for whole(b[used:]) {
		query := b[used+lengthLen:][:binary.BigEndian.Uint16(b[used:])]
		used += lengthLen + len(query)
		if len(w.out)-size < lengthLen+maxMessage {
			if err := write(conn, w.out[:size]); err != nil {
				return 0, err
			}
			size = 0
		}
		reply, seen := w.serve.respond(w.out[size+lengthLen:][:maxMessage], query, peer, false)
		w.events = append(w.events, event{outcome: seen, family: familyOf(from), asked: len(query), replied: len(reply)})
		if reply != nil {
			binary.BigEndian.PutUint16(w.out[size:], uint16(len(reply)))
			size += lengthLen + len(reply)
		}
	}
	err = write(conn, w.out[:size])
	s.tally.add(w.events, time.Since(begin))
	return used, err
}

func write(conn *net.TCPConn, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	_, err := conn.Write(b)
	return err
}
