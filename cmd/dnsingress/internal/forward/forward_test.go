// SPDX-License-Identifier: Apache-2.0

package forward_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/forward"
)

// TestAnswers asks a forwarder for everything that an answer may be.
func TestAnswers(t *testing.T) {
	var large []string
	for i := range 60 {
		large = append(large, fmt.Sprintf("large.west.test. 60 AAAA 2001:db8::%x", i+1))
	}
	a := authoritative(t, append(large,
		"www.west.test. 60 AAAA 2001:db8::1", "www.west.test. 60 AAAA 2001:db8::2",
		"alias.west.test. 60 CNAME www.west.test.", "out.west.test. 60 CNAME www.elsewhere.test.",
		"_sip._udp.west.test. 60 SRV 1 2 3 www.west.test.", "text.west.test. 60 TXT \"x y\"")...)
	f := start(t, "[::1]:0", west(a.at))
	for _, c := range []struct {
		name  string
		qtype uint16
		want  string
	}{
		{"www.west.test.", dns.TypeAAAA, "NOERROR 2001:db8::1 2001:db8::2"},
		{"WWW.west.TEST.", dns.TypeAAAA, "NOERROR 2001:db8::1 2001:db8::2"},
		{"www.west.test.", dns.TypeA, "NOERROR"},
		{"none.west.test.", dns.TypeA, "NXDOMAIN"},
		{"alias.west.test.", dns.TypeAAAA, "NOERROR 2001:db8::1 2001:db8::2 www.west.test."},
		{"out.west.test.", dns.TypeAAAA, "NOERROR www.elsewhere.test."},
		{"_sip._udp.west.test.", dns.TypeSRV, "NOERROR 1 2 3 www.west.test."},
		{"text.west.test.", dns.TypeTXT, `NOERROR "x y"`},
		{"ns.own.test.", dns.TypeAAAA, "NOERROR 2001:db8::1"},
		{"none.own.test.", dns.TypeAAAA, "NXDOMAIN"},
		{"elsewhere.test.", dns.TypeAAAA, "REFUSED EDE 20"},
		{"notwest.test.", dns.TypeAAAA, "REFUSED EDE 20"},
		{"test.", dns.TypeAAAA, "REFUSED EDE 20"},
	} {
		for range 2 { // from the server, and from memory
			if got := f.ask(t, c.name, c.qtype); got != c.want {
				t.Errorf("%s %s: %s, want %s", c.name, dns.TypeToString[c.qtype], got, c.want)
			}
		}
	}
	r := exchange(t, f.at, "udp", query("large.west.test.", dns.TypeAAAA))
	if !r.Truncated || len(r.Answer) != 0 {
		t.Errorf("60 addresses over UDP: %v", r)
	}
	if r := exchange(t, f.at, "tcp", query("large.west.test.", dns.TypeAAAA)); len(r.Answer) != 60 || r.Truncated {
		t.Errorf("%d addresses over TCP", len(r.Answer))
	}
}

