// SPDX-License-Identifier: Apache-2.0

package user

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/internal/dnsclient"
	"github.com/dnsingress/dnsingress/internal/dnstest"
	"github.com/dnsingress/dnsingress/internal/results"
)

// web is a real HTTP server that counts connections, and notes where requests came from.
type web struct {
	*httptest.Server
	addr  netip.AddrPort
	conns atomic.Int32

	mu      sync.Mutex
	clients []netip.Addr
}

func serveWeb(t *testing.T, network, listen string, secure bool) *web {
	t.Helper()
	w := &web{}
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.clients = append(w.clients, netip.MustParseAddrPort(r.RemoteAddr).Addr())
		w.mu.Unlock()
		_, _ = io.WriteString(rw, r.Method+" "+r.Host+" "+r.URL.Path)
	}))
	w.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			w.conns.Add(1)
		}
	}
	w.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.Listener.Close()
	var err error
	if w.Listener, err = net.Listen(network, listen); err != nil {
		t.Fatal(err)
	}
	w.addr = w.Listener.Addr().(*net.TCPAddr).AddrPort()
	if secure {
		w.StartTLS()
	} else {
		w.Start()
	}
	t.Cleanup(w.Close)
	return w
}

// names is a real DNS server that answers with the given records and counts queries.
type names struct {
	records []string
	after   map[uint16]time.Duration // how long the answers of a type take
	queries atomic.Int32
	addr    netip.AddrPort
}

func serveNames(t *testing.T, records ...string) *names {
	t.Helper()
	return serveNamesAfter(t, nil, records...)
}

func serveNamesAfter(t *testing.T, after map[uint16]time.Duration, records ...string) *names {
	t.Helper()
	n := &names{records: records, after: after}
	addr, stop, err := dnstest.Serve(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	n.addr = addr
	return n
}

func (n *names) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	n.queries.Add(1)
	time.Sleep(n.after[q.Question[0].Qtype])
	m := new(dns.Msg).SetReply(q)
	for _, s := range n.records {
		if rr, err := dns.NewRR(s); err == nil && rr.Header().Rrtype == q.Question[0].Qtype && rr.Header().Name == q.Question[0].Name {
			m.Answer = append(m.Answer, rr)
		}
	}
	_ = w.WriteMsg(m)
}

// named returns habits that get http://web.test/ at the port, asking the DNS server.
func named(t *testing.T, n *names, port uint16) *Habits {
	t.Helper()
	target, err := NewTarget(Request{URL: fmt.Sprintf("http://web.test:%d/", port), Close: true})
	if err != nil {
		t.Fatal(err)
	}
	return &Habits{
		Client: "test", Target: target, Timeout: time.Minute, Attempts: 1, MaxBody: 1 << 20,
		DNS: dnsclient.Config{Timeout: time.Minute}, Resolver: dnsclient.Server(n.addr), Order: dnsclient.OrderFirst, Family: Auto,
	}
}

func TestNewConnectionARequest(t *testing.T) {
	w := serveWeb(t, "tcp", "[::1]:0", false)
	n := serveNames(t, "web.test. 3600 IN AAAA ::1")
	u := one(t, named(t, n, w.addr.Port()))
	for i := range 5 {
		samples, _ := do(t, u)
		s := samples[0]
		if !s.OK() || s.Status != 200 || s.Reused || s.Peer != "::1" || s.ConnectNs <= 0 || s.FirstByteNs <= 0 {
			t.Errorf("request %d: %+v", i, s)
		}
		if first := i == 0; s.DNSCached == first || (s.DNSNs > 0) != first {
			t.Errorf("request %d: cached %v, %d ns of lookup", i, s.DNSCached, s.DNSNs)
		}
		if want := int64(len(fmt.Sprintf("GET web.test:%d /", w.addr.Port()))); s.Bytes != want {
			t.Errorf("request %d: %d bytes, want %d", i, s.Bytes, want)
		}
	}
	if w.conns.Load() != 5 || n.queries.Load() != 1 {
		t.Errorf("%d connections, %d queries; want 5, 1", w.conns.Load(), n.queries.Load())
	}
}

