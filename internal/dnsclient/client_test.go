// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/internal/dnstest"
)

// server is a real DNS server on loopback that logs each query as "udp www.test. AAAA".
type server struct {
	Server
	mu   sync.Mutex
	log  []string
	hold map[string]chan struct{} // queries for the name wait until the channel is closed; nil: for ever
	zone map[string]func(*dns.Msg)
	stop chan struct{}
}

// records answers with the given resource records; authority ones follow "--".
func records(rcode int, rrs ...string) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.Rcode = rcode
		section := &m.Answer
		for _, s := range rrs {
			if s == "--" {
				section = &m.Ns
				continue
			}
			rr, err := dns.NewRR(s)
			if err != nil {
				panic(err)
			}
			*section = append(*section, rr)
		}
	}
}

func newServer(t *testing.T, zone map[string]func(*dns.Msg), hold map[string]chan struct{}) *server {
	t.Helper()
	s := &server{zone: zone, hold: hold, stop: make(chan struct{})}
	addr, stop, err := dnstest.Serve(s)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = Server(addr)
	t.Cleanup(func() { close(s.stop); stop() })
	return s
}

func (s *server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	name, network := q.Question[0].Name, w.LocalAddr().Network()
	s.mu.Lock()
	s.log = append(s.log, network+" "+name+" "+dns.TypeToString[q.Question[0].Qtype])
	answer := s.zone[name]
	hold, held := s.hold[name]
	s.mu.Unlock()
	if held {
		select {
		case <-hold:
		case <-s.stop:
			return
		}
	}
	m := new(dns.Msg).SetReply(q)
	if answer == nil {
		m.Rcode = dns.RcodeRefused
	} else {
		answer(m)
	}
	if network == "udp" && m.Len() > udpSize {
		m.Truncate(udpSize)
	}
	_ = w.WriteMsg(m)
}

// queries returns what was asked since the last call.
func (s *server) queries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}

// clock is a time that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time          { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *clock) Advance(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

func many(n int) []string {
	var rrs []string
	for i := range n {
		rrs = append(rrs, fmt.Sprintf("many.test. 5 IN AAAA fd00::%x", i+1))
	}
	return rrs
}

const soa = "test. 60 IN SOA ns.test. root.test. 1 3600 600 86400 7"

