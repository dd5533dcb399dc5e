// SPDX-License-Identifier: Apache-2.0

package user

import (
	"crypto/tls"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/internal/dnsclient"
	"github.com/dnsingress/dnsingress/internal/dnstest"
)

func TestShares(t *testing.T) {
	s, err := ParseShares("honour=70/min:1s,max:1m0s=20/forever=10", dnsclient.ParseTTL)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{1000: "map[forever:100 honour:700 min:1s,max:1m0s:200]", 10: "map[forever:1 honour:7 min:1s,max:1m0s:2]", 1: "map[honour:1]"} {
		got := map[string]int{}
		h := &Habits{Client: "test", Target: &Target{Name: "web.test", Port: 80}, DNS: dnsclient.Config{Timeout: time.Second}}
		users, err := NewPopulation(n, h, Traits{TTL: s}, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range users {
			got[u.habits.DNS.TTL.String()]++
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%d users: %v, want %s", n, got, want)
		}
	}
	if p, err := ParseShares("http/1.1=1/h2=2/h3=1", ParseProtocol); err != nil || len(p) != 3 || p[0].Value != HTTP1 || p[1].Weight != 2 {
		t.Errorf("protocols: %v, %v", p, err)
	}
	for _, bad := range []string{"", "honour/forever", "honour=0/forever=1", "honour=x", "never=1", "honour=-1", "honour=1/", "honour=NaN"} {
		if s, err := ParseShares(bad, dnsclient.ParseTTL); err == nil {
			t.Errorf("ParseShares(%q) = %v, want an error", bad, s)
		}
	}
}

// Users are given several hosts in turn, whatever else they differ in, and a name each for TLS.
func TestUsersOfSeveralHosts(t *testing.T) {
	target := func(name string) *Target { return &Target{Name: name, Port: 443, TLS: true} }
	h := &Habits{
		Client: "test", Target: target("a.test"), Others: []*Target{target("b.test"), target("c.test")}, TLS: &tls.Config{ServerName: "a.test"},
		DNS: dnsclient.Config{Timeout: time.Second},
	}
	users, err := NewPopulation(8, h, Traits{KeepAlive: Shares[bool]{{Value: true, Weight: 1}, {Value: false, Weight: 1}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for i, u := range users {
		want := []string{"a.test", "b.test", "c.test"}[i%3]
		if u.habits.Target.Name != want || u.habits.TLS.ServerName != want {
			t.Errorf("user %d asks %s as %s, want %s", i, u.habits.Target.Name, u.habits.TLS.ServerName, want)
		}
		if u.habits.KeepAlive {
			kept++
		}
	}
	if kept != 4 {
		t.Errorf("%d of 8 users keep connections, want 4", kept)
	}
}

// Traits are dealt independently: who honours TTLs says nothing of who speaks HTTP/2.
func TestTraitsAreIndependent(t *testing.T) {
	ttl, _ := ParseShares("honour=1/forever=1", dnsclient.ParseTTL)
	protocol, _ := ParseShares("h1=1/h2=1", ParseProtocol)
	both := 0
	for _, h := range (Traits{TTL: ttl, Protocol: protocol}).deal(1000, &Habits{}, 1) {
		if h.DNS.TTL.Forever && h.Protocol == HTTP2 {
			both++
		}
	}
	if both < 200 || both > 300 {
		t.Errorf("%d of 1000 have both, want about 250", both)
	}
}

// authority is an authoritative server that logs who asked: a source address a query.
type authority struct {
	ttl uint32
	mu  sync.Mutex
	log map[netip.Addr]int
}

func (a *authority) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	from := netip.MustParseAddrPort(w.RemoteAddr().String()).Addr()
	a.mu.Lock()
	a.log[from]++
	a.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	rr, _ := dns.NewRR(fmt.Sprintf("%s %d IN AAAA fd00::1", q.Question[0].Name, a.ttl))
	m.Answer = []dns.RR{rr}
	_ = w.WriteMsg(m)
}

// A population in which each cache model has its share sends exactly the queries that the models
// say, each user from its own address: a request a second for a minute of the users' clock.
func TestPopulationAsksExactly(t *testing.T) {
	const users, seconds = 40, 60
	models := []struct {
		text string
		kept func(ttl int) int // seconds that an answer lives
	}{
		{"honour", func(ttl int) int { return ttl }},
		{"min:10s", func(ttl int) int { return max(ttl, 10) }},
		{"max:2s", func(ttl int) int { return min(ttl, 2) }},
		{"min:4s,max:7s", func(ttl int) int { return min(max(ttl, 4), 7) }},
		{"forever", func(int) int { return 1 << 30 }},
	}
	var text []string
	for _, m := range models {
		text = append(text, m.text+"=20")
	}
	ttls, err := ParseShares(strings.Join(text, "/"), dnsclient.ParseTTL)
	if err != nil {
		t.Fatal(err)
	}
	for _, ttl := range []int{0, 1, 5, 30, 3600} {
		t.Run(fmt.Sprint("TTL ", ttl), func(t *testing.T) {
			a := &authority{ttl: uint32(ttl), log: map[netip.Addr]int{}}
			at, stop, err := dnstest.Serve4(a)
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			now := time.Unix(0, 0)
			h := &Habits{
				Client: "test", Target: &Target{Name: "web.test", Port: 80}, Resolver: dnsclient.Server(at), Family: IPv6,
				DNS:     dnsclient.Config{Timeout: time.Minute, Now: func() time.Time { return now }},
				Sources: netip.MustParsePrefix("127.8.0.0/16"),
			}
			population, err := NewPopulation(users, h, Traits{TTL: ttls}, 7)
			if err != nil {
				t.Fatal(err)
			}
			for range seconds {
				for _, u := range population {
					if f, err := u.lookup(t.Context()); err != nil || len(f.addrs) != 1 {
						t.Fatal(f, err)
					}
				}
				now = now.Add(time.Second)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			for _, u := range population {
				want := 0
				for _, m := range models {
					if m.text != u.habits.DNS.TTL.String() {
						continue
					}
					if want = seconds; m.kept(ttl) > 0 {
						want = int(math.Ceil(float64(seconds) / float64(m.kept(ttl))))
					}
				}
				if got := a.log[u.from.addr]; got != want {
					t.Errorf("user %d, %s: %d queries, want %d", u.id, u.habits.DNS.TTL, got, want)
				}
			}
			if len(a.log) != users {
				t.Errorf("queries came from %d addresses, want %d", len(a.log), users)
			}
		})
	}
}