func TestKeepAlive(t *testing.T) {
	tests := []struct {
		name  string
		limit func(*Habits)
		conns int32 // of 6 requests
	}{
		{"no limit", func(*Habits) {}, 1},
		{"requests", func(h *Habits) { h.MaxRequests = 2 }, 3},
		{"age", func(h *Habits) { h.MaxAge = 1 }, 6},
		{"idle", func(h *Habits) { h.MaxIdle = 1 }, 6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := serveWeb(t, "tcp", "[::1]:0", false)
			n := serveNames(t, "web.test. 0 IN AAAA ::1")
			h := named(t, n, w.addr.Port())
			h.Target.request.Close = false
			target, err := NewTarget(Request{URL: h.Target.URL})
			if err != nil {
				t.Fatal(err)
			}
			h.Target, h.KeepAlive = target, true
			tt.limit(h)
			u := one(t, h)
			reused := int32(0)
			for range 6 {
				samples, causes := do(t, u)
				s := samples[0]
				if !s.OK() {
					t.Fatalf("%+v, %v", s, causes[0])
				}
				if s.Reused {
					reused++
					if s.ConnectNs != 0 || s.DNSNs != 0 || s.DNSCached || s.Peer != "::1" {
						t.Errorf("a reused connection with a lookup or connect: %+v", s)
					}
				}
			}
			// A user asks DNS when it needs a connection, and TTL 0 is never kept.
			if w.conns.Load() != tt.conns || 6-reused != tt.conns || n.queries.Load() != tt.conns {
				t.Errorf("%d connections, %d reused, %d queries; want %d connections", w.conns.Load(), reused, n.queries.Load(), tt.conns)
			}
		})
	}
}

// keep returns keep-alive habits for an address.
func keep(t *testing.T, at netip.AddrPort) *Habits {
	t.Helper()
	h := plain(t, at)
	target, err := NewTarget(Request{URL: h.Target.URL})
	if err != nil {
		t.Fatal(err)
	}
	h.Target, h.KeepAlive = target, true
	return h
}

