// SPDX-License-Identifier: Apache-2.0

package user

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnsingress/dnsingress/internal/results"
)

// raw is a TCP server that plays script on each connection after reading a request's headers,
// then closes it. It counts connections and requests.
type raw struct {
	addr            netip.AddrPort
	conns, requests atomic.Int32
}

func serveRaw(t *testing.T, script func(net.Conn)) *raw {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := &raw{addr: l.Addr().(*net.TCPAddr).AddrPort()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.conns.Add(1)
			go func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					r.requests.Add(1)
					script(c)
				}
			}()
		}
	}()
	return r
}

// plain returns habits that get / from an address, with a timeout that only a stalled server meets.
func plain(t *testing.T, at netip.AddrPort) *Habits {
	t.Helper()
	target, err := NewTarget(Request{URL: "http://" + at.String() + "/", Close: true})
	if err != nil {
		t.Fatal(err)
	}
	return &Habits{Client: "test", Target: target, Timeout: time.Minute, Attempts: 1, MaxBody: 1 << 20, Order: "random"}
}

// one makes a single user with the habits.
func one(t *testing.T, h *Habits) *User {
	t.Helper()
	users, err := NewPopulation(1, h, Traits{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(users[0].Close)
	return users[0]
}

// do makes one request that is due now and returns its attempts.
func do(t *testing.T, u *User) (samples []results.Sample, causes []error) {
	t.Helper()
	lasts := 0
	u.Do(7, time.Now(), time.Now().Add(time.Hour), func(s *results.Sample, last bool, err error) {
		samples, causes = append(samples, *s), append(causes, err)
		if last {
			lasts++
		}
		if (err == nil) != s.OK() {
			t.Errorf("error class %q with cause %v", s.Error, err)
		}
		if s.Seq != 7 || s.Client != "test" || s.Attempt != int32(len(samples)-1) || s.SentNs < s.IntendedNs || s.TotalNs <= 0 {
			t.Errorf("sample %+v", *s)
		}
		if sum := s.SentNs - s.IntendedNs + s.DNSNs + s.ConnectNs + s.TLSNs + s.FirstByteNs; sum > s.TotalNs {
			t.Errorf("phases and lag sum to %d ns, more than the total of %d ns", sum, s.TotalNs)
		}
	})
	if lasts != 1 {
		t.Errorf("%d attempts were called the last", lasts)
	}
	return samples, causes
}

func write(parts ...string) func(net.Conn) {
	return func(c net.Conn) {
		for _, p := range parts {
			if _, err := io.WriteString(c, p); err != nil {
				return
			}
		}
	}
}

// endless writes s until the client has had enough.
func endless(begin, s string) func(net.Conn) {
	return func(c net.Conn) {
		_, err := io.WriteString(c, begin)
		for err == nil {
			_, err = io.WriteString(c, s)
		}
	}
}

// stall keeps the connection open and silent until the client goes away.
func stall(begin string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, begin)
		_, _ = io.Copy(io.Discard, c)
	}
}

func reset(begin string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, begin)
		_ = c.(*net.TCPConn).SetLinger(0)
	}
}