// TestHeader looks at everything but the records of a reply.
func TestHeader(t *testing.T) {
	a := authoritative(t, "www.west.test. 60 AAAA 2001:db8::1")
	f := start(t, "[::1]:0", west(a.at))
	for range 2 {
		m := query("wWw.WeSt.TeSt.", dns.TypeAAAA)
		m.CheckingDisabled, m.AuthenticatedData = true, true
		o := m.IsEdns0()
		o.Option = append(o.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"})
		r := exchange(t, f.at, "udp", m)
		got := fmt.Sprintf("id %v AA %v TC %v RD %v RA %v AD %v CD %v, %s, %s", r.Id == m.Id, r.Authoritative, r.Truncated, r.RecursionDesired, r.RecursionAvailable, r.AuthenticatedData, r.CheckingDisabled, r.Question[0].Name, r.Answer[0].Header().Name)
		if want := "id true AA false TC false RD true RA true AD false CD true, wWw.WeSt.TeSt., wWw.WeSt.TeSt."; got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		var options []string
		for _, option := range r.IsEdns0().Option {
			options = append(options, fmt.Sprint(option.Option()))
		}
		// The server's cookie and name: who asks for them gets them here as for the server's own zones.
		if got := fmt.Sprint(options); len(options) != 2 || !strings.Contains(got, "10") {
			t.Errorf("options %s", got)
		}
	}
	m := new(dns.Msg).SetQuestion("www.west.test.", dns.TypeAAAA)
	if r := exchange(t, f.at, "udp", m); r.IsEdns0() != nil || say(r) != "NOERROR 2001:db8::1" {
		t.Errorf("without EDNS: %v", r)
	}
	m.RecursionDesired = false
	if r := exchange(t, f.at, "udp", m); say(r) != "REFUSED" || r.RecursionAvailable {
		t.Errorf("who wants no recursion gets %v", r)
	}
}

// TestTimeToLive follows an answer, and a denial, through their time.
func TestTimeToLive(t *testing.T) {
	a := authoritative(t, "www.west.test. 2 AAAA 2001:db8::1", "zero.west.test. 0 AAAA 2001:db8::1", "long.west.test. 100000 AAAA 2001:db8::1")
	z := west(a.at)
	z.MaxTTL = 10 * time.Minute
	f := start(t, "[::1]:0", z)
	ttl := func(name string) uint32 {
		return exchange(t, f.at, "udp", query(name, dns.TypeAAAA)).Answer[0].Header().Ttl
	}
	if got := ttl("long.west.test."); got != 600 {
		t.Errorf("TTL %d, want that of maxTTL", got)
	}
	a.queries.Store(0)
	if got := ttl("www.west.test."); got != 2 {
		t.Errorf("TTL %d at first", got)
	}
	await(t, "the TTL runs down", func() bool { return ttl("www.west.test.") < 2 })
	if n := a.queries.Load(); n != 1 {
		t.Errorf("%d questions while the answer was fresh", n)
	}
	await(t, "the server is asked again", func() bool { ttl("www.west.test."); return a.queries.Load() == 2 })
	a.queries.Store(0)
	for range 3 {
		ttl("zero.west.test.")
	}
	if n := a.queries.Load(); n != 3 {
		t.Errorf("%d questions for what may not be remembered", n)
	}
}

// TestClients lets only those ask who may.
func TestClients(t *testing.T) {
	a := authoritative(t, "www.west.test. 60 AAAA 2001:db8::1")
	for _, c := range []struct{ clients, want string }{
		{"2001:db8::/32", "REFUSED EDE 20"},
		{"::1/128", "NOERROR 2001:db8::1"},
	} {
		z := west(a.at)
		z.Clients = []netip.Prefix{netip.MustParsePrefix(c.clients)}
		if got := start(t, "[::1]:0", z).ask(t, "www.west.test.", dns.TypeAAAA); got != c.want {
			t.Errorf("of %s: %s, want %s", c.clients, got, c.want)
		}
	}
}

// TestLongestZone has a zone below another go to servers of its own.
func TestLongestZone(t *testing.T) {
	all, some := authoritative(t, "www.west.test. 60 TXT all"), authoritative(t, "www.deep.west.test. 60 TXT some")
	below := west(some.at)
	below.Name = "deep.west.test."
	f := start(t, "[::1]:0", west(all.at), below)
	if got := f.ask(t, "www.west.test.", dns.TypeTXT) + " " + f.ask(t, "www.deep.west.test.", dns.TypeTXT); got != `NOERROR "all" NOERROR "some"` {
		t.Error(got)
	}
}

// TestRoundRobin has two servers asked in turn, and one alone when the other is gone.
func TestRoundRobin(t *testing.T) {
	one, two := authoritative(t), authoritative(t)
	z := west(one.at, two.at)
	z.Policy = forward.RoundRobin
	f := start(t, "[::1]:0", z)
	for i := range 20 {
		f.ask(t, fmt.Sprintf("n%d.west.test.", i), dns.TypeA)
	}
	if one.queries.Load() != 10 || two.queries.Load() != 10 {
		t.Errorf("%d and %d questions", one.queries.Load(), two.queries.Load())
	}
	one.set(silent)
	await(t, "one is down", func() bool { return f.server(0).State == forward.Down })
	one.queries.Store(0)
	for i := range 20 {
		if got := f.ask(t, fmt.Sprintf("m%d.west.test.", i), dns.TypeA); got != "NXDOMAIN" {
			t.Errorf("with one server down: %s", got)
		}
	}
	if n := one.queries.Load(); n != 0 {
		t.Errorf("%d questions to the one that is down", n)
	}
}

// TestFallback kills the primary under questions and brings it back: no question fails.
func TestFallback(t *testing.T) {
	primary, fallback := authoritative(t, "www.west.test. 0 TXT primary"), authoritative(t, "www.west.test. 0 TXT fallback")
	f := start(t, "[::1]:0", west(primary.at, fallback.at))
	await(t, "the primary's time is known", func() bool { return f.server(0).RoundTrip > 0 })
	if got := f.ask(t, "www.west.test.", dns.TypeTXT); got != `NOERROR "primary"` {
		t.Errorf("at first: %s", got)
	}
	up := *primary.reply.Load()
	for _, trouble := range []struct {
		name  string
		reply func(*dns.Msg, string) *dns.Msg
		want  string
	}{
		{"silence", silent, "no answer in time"},
		{"SERVFAIL", refusing(dns.RcodeServerFailure), "SERVFAIL"},
		{"REFUSED", refusing(dns.RcodeRefused), "REFUSED"},
	} {
		primary.set(trouble.reply)
		var longest time.Duration
		await(t, "the primary is down after "+trouble.name, func() bool {
			begin := time.Now()
			if got := f.ask(t, "www.west.test.", dns.TypeTXT); got != `NOERROR "fallback"` {
				t.Errorf("%s: %s", trouble.name, got)
			}
			longest = max(longest, time.Since(begin))
			return f.server(0).State == forward.Down
		})
		t.Logf("%s: the longest question took %v until the primary was down", trouble.name, longest)
		if got := f.server(0).Reason; got != trouble.want {
			t.Errorf("reason %q, want %q", got, trouble.want)
		}
		primary.set(up)
		await(t, "the primary is asked again", func() bool { return f.ask(t, "www.west.test.", dns.TypeTXT) == `NOERROR "primary"` })
	}
	if f.log.count("a server to forward to is down") != 3 || f.log.count("forwarding to a server again") != 3 {
		t.Errorf("log:\n%s", f.log.text.String())
	}
}

// TestStale takes all servers away and lets answers grow old.
func TestStale(t *testing.T) {
	a := authoritative(t, "www.west.test. 1 AAAA 2001:db8::1", "zero.west.test. 0 AAAA 2001:db8::1")
	z := west(a.at)
	z.ServeStale = 4 * time.Second
	f := start(t, "[::1]:0", z)
	up := *a.reply.Load()
	for _, name := range []string{"www.west.test.", "none.west.test.", "zero.west.test."} {
		f.ask(t, name, dns.TypeAAAA)
	}
	a.set(silent)
	await(t, "the server is down", func() bool { return f.server(0).State == forward.Down })
	await(t, "the answer is stale", func() bool { return f.ask(t, "www.west.test.", dns.TypeAAAA) == "NOERROR 2001:db8::1 EDE 3" })
	if r := exchange(t, f.at, "udp", query("www.west.test.", dns.TypeAAAA)); r.Answer[0].Header().Ttl != 30 {
		t.Errorf("TTL of a stale answer: %v", r.Answer[0])
	}
	for name, want := range map[string]string{"zero.west.test.": "SERVFAIL EDE 22", "never.west.test.": "SERVFAIL EDE 22"} {
		if got := f.ask(t, name, dns.TypeAAAA); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	// One second and four: after that the server's owner would not want it.
	await(t, "the stale answer ends", func() bool { return f.ask(t, "www.west.test.", dns.TypeAAAA) == "SERVFAIL EDE 22" })
	a.set(up)
	await(t, "the server is back", func() bool { return f.ask(t, "www.west.test.", dns.TypeAAAA) == "NOERROR 2001:db8::1" })
}

// TestStaleIsLeft: once a server is back, what is stale is asked again at once, whatever was decided when it was away.
func TestStaleIsLeft(t *testing.T) {
	a := authoritative(t, "www.west.test. 1 AAAA 2001:db8::1")
	f := start(t, "[::1]:0", west(a.at))
	up := *a.reply.Load()
	f.ask(t, "www.west.test.", dns.TypeAAAA)
	// It still answers probes: the server is up, and of no use.
	a.set(func(q *dns.Msg, network string) *dns.Msg {
		if probing(q) {
			return up(q, network)
		}
		return refusing(dns.RcodeServerFailure)(q, network)
	})
	await(t, "the answer is stale", func() bool { return f.ask(t, "www.west.test.", dns.TypeAAAA) == "NOERROR 2001:db8::1 EDE 3" })
	a.queries.Store(0)
	for range 10 {
		f.ask(t, "www.west.test.", dns.TypeAAAA)
	}
	if n := a.queries.Load(); n != 0 {
		t.Errorf("%d questions, with a stale answer at hand and half a minute not over", n)
	}
	a.set(silent)
	await(t, "the server is down", func() bool { return f.server(0).State == forward.Down })
	a.set(up)
	await(t, "a fresh answer", func() bool { return f.ask(t, "www.west.test.", dns.TypeAAAA) == "NOERROR 2001:db8::1" })
}
