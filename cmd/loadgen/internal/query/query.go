// SPDX-License-Identifier: Apache-2.0

// Package query asks a DNS server one question an attempt, and times the answer.
//
// Each query has a socket and an ID of its own, as a stub resolver's. Queries are packed once;
// of a reply only what tells a right one is read: the ID, the question, the RCODE, whether it is
// truncated, and whether it has an answer. Nothing is cached and nothing asked again.
//
// A sample's dns_ns is the time from the query to its reply, and its classes are: dns-servfail,
// dns-nxdomain, dns-nodata (NOERROR with no answer record), dns-timeout, other (this machine could
// not try), and dns-other (another RCODE, a truncated or broken reply, nobody listening).
package query

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/results"
)

const (
	headerLen = 12
	udpSize   = 1232 // offered by EDNS
)

var (
	errBroken    = errors.New("the reply is no answer to the query")
	errTruncated = errors.New("the reply is truncated (hint: --network tcp)")
)

// Load is what is asked of whom. It is safe for concurrent use.
type Load struct {
	client  string
	network string // udp or tcp
	server  netip.AddrPort
	timeout time.Duration

	questions []question
	dialer    net.Dialer
	buffers   sync.Pool
}

// question is a packed query; its ID is patched in.
type question struct {
	wire []byte
	asks []byte // the question section: what a reply must repeat
}

// NewLoad packs a query for each name. Recursion asks the server to find out what it does not know.
func NewLoad(client, network string, server netip.AddrPort, names []string, qtype uint16, recursion bool, timeout time.Duration) (*Load, error) {
	l := &Load{client: client, network: network, server: server, timeout: timeout}
	l.buffers.New = func() any { return new([1 << 16]byte) }
	for _, name := range names {
		if _, ok := dns.IsDomainName(name); !ok || name == "" {
			return nil, fmt.Errorf("%q is no domain name", name)
		}
		m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
		m.RecursionDesired = recursion
		bare, err := m.Pack()
		if err != nil {
			return nil, fmt.Errorf("packing query for %q: %w", name, err)
		}
		wire, err := m.SetEdns0(udpSize, false).Pack()
		if err != nil {
			return nil, fmt.Errorf("packing query for %q: %w", name, err)
		}
		l.questions = append(l.questions, question{wire, bare[headerLen:]})
	}
	return l, nil
}

// Do asks the n-th name once and notes the sample.
func (l *Load) Do(n int, seq uint64, intended time.Time, note record.Note) {
	sent := time.Now()
	s := results.Sample{
		Client: l.client, User: int32(n), Seq: seq, Peer: l.server.Addr().String(),
		IntendedNs: intended.UnixNano(),
		SentNs:     intended.UnixNano() + int64(sent.Sub(intended)), // by the monotonic clock
	}
	size, err := l.ask(&l.questions[n], sent.Add(l.timeout))
	s.DNSNs, s.TotalNs = int64(time.Since(sent)), int64(time.Since(intended))
	s.Bytes, s.Error = int64(size), class(err)
	note(&s, true, err)
}

// rcodeError is a reply that is no answer; -1 is NOERROR with no data.
type rcodeError int

func (e rcodeError) Error() string {
	if e < 0 {
		return "the reply holds no answer"
	}
	return "the server says " + dns.RcodeToString[int(e)]
}

func class(err error) string {
	var rcode rcodeError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &rcode):
		switch rcode {
		case -1:
			return results.ErrDNSNoData
		case dns.RcodeNameError:
			return results.ErrDNSNXDomain
		case dns.RcodeServerFailure:
			return results.ErrDNSServfail
		}
		return results.ErrDNSOther
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return results.ErrDNSTimeout
	case record.OwnFault(err):
		return results.ErrOther
	}
	return results.ErrDNSOther
}

// ask sends the query and returns the size of the reply.
func (l *Load) ask(q *question, deadline time.Time) (int, error) {
	c, err := l.dial(deadline)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(deadline); err != nil {
		return 0, err
	}
	buffer := l.buffers.Get().(*[1 << 16]byte)
	defer l.buffers.Put(buffer)

	id := uint16(rand.Uint32())
	if err := send(c, l.network, q.wire, id, buffer[:]); err != nil {
		return 0, err
	}
	for {
		reply, err := receive(c, l.network, buffer[:])
		if err != nil {
			return 0, err
		}
		// Over UDP a reply with another ID is an old one, or forged: the right one may follow (RFC 5452 §9.1).
		if l.network == "udp" && (len(reply) < headerLen || binary.BigEndian.Uint16(reply) != id) {
			continue
		}
		return len(reply), check(reply, id, q.asks)
	}
}

func (l *Load) dial(deadline time.Time) (net.Conn, error) {
	if l.network == "udp" {
		return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(l.server)) // no wait
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	return l.dialer.DialContext(ctx, "tcp", l.server.String())
}

// send writes the query; over TCP with its length before it (RFC 1035 §4.2.2).
func send(c net.Conn, network string, wire []byte, id uint16, buffer []byte) error {
	b := buffer[:0]
	if network == "tcp" {
		b = binary.BigEndian.AppendUint16(b, uint16(len(wire)))
	}
	at := len(b)
	b = append(b, wire...)
	binary.BigEndian.PutUint16(b[at:], id)
	_, err := c.Write(b)
	return err
}

func receive(c net.Conn, network string, buffer []byte) ([]byte, error) {
	if network == "udp" {
		n, err := c.Read(buffer)
		return buffer[:n], err
	}
	if _, err := io.ReadFull(c, buffer[:2]); err != nil {
		return nil, err
	}
	reply := buffer[:binary.BigEndian.Uint16(buffer)]
	_, err := io.ReadFull(c, reply)
	return reply, err
}

// check reads a reply's header and question (RFC 1035 §4.1.1).
func check(reply []byte, id uint16, asks []byte) error {
	if len(reply) < headerLen || binary.BigEndian.Uint16(reply) != id || reply[2]&0x80 == 0 {
		return errBroken
	}
	rcode := rcodeError(reply[3] & 0xf)
	questions, answers := binary.BigEndian.Uint16(reply[4:]), binary.BigEndian.Uint16(reply[6:])
	// An error may come without the question (RFC 1035 leaves it open; some servers do for FORMERR).
	if questions == 1 && !bytes.HasPrefix(reply[headerLen:], asks) || questions != 1 && rcode == dns.RcodeSuccess {
		return errBroken
	}
	switch {
	case rcode != dns.RcodeSuccess:
		return rcode
	case reply[2]&0x02 != 0:
		return errTruncated
	case answers == 0:
		return rcodeError(-1)
	}
	return nil
}
