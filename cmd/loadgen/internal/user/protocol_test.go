// SPDX-License-Identifier: Apache-2.0

package user

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/internal/results"
)

// Each protocol, plain and secure, with and without keep-alive, limits included: the requests
// arrive whole, and the connections made are those that the habits say.
func TestProtocols(t *testing.T) {
	type c struct {
		protocol Protocol
		secure   bool
	}
	for _, p := range []c{{HTTP1, false}, {HTTP2, false}, {HTTP1, true}, {HTTP2, true}, {HTTP3, true}} {
		for _, tt := range []struct {
			name  string
			set   func(*Habits)
			conns int32 // of 6 requests
		}{
			{"new", func(*Habits) {}, 6},
			{"keepalive", func(h *Habits) { h.KeepAlive = true }, 1},
			{"two requests each", func(h *Habits) { h.KeepAlive, h.MaxRequests = true, 2 }, 3},
			{"too old at once", func(h *Habits) { h.KeepAlive, h.MaxAge = true, 1 }, 6},
			{"idle too long at once", func(h *Habits) { h.KeepAlive, h.MaxIdle = true, 1 }, 6},
		} {
			t.Run(fmt.Sprintf("%s/%v/%s", p.protocol, p.secure, tt.name), func(t *testing.T) {
				srv := serveAll(t, http.HandlerFunc(echo))
				h := srv.at(t, p.protocol, p.secure, Request{Method: "POST", Body: []byte("body"), Header: http.Header{"X-A": {"b"}}})
				tt.set(h)
				u := one(t, h)
				opened := int32(0)
				for i := range 6 {
					samples, causes := do(t, u)
					s := samples[0]
					if !s.OK() || s.Status != 200 || s.Bytes != int64(len("POST b body")) || s.Backend != "backend-1" || s.Protocol != string(p.protocol) || s.Peer != "::1" || s.FirstByteNs <= 0 {
						t.Fatalf("request %d: %+v, %v", i, s, causes[0])
					}
					opened += s.Connects
					if s.Reused != (s.Connects == 0) || (s.ConnectNs > 0) == s.Reused {
						t.Errorf("request %d: reused %v, %d connections in %d ns", i, s.Reused, s.Connects, s.ConnectNs)
					}
					if handshake := p.secure && !s.Reused && p.protocol != HTTP3; (s.TLSNs > 0) != handshake {
						t.Errorf("request %d: %d ns of TLS, handshake %v", i, s.TLSNs, handshake)
					}
				}
				if got := srv.conns.Load(); got != tt.conns || opened != tt.conns {
					t.Errorf("the server saw %d connections, the samples %d; want %d", got, opened, tt.conns)
				}
			})
		}
	}
}

// Requests of one user at the same time share a connection, also the one that the first is opening.
func TestRequestsShareAConnection(t *testing.T) {
	for _, p := range []Protocol{HTTP2, HTTP3} {
		t.Run(string(p), func(t *testing.T) {
			const n = 20
			var inside atomic.Int32
			together := make(chan struct{})
			srv := serveAll(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if inside.Add(1) == n {
					close(together)
				}
				<-together // none is answered before all have come
			}))
			h := srv.at(t, p, true, Request{})
			h.KeepAlive = true
			u := one(t, h)
			var opened atomic.Int32
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() {
					u.Do(uint64(i), time.Now(), time.Now(), func(s *results.Sample, _ bool, err error) {
						opened.Add(s.Connects)
						if err != nil {
							t.Error(err)
						}
					})
				})
			}
			all.Wait()
			if srv.conns.Load() != 1 || opened.Load() != 1 {
				t.Errorf("the server saw %d connections, the samples %d; want 1", srv.conns.Load(), opened.Load())
			}
		})
	}
}

// A server's limit on concurrent requests opens a second connection, and nothing waits behind it.
func TestServersLimitOpensAnother(t *testing.T) {
	release := make(chan struct{})
	var inside atomic.Int32
	full := make(chan struct{})
	srv := serveAll(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if inside.Add(1) == 300 { // net/http's server takes 250 on a connection
			close(full)
		}
		<-release
	}))
	h := srv.at(t, HTTP2, false, Request{})
	h.KeepAlive = true
	u := one(t, h)
	var all sync.WaitGroup
	request := func(i int) {
		u.Do(uint64(i), time.Now(), time.Now(), func(_ *results.Sample, _ bool, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	// The limit comes with the server's first frame: one request first.
	go func() { <-full; close(release) }()
	for i := range 300 {
		all.Go(func() { request(i) })
	}
	all.Wait()
	// A third stands where requests came back from the first before the second's own limit was known.
	if n := srv.conns.Load(); n < 2 || n > 3 {
		t.Errorf("%d connections for 300 requests at a time, want 2 or 3", n)
	}
}

// A server that does not speak what is asked of it is told by its class, not by silence.
func TestProtocolRefused(t *testing.T) {
	web := serveWeb(t, "tcp", "[::1]:0", true) // httptest without HTTP/2
	trust := web.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trust.ServerName = "example.com"
	target, err := NewTarget(Request{URL: "https://" + web.addr.String() + "/"})
	if err != nil {
		t.Fatal(err)
	}
	h := &Habits{Client: "test", Target: target, Timeout: time.Minute, Attempts: 1, MaxBody: 1 << 20, TLS: trust, Protocol: HTTP2}
	samples, causes := do(t, one(t, h))
	if s := samples[0]; s.Error != results.ErrTLS {
		t.Errorf("HTTP/2 of a server without: %+v, %v", s, causes[0])
	}
	plain := serveRaw(t, write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
	h = plainHabits(t, plain.addr, HTTP2)
	samples, causes = do(t, one(t, h))
	if s := samples[0]; s.Error != results.ErrHTTP && s.Error != results.ErrReset {
		t.Errorf("HTTP/2 of an HTTP/1.1 server: %+v, %v", s, causes[0])
	}
}
