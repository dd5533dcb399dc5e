// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestBucket follows one bucket over a second: its burst at once, then its rate, and never more than the burst again.
func TestBucket(t *testing.T) {
	l := newLimiter(RateLimit{PerSecond: 10, Burst: 30})
	key := l.key(netip.MustParseAddr("2001:db8::1"), 0, classAnswer)
	count := func(now uint64, tries int) (n int) {
		for range tries {
			if l.allow(key, now) {
				n++
			}
		}
		return n
	}
	now := l.at(l.begin)
	for i, c := range []struct {
		wait        uint64 // ticks
		tries, want int
	}{{0, 100, 30}, {0, 100, 0}, {ticks / 10, 100, 1}, {ticks, 100, 10}, {100 * ticks, 100, 30}, {ticks / 2, 3, 3}, {0, 10, 2}} {
		now += c.wait
		if got := count(now, c.tries); got != c.want {
			t.Errorf("step %d: %d allowed, want %d", i, got, c.want)
		}
	}
}

// TestClock has a bucket filled at its rate however long the process has been there.
func TestClock(t *testing.T) {
	l := newLimiter(RateLimit{PerSecond: 1, Burst: 1})
	key := l.key(netip.MustParseAddr("2001:db8::1"), 0, classAnswer)
	for _, up := range []time.Duration{0, time.Hour, 5 * time.Hour, 24 * time.Hour, 365 * 24 * time.Hour} {
		now := l.begin.Add(up)
		if got, want := l.at(now)-1, uint64(up/time.Second)*ticks; got != want {
			t.Errorf("%d ticks after %v, want %d", got, up, want)
		}
		first, second, third := l.allow(key, l.at(now)), l.allow(key, l.at(now.Add(time.Second/2))), l.allow(key, l.at(now.Add(time.Second)))
		if !first || second || !third {
			t.Errorf("after %v: %v, %v, %v", up, first, second, third)
		}
	}
}