func TestLookupAsksExactlyWhenItMust(t *testing.T) {
	zone := map[string]func(*dns.Msg){
		"five.test.":     records(0, "five.test. 5 IN AAAA fd00::1", "five.test. 5 IN AAAA fd00::2"),
		"zero.test.":     records(0, "zero.test. 0 IN AAAA fd00::1"),
		"top.test.":      records(0, "top.test. 2147483648 IN AAAA fd00::1"),
		"uneven.test.":   records(0, "uneven.test. 9 IN AAAA fd00::1", "uneven.test. 3 IN AAAA fd00::2"),
		"chain.test.":    records(0, "chain.test. 2 IN CNAME five.test.", "five.test. 5 IN AAAA fd00::1"),
		"empty.test.":    records(0, "--", soa),
		"bare.test.":     records(0),
		"gone.test.":     records(dns.RcodeNameError, "--", soa),
		"servfail.test.": records(dns.RcodeServerFailure),
		"many.test.":     records(0, many(100)...),
	}
	type step struct {
		at    time.Duration // since the first step
		name  string
		qtype uint16
		kind  Kind   // of the expected error
		asked string // expected queries, comma-separated
	}
	const A, AAAA = dns.TypeA, dns.TypeAAAA
	five, zero := "udp five.test. AAAA", "udp zero.test. AAAA"
	tests := []struct {
		name  string
		ttl   string
		steps []step
	}{
		{"honour: asked again at the very end of the TTL", "honour", []step{
			{0, "five.test.", AAAA, "", five},
			{5*time.Second - 1, "FIVE.test", AAAA, "", ""},
			{5 * time.Second, "five.test.", AAAA, "", five},
			{9 * time.Second, "five.test.", AAAA, "", ""},
			{10 * time.Second, "five.test.", AAAA, "", five},
		}},
		{"honour: TTL 0 is never kept", "honour", []step{
			{0, "zero.test.", AAAA, "", zero},
			{0, "zero.test.", AAAA, "", zero},
		}},
		{"honour: a TTL with the top bit set is 0", "honour", []step{
			{0, "top.test.", AAAA, "", "udp top.test. AAAA"},
			{0, "top.test.", AAAA, "", "udp top.test. AAAA"},
		}},
		{"honour: the least TTL of a set counts", "honour", []step{
			{0, "uneven.test.", AAAA, "", "udp uneven.test. AAAA"},
			{3*time.Second - 1, "uneven.test.", AAAA, "", ""},
			{3 * time.Second, "uneven.test.", AAAA, "", "udp uneven.test. AAAA"},
		}},
		{"honour: the least TTL of a chain counts", "honour", []step{
			{0, "chain.test.", AAAA, "", "udp chain.test. AAAA"},
			{2*time.Second - 1, "chain.test.", AAAA, "", ""},
			{2 * time.Second, "chain.test.", AAAA, "", "udp chain.test. AAAA"},
		}},
		{"NODATA lives for the SOA's MINIMUM, by type", "honour", []step{
			{0, "empty.test.", AAAA, NoData, "udp empty.test. AAAA"},
			{7*time.Second - 1, "empty.test.", AAAA, NoData, ""},
			{7*time.Second - 1, "empty.test.", A, NoData, "udp empty.test. A"},
			{7 * time.Second, "empty.test.", AAAA, NoData, "udp empty.test. AAAA"},
		}},
		{"NODATA with no SOA is not kept", "honour", []step{
			{0, "bare.test.", AAAA, NoData, "udp bare.test. AAAA"},
			{0, "bare.test.", AAAA, NoData, "udp bare.test. AAAA"},
		}},
		{"NXDOMAIN holds for every type", "honour", []step{
			{0, "gone.test.", AAAA, NXDomain, "udp gone.test. AAAA"},
			{6 * time.Second, "gone.test.", A, NXDomain, ""},
			{7 * time.Second, "gone.test.", A, NXDomain, "udp gone.test. A"},
		}},
		{"failures are not kept", "forever", []step{
			{0, "servfail.test.", AAAA, Servfail, "udp servfail.test. AAAA"},
			{0, "servfail.test.", AAAA, Servfail, "udp servfail.test. AAAA"},
			{0, "refused.test.", AAAA, Other, "udp refused.test. AAAA"},
		}},
		{"a truncated reply is asked for over TCP once, and kept", "honour", []step{
			{0, "many.test.", AAAA, "", "udp many.test. AAAA,tcp many.test. AAAA"},
			{4 * time.Second, "many.test.", AAAA, "", ""},
		}},
		{"min stretches, also TTL 0", "min:30s", []step{
			{0, "five.test.", AAAA, "", five},
			{0, "zero.test.", AAAA, "", zero},
			{29 * time.Second, "five.test.", AAAA, "", ""},
			{29 * time.Second, "zero.test.", AAAA, "", ""},
			{30 * time.Second, "five.test.", AAAA, "", five},
			{30 * time.Second, "zero.test.", AAAA, "", zero},
		}},
		{"min leaves negative answers alone", "min:30s", []step{
			{0, "empty.test.", AAAA, NoData, "udp empty.test. AAAA"},
			{7 * time.Second, "empty.test.", AAAA, NoData, "udp empty.test. AAAA"},
		}},
		{"max cuts", "max:1s", []step{
			{0, "five.test.", AAAA, "", five},
			{time.Second, "five.test.", AAAA, "", five},
		}},
		{"forever asks once", "forever", []step{
			{0, "five.test.", AAAA, "", five},
			{0, "zero.test.", AAAA, "", zero},
			{10000 * time.Hour, "five.test.", AAAA, "", ""},
			{10000 * time.Hour, "zero.test.", AAAA, "", ""},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, zone, nil)
			model, err := ParseTTL(tt.ttl)
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			now := clock{now: begin}
			c := New(Config{Exchanger: s.Server, Timeout: 10 * time.Second, TTL: model, Now: now.Now})
			for i, st := range tt.steps {
				now.Advance(begin.Add(st.at).Sub(now.Now()))
				r, err := c.Lookup(t.Context(), st.name, st.qtype)
				if got := kind(err); got != st.kind {
					t.Errorf("step %d: %s: error %v, want kind %q", i, st.name, err, st.kind)
				}
				if (err == nil) != (len(r.Addrs) > 0) {
					t.Errorf("step %d: %s: %d addresses with error %v", i, st.name, len(r.Addrs), err)
				}
				asked := strings.Join(s.queries(), ",")
				if asked != st.asked {
					t.Errorf("step %d: %s %s after %v: asked %q, want %q", i, st.name, dns.TypeToString[st.qtype], st.at, asked, st.asked)
				}
				if r.Cached != (st.asked == "") {
					t.Errorf("step %d: Cached = %v", i, r.Cached)
				}
				if n := len(r.Queries); st.asked != "" && n != strings.Count(st.asked, ",")+1 || st.asked == "" && n > 0 {
					t.Errorf("step %d: %d queries recorded, the server saw %q", i, n, st.asked)
				}
			}
		})
	}
}

