// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bufio"
	"cmp"
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
	to       Remote
	key      *Key          // nil: unsigned
	patience time.Duration // with a message over UDP; 0: udpPatience
	tries    int           // with a question for a SOA; 0: udpTries
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
	query, session, err := c.prepare(m)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, maxMessage)
	var unproven error // of replies whose signature does not hold: another may come (RFC 8945 §5.4)
	for try := 1; ; try++ {
		if _, err = conn.Write(query); err == nil {
			err = conn.SetReadDeadline(time.Now().Add(cmp.Or(c.patience, udpPatience)))
		}
		for err == nil && ctx.Err() == nil {
			var n int
			if n, err = conn.Read(buf); err != nil {
				break
			}
			msg, bad := check(buf[:n], m, session.alike())
			switch {
			case errors.Is(bad, errNotOurs):
				continue // an old reply, or somebody who guesses
			case bad != nil:
				unproven = bad
				continue
			}
			r, bad := unpack(msg, m)
			switch {
			case errors.Is(bad, errNotOurs):
				continue
			case bad == nil && r.Truncated:
				bad = errTruncated
			}
			return r, bad
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if unproven != nil { // the server is there: another try would get the same
			return nil, unproven
		}
		if try == tries {
			return nil, bare(err)
		}
	}
}

// dial connects to the server over TCP.
func (c client) dial(ctx context.Context) (*stream, error) {
	conn, err := (&net.Dialer{Timeout: tcpPatience}).DialContext(ctx, "tcp", c.to.Addr.String())
	if err != nil {
		return nil, bare(err)
	}
	s := &stream{conn: conn, from: bufio.NewReaderSize(conn, streamed)}
	s.guard(ctx)
	return s, nil
}

// guard has the connection break when ctx ends, in place of a context before.
func (s *stream) guard(ctx context.Context) {
	s.release = context.AfterFunc(ctx, func() { s.conn.Close() })
}

// send sends a query over a connection that no replies are expected from any more.
func (c client) send(s *stream, m *dns.Msg) error {
	query, session, err := c.prepare(m)
	if err != nil {
		return err
	}
	s.query, s.session, s.octets = m, session, 0
	_ = s.conn.SetWriteDeadline(time.Now().Add(tcpPatience)) // what it cannot do, Write says
	if _, err := s.conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return bare(err)
	}
	return nil
}

// stream is the replies to one query after the other over TCP.
type stream struct {
	conn    net.Conn // nil: from is no connection
	from    io.Reader
	query   *dns.Msg
	session *session
	release func() bool
	buf     []byte
	octets  int64  // of the replies to query
	offered uint32 // serial that the last transfer led to
	// patience is with the first message; 0: tcpPatience.
	patience time.Duration
}

func (s *stream) close() {
	s.release()
	s.conn.Close()
}

// clean tells whether nothing has come in that nobody has read.
func (s *stream) clean() bool {
	b, ok := s.from.(*bufio.Reader)
	return ok && b.Buffered() == 0
}

// next returns the next message.
func (s *stream) next() (*dns.Msg, error) {
	msg, err := s.read()
	if err != nil {
		return nil, err
	}
	return unpack(msg, s.query)
}

// read returns the next message, checked as by check. It is written over by the next one.
func (s *stream) read() ([]byte, error) {
	if s.conn != nil {
		patience := tcpPatience
		if s.octets == 0 {
			patience = cmp.Or(s.patience, tcpPatience)
		}
		if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return nil, err
		}
	}
	var length [2]byte
	if _, err := io.ReadFull(s.from, length[:]); err != nil {
		return nil, bare(err)
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > len(s.buf) {
		s.buf = make([]byte, max(n, 2*streamed))
	}
	if _, err := io.ReadFull(s.from, s.buf[:n]); err != nil {
		return nil, bare(err)
	}
	msg, err := check(s.buf[:n], s.query, s.session)
	if err == nil {
		s.octets += int64(n) + 2
	}
	return msg, err
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

// check checks that a message replies to a query, and its signature, and returns it without that.
func check(msg []byte, query *dns.Msg, s *session) ([]byte, error) {
	if len(msg) < headerLen || idOf(msg) != query.Id || msg[2]&0x80 == 0 || int(msg[2]>>3&0xF) != query.Opcode {
		return nil, errNotOurs
	}
	if s == nil {
		return msg, nil
	}
	return s.verify(msg, time.Now())
}

// unpack unpacks a reply that was checked, and checks its question.
func unpack(msg []byte, query *dns.Msg) (*dns.Msg, error) {
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		return nil, fmt.Errorf("unpacking a reply: %w", err)
	}
	if len(m.Question) > 1 || len(m.Question) == 1 && (m.Question[0].Qtype != query.Question[0].Qtype || dns.CanonicalName(m.Question[0].Name) != dns.CanonicalName(query.Question[0].Name)) {
		return nil, errNotOurs
	}
	return m, nil
}
