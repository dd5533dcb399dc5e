// SPDX-License-Identifier: Apache-2.0

package forward_test

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/forward"
)

// reserve finds an address whose port is free for UDP and TCP: forwarders in a circle must know each other's before they
// start.
func reserve(t *testing.T) netip.AddrPort {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			t.Fatal(err)
		}
		at := l.Addr().(*net.TCPAddr).AddrPort()
		p, err := net.ListenPacket("udp", at.String())
		l.Close()
		if err == nil {
			p.Close()
			return at
		}
	}
	t.Fatal("no port is free for UDP and TCP")
	return netip.AddrPort{}
}

// TestLoops has forwarders lead to each other in circles of one, two and three. Each finds out and refuses, no question goes
// round and round, and when one of them is replaced by a server that knows the zone, all are healed.
func TestLoops(t *testing.T) {
	for n := 1; n <= 3; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			var at []netip.AddrPort
			for range n {
				at = append(at, reserve(t))
			}
			var circle []*forwarder
			for i := range n {
				circle = append(circle, start(t, at[i].String(), west(at[(i+1)%n])))
			}
			await(t, "somebody sees the loop", func() bool {
				for _, f := range circle {
					if f.server(0).State == forward.Loop {
						return true
					}
				}
				return false
			})
			await(t, "all say that there is nobody to ask", func() bool {
				for _, f := range circle {
					if f.server(0).State == forward.Up {
						return false
					}
				}
				return true
			})
			var before uint64
			for _, f := range circle {
				before += f.server(0).Asked
			}
			const questions = 200
			for i := range questions {
				if got := circle[0].ask(t, fmt.Sprintf("n%d.west.test.", i), dns.TypeA); got != "SERVFAIL EDE 22" && got != "SERVFAIL EDE 23" {
					t.Fatalf("in a loop: %s", got)
				}
			}
			var after uint64
			for _, f := range circle {
				after += f.server(0).Asked
			}
			// Twice each by the first, once each by those behind it who are but down, and some probes.
			if asked := after - before; asked > uint64((n+2)*questions) {
				t.Errorf("%d questions went round as %d", questions, asked)
			}
			logged := 0
			for _, f := range circle {
				logged += f.log.count("a loop of forwarders")
			}
			if logged == 0 || logged > 2*n {
				t.Errorf("the loop is logged %d times", logged)
			}
			if n == 1 {
				return // there is nobody to replace
			}
			circle[n-1].stop()
			authoritativeAt(t, at[n-1], "www.west.test. 60 TXT here")
			for _, f := range circle[:n-1] {
				await(t, "it is healed", func() bool { return f.server(0).State == forward.Up })
			}
			if got := circle[0].ask(t, "www.west.test.", dns.TypeTXT); got != `NOERROR "here"` {
				t.Errorf("after all: %s", got)
			}
		})
	}
}

// TestLoopBesideAFallback: a loop is no reason not to ask the server that knows.
func TestLoopBesideAFallback(t *testing.T) {
	at := []netip.AddrPort{reserve(t), reserve(t)}
	a := authoritative(t, "www.west.test. 0 TXT here")
	one := start(t, at[0].String(), west(at[1], a.at))
	two := start(t, at[1].String(), west(at[0], a.at))
	await(t, "a loop is seen", func() bool { return one.server(0).Loops+two.server(0).Loops > 0 })
	for range 50 {
		for _, f := range []*forwarder{one, two} {
			if got := f.ask(t, "www.west.test.", dns.TypeTXT); got != `NOERROR "here"` {
				t.Fatal(got)
			}
		}
	}
	// Once one of them asks the other nothing, the other may ask it.
	await(t, "one direction is left", func() bool {
		return (one.server(0).State == forward.Up) != (two.server(0).State == forward.Up)
	})
}

// TestQuestionComesBack has a server send back questions, and answer probes: the mark that questions carry shows it.
func TestQuestionComesBack(t *testing.T) {
	a := authoritative(t)
	up := *a.reply.Load()
	z := west(a.at)
	z.Health.Interval = time.Hour
	f := start(t, "[::1]:0", z)
	await(t, "the first probe is answered", func() bool { return f.server(0).RoundTrip > 0 })
	a.set(func(q *dns.Msg, network string) *dns.Msg {
		if probing(q) {
			return up(q, network)
		}
		c := dns.Client{Timeout: allow}
		again, _, err := c.Exchange(q, f.at.String())
		if err != nil {
			t.Error(err)
			return nil
		}
		return again
	})
	if got := f.ask(t, "www.west.test.", dns.TypeA); got != "SERVFAIL EDE 23" {
		t.Error(got)
	}
	if s := f.server(0); s.State != forward.Loop || s.Reason != "a question came back" || s.Loops != 1 {
		t.Errorf("%+v", s)
	}
	if got := f.Status()[0].Answers; got["loop"] != 1 || got["failed"] != 1 {
		t.Errorf("%v", got)
	}
}

// TestForgedPaths: nobody can make a server look like a loop without knowing its mark, nor hide that a question has come far.
func TestForgedPaths(t *testing.T) {
	a := authoritative(t, "www.west.test. 60 A 192.0.2.1")
	f := start(t, "[::1]:0", west(a.at))
	for octets, want := range map[int]string{
		0: "NOERROR 192.0.2.1", 3: "NOERROR 192.0.2.1", 8: "NOERROR 192.0.2.1", 56: "NOERROR 192.0.2.1", 64: "REFUSED EDE 18", 800: "REFUSED EDE 18",
	} {
		m := query("www.west.test.", dns.TypeA)
		data := make([]byte, octets)
		_, _ = rand.Read(data)
		o := m.IsEdns0()
		o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: 65313, Data: data})
		if got := say(exchange(t, f.at, "udp", m)); got != want {
			t.Errorf("with a path of %d octets: %s, want %s", octets, got, want)
		}
	}
	// A name that looks like a probe is a name like others.
	if got := f.ask(t, "dnsingress-probe-00112233445566778899aabbccddeeff.west.test.", dns.TypeA); got != "NXDOMAIN" {
		t.Error(got)
	}
	if s := f.server(0); s.Loops != 0 || s.State != forward.Up {
		t.Errorf("%+v", s)
	}
}

// TestForgedPathsSpoilNothing: a question that another forwarder refuses since it has come too far, or says to, is no
// reason not to answer those who ask the same without a detour.
func TestForgedPathsSpoilNothing(t *testing.T) {
	a := authoritative(t, "www.west.test. 60 A 192.0.2.1")
	behind := start(t, "[::1]:0", west(a.at))
	f := start(t, "[::1]:0", west(behind.at))
	m := query("www.west.test.", dns.TypeA)
	data := make([]byte, 56)
	_, _ = rand.Read(data)
	o := m.IsEdns0()
	o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: 65313, Data: data})
	if got := say(exchange(t, f.at, "udp", m)); got != "SERVFAIL EDE 23" {
		t.Errorf("what has come too far: %s", got)
	}
	if got := f.ask(t, "www.west.test.", dns.TypeA); got != "NOERROR 192.0.2.1" {
		t.Errorf("the same by another client: %s", got)
	}
}