func kind(err error) Kind {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// The remaining TTL that a resolver hands out decides, not the TTL of the zone.
func TestLookupHonoursDecrementedTTL(t *testing.T) {
	var ttl atomic.Int32
	s := newServer(t, map[string]func(*dns.Msg){"a.test.": func(m *dns.Msg) {
		records(0, fmt.Sprintf("a.test. %d IN AAAA fd00::1", ttl.Load()))(m)
	}}, nil)
	now := clock{now: time.Unix(0, 0)}
	c := New(Config{Exchanger: s.Server, Timeout: 10 * time.Second, Now: now.Now})
	for _, left := range []int32{3, 2, 1, 0, 5} {
		ttl.Store(left)
		if _, err := c.Lookup(t.Context(), "a.test.", dns.TypeAAAA); err != nil {
			t.Fatal(err)
		}
		if got := s.queries(); len(got) != 1 {
			t.Errorf("TTL %d: asked %q, want one query", left, got)
		}
		now.Advance(time.Duration(left) * time.Second)
	}
}

// gated answers every query when the gate opens.
type gated struct {
	gate    chan struct{}
	queries atomic.Int32
}

func (g *gated) Exchange(_ context.Context, _ string, q *dns.Msg) (*dns.Msg, error) {
	g.queries.Add(1)
	<-g.gate
	m := new(dns.Msg).SetReply(q)
	records(0, "a.test. 0 IN AAAA fd00::1")(m)
	return m, nil
}

func TestLookupFliesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gated{gate: make(chan struct{})}
		c := New(Config{Exchanger: g, Timeout: time.Minute})
		other := New(Config{Exchanger: g, Timeout: time.Minute}) // two clients share nothing
		const n = 20
		results := make(chan Result, n+1)
		for i := range n + 1 {
			client := c
			if i == n {
				client = other
			}
			go func() {
				r, err := client.Lookup(t.Context(), "a.test.", dns.TypeAAAA)
				if err != nil || len(r.Addrs) != 1 {
					t.Errorf("%+v, %v", r, err)
				}
				results <- r
			}()
		}
		synctest.Wait() // every lookup waits for the gate
		close(g.gate)
		led := 0
		for range n + 1 {
			r := <-results
			if !r.Shared {
				led++
			}
			if r.Shared == (len(r.Queries) > 0) {
				t.Errorf("%+v: who led has one query, who joined none", r)
			}
		}
		if got := g.queries.Load(); got != 2 || led != 2 {
			t.Errorf("%d queries, %d lookups led; want one a client", got, led)
		}
	})
}

