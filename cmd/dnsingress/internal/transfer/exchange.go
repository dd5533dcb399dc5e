// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/miekg/dns"
)

const (
	// udpPatience and udpTries are for a message over UDP, tcpPatience for each message over TCP.
	udpPatience = 2 * time.Second
	udpTries    = 3
	tcpPatience = 30 * time.Second
)

// errTruncated says that a reply has to be asked for over TCP.
var errTruncated = errors.New("the reply is truncated")

// client asks one other server.
type client struct {
	to  Remote
	key *Key // nil: unsigned
}

// prepare packs and signs a query. The session checks the replies; nil where there is no key.
func (c client) prepare(m *dns.Msg) ([]byte, *session, error) {
	query, err := m.Pack()
	if err != nil {
		return nil, nil, fmt.Errorf("packing a query: %w", err)
	}
	if c.key == nil {
		return query, nil, nil
	}
	s := newSession(c.key)
	return s.sign(query, time.Now()), s, nil
}

// ask sends a query over UDP, tries times at most, and returns the reply.
func (c client) ask(ctx context.Context, m *dns.Msg, tries int) (*dns.Msg, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", c.to.Addr.String())
	if err != nil {
		return nil, bare(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	buf := make([]byte, maxMessage)
	for try := 1; ; try++ {
		query, session, err := c.prepare(m)
		if err != nil {
			return nil, err
		}
		if _, err = conn.Write(query); err == nil {
			err = conn.SetReadDeadline(time.Now().Add(udpPatience))
		}
		for err == nil && ctx.Err() == nil {
			var n int
			if n, err = conn.Read(buf); err != nil {
				break
			}
			r, bad := open(buf[:n], m, session)
			switch {
			case errors.Is(bad, errNotOurs):
				continue // an old reply, or somebody who guesses
			case bad == nil && r.Truncated:
				bad = errTruncated
			}
			return r, bad
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if try == tries {
			return nil, bare(err)
		}
	}
}

// dial sends a query over TCP and returns where its replies come from.
func (c client) dial(ctx context.Context, m *dns.Msg) (*stream, error) {
	conn, err := (&net.Dialer{Timeout: tcpPatience}).DialContext(ctx, "tcp", c.to.Addr.String())
	if err != nil {
		return nil, bare(err)
	}
	s := &stream{conn: conn, from: conn, query: m}
	s.release = context.AfterFunc(ctx, func() { conn.Close() })
	query, session, err := c.prepare(m)
	if err != nil {
		s.close()
		return nil, err
	}
	s.session = session
	_ = conn.SetWriteDeadline(time.Now().Add(tcpPatience)) // what it cannot do, Write says
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		s.close()
		return nil, bare(err)
	}
	return s, nil
}

// stream is the replies to one query over TCP.
type stream struct {
	conn    net.Conn // nil: from is no connection
	from    io.Reader
	query   *dns.Msg
	session *session
	release func() bool
	buf     []byte
	octets  int64
}

func (s *stream) close() {
	s.release()
	s.conn.Close()
}

// next returns the next message.
func (s *stream) next() (*dns.Msg, error) {
	if s.conn != nil {
		if err := s.conn.SetReadDeadline(time.Now().Add(tcpPatience)); err != nil {
			return nil, err
		}
	}
	var length [2]byte
	if _, err := io.ReadFull(s.from, length[:]); err != nil {
		return nil, bare(err)
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if s.buf == nil {
		s.buf = make([]byte, maxMessage)
	}
	if _, err := io.ReadFull(s.from, s.buf[:n]); err != nil {
		return nil, bare(err)
	}
	s.octets += int64(n) + 2
	return open(s.buf[:n], s.query, s.session)
}

// bare is an error of the network without the addresses: ours has another port each time, and the other
// server's is known to who reads it.
func bare(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		if op.Timeout() {
			return errors.New("no answer in time")
		}
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the connection was closed in the middle")
	}
	return err
}

// errNotOurs says that a message is no reply to what was asked.
var errNotOurs = errors.New("the message is no reply to the query")

// open checks that a message replies to a query, and its signature, and unpacks it. The message is not kept.
func open(msg []byte, query *dns.Msg, s *session) (*dns.Msg, error) {
	if len(msg) < headerLen || idOf(msg) != query.Id || msg[2]&0x80 == 0 || int(msg[2]>>3&0xF) != query.Opcode {
		return nil, errNotOurs
	}
	if s != nil {
		var err error
		if msg, err = s.verify(msg, time.Now()); err != nil {
			return nil, err
		}
	}
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		return nil, fmt.Errorf("unpacking a reply: %w", err)
	}
	if len(m.Question) > 1 || len(m.Question) == 1 && (m.Question[0].Qtype != query.Question[0].Qtype || dns.CanonicalName(m.Question[0].Name) != dns.CanonicalName(query.Question[0].Name)) {
		return nil, errNotOurs
	}
	return m, nil
}
