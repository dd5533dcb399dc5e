// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/internal/dnsclient"
	"github.com/dnsingress/dnsingress/internal/results"
)

// A failed address is tried last until the time is over, and at once again when it is all there is.
func TestFailedAddresses(t *testing.T) {
	var addrs []netip.Addr
	for i := range 4 {
		addrs = append(addrs, netip.MustParseAddr(fmt.Sprintf("fd00::%d", i+1)))
	}
	begin := time.Unix(0, 0)
	var m memory
	m.fail(addrs[0], begin, 10*time.Second)
	m.fail(addrs[2], begin.Add(5*time.Second), 10*time.Second)
	for _, tt := range []struct {
		at   time.Duration
		want []int
	}{{6 * time.Second, []int{1, 3, 0, 2}}, {10 * time.Second, []int{0, 1, 3, 2}}, {15 * time.Second, []int{0, 1, 2, 3}}} {
		got := slices.Clone(addrs)
		m.demote(got, begin.Add(tt.at))
		for i, n := range tt.want {
			if got[i] != addrs[n] {
				t.Errorf("after %v: %v, want order %v", tt.at, got, tt.want)
				break
			}
		}
	}
	m.fail(addrs[0], begin.Add(20*time.Second), time.Second)
	if len(m.failed) != 1 {
		t.Errorf("%d failures are remembered, of which one is recent", len(m.failed))
	}
	m.forgive(addrs[0])
	if len(m.failed) != 0 {
		t.Error("an address that works again is still held against")
	}
}

// With a memory of failures, one attempt of the first request is lost on a dead address, and none of those after it.
func TestFailedAddressesAreAvoided(t *testing.T) {
	w := serveWeb(t, "tcp4", "127.0.0.1:0", false)
	n := serveNames(t, "web.test. 60 IN A 127.0.0.2", "web.test. 60 IN A 127.0.0.1")
	h := named(t, n, w.addr.Port())
	h.Family, h.Attempts, h.FailedFor = IPv4, 2, time.Hour
	u := one(t, h)
	for i, want := range []int{2, 1, 1} {
		samples, _ := do(t, u)
		if len(samples) != want || !samples[want-1].OK() || samples[want-1].Peer != "127.0.0.1" {
			t.Errorf("request %d: %+v, want %d attempts", i, samples, want)
		}
	}
}

// Retries are bounded by what requests earn, and those denied are told.
func TestRetryBudget(t *testing.T) {
	srv := serveRaw(t, write("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"))
	h := plain(t, srv.addr)
	h.Attempts, h.RetryBudget = 3, 0.25
	u := one(t, h)
	attempts, denied := 0, 0
	const requests = 40
	for range requests {
		samples, _ := do(t, u)
		attempts += len(samples)
		for i, s := range samples {
			if s.RetryDenied != (i < 2 && i == len(samples)-1) {
				t.Errorf("%d attempts, denied at %d: %v", len(samples), i, s.RetryDenied)
			}
			if s.RetryDenied {
				denied++
			}
		}
	}
	// One saved at first, a quarter a request: 11 retries.
	if want := requests + 11; attempts != want || int(srv.requests.Load()) != want {
		t.Errorf("%d attempts recorded, the server saw %d, want %d", attempts, srv.requests.Load(), want)
	}
	if denied < requests-11 {
		t.Errorf("%d requests were denied a retry, want at least %d", denied, requests-11)
	}
}

// The addresses are raced as RFC 8305 says: against a dead one the next begins after the delay,
// against one that refuses at once, and a live one is not raced at all.
func TestHappyEyeballs(t *testing.T) {
	const delay = 100 * time.Millisecond
	dead, err := fullListener()
	if err != nil {
		t.Fatal(err)
	}
	defer dead.close()
	web := serveWeb(t, "tcp4", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), dead.addr.Port()).String(), false)
	tests := []struct {
		name    string
		records []string
		peer    string
		connect int32
		least   time.Duration
		class   string
		after   map[uint16]time.Duration // answers of a type take so long
	}{
		{"the first is dead", []string{"web.test. 60 IN AAAA ::1", "web.test. 60 IN A 127.0.0.1"}, "127.0.0.1", 2, delay, "", map[uint16]time.Duration{dns.TypeA: delay / 10}},
		{"the first is dead, A comes late", []string{"web.test. 60 IN AAAA ::1", "web.test. 60 IN A 127.0.0.1"}, "127.0.0.1", 2, 2 * delay, "", map[uint16]time.Duration{dns.TypeA: 3 * delay}},
		{"AAAA comes late", []string{"web.test. 60 IN AAAA ::1", "web.test. 60 IN A 127.0.0.1"}, "127.0.0.1", 1, 0, "", map[uint16]time.Duration{dns.TypeAAAA: 10 * delay}},
		{"the first refuses", []string{"web.test. 60 IN A 127.0.0.1", "web.test. 60 IN A 127.0.0.2"}, "127.0.0.1", 2, 0, "", nil},
		{"the first works", []string{"web.test. 60 IN A 127.0.0.1", "web.test. 60 IN A 127.0.0.9"}, "127.0.0.1", 1, 0, "", nil},
		{"one alone is not raced", []string{"web.test. 60 IN A 127.0.0.1"}, "127.0.0.1", 1, 0, "", nil},
		{"all refuse", []string{"web.test. 60 IN A 127.0.0.2", "web.test. 60 IN A 127.0.0.3"}, "127.0.0.2", 2, 0, results.ErrConnectRefused, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := serveNamesAfter(t, tt.after, tt.records...)
			h := named(t, n, web.addr.Port())
			h.Order, h.RaceDelay = dnsclient.OrderHappyEyeballs, delay
			u := one(t, h)
			if tt.name == "the first refuses" { // what refuses comes first when the other has failed lately
				h.FailedFor = time.Hour
				u.memory.fail(netip.MustParseAddr("127.0.0.1"), time.Now(), time.Hour)
			}
			samples, causes := do(t, u)
			s := samples[0]
			if s.Error != tt.class || s.Peer != tt.peer || s.Connects != tt.connect || s.ConnectNs < int64(tt.least) || s.DNSQueries != 2 {
				t.Errorf("%+v, %v", s, causes[0])
			}
			if tt.class == "" && tt.connect > 1 && tt.least == 0 && s.ConnectNs > int64(time.Second) {
				t.Errorf("a refusal was not followed at once: %v", time.Duration(s.ConnectNs))
			}
		})
	}
}