// TestBucketsAreApart checks what shares a bucket: a network, a zone and a class.
func TestBucketsAreApart(t *testing.T) {
	l := newLimiter(RateLimit{PerSecond: 1})
	key := func(addr string, slot int, c replyClass) uint64 { return l.key(netip.MustParseAddr(addr), slot, c) }
	base := key("2001:db8:0:ff00::1", 1, classAnswer)
	for addr, same := range map[string]bool{"2001:db8:0:ffff:ffff::9": true, "2001:db8:0:fe00::1": false, "192.0.2.1": false} {
		if got := key(addr, 1, classAnswer) == base; got != same {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if key("192.0.2.1", 1, classAnswer) != key("::ffff:192.0.2.255", 1, classAnswer) || key("192.0.2.1", 1, classAnswer) == key("192.0.3.1", 1, classAnswer) {
		t.Error("IPv4 networks are not /24")
	}
	if key("2001:db8:0:ff00::1", 2, classAnswer) == base || key("2001:db8:0:ff00::1", 1, classDenial) == base {
		t.Error("zones or classes share a bucket")
	}
}

// TestBucketsAreBounded asks from a million networks: one that is over its limit stays so while others come and go,
// and most of those that ask once are answered.
func TestBucketsAreBounded(t *testing.T) {
	l := newLimiter(RateLimit{PerSecond: 10, Networks: 4096})
	if got := len(l.buckets); got != 4096 {
		t.Fatalf("%d buckets", got)
	}
	now := l.at(l.begin)
	heavy := l.key(netip.MustParseAddr("2001:db8::1"), 0, classAnswer)
	for l.allow(heavy, now) {
	}
	refused := 0
	var a [16]byte
	for i := range 1_000_000 {
		binary.BigEndian.PutUint32(a[2:], uint32(i))
		if !l.allow(l.key(netip.AddrFrom16(a), 0, classAnswer), now) {
			refused++
		}
		if i%1000 == 0 && l.allow(heavy, now) {
			t.Fatalf("the heavy one was forgotten after %d", i)
		}
	}
	if refused > 1000 {
		t.Errorf("%d of a million that asked once were refused", refused)
	}
}

// TestBucketIsShared has workers take from one bucket at once: together they get what it holds.
func TestBucketIsShared(t *testing.T) {
	l := newLimiter(RateLimit{PerSecond: 1, Burst: 5000})
	key, now := l.key(netip.IPv6Loopback(), 0, classAnswer), l.at(time.Now())
	var all sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for range 8 {
		all.Go(func() {
			n := 0
			for range 5000 {
				if l.allow(key, now) {
					n++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			total += n
		})
	}
	all.Wait()
	if total != 5000 {
		t.Errorf("%d taken of 5000", total)
	}
}

// TestRateLimit floods a server from one network. It gets its burst, then every other reply is empty with TC and the
// others are left out; over TCP, and with a cookie that the server gave it, it gets all.
func TestRateLimit(t *testing.T) {
	const burst, more = 20, 40
	s := start(t, Config{Workers: 1, Rate: RateLimit{PerSecond: 1, Burst: burst, Slip: 2}, TLS: newPair(t).config()})
	c := dial(t, "udp", s.Addrs()[0])
	query := pack(t, ask("www.example.org.", dns.TypeAAAA))
	for range burst + more {
		send(t, c, query)
	}
	got := map[string]int{}
	for range burst + more/2 {
		got[describe(t, receive(t, c))]++
	}
	// A second or two may pass, and each gives one more.
	if full, slips := got["NOERROR aa q=1 an=1"], got["NOERROR tc q=1"]; full < burst || full > burst+more/2 || slips == 0 || full+slips != burst+more/2 {
		t.Errorf("%v", got)
	}
	// Another class has a bucket of its own.
	send(t, c, pack(t, ask("nx.example.org.", dns.TypeA)))
	for {
		if d := describe(t, receive(t, c)); d == "NXDOMAIN aa q=1 ns=1" {
			break
		} else if d != "NOERROR tc q=1" && d != "NOERROR aa q=1 an=1" {
			t.Fatal(d)
		}
	}
	for _, network := range []string{"tcp", "tls"} {
		to := s.Addrs()[0]
		if network == "tls" {
			to = s.TLSAddrs()[0]
		}
		stream := dial(t, network, to)
		for range burst + more {
			send(t, stream, query)
			if d := describe(t, receive(t, stream)); d != "NOERROR aa q=1 an=1" {
				t.Fatalf("%s: %s", network, d)
			}
		}
	}
	fresh := dial(t, "udp", s.Addrs()[0])
	m := new(dns.Msg)
	m.SetEdns0(1232, false)
	cookie("0123456789abcdef")(m.IsEdns0())
	send(t, fresh, pack(t, m))
	given := unpack(t, receive(t, fresh)).IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie
	for range burst + more {
		send(t, fresh, edns(1232, cookie(given))())
		if d := describe(t, receive(t, fresh)); d != "NOERROR aa q=1 an=1 edns=0/1232 cookie=0123456789abcdef+16" {
			t.Fatal(d)
		}
	}
	for _, line := range scrape(t, s) {
		if line == `dnsingress_dns_rate_limited_total{action="drop",proto="udp"} 0` || line == `dnsingress_dns_rate_limited_total{action="slip",proto="udp"} 0` {
			t.Error(line)
		}
	}
}

// TestStolenCookie sends the cookie of one address from another, and one that is too old: neither proves anything.
func TestStolenCookie(t *testing.T) {
	c := newCookies()
	now := uint32(1_700_000_000)
	mine, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	good := c.appendAt(nil, []byte("12345678"), mine, now)
	for _, k := range []struct {
		cookie []byte
		from   netip.Addr
		at     uint32
		want   bool
	}{
		{good, mine, now, true},
		{good, mine, now + 3600, true},
		{good, mine, now + 3601, false},
		{good, mine, now - 300, true},
		{good, mine, now - 301, false},
		{good, other, now, false},
		{good[:8], mine, now, false},
		{append(append([]byte(nil), good[:23]...), good[23]^1), mine, now, false},
		{nil, mine, now, false},
	} {
		if got := c.valid(k.cookie, k.from, k.at); got != k.want {
			t.Errorf("% x from %s at %d: %v", k.cookie, k.from, k.at, got)
		}
	}
}

// TestRateLimitAllocatesNothing checks the path of a query that is limited.
func TestRateLimitAllocatesNothing(t *testing.T) {
	s := New(Config{Catalog: exampleCatalog(t), Rate: RateLimit{PerSecond: 1, Slip: 2}})
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w, err := newUDPWorker(conn, s.guard(true), newTally())
	if err != nil {
		t.Fatal(err)
	}
	w.rates = s.rates
	query, peer, now := pack(t, ask("www.example.org.", dns.TypeAAAA)), Peer{Addr: netip.IPv6Loopback()}, time.Now()
	verdicts := map[verdict]int{}
	n := testing.AllocsPerRun(1000, func() {
		reply, seen := w.serve.respond(w.out[0][:], query, peer, false)
		v := w.judge(peer, seen, reply, now)
		verdicts[v]++
		if v == slipped {
			w.serve.truncated(w.out[0][:], query, peer)
		}
	})
	if n > 0 || len(verdicts) != 3 {
		t.Errorf("%v allocations, %v", n, verdicts)
	}
}

// TestSlip counts what is sent empty of what is beyond the limit.
func TestSlip(t *testing.T) {
	for slip, want := range map[int]int{0: 0, 1: 60, 2: 30, 3: 20} {
		w := &udpWorker{rates: newLimiter(RateLimit{PerSecond: 1, Burst: 1, Slip: slip}), serve: New(Config{Catalog: exampleCatalog(t)}).guard(true)}
		query, peer, now, slips := pack(t, ask("www.example.org.", dns.TypeAAAA)), Peer{Addr: netip.IPv6Loopback()}, time.Now(), 0
		for range 61 {
			reply, seen := w.serve.respond(make([]byte, ednsUDP), query, peer, false)
			if w.judge(peer, seen, reply, now) == slipped {
				slips++
			}
		}
		if slips != want {
			t.Errorf("slip %d: %d of 60", slip, slips)
		}
	}
}
