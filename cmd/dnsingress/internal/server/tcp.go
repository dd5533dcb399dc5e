// SPDX-License-Identifier: Apache-2.0

package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	lengthLen = 2 // of the prefix of every message, RFC 1035 §4.2.2
	// writeTime is how long a client may take to accept what it has asked for.
	writeTime = 5 * time.Second
	// drainTime is what full sockets get to be answered when the server ends, and how long a connection may
	// pause by then.
	drainTime = 500 * time.Millisecond
	// firstRoom is what a connection has for a query at first, and again when it is idle.
	firstRoom = 512
)

var errEvicted = errors.New("closed for another connection")

// What queries come over, as metrics and logs call it.
const (
	protoUDP = "udp"
	protoTCP = "tcp"
	protoTLS = "tls"
)

// tcpServer serves one listener.
type tcpServer struct {
	listener *net.TCPListener
	tls      *tls.Config // nil: plain TCP
	proto    string
	conns    *connections
	workers  *sync.Pool // of *tcpWorker
	guards   *sync.Pool // of *guard
	handler  Handler
	forward  Handler
	panics   *panics
	tally    *tally
	taps     []*feed
	log      *slog.Logger
}

// tcpWorker answers what one connection has sent; it is lent to it for as long as that takes.
type tcpWorker struct {
	serve  *guard
	out    [2 * (lengthLen + maxMessage)]byte // replies are gathered as long as the longest would still fit
	events []event
}

// stream is one connection.
type stream struct {
	net.Conn // TCP or TLS over it, from open on: for its own goroutine and those of its office
	tcp      *net.TCPConn
	from     netip.Addr
	writing  sync.Mutex
	broken   error   // of the first write that failed
	office   *office // nil: no Handler
	taps     []*tap

	// For its connections to touch.
	place *list.Element // among the idle ones
	waits bool          // for a query
	held  int           // octets of the limit on memory
}

// abort makes the connection break at once, whatever it waits for.
func (s *stream) abort() { _ = s.tcp.SetDeadline(time.Unix(1, 0)) } // fails only where it is closed already

// write sends whole messages, each with its length. One that fails may have sent a part: nothing can follow it.
func (s *stream) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.broken != nil {
		return s.broken
	}
	err := s.SetWriteDeadline(time.Now().Add(writeTime))
	if err == nil {
		_, err = s.Write(b)
	}
	if err != nil {
		s.broken = err
		s.tcp.Close()
	}
	return err
}

// run accepts until the listener is closed, and returns when every connection has ended. ctx is for what is in work.
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
		c := &stream{Conn: conn, tcp: conn, from: conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()}
		if !s.conns.admit(c) {
			conn.Close()
			continue
		}
		all.Go(func() {
			defer s.conns.remove(c)
			defer c.tcp.Close()
			if s.open(ctx, c) {
				s.serve(ctx, c)
			}
		})
	}
}

// open shakes hands on a TLS connection, within the time that a query may take, and tells whether it can be served.
func (s *tcpServer) open(ctx context.Context, c *stream) bool {
	for _, f := range s.taps {
		c.taps = append(c.taps, f.tap())
	}
	if s.tls == nil {
		return true
	}
	if !s.conns.reserve(c, tlsSize) || s.conns.await(c) != nil {
		return false
	}
	secure := tls.Server(c.tcp, s.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		s.conns.failedHandshake()
		return false
	}
	c.Conn = secure
	return true
}

