// SPDX-License-Identifier: Apache-2.0

package user

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/internal/results"
)

// h1 is a connection that speaks HTTP/1.1, one request after the other.
type h1 struct {
	net.Conn
	tcp *socket // beneath TLS, if there is any; nil for no socket (tests)
	in  allowance
	r   *bufio.Reader
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

// newH1 wraps a connection; tcp is the socket that it is, or nil.
func newH1(c net.Conn, tcp *socket) *h1 {
	h := &h1{Conn: c, tcp: tcp, r: readers.Get().(*bufio.Reader)}
	h.in.r = c
	h.r.Reset(&h.in)
	return h
}

func (h *h1) stale() bool { return h.tcp != nil && h.tcp.stale() }

func (h *h1) close() {
	_ = h.Conn.Close()
	h.r.Reset(nil)
	readers.Put(h.r)
	h.r = nil
}

// secure does the TLS handshake. When it fails the connection is closed.
func (h *h1) secure(conf *tls.Config, p Protocol, deadline time.Time) error {
	err := h.SetDeadline(deadline)
	secure := tls.Client(h.Conn, configure(conf, p))
	if err == nil {
		err = secure.Handshake()
	}
	// A server may leave ALPN alone when it speaks HTTP/1.1 (RFC 7301 §3.2).
	if got := secure.ConnectionState().NegotiatedProtocol; err == nil && got != string(p) && (p != HTTP1 || got != "") {
		err = fmt.Errorf("the server does not agree to %s (hint: --protocol)", p)
	}
	if err != nil {
		h.close()
		return tlsFailure(err)
	}
	h.Conn, h.in.r = secure, secure
	return nil
}

func (h *h1) exchange(t *Target, deadline time.Time, maxBody int64, s *results.Sample) (keep bool, err error) {
	s.Protocol = string(HTTP1)
	if err := h.SetDeadline(deadline); err != nil {
		return false, replyFailure(err, false)
	}
	h.in.left = maxHeader
	begin := time.Now()
	if h.tcp != nil && h.Conn == net.Conn(h.tcp) && len(t.wire) <= small {
		h.tcp.post(t.wire)
	} else if _, err := h.Write(t.wire); err != nil {
		return false, replyFailure(err, false)
	}
	if _, err := h.r.Peek(1); err != nil {
		return false, replyFailure(err, false)
	}
	s.FirstByteNs = int64(time.Since(begin))

	var r reply
	if err := r.read(h.r, t.request.Method == "HEAD"); err != nil {
		return false, replyFailure(err, true)
	}
	s.Status, s.Backend = int32(r.status), r.backend
	h.in.left = maxBody
	s.Bytes, err = r.discard(h.r, &h.in)
	if err != nil {
		return false, replyFailure(err, true)
	}
	keep = !r.close && !t.request.Close && h.r.Buffered() == 0
	return keep, statusFailure(r.status)
}
