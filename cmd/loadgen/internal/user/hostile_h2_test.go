// SPDX-License-Identifier: Apache-2.0

package user

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/dnsingress/dnsingress/internal/results"
)

// plainHabits are those of plain, in another protocol.
func plainHabits(t *testing.T, at netip.AddrPort, p Protocol) *Habits {
	t.Helper()
	h := plain(t, at)
	h.Protocol = p
	return h
}

// framed is a TCP server that reads a client's preface and first request in HTTP/2, then plays script.
func framed(t *testing.T, script func(*http2.Framer, net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
					return
				}
				f := http2.NewFramer(c, c)
				for {
					frame, err := f.ReadFrame()
					if err != nil {
						return
					}
					if _, ok := frame.(*http2.HeadersFrame); ok {
						break
					}
				}
				script(f, c)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// reply writes settings and the head of a reply on the first stream.
func replied(f *http2.Framer, end bool, fields ...string) {
	_ = f.WriteSettings()
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: end})
}

// silent reads until the client goes away.
func silent(_ *http2.Framer, c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func TestHTTP2Classes(t *testing.T) {
	head := func(end bool) func(*http2.Framer, net.Conn) {
		return func(f *http2.Framer, _ net.Conn) { replied(f, end, ":status", "200") }
	}
	then := func(scripts ...func(*http2.Framer, net.Conn)) func(*http2.Framer, net.Conn) {
		return func(f *http2.Framer, c net.Conn) {
			for _, s := range scripts {
				s(f, c)
			}
		}
	}
	data := func(n int) func(*http2.Framer, net.Conn) {
		return func(f *http2.Framer, _ net.Conn) { _ = f.WriteData(1, false, make([]byte, n)) }
	}
	endlessData := func(f *http2.Framer, c net.Conn) {
		go io.Copy(io.Discard, c) // the window updates are not waited for: 64 KiB and what the client grants at first
		for f.WriteData(1, false, make([]byte, 16<<10)) == nil {
		}
	}
	tests := []struct {
		name    string
		script  func(*http2.Framer, net.Conn)
		timeout time.Duration
		class   []string // one of these
		status  int32
	}{
		{"a reply", then(head(true), silent), 0, []string{""}, 200},
		{"a status", then(func(f *http2.Framer, _ net.Conn) { replied(f, true, ":status", "503") }, silent), 0, []string{results.ErrStatus}, 503},
		{"closed with no reply", func(*http2.Framer, net.Conn) {}, 0, []string{results.ErrReset}, 0},
		{"closed after settings", func(f *http2.Framer, _ net.Conn) { _ = f.WriteSettings() }, 0, []string{results.ErrReset}, 0},
		{"reset with no reply", func(_ *http2.Framer, c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, 0, []string{results.ErrReset}, 0},
		{"goaway", then(func(f *http2.Framer, _ net.Conn) {
			_ = f.WriteSettings()
			_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
		}, silent), 0, []string{results.ErrReset}, 0},
		{"the stream refused", then(func(f *http2.Framer, _ net.Conn) {
			_ = f.WriteSettings()
			_ = f.WriteRSTStream(1, http2.ErrCodeRefusedStream)
		}, silent), 0, []string{results.ErrReset}, 0},
		{"the stream reset in the body", then(head(false), data(9), func(f *http2.Framer, _ net.Conn) { _ = f.WriteRSTStream(1, http2.ErrCodeInternal) }, silent), 0, []string{results.ErrReset}, 200},
		{"closed in the body", then(head(false), data(9)), 0, []string{results.ErrHTTP, results.ErrReset}, 200},
		{"no HTTP/2", func(_ *http2.Framer, c net.Conn) {
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n"+strings.Repeat("x", 100))
		}, 0, []string{results.ErrHTTP}, 0},
		{"no status", then(func(f *http2.Framer, _ net.Conn) { replied(f, true, "a", "b") }, silent), 0, []string{results.ErrHTTP}, 0},
		{"a broken header block", then(func(f *http2.Framer, _ net.Conn) {
			_ = f.WriteSettings()
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
		}, silent), 0, []string{results.ErrHTTP}, 0},
		{"data before headers", then(func(f *http2.Framer, _ net.Conn) { _ = f.WriteSettings() }, data(5), silent), 0, []string{results.ErrHTTP}, 0},
		{"endless headers", func(f *http2.Framer, c net.Conn) {
			_ = f.WriteSettings()
			go io.Copy(io.Discard, c)
			big := bytes.Repeat([]byte{0x00, 0x01, 'a', 0x01, 'b'}, 3000)
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: big})
			for f.WriteContinuation(1, false, big) == nil {
			}
		}, 0, []string{results.ErrHTTP}, 0},
		{"an endless body", then(head(false), endlessData), 0, []string{results.ErrHTTP}, 200},
		{"silence", silent, time.Second, []string{results.ErrTimeout}, 0},
		{"silence after settings", then(func(f *http2.Framer, _ net.Conn) { _ = f.WriteSettings() }, silent), time.Second, []string{results.ErrTimeout}, 0},
		{"silence in the body", then(head(false), data(3), silent), time.Second, []string{results.ErrTimeout}, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := plainHabits(t, framed(t, tt.script), HTTP2)
			h.MaxBody = 48 << 10 // within the window that any client grants
			if tt.timeout > 0 {
				h.Timeout = tt.timeout
			}
			samples, causes := do(t, one(t, h))
			s := samples[0]
			found := false
			for _, c := range tt.class {
				found = found || c == s.Error
			}
			if len(samples) != 1 || !found || tt.timeout == 0 && s.Status != tt.status {
				t.Errorf("class %q (%v), status %d; want %q, %d", s.Error, causes[0], s.Status, tt.class, tt.status)
			}
			if s.Bytes > h.MaxBody+64<<10 {
				t.Errorf("read %d bytes with a limit of %d", s.Bytes, h.MaxBody)
			}
		})
	}
}