// serve answers one connection until it ends, breaks a rule or stays idle.
func (s *tcpServer) serve(ctx context.Context, c *stream) {
	if s.handler != nil || s.forward != nil {
		var quit context.CancelFunc
		ctx, quit = context.WithCancel(ctx)
		c.office = &office{
			handler: s.handler, forward: s.forward, guards: s.guards, panics: s.panics, tally: s.tally,
			idle: func() { s.conns.rest(c) }, reserve: func(n int) bool { return s.conns.reserve(c, n) },
		}
		// Whoever writes then stops.
		context.AfterFunc(ctx, func() { c.tcp.Close() })
		defer c.office.all.Wait()
		defer quit()
	}
	in := make([]byte, firstRoom)
	have := 0
	for {
		if s.conns.await(c) != nil {
			return
		}
		for !whole(in[:have]) {
			if need := lengthLen + length(in[:have]); need > len(in) {
				if !s.conns.reserve(c, need-len(in)) {
					return
				}
				in = slices.Concat(in[:have], make([]byte, need-have))
			}
			n, err := c.Read(in[have:])
			have += n
			if err != nil && !whole(in[:have]) { // closed, idle for too long, or cut off
				if errors.Is(err, io.EOF) && c.office != nil { // it may still read
					c.office.all.Wait()
				}
				return
			}
		}
		s.conns.busy(c)
		used, err := s.answer(ctx, c, in[:have])
		if err != nil {
			return
		}
		have = copy(in, in[used:have])
		if have == 0 && len(in) > firstRoom {
			s.conns.reserve(c, firstRoom-len(in))
			in = make([]byte, firstRoom)
		}
	}
}

// length gives the length that b says its first message has; 0 as long as it does not say.
func length(b []byte) int {
	if len(b) < lengthLen {
		return 0
	}
	return int(binary.BigEndian.Uint16(b))
}

// whole tells whether b begins with a whole message.
func whole(b []byte) bool { return len(b) >= lengthLen && len(b)-lengthLen >= length(b) }

var errMemory = errors.New("no memory for replies")

// answer replies to every whole message in b and returns their size. Each answer takes about a microsecond, so they
// are given in order; what a Handler answers, they overtake.
func (s *tcpServer) answer(ctx context.Context, c *stream, b []byte) (used int, err error) {
	w := s.workers.Get().(*tcpWorker)
	defer s.workers.Put(w)
	if !s.conns.reserve(c, len(w.out)) {
		return 0, errMemory
	}
	defer s.conns.reserve(c, -len(w.out))
	begin, size := time.Now(), 0
	w.events = w.events[:0]
	peer := Peer{Addr: c.from, TCP: true, TLS: s.tls != nil}
	for whole(b[used:]) {
		query := b[used+lengthLen:][:length(b[used:])]
		used += lengthLen + len(query)
		if len(w.out)-size < lengthLen+maxMessage {
			if err := c.write(w.out[:size]); err != nil {
				return 0, err
			}
			size = 0
		}
		out := w.out[size+lengthLen:][:maxMessage]
		reply, seen := w.serve.respond(out, query, peer, false)
		if seen.ignored >= handed && !c.hand(ctx, s.proto, query, peer, seen) {
			reply = headerOnly(out, query, rcodeServFail)
			seen.ignored, seen.rcode = answered, rcodeServFail
		}
		w.events = append(w.events, event{outcome: seen, family: familyOf(c.from), asked: len(query), replied: len(reply)})
		for _, t := range c.taps {
			if seen.ignored < handed && t.wants() {
				t.take(begin, c.RemoteAddr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.TCPAddr).AddrPort(), s.proto, query, reply)
			}
		}
		if reply != nil {
			binary.BigEndian.PutUint16(w.out[size:], uint16(len(reply)))
			size += lengthLen + len(reply)
		}
	}
	err = c.write(w.out[:size])
	s.tally.add(w.events, time.Since(begin))
	return used, err
}

// hand gives a query to the Handler, which answers while others are answered.
func (c *stream) hand(ctx context.Context, proto string, query []byte, peer Peer, seen outcome) bool {
	if !c.office.enter(len(query), seen.ignored) {
		return false
	}
	j := &job{seen: seen, begin: time.Now()}
	j.x = &Exchange{Query: slices.Clone(query), Peer: peer, Limit: maxMessage, Reply: func(message []byte) error {
		return c.write(append(binary.BigEndian.AppendUint16(make([]byte, 0, lengthLen+len(message)), uint16(len(message))), message...))
	}}
	j.tap(c.taps, query, c.RemoteAddr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.TCPAddr).AddrPort(), proto)
	c.office.work(ctx, j)
	return true
}
