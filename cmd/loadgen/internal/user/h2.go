// SPDX-License-Identifier: Apache-2.0

package user

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/dnsingress/dnsingress/internal/results"
)

// h2 is a connection that speaks HTTP/2: a single one of net/http's, which sends each request once.
type h2 struct {
	conn *http.ClientConn
}

// dialed is the key of a context's value: the connection that net/http is to use.
type dialed struct{}

func given(ctx context.Context, _, _ string) (net.Conn, error) {
	return ctx.Value(dialed{}).(net.Conn), nil
}

// upgrade begins HTTP/2 on a connection on which nothing was said. When it fails the connection is closed.
func upgrade(c *h1, deadline time.Time) (*h2, error) {
	t := &http.Transport{
		DialContext: given, DialTLSContext: given, DisableCompression: true,
		MaxResponseHeaderBytes: maxHeader, Protocols: new(http.Protocols),
	}
	scheme := "http"
	if _, secure := c.Conn.(*tls.Conn); secure {
		scheme = "https"
		t.Protocols.SetHTTP2(true)
	} else {
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	under := c.Conn
	err := c.SetDeadline(deadline) // of the preface
	var conn *http.ClientConn
	if err == nil {
		conn, err = t.NewClientConn(context.WithValue(context.Background(), dialed{}, under), scheme, "[::1]:1")
	}
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		c.close()
		return nil, streamFailure(err, false)
	}
	return &h2{conn}, nil
}

func (h *h2) stale() bool { return h.conn.Err() != nil }
func (h *h2) close()      { _ = h.conn.Close() }

// room reports whether the server takes one more request now, and reserves it.
func (h *h2) room() bool { return h.conn.Reserve() == nil }

func (h *h2) exchange(t *Target, deadline time.Time, maxBody int64, s *results.Sample) (bool, error) {
	s.Protocol = string(HTTP2)
	return ride(h.conn, t, deadline, maxBody, s)
}

// ride sends a request on a connection that carries several, and reads the reply to its end. The
// connection can carry another unless it has ended, which whoever takes it next finds out.
func ride(conn http.RoundTripper, t *Target, deadline time.Time, maxBody int64, s *results.Sample) (keep bool, err error) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	req := t.request.WithContext(ctx)
	req.Close = false // says nothing in these protocols
	if len(t.body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(t.body))
	}
	begin := time.Now()
	resp, err := conn.RoundTrip(req)
	if err != nil {
		return true, streamFailure(outOf(ctx, err), false)
	}
	defer resp.Body.Close()
	s.FirstByteNs = int64(time.Since(begin))
	s.Status = int32(resp.StatusCode)
	if name := resp.Header.Get(backendHeader); len(name) <= maxBackend {
		s.Backend = name
	}
	buf := scratch.Get().(*[64 << 10]byte)
	defer scratch.Put(buf)
	for {
		n, err := resp.Body.Read(buf[:])
		s.Bytes += int64(n)
		switch {
		case s.Bytes > maxBody:
			return true, &failure{class: results.ErrHTTP, err: errTooLong}
		case errors.Is(err, io.EOF):
			return true, statusFailure(resp.StatusCode)
		case err != nil:
			return true, streamFailure(outOf(ctx, err), true)
		}
	}
}

// outOf returns why an exchange failed: the context's end, where that is the cause of what the library says.
func outOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