// A connection that the server closed while it was idle is not used, and no attempt is lost on it.
func TestKeepAliveLeavesStaleConnections(t *testing.T) {
	srv := serveRaw(t, write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) // closes after each reply, unannounced
	u := one(t, keep(t, srv.addr))
	for i := range 3 {
		samples, causes := do(t, u)
		if s := samples[0]; len(samples) != 1 || !s.OK() || s.Reused {
			t.Fatalf("request %d: %+v, %v", i, samples, causes)
		}
		for !idleIsStale(u) {
			time.Sleep(time.Millisecond) // until the server's FIN has arrived
		}
	}
	if n := srv.conns.Load(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

func idleIsStale(u *User) bool {
	u.conns.mu.Lock()
	defer u.conns.mu.Unlock()
	return u.conns.idle[0].stale()
}

// A reused connection that dies under a request is an error on record. net/http would have
// sent the request again, silently.
func TestReusedConnectionDiesOnRecord(t *testing.T) {
	srv := serveRaw(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_, _ = io.ReadFull(c, make([]byte, 1)) // the next request's first byte
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	h := keep(t, srv.addr)
	u := one(t, h)
	do(t, u)
	samples, _ := do(t, u)
	if s := samples[0]; len(samples) != 1 || !s.Reused || s.Error != results.ErrReset {
		t.Errorf("one attempt allowed: %+v", samples)
	}

	h.Attempts = 3
	do(t, u)
	samples, _ = do(t, u)
	if len(samples) != 2 || samples[0].Error != results.ErrReset || !samples[0].Reused || !samples[1].OK() || samples[1].Reused {
		t.Fatalf("three attempts allowed: %+v", samples)
	}
	if a, b := samples[0], samples[1]; a.IntendedNs != b.IntendedNs || b.SentNs <= a.SentNs || b.TotalNs <= a.TotalNs {
		t.Errorf("the second attempt's total must count from the first intended send: %+v", samples)
	}
	if got := srv.conns.Load(); got != 3 {
		t.Errorf("%d connections, want 3", got)
	}
}

// One attempt goes to one address, also when it is dead; the next attempt goes to the next.
func TestAddressesAreNotWalked(t *testing.T) {
	w := serveWeb(t, "tcp4", "127.0.0.1:0", false)
	n := serveNames(t, "web.test. 60 IN A 127.0.0.2", "web.test. 60 IN A 127.0.0.1")
	h := named(t, n, w.addr.Port())
	h.Family = IPv4
	u := one(t, h)
	samples, _ := do(t, u)
	if s := samples[0]; len(samples) != 1 || s.OK() || s.Peer != "127.0.0.2" || w.conns.Load() != 0 {
		t.Errorf("one attempt allowed: %+v, %d connections", samples, w.conns.Load())
	}
	h.Attempts = 2
	samples, _ = do(t, u)
	if len(samples) != 2 || samples[0].Peer != "127.0.0.2" || samples[1].Peer != "127.0.0.1" || !samples[1].OK() {
		t.Errorf("two attempts allowed: %+v", samples)
	}
}

// The seed and the request's number draw the order of the addresses, evenly, and attempts walk along it.
func TestRandomOrder(t *testing.T) {
	h := plain(t, netip.MustParseAddrPort("[::1]:80"))
	for _, s := range []string{"fd00::1", "fd00::2", "fd00::3"} {
		h.Addresses = append(h.Addresses, netip.MustParseAddr(s))
	}
	var users, again []*User
	for _, into := range []*[]*User{&users, &again} {
		var err error
		if *into, err = NewPopulation(2, h, Traits{}, 1); err != nil {
			t.Fatal(err)
		}
	}
	first, alike := map[netip.Addr]int{}, 0
	for seq := range uint64(3000) {
		at := func(u *User, attempt int) netip.Addr {
			var tried []netip.Addr
			for n := range attempt + 1 {
				tried = append(tried, untried(u.arrange(h.Addresses, seq), tried, n))
			}
			return tried[attempt]
		}
		a := at(users[0], 0)
		first[a]++
		if b := at(again[0], 0); b != a {
			t.Fatalf("request %d: %v, and %v with the same seed", seq, a, b)
		}
		if at(users[1], 0) == a {
			alike++
		}
		if tried := map[netip.Addr]bool{a: true, at(users[0], 1): true, at(users[0], 2): true}; len(tried) != 3 {
			t.Fatalf("request %d: three attempts went to %v", seq, tried)
		}
	}
	for a, n := range first {
		if n < 900 || n > 1100 {
			t.Errorf("%v came first %d times in 3,000", a, n)
		}
	}
	if alike < 900 || alike > 1100 {
		t.Errorf("two users drew alike %d times in 3,000", alike)
	}
}

func TestLookupFailures(t *testing.T) {
	rcode := func(rc int) *dns.Msg { m := new(dns.Msg); m.Rcode = rc; return m }
	silent, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	tests := []struct {
		name    string
		reply   *dns.Msg // nil: none
		class   string
		timeout time.Duration
	}{
		{"silence", nil, results.ErrDNSTimeout, 30 * time.Millisecond},
		{"servfail", rcode(dns.RcodeServerFailure), results.ErrDNSServfail, time.Minute},
		{"nxdomain", rcode(dns.RcodeNameError), results.ErrDNSNXDomain, time.Minute},
		{"nodata", rcode(dns.RcodeSuccess), results.ErrDNSNoData, time.Minute},
		{"refused", rcode(dns.RcodeRefused), results.ErrDNSOther, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr := silent.LocalAddr().(*net.UDPAddr).AddrPort()
			if tt.reply != nil {
				var stop func()
				var err error
				if addr, stop, err = dnstest.Serve(dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
					m := new(dns.Msg).SetReply(q)
					m.Rcode = tt.reply.Rcode
					_ = w.WriteMsg(m)
				})); err != nil {
					t.Fatal(err)
				}
				defer stop()
			}
			h := named(t, &names{addr: addr}, 80)
			h.Timeout = tt.timeout
			samples, causes := do(t, one(t, h))
			if s := samples[0]; s.Error != tt.class || s.Peer != "" || s.ConnectNs != 0 || s.DNSNs <= 0 {
				t.Errorf("%+v, %v; want class %s", s, causes[0], tt.class)
			}
		})
	}
}

func TestFamily(t *testing.T) {
	w := serveWeb(t, "tcp4", "127.0.0.1:0", false)
	n := serveNames(t, "web.test. 60 IN A 127.0.0.1")
	for family, want := range map[Family]struct {
		class   string
		queries int32
	}{Auto: {"", 2}, IPv4: {"", 1}, IPv6: {results.ErrDNSNoData, 1}} {
		h := named(t, n, w.addr.Port())
		h.Family = family
		n.queries.Store(0)
		samples, causes := do(t, one(t, h))
		if s := samples[0]; s.Error != want.class || n.queries.Load() != want.queries {
			t.Errorf("%s: class %q (%v) after %d queries; want %q after %d", family, s.Error, causes[0], n.queries.Load(), want.class, want.queries)
		}
	}
}