// answersAfter answers each type after its delay; a type without is NODATA, at once.
type answersAfter map[uint16]time.Duration

func (a answersAfter) Exchange(ctx context.Context, _ string, q *dns.Msg) (*dns.Msg, error) {
	m := new(dns.Msg).SetReply(q)
	qtype := q.Question[0].Qtype
	delay, ok := a[qtype]
	if !ok {
		return m, nil
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	text := "web.test. 60 IN A 192.0.2.1"
	if qtype == dns.TypeAAAA {
		text = "web.test. 60 IN AAAA fd00::1"
	}
	rr, err := dns.NewRR(text)
	m.Answer = append(m.Answer, rr)
	return m, err
}

// RFC 8305 §3: A waits for AAAA, but not longer than the resolution delay.
func TestHappyEyeballsLookup(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name  string
		after answersAfter
		takes time.Duration
		want  string
	}{
		{"AAAA first: A is not waited for", answersAfter{dns.TypeAAAA: 10 * ms, dns.TypeA: 500 * ms}, 10 * ms, "[fd00::1]"},
		{"A first: AAAA comes in the delay", answersAfter{dns.TypeAAAA: 40 * ms, dns.TypeA: 10 * ms}, 40 * ms, "[192.0.2.1 fd00::1]"},
		{"A first: AAAA comes too late", answersAfter{dns.TypeAAAA: 100 * ms, dns.TypeA: 10 * ms}, 60 * ms, "[192.0.2.1]"},
		{"no AAAA", answersAfter{dns.TypeA: 10 * ms}, 10 * ms, "[192.0.2.1]"},
		{"no A", answersAfter{dns.TypeAAAA: 10 * ms}, 10 * ms, "[fd00::1]"},
		{"neither", answersAfter{}, 0, "[]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &Habits{
					Target: &Target{Name: "web.test", Port: 80}, Order: dnsclient.OrderHappyEyeballs, Family: Auto,
					DNS: dnsclient.Config{Exchanger: tt.after, Timeout: time.Minute},
				}
				users, err := NewPopulation(1, h, Traits{}, 1)
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				f, err := users[0].lookup(t.Context())
				if d := time.Since(begin); d != tt.takes || fmt.Sprint(f.addrs) != tt.want {
					t.Errorf("%v after %v, want %s after %v", f.addrs, d, tt.want, tt.takes)
				}
				if e := (*dnsclient.Error)(nil); (tt.want == "[]") != (errors.As(err, &e) && e.Kind == dnsclient.NoData) {
					t.Errorf("error %v", err)
				}
				time.Sleep(time.Minute) // the slower lookup ends
			})
		})
	}
}

// A user's own ports are all that it uses; when they are used up, that is this machine's fault and passes.
func TestPorts(t *testing.T) {
	for _, bad := range []string{"", "1", "0-5", "9-8", "1-70000", "a-b"} {
		if p, err := ParsePorts(bad); err == nil {
			t.Errorf("ParsePorts(%q) = %v", bad, p)
		}
	}
	release := make(chan struct{})
	var once sync.Once
	defer once.Do(func() { close(release) })
	w := serveAll(t, blocking(release))
	for _, p := range []Protocol{HTTP1, HTTP3} {
		t.Run(string(p), func(t *testing.T) {
			h := w.at(t, p, true, Request{})
			h.Ports = freePorts(t, 4)
			users, err := NewPopulation(2, h, Traits{}, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer Close(users)
			ended := make(chan results.Sample, 3)
			for i := range 3 { // two ports each: the third request has none
				go users[0].Do(uint64(i), time.Now(), time.Now(), func(s *results.Sample, _ bool, _ error) { ended <- *s })
			}
			if s := <-ended; s.Error != results.ErrOther {
				t.Errorf("a request with no port left: %+v", s)
			}
			go users[1].Do(3, time.Now(), time.Now(), func(s *results.Sample, _ bool, _ error) { ended <- *s })
			if p == HTTP3 {
				once.Do(func() { close(release) })
			} else {
				for range 3 {
					release <- struct{}{}
				}
			}
			for range 3 {
				if s := <-ended; !s.OK() {
					t.Errorf("%+v", s)
				}
			}
		})
	}
	h := w.at(t, HTTP1, true, Request{})
	h.Ports = Ports{20000, 20002}
	if _, err := NewPopulation(4, h, Traits{}, 1); err == nil {
		t.Error("four users share three ports")
	}
}
