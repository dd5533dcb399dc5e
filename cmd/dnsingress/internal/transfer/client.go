// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Client asks another server in messages of any opcode, each signed where there is a key, over UDP where they are small and
// over TCP else. It is safe for concurrent use.
//
// A server that has reason to find our signatures too old says what time it is (RFC 8945 §5.2.3). Its word is signed and is a
// reply to a question of ours: from then on we sign by its clock.
type Client struct {
	to    Remote
	key   *Key // nil: unsigned
	clock func() time.Time

	mu   sync.Mutex
	skew time.Duration // of the server's clock before ours
}

// NewClient returns a client of a server. The server's key, if it names one, must be among keys. Messages are signed by a
// clock, which may be wrong; nil: the system's.
func NewClient(to Remote, keys Keys, clock func() time.Time) (*Client, error) {
	c := &Client{to: to, clock: clock}
	if clock == nil {
		c.clock = time.Now
	}
	if to.Key != "" {
		if c.key = keys[to.Key]; c.key == nil {
			return nil, fmt.Errorf("%s: there is no TSIG key %s", to, to.Key)
		}
	}
	return c, nil
}

// clockError is a server's word that a signature is too old or too new, under its own.
type clockError struct{ now time.Time }

func (e clockError) Error() string { return "the other server says TSIG: BADTIME" }

// saidError is what a server says of our signature, under its own.
func saidError(sig *signature) error {
	if sig.code == dns.RcodeBadTime && len(sig.other) == 6 {
		var b [8]byte
		copy(b[2:], sig.other)
		return clockError{time.Unix(int64(binary.BigEndian.Uint64(b[:])), 0)}
	}
	return fmt.Errorf("the other server says TSIG: %s", codeName(sig.code))
}

// now is the time by the server's clock, as far as that is known.
func (c *Client) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clock().Add(c.skew)
}

// learn has messages be signed by the server's clock.
func (c *Client) learn(server time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew = server.Sub(c.clock())
}

// Ask sends a message, a few times over UDP, and returns the reply. The message gets an ID of its own each time.
func (c *Client) Ask(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	var err error
	for range udpTries {
		var r *dns.Msg
		r, err = c.datagram(ctx, m)
		var clock clockError
		switch {
		case err == nil:
			return r, nil
		case errors.As(err, &clock):
			c.learn(clock.now)
		case errors.Is(err, errTruncated):
			var s *Conversation
			if s, err = c.Dial(ctx); err != nil {
				return nil, err
			}
			defer s.Close()
			return s.Ask(m)
		case !errors.Is(err, errSilent):
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, err
}

var errSilent = errors.New("no answer in time")

// sign packs and signs a message. The session checks replies; nil where there is no key.
func (c *Client) sign(m *dns.Msg) ([]byte, *session, error) {
	m.Id = uint16(rand.Uint32())
	b, err := m.Pack()
	if err != nil {
		return nil, nil, fmt.Errorf("packing a message: %w", err)
	}
	if c.key == nil {
		return b, nil, nil
	}
	s := newSession(c.key)
	return s.sign(b, c.now()), s, nil
}

// verify checks that a message replies to another, and its signature, and unpacks it.
func (c *Client) verify(msg []byte, m *dns.Msg, s *session) (*dns.Msg, error) {
	if len(msg) < headerLen || idOf(msg) != m.Id || msg[2]&0x80 == 0 || int(msg[2]>>3&0xF) != m.Opcode {
		return nil, errNotOurs
	}
	if s != nil {
		var err error
		if msg, err = s.verify(msg, c.now()); err != nil {
			return nil, err
		}
	}
	return unpack(msg, m)
}

// datagram is Ask once over UDP. errTruncated: it is for TCP.
func (c *Client) datagram(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	query, session, err := c.sign(m)
	if err != nil {
		return nil, err
	}
	if len(query) > ednsSize {
		return nil, errTruncated
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", c.to.Addr.String())
	if err != nil {
		return nil, bare(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if err := conn.SetDeadline(time.Now().Add(udpPatience)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(query); err != nil {
		return nil, bare(err)
	}
	buf := make([]byte, maxMessage)
	var unproven error // of replies whose signature does not hold: another may come (RFC 8945 §5.4)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			var timeout net.Error
			switch {
			case unproven != nil:
				return nil, unproven
			case errors.As(err, &timeout) && timeout.Timeout():
				return nil, errSilent
			}
			return nil, bare(err)
		}
		r, err := c.verify(buf[:n], m, session.alike())
		var clock clockError
		switch {
		case err == nil && r.Truncated:
			return nil, errTruncated
		case err == nil || errors.As(err, &clock):
			return r, err
		case !errors.Is(err, errNotOurs):
			unproven = err
		}
	}
}

// Conversation is one message after the other over one connection. It is for one goroutine.
type Conversation struct {
	client  *Client
	conn    net.Conn
	from    *bufio.Reader
	release func() bool
}

// Dial connects to the server over TCP. The conversation breaks when ctx ends.
func (c *Client) Dial(ctx context.Context) (*Conversation, error) {
	conn, err := (&net.Dialer{Timeout: udpPatience * udpTries}).DialContext(ctx, "tcp", c.to.Addr.String())
	if err != nil {
		return nil, bare(err)
	}
	return &Conversation{c, conn, bufio.NewReader(conn), context.AfterFunc(ctx, func() { conn.Close() })}, nil
}

// Close ends the conversation.
func (v *Conversation) Close() {
	v.release()
	v.conn.Close()
}

// Ask sends a message and returns the reply.
func (v *Conversation) Ask(m *dns.Msg) (*dns.Msg, error) {
	r, err := v.once(m)
	var clock clockError
	if errors.As(err, &clock) {
		v.client.learn(clock.now)
		return v.once(m)
	}
	return r, err
}

func (v *Conversation) once(m *dns.Msg) (*dns.Msg, error) {
	query, session, err := v.client.sign(m)
	if err != nil {
		return nil, err
	}
	if len(query) > maxMessage {
		return nil, fmt.Errorf("a message of %d octets is none that DNS can carry", len(query))
	}
	if err := v.conn.SetDeadline(time.Now().Add(tcpPatience)); err != nil {
		return nil, err
	}
	if _, err := v.conn.Write(append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(query)), uint16(len(query))), query...)); err != nil {
		return nil, bare(err)
	}
	var length [2]byte
	if _, err := io.ReadFull(v.from, length[:]); err != nil {
		return nil, bare(err)
	}
	msg := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(v.from, msg); err != nil {
		return nil, bare(err)
	}
	return v.client.verify(msg, m, session)
}
