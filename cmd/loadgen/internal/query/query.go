// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/results"
)

// Config is what is asked of whom, whichever way it is sent.
type Config struct {
	Client  string
	Servers []netip.AddrPort // asked in turn
	Network string           // udp, tcp or tls
	Book    *Book
	Timeout time.Duration
	TLS     *tls.Config // for tls
	Sockets int         // a server, where they are kept
	Judge   Judge       // nil: nobody judges
}

// Server returns which server the seq-th query goes to.
func (c *Config) Server(seq uint64) int { return int(seq % uint64(len(c.Servers))) }

// Draw returns which question the seq-th query asks: every server is asked the same.
func (c *Config) Draw(seq uint64) int { return c.Book.Draw(seq / uint64(len(c.Servers))) }

func (c *Config) judge(server, n int, sent, received time.Time, wire []byte) {
	if c.Judge != nil {
		c.Judge(Reply{Server: server, Question: n, Sent: sent, Received: received, Wire: wire})
	}
}

// Load asks each question from a socket of its own. It is safe for concurrent use.
type Load struct {
	Config
	dialer  net.Dialer
	buffers sync.Pool
}

// NewLoad returns a load without state.
func NewLoad(c Config) *Load {
	l := &Load{Config: c}
	l.buffers.New = func() any { return new([1 << 16]byte) }
	return l
}

// Do asks the n-th question once and notes the sample.
func (l *Load) Do(n int, seq uint64, intended time.Time, note record.Note) {
	sent := time.Now()
	to := l.Server(seq)
	s := results.Sample{
		Client: l.Client, User: int32(n), Seq: seq, Peer: l.Servers[to].Addr().String(),
		IntendedNs: intended.UnixNano(),
		SentNs:     intended.UnixNano() + int64(sent.Sub(intended)), // by the monotonic clock
	}
	err := l.ask(to, n, sent.Add(l.Timeout), &s)
	s.TotalNs = int64(time.Since(intended))
	if s.DNSNs == 0 {
		s.DNSNs = int64(time.Since(sent)) - s.ConnectNs - s.TLSNs // no reply
	}
	s.Error = class(err)
	note(&s, true, err)
}

// ask sends the query and notes the reply's size and the time of each phase.
func (l *Load) ask(to, n int, deadline time.Time, s *results.Sample) error {
	c, err := dial(&l.dialer, &l.Config, to, deadline, s)
	if err != nil {
		l.judge(to, n, time.Now(), time.Now(), nil)
		return err
	}
	defer c.Close()
	buffer := l.buffers.Get().(*[1 << 16]byte)
	defer l.buffers.Put(buffer)

	id := uint16(rand.Uint32())
	wire, asks := l.Book.write(buffer[:2], n, s.Seq, id) // behind room for the length (RFC 1035 §4.2.2)
	binary.BigEndian.PutUint16(buffer[:], uint16(len(wire)))
	asks = append([]byte(nil), asks...) // the reply comes into the same buffer
	out := buffer[:2+len(wire)]
	if l.Network == "udp" {
		out = wire
	}
	sent := time.Now()
	if _, err := c.Write(out); err != nil {
		l.judge(to, n, sent, time.Now(), nil)
		return err
	}
	for {
		reply, err := receive(c, l.Network, buffer[:])
		received := time.Now()
		if err != nil {
			l.judge(to, n, sent, received, nil)
			return err
		}
		// Over UDP a reply with another ID is an old one, or forged: the right one may follow (RFC 5452 §9.1).
		if l.Network == "udp" && (len(reply) < headerLen || binary.BigEndian.Uint16(reply) != id) {
			continue
		}
		s.DNSNs, s.Bytes = int64(received.Sub(sent)), int64(len(reply))
		err = check(reply, id, asks)
		if err == errBroken {
			reply = nil
		}
		l.judge(to, n, sent, received, reply)
		return err
	}
}

// dial connects, with the deadline set, and notes how long that took.
func dial(dialer *net.Dialer, cfg *Config, to int, deadline time.Time, s *results.Sample) (net.Conn, error) {
	var c net.Conn
	var err error
	began := time.Now()
	if cfg.Network == "udp" {
		c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(cfg.Servers[to])) // no wait
	} else {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		defer cancel()
		c, err = dialer.DialContext(ctx, "tcp", cfg.Servers[to].String())
		s.ConnectNs = int64(time.Since(began))
	}
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(deadline); err != nil {
		c.Close()
		return nil, err
	}
	if cfg.Network != "tls" {
		return c, nil
	}
	began = time.Now()
	secure := tls.Client(c, cfg.TLS)
	err = secure.Handshake()
	s.TLSNs = int64(time.Since(began))
	if err != nil {
		c.Close()
		return nil, &tlsError{err}
	}
	return secure, nil
}
