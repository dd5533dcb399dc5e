// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// streamIdle is how long a connection is kept for the next question; servers close theirs after some seconds more
	// (RFC 7766 §6.2.3).
	streamIdle = 5 * time.Second
	mostIdle   = 8 // connections to one server
)

// streams are connections to one server over TCP, or TLS. Each carries one question at a time.
type streams struct {
	to  netip.AddrPort
	tls *tls.Config // nil: plain TCP

	mu     sync.Mutex
	idle   []*stream // the one used last at the end
	closed bool
}

// stream is one connection.
type stream struct {
	net.Conn
	expires *time.Timer // while it is idle
}

// exchange sends a query and returns the message that comes next. A server may close an idle connection just when it
// gets a question: that one is asked again over a new one.
func (s *streams) exchange(ctx context.Context, query []byte) ([]byte, error) {
	if c := s.take(); c != nil {
		if reply, err := c.exchange(ctx, query); err == nil {
			s.keep(c)
			return reply, nil
		}
		c.Close()
		s.drop() // they are of the same age
	}
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := c.exchange(ctx, query)
	if err != nil {
		c.Close()
		return nil, err
	}
	s.keep(c)
	return reply, nil
}

func (s *streams) dial(ctx context.Context) (*stream, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.to.String())
	if err != nil || s.tls == nil {
		return &stream{Conn: conn}, err
	}
	secure := tls.Client(conn, s.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return &stream{Conn: secure}, nil
}

// exchange sends one query and reads one message (RFC 1035 §4.2.2).
func (c *stream) exchange(ctx context.Context, query []byte) ([]byte, error) {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(c, reply)
	return reply, err
}

// take returns an idle connection; nil: there is none.
func (s *streams) take() *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.idle) > 0 {
		c := s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		if c.expires.Stop() {
			return c
		}
	}
	return nil
}

// keep makes a connection an idle one.
func (s *streams) keep(c *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.idle) >= mostIdle {
		c.Close()
		return
	}
	c.expires = time.AfterFunc(streamIdle, func() { c.Close() })
	s.idle = append(s.idle, c)
}

// drop closes the idle connections.
func (s *streams) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.idle {
		c.expires.Stop()
		c.Close()
	}
	s.idle = nil
}

// close is drop, from now on.
func (s *streams) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.drop()
}