// A caller that gives up gets a timeout; the lookup goes on and the next caller has its answer.
func TestLookupOutlivesCaller(t *testing.T) {
	gate := make(chan struct{})
	s := newServer(t,
		map[string]func(*dns.Msg){"a.test.": records(0, "a.test. 3600 IN AAAA fd00::1")},
		map[string]chan struct{}{"a.test.": gate})
	c := New(Config{Exchanger: s.Server, Timeout: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Lookup(ctx, "a.test.", dns.TypeAAAA); kind(err) != Timeout {
		t.Fatalf("error %v, want a timeout", err)
	}
	joined := make(chan error)
	go func() {
		_, err := c.Lookup(context.Background(), "a.test.", dns.TypeAAAA)
		joined <- err
	}()
	close(gate)
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	if r, err := c.Lookup(t.Context(), "a.test.", dns.TypeAAAA); err != nil || !r.Cached {
		t.Errorf("%+v, %v: want a cached answer", r, err)
	}
	if got := s.queries(); len(got) != 1 {
		t.Errorf("asked %q, want one query", got)
	}
}

func TestLookupAttempts(t *testing.T) {
	for _, attempts := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(attempts), func(t *testing.T) {
			s := newServer(t, nil, map[string]chan struct{}{"silent.test.": nil})
			c := New(Config{Exchanger: s.Server, Timeout: 50 * time.Millisecond, Attempts: attempts})
			r, err := c.Lookup(t.Context(), "silent.test.", dns.TypeAAAA)
			if kind(err) != Timeout {
				t.Errorf("error %v, want a timeout", err)
			}
			want := max(attempts, 1)
			if len(r.Queries) != want {
				t.Errorf("%d queries recorded, want %d", len(r.Queries), want)
			}
			for _, q := range r.Queries {
				if q.Err == nil || q.Rcode != -1 || q.Elapsed < 50*time.Millisecond {
					t.Errorf("recorded %+v, want a timeout of 50 ms or more", q)
				}
			}
			// The server may log the last query after the client has given up on it.
			for n := 0; n < want; time.Sleep(time.Millisecond) {
				n += len(s.queries())
			}
		})
	}
}

func TestLookupNobodyListens(t *testing.T) {
	// A socket that is connected elsewhere keeps the port from others and takes nothing from here.
	taken, err := net.Dial("udp", "[::1]:9")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := New(Config{Exchanger: Server(taken.LocalAddr().(*net.UDPAddr).AddrPort()), Timeout: time.Minute})
	if _, err := c.Lookup(t.Context(), "a.test.", dns.TypeAAAA); kind(err) != Other || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %v, want other: refused", err)
	}
}

func TestCacheSweep(t *testing.T) {
	var c Cache
	now := time.Unix(0, 0)
	for i := range 100 * sweepFrom {
		c.Put(now, fmt.Sprintf("n%d.test.", i), dns.TypeAAAA, Answer{Addrs: []netip.Addr{netip.IPv6Loopback()}, TTL: time.Second})
		now = now.Add(10 * time.Millisecond) // 100 are alive at a time
		if c.Len() > 2*sweepFrom {
			t.Fatalf("%d entries kept after %d puts", c.Len(), i+1)
		}
	}
}

func TestParse(t *testing.T) {
	for _, s := range []string{"honour", "forever", "min:30s", "max:5s", "min:1s,max:1m0s"} {
		if m, err := ParseTTL(s); err != nil || m.String() != s {
			t.Errorf("ParseTTL(%q) = %v, %v", s, m, err)
		}
	}
	for _, s := range []string{"", "never", "min:", "min:0s", "max:-1s", "min:5s,max:1s", "min:1s,min:2s", "honour,max:1s"} {
		if m, err := ParseTTL(s); err == nil {
			t.Errorf("ParseTTL(%q) = %v, want an error", s, m)
		}
	}
	for in, want := range map[string]string{"::1": "[::1]:53", "[::1]:5353": "[::1]:5353", "127.0.0.1": "127.0.0.1:53", "127.0.0.1:54": "127.0.0.1:54"} {
		if s, err := ParseServer(in); err != nil || s.String() != want {
			t.Errorf("ParseServer(%q) = %v, %v; want %s", in, s, err, want)
		}
	}
	for _, in := range []string{"", "localhost", "[::1]", "[::1]:0", "fd00::x"} {
		if s, err := ParseServer(in); err == nil {
			t.Errorf("ParseServer(%q) = %v, want an error", in, s)
		}
	}
}