// Users share nothing: each asks for itself, and sends from its own address.
func TestPopulation(t *testing.T) {
	w := serveWeb(t, "tcp4", "127.0.0.1:0", false)
	n := serveNames(t, "web.test. 60 IN A 127.0.0.1")
	h := named(t, n, w.addr.Port())
	h.Family, h.Sources = IPv4, netip.MustParsePrefix("127.9.0.0/16")
	users, err := NewPopulation(3, h, Traits{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range users {
		for range 2 {
			if samples, causes := do(t, u); !samples[0].OK() || samples[0].User != u.id {
				t.Errorf("%+v, %v", samples[0], causes[0])
			}
		}
	}
	if q := n.queries.Load(); q != 3 {
		t.Errorf("%d queries of 3 users, want one each", q)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var want []netip.Addr
	for _, s := range []string{"127.9.0.1", "127.9.0.1", "127.9.0.2", "127.9.0.2", "127.9.0.3", "127.9.0.3"} {
		want = append(want, netip.MustParseAddr(s))
	}
	if !slices.Equal(w.clients, want) {
		t.Errorf("requests came from %v, want %v", w.clients, want)
	}
	h.Sources = netip.MustParsePrefix("fd00::/127")
	if _, err := NewPopulation(2, h, Traits{}, 1); err == nil || !strings.Contains(err.Error(), "fd00::/127") {
		t.Errorf("two users from fd00::/127: error %v", err)
	}
}

func TestTLS(t *testing.T) {
	w := serveWeb(t, "tcp", "[::1]:0", true)
	roots := x509.NewCertPool()
	roots.AddCert(w.Certificate())
	target, err := NewTarget(Request{URL: "https://" + w.addr.String() + "/"})
	if err != nil {
		t.Fatal(err)
	}
	h := &Habits{
		Client: "test", Target: target, Timeout: time.Minute, Attempts: 1, MaxBody: 1 << 20, KeepAlive: true,
		TLS: &tls.Config{RootCAs: roots, ServerName: "example.com"},
	}
	u := one(t, h)
	samples, causes := do(t, u)
	if s := samples[0]; !s.OK() || s.TLSNs <= 0 || s.Status != 200 {
		t.Fatalf("%+v, %v", s, causes[0])
	}
	samples, _ = do(t, u)
	if s := samples[0]; !s.OK() || !s.Reused || s.TLSNs != 0 {
		t.Errorf("%+v", s)
	}
	h.TLS = &tls.Config{ServerName: "example.com", RootCAs: x509.NewCertPool()}
	samples, _ = do(t, one(t, h))
	if s := samples[0]; s.Error != results.ErrTLS || s.TLSNs <= 0 {
		t.Errorf("unknown authority: %+v", s)
	}
}

func TestNewTarget(t *testing.T) {
	for _, url := range []string{"", "backend.apps.test", "ftp://x/", "http://", "http://:80/", "http://x:0/", "http://x:70000/", "http://x:y/", "http://a:b@x/", "http://[::1/", "http://x/\x00"} {
		if target, err := NewTarget(Request{URL: url}); err == nil {
			t.Errorf("NewTarget(%q) = %+v, want an error", url, target)
		}
	}
	if _, err := NewTarget(Request{URL: "http://x/", Method: "B AD"}); err == nil {
		t.Error("a bad method gave no error")
	}
	if _, err := NewTarget(Request{URL: "http://x/", Header: http.Header{"A": {"b\r\nc"}}}); err == nil {
		if target, _ := NewTarget(Request{URL: "http://x/", Header: http.Header{"A": {"b\r\nc"}}}); strings.Contains(string(target.wire), "\nc") {
			t.Error("a header value broke out of its line")
		}
	}
	target, err := NewTarget(Request{URL: "http://[fd00::1]:8080/a?b=c", Method: "POST", Body: []byte("xyz"), Header: http.Header{"Host": {"other.test"}}, Close: true})
	if err != nil {
		t.Fatal(err)
	}
	want := "POST /a?b=c HTTP/1.1\r\nHost: other.test\r\nUser-Agent: dnsingress-loadgen\r\nConnection: close\r\nContent-Length: 3\r\n\r\nxyz"
	if string(target.wire) != want || target.Name != "fd00::1" || target.Port != 8080 {
		t.Errorf("%+v, wire\n%s", target, target.wire)
	}
}

func FuzzNewTarget(f *testing.F) {
	f.Add("http://backend.apps.test/", "GET", "a", "b")
	f.Add("https://[::1]:8443/?q", "POST", "X-A", "b\r\n")
	f.Fuzz(func(t *testing.T, url, method, name, value string) {
		target, err := NewTarget(Request{URL: url, Method: method, Header: http.Header{name: {value}}})
		if err != nil {
			return
		}
		if target.Name == "" || target.Port == 0 {
			t.Errorf("%q gave %+v", url, target)
		}
		if n := strings.Count(string(target.wire), "\r\n\r\n"); n != 1 || !strings.HasSuffix(string(target.wire), "\r\n\r\n") {
			t.Errorf("%q rendered as %q", url, target.wire)
		}
	})
}
