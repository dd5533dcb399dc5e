// SPDX-License-Identifier: Apache-2.0

package user

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

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
	tcp      *socket // beneath TLS, if there is any; nil for no socket (tests)
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
	k.tcp, _ = c.(*socket)
	k.in.r = c
	k.r = readers.Get().(*bufio.Reader)
	k.r.Reset(&k.in)
	return k
}

// stale reports whether an idle connection must not be used again.
func (c *conn) stale() bool { return c.tcp != nil && c.tcp.stale() }

// close ends the connection. It must be called once.
func (c *conn) close() {
	_ = c.Conn.Close()
	c.r.Reset(nil)
	readers.Put(c.r)
	c.r = nil
}

// dial connects once to one address, from the source address if that is valid, and does the TLS
// handshake. The phases are noted in s, also when it fails.
func dial(t *Target, to, from netip.Addr, conf *tls.Config, deadline time.Time, s *results.Sample) (*conn, error) {
	s.Peer = to.String()
	begin := time.Now()
	tcp, err := connect(netip.AddrPortFrom(to, t.Port), from, deadline)
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
	err = secure.Handshake()
	s.TLSNs = int64(time.Since(begin))
	if err != nil {
		c.close()
		return nil, tlsFailure(err)
	}
	c.Conn, c.in.r = secure, secure
	return c, nil
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
	if name := resp.Header.Get(backendHeader); len(name) <= maxBackend {
		s.Backend = name
	}
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

// A backend of the test bed says who it is, through whatever proxy. No pod's name is longer (RFC 1123).
const (
	backendHeader = "X-Backend"
	maxBackend    = 253
)

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
