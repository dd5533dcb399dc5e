// SPDX-License-Identifier: Apache-2.0

package user

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnsingress/dnsingress/internal/results"
)

// maxHeader bounds the status lines and headers of one reply, interim ones included.
const maxHeader = 256 << 10

var (
	errTooLong    = errors.New("the reply is longer than allowed")
	errUnexpected = errors.New("the server switched protocols unasked")
)

// conn is one connection to a server.
type conn struct {
	net.Conn
	raw      syscall.RawConn // of the TCP socket; nil when there is none (tests)
	peer     string
	in       allowance
	r        *bufio.Reader
	born     time.Time
	idle     time.Time // since when it waits for a request
	requests int
}

// allowance reads from a connection until its budget is used up: endless replies end.
type allowance struct {
	r    io.Reader
	left int64
}

func (a *allowance) Read(p []byte) (int, error) {
	if a.left <= 0 {
		return 0, errTooLong
	}
	n, err := a.r.Read(p[:min(int64(len(p)), a.left)])
	a.left -= int64(n)
	return n, err
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4<<10) }}

func newConn(c net.Conn, peer string) *conn {
	k := &conn{Conn: c, peer: peer, born: time.Now()}
	if s, ok := c.(syscall.Conn); ok {
		k.raw, _ = s.SyscallConn()
	}
	k.read(c)
	return k
}

func (c *conn) read(from io.Reader) {
	c.in.r = from
	c.r = readers.Get().(*bufio.Reader)
	c.r.Reset(&c.in)
}

// close ends the connection. It must be called once.
func (c *conn) close() {
	_ = c.Conn.Close()
	c.r.Reset(nil)
	readers.Put(c.r)
	c.r = nil
}

// dial connects once to one address, from the source address if one is given, and does the TLS handshake.
// The phases are noted in s, also when it fails.
func dial(ctx context.Context, t *Target, to, from netip.Addr, conf *tls.Config, s *results.Sample) (*conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}
	if from.IsValid() {
		d.Control, d.LocalAddr = bindAnywhere, net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	s.Peer = to.String()
	begin := time.Now()
	tcp, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(to, t.Port).String()) // DialTCP would bind a port first
	s.ConnectNs = int64(time.Since(begin))
	if err != nil {
		return nil, dialFailure(err)
	}
	c := newConn(tcp, s.Peer)
	if !t.TLS {
		return c, nil
	}
	begin = time.Now()
	secure := tls.Client(tcp, conf)
	err = secure.HandshakeContext(ctx)
	s.TLSNs = int64(time.Since(begin))
	if err != nil {
		c.close()
		return nil, tlsFailure(err)
	}
	c.Conn, c.in.r = secure, secure
	return c, nil
}

// bindAnywhere lets a socket be bound to an address that is routed to this machine as part of a
// prefix without being configured (ip route add local PREFIX dev lo), and leaves the choice of the
// port to connect, so that each pair of addresses has all ports.
func bindAnywhere(_, _ string, raw syscall.RawConn) error {
	var err error
	control := func(fd uintptr) {
		err = errors.Join(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
	}
	if e := raw.Control(control); e != nil {
		return e
	}
	return err
}

// exchange sends the request and reads the reply to its end, and reports whether the connection
// can carry another. The phases are noted in s, also when it fails.
func (c *conn) exchange(t *Target, deadline time.Time, maxBody int64, s *results.Sample) (keep bool, err error) {
	c.requests++
	if err := c.SetDeadline(deadline); err != nil {
		return false, replyFailure(err, false)
	}
	c.in.left = maxHeader
	begin := time.Now()
	if _, err := c.Write(t.wire); err != nil {
		return false, replyFailure(err, false)
	}
	if _, err := c.r.Peek(1); err != nil {
		return false, replyFailure(err, false)
	}
	s.FirstByteNs = int64(time.Since(begin))

	resp, err := c.response(t)
	if err != nil {
		return false, replyFailure(err, true)
	}
	s.Status = int32(resp.StatusCode)
	c.in.left = maxBody
	s.Bytes, err = io.Copy(io.Discard, resp.Body)
	if err != nil {
		return false, replyFailure(err, true)
	}
	keep = !resp.Close && !t.request.Close && c.r.Buffered() == 0
	if resp.StatusCode >= 400 {
		return keep, &failure{results.ErrStatus, fmt.Errorf("the server replied %s", resp.Status)}
	}
	return keep, nil
}

// response reads headers, passing over interim replies (RFC 9110 §15.2).
func (c *conn) response(t *Target) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(c.r, t.request)
		switch {
		case err != nil:
			return nil, err
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, errUnexpected
		case resp.StatusCode >= 200:
			return resp, nil
		}
	}
}

// stale reports whether the peer has closed an idle connection, or sent what nobody asked for.
func (c *conn) stale() bool {
	if c.raw == nil {
		return false
	}
	dead := true
	err := c.raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		dead = !errors.Is(err, unix.EAGAIN)
	})
	return dead || err != nil
}