func TestAttemptClasses(t *testing.T) {
	kilo := strings.Repeat("x", 1000)
	tests := []struct {
		name    string
		script  func(net.Conn)
		timeout time.Duration // 0: one that is never met; else long enough to connect on a busy machine
		class   string
		status  int32
		bytes   int64
	}{
		{"a length", write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), 0, "", 200, 5},
		{"no body", write("HTTP/1.1 204 No Content\r\n\r\n"), 0, "", 204, 0},
		{"chunks", write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n", "4\r\ndefg\r\n0\r\n\r\n"), 0, "", 200, 7},
		{"until the end of the stream", write("HTTP/1.0 200 OK\r\n\r\n", "hello"), 0, "", 200, 5},
		{"interim replies", write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"), 0, "", 200, 1},
		{"a redirect is not followed", write("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), 0, "", 302, 0},
		{"404", write("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"), 0, results.ErrStatus, 404, 2},
		{"503", write("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), 0, results.ErrStatus, 503, 0},
		{"closed with no reply", write(), 0, results.ErrReset, 0, 0},
		{"reset with no reply", reset(""), 0, results.ErrReset, 0, 0},
		{"closed in the headers", write("HTTP/1.1 200 OK\r\nContent-"), 0, results.ErrHTTP, 0, 0},
		{"closed in the body", write("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"), 0, results.ErrHTTP, 200, 5},
		{"closed in a chunk", write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"), 0, results.ErrHTTP, 200, 3},
		{"no HTTP", write("SSH-2.0-OpenSSH_9.2\r\n"), 0, results.ErrHTTP, 0, 0},
		{"bad status", write("HTTP/1.1 abc OK\r\n\r\n"), 0, results.ErrHTTP, 0, 0},
		{"bad length", write("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), 0, results.ErrHTTP, 0, 0},
		{"bad chunk", write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), 0, results.ErrHTTP, 200, 0},
		{"switches protocols", write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), 0, results.ErrHTTP, 0, 0},
		{"endless headers", endless("HTTP/1.1 200 OK\r\n", "X-A: "+kilo+"\r\n"), 0, results.ErrHTTP, 0, 0},
		{"an endless header", endless("HTTP/1.1 200 OK\r\nX-A: ", kilo), 0, results.ErrHTTP, 0, 0},
		{"endless interim replies", endless("", "HTTP/1.1 102 Processing\r\n\r\n"), 0, results.ErrHTTP, 0, 0},
		{"an endless body", endless("HTTP/1.1 200 OK\r\n\r\n", kilo), 0, results.ErrHTTP, 200, -1},
		{"silence", stall(""), time.Second, results.ErrTimeout, 0, 0},
		{"silence in the headers", stall("HTTP/1.1 200 OK\r\n"), time.Second, results.ErrTimeout, 0, 0},
		{"silence in the body", stall("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), time.Second, results.ErrTimeout, 200, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := serveRaw(t, tt.script)
			h := plain(t, srv.addr)
			if tt.timeout > 0 {
				h.Timeout = tt.timeout
			}
			samples, causes := do(t, one(t, h))
			if len(samples) != 1 || srv.conns.Load() != 1 {
				t.Fatalf("%d attempts recorded, %d connections made; want one of each", len(samples), srv.conns.Load())
			}
			s := samples[0]
			// Under a short timeout on a busy machine the attempt may end before the reply's first part.
			if s.Error != tt.class || tt.timeout == 0 && (s.Status != tt.status || tt.bytes >= 0 && s.Bytes != tt.bytes) {
				t.Errorf("class %q (%v), status %d, %d bytes; want %q, %d, %d", s.Error, causes[0], s.Status, s.Bytes, tt.class, tt.status, tt.bytes)
			}
			if tt.bytes < 0 && (s.Bytes < h.MaxBody || s.Bytes > h.MaxBody+8<<10) {
				t.Errorf("read %d bytes with a limit of %d", s.Bytes, h.MaxBody)
			}
			if tt.timeout > 0 && time.Duration(s.TotalNs) < tt.timeout {
				t.Errorf("gave up after %v, before the timeout of %v", time.Duration(s.TotalNs), tt.timeout)
			}
		})
	}
}

func TestAttemptRefused(t *testing.T) {
	fd, addr, err := bound() // and nobody listens
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	samples, _ := do(t, one(t, plain(t, addr)))
	if s := samples[0]; s.Error != results.ErrConnectRefused || s.Peer != "::1" || s.ConnectNs <= 0 {
		t.Errorf("%+v", s)
	}
}

// A listener whose backlog is full answers no SYN: the connect times out.
func TestAttemptConnectTimeout(t *testing.T) {
	l, err := fullListener()
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	h := plain(t, l.addr)
	h.Timeout = 50 * time.Millisecond
	samples, causes := do(t, one(t, h))
	if s := samples[0]; s.Error != results.ErrConnectTimeout || s.TotalNs < int64(h.Timeout) {
		t.Errorf("%+v, %v", s, causes[0])
	}
}

// FuzzReply gives arbitrary bytes as a reply: it must end in one class that such bytes allow.
func FuzzReply(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
	f.Add("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 No\r\n\r\n")
	f.Fuzz(func(t *testing.T, reply string) {
		target, err := NewTarget(Request{URL: "http://[::1]/"})
		if err != nil {
			t.Fatal(err)
		}
		client, server := net.Pipe()
		go func() {
			_, _ = http.ReadRequest(bufio.NewReader(server))
			_, _ = io.WriteString(server, reply)
			server.Close()
		}()
		c := newH1(client, nil)
		defer c.close()
		var s results.Sample
		keep, err := c.exchange(target, time.Now().Add(time.Minute), 1<<16, &s)
		switch got := class(err); got {
		case "", results.ErrStatus:
			if s.Status < 200 || (s.Status >= 400) != (got != "") {
				t.Errorf("class %q with status %d", got, s.Status)
			}
		case results.ErrReset, results.ErrHTTP:
			if keep {
				t.Errorf("a connection that failed with %v is kept", err)
			}
		default:
			t.Errorf("class %q: %v", got, err)
		}
		if s.Bytes > int64(len(reply)) {
			t.Errorf("%d bytes of body in a reply of %d", s.Bytes, len(reply))
		}
	})
}
