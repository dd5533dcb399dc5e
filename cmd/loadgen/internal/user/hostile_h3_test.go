// SPDX-License-Identifier: Apache-2.0

package user

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/dnsingress/dnsingress/internal/results"
)

// quicServer is a QUIC server that plays script on each connection, then waits for its end.
func quicServer(t *testing.T, alpn string, script func(*quic.Conn)) (netip.AddrPort, *tls.Config) {
	t.Helper()
	cert, trust := identity(t)
	l, err := quic.ListenAddr("[::1]:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{alpn}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			go func() { script(c); <-c.Context().Done() }()
		}
	}()
	return l.Addr().(*net.UDPAddr).AddrPort(), trust
}

// frame returns an HTTP/3 frame (RFC 9114 §7.1).
func frame(kind uint64, payload []byte) []byte {
	return append(quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(payload))), payload...)
}

// h3Head returns a HEADERS frame with fields.
func h3Head(fields ...string) []byte {
	var b bytes.Buffer
	e := qpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(qpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return frame(1, b.Bytes())
}

func TestHTTP3Classes(t *testing.T) {
	// onStream accepts the request's stream, and plays a script on it.
	onStream := func(script func(*quic.Conn, *quic.Stream)) func(*quic.Conn) {
		return func(c *quic.Conn) {
			if s, err := c.AcceptStream(context.Background()); err == nil {
				script(c, s)
			}
		}
	}
	says := func(b []byte, then func(*quic.Conn, *quic.Stream)) func(*quic.Conn) {
		return onStream(func(c *quic.Conn, s *quic.Stream) {
			_, _ = s.Write(b)
			then(c, s)
		})
	}
	finish := func(_ *quic.Conn, s *quic.Stream) { _ = s.Close() }
	wait := func(*quic.Conn, *quic.Stream) {}
	ok := h3Head(":status", "200")
	data := frame(0, make([]byte, 9))
	tests := []struct {
		name    string
		alpn    string // "" is h3
		script  func(*quic.Conn)
		timeout time.Duration
		class   string
		status  int32
	}{
		{"a reply", "", says(append(bytes.Clone(ok), data...), finish), 0, "", 200},
		{"a status", "", says(h3Head(":status", "503"), finish), 0, results.ErrStatus, 503},
		{"another protocol", "doq", func(*quic.Conn) {}, 0, results.ErrTLS, 0},
		{"the connection closed at once", "", func(c *quic.Conn) { _ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") }, 0, results.ErrReset, 0},
		{"the connection closed with no reply", "", onStream(func(c *quic.Conn, _ *quic.Stream) {
			_ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeInternalError), "")
		}), 0, results.ErrReset, 0},
		{"the stream reset with no reply", "", onStream(func(_ *quic.Conn, s *quic.Stream) { s.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestRejected)) }), 0, results.ErrReset, 0},
		{"the stream reset in the body", "", says(append(bytes.Clone(ok), data...), func(_ *quic.Conn, s *quic.Stream) {
			s.SetReliableBoundary()
			s.CancelWrite(quic.StreamErrorCode(http3.ErrCodeInternalError))
		}), 0, results.ErrReset, -1},
		{"ended with no reply", "", onStream(finish), 0, results.ErrReset, 0},
		{"ended in the body", "", says(append(h3Head(":status", "200", "content-length", "50"), data...), finish), 0, results.ErrHTTP, 200},
		{"a frame of HTTP/2", "", says(frame(2, []byte("abcde")), wait), 0, results.ErrHTTP, 0},
		{"no HTTP/3: an unknown frame that does not end", "", says([]byte("SSH-2.0-OpenSSH_9.2\r\n"), finish), 0, results.ErrReset, 0},
		{"no status", "", says(h3Head("a", "b"), wait), 0, results.ErrHTTP, 0},
		{"a broken header block", "", says(frame(1, []byte{0xff, 0xff, 0xff}), wait), 0, results.ErrHTTP, 0},
		{"data before headers", "", says(data, wait), 0, results.ErrHTTP, 0},
		{"headers beyond the limit", "", says(quicvarint.Append([]byte{1}, 1<<30), wait), 0, results.ErrHTTP, 0},
		{"an endless body", "", says(ok, func(_ *quic.Conn, s *quic.Stream) {
			for piece := frame(0, make([]byte, 16<<10)); ; {
				if _, err := s.Write(piece); err != nil {
					return
				}
			}
		}), 0, results.ErrHTTP, 200},
		{"silence", "", func(*quic.Conn) {}, time.Second, results.ErrTimeout, 0},
		{"silence in the body", "", says(append(bytes.Clone(ok), data...), wait), time.Second, results.ErrTimeout, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			alpn := "h3"
			if tt.alpn != "" {
				alpn = tt.alpn
			}
			at, trust := quicServer(t, alpn, tt.script)
			h := h3Habits(t, at, trust)
			if tt.timeout > 0 {
				h.Timeout = tt.timeout
			}
			samples, causes := do(t, one(t, h))
			s := samples[0]
			if len(samples) != 1 || s.Error != tt.class || tt.timeout == 0 && tt.status >= 0 && s.Status != tt.status {
				t.Errorf("class %q (%v), status %d; want %q, %d", s.Error, causes[0], s.Status, tt.class, tt.status)
			}
			if s.Bytes > h.MaxBody+64<<10 {
				t.Errorf("read %d bytes with a limit of %d", s.Bytes, h.MaxBody)
			}
		})
	}
}

func h3Habits(t *testing.T, at netip.AddrPort, trust *tls.Config) *Habits {
	t.Helper()
	target, err := NewTarget(Request{URL: "https://" + at.String() + "/"})
	if err != nil {
		t.Fatal(err)
	}
	return &Habits{Client: "test", Target: target, Timeout: time.Minute, Attempts: 1, MaxBody: 1 << 20, Protocol: HTTP3, TLS: trust}
}

// A UDP port that nobody has is refused at once, by ICMP; one that says nothing, or nonsense, times out.
func TestHTTP3Unreachable(t *testing.T) {
	_, trust := identity(t)
	// A socket that is connected elsewhere keeps the port from others and takes nothing from here.
	taken, err := net.Dial("udp", "[::1]:9")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	samples, causes := do(t, one(t, h3Habits(t, taken.LocalAddr().(*net.UDPAddr).AddrPort(), trust)))
	if s := samples[0]; s.Error != results.ErrConnectRefused || s.TotalNs > int64(30*time.Second) {
		t.Errorf("nobody listens: %+v, %v", s, causes[0])
	}
	for name, nonsense := range map[string]bool{"silence": false, "nonsense": true} {
		c, err := net.ListenPacket("udp", "[::1]:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go func() {
			b := make([]byte, 2000)
			for {
				_, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				if nonsense {
					_, _ = c.WriteTo(bytes.Repeat([]byte("no QUIC "), 20), from)
				}
			}
		}()
		h := h3Habits(t, c.LocalAddr().(*net.UDPAddr).AddrPort(), trust)
		h.Timeout = 300 * time.Millisecond
		samples, causes := do(t, one(t, h))
		if s := samples[0]; s.Error != results.ErrConnectTimeout || s.TotalNs < int64(h.Timeout) {
			t.Errorf("%s: %+v, %v", name, s, causes[0])
		}
	}
}
