// SPDX-License-Identifier: Apache-2.0

package forward_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/forward"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/server"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/dnstest"
)

// allow is how long something may take on a machine that has other things to do.
const allow = time.Minute

// await looks until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(allow); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never holds: %s", what)
		}
	}
}

// forwarder is a whole server, with sockets, that forwards.
type forwarder struct {
	*forward.Service
	at       netip.AddrPort
	registry *prometheus.Registry
	log      *lines
	stop     func()
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

// west is the zone west.test. forwarded to servers, with whatever changes.
func west(to ...netip.AddrPort) forward.Zone {
	z := forward.Zone{
		Name: "west.test.", Policy: forward.PrimaryFallback, Timeout: 300 * time.Millisecond, ServeStale: time.Hour, MaxTTL: time.Hour,
		CacheSize: 1 << 20, InFlight: 100, Health: forward.Health{Interval: 200 * time.Millisecond, Failures: 2},
	}
	for _, a := range to {
		z.To = append(z.To, forward.Address(a))
	}
	return z
}

// start serves own.test. itself and forwards zones, at an address that is free or given.
func start(t testing.TB, listen string, zones ...forward.Zone) *forwarder {
	t.Helper()
	f := &forwarder{registry: prometheus.NewRegistry(), log: &lines{}}
	var err error
	if f.Service, err = forward.New(forward.Options{Zones: zones, Registerer: f.registry, Log: slog.New(slog.NewTextHandler(f.log, nil))}); err != nil {
		t.Fatal(err)
	}
	catalog := new(zone.Catalog)
	own, err := zone.New("own.test.", []dns.RR{
		record(t, "own.test. 300 SOA ns.own.test. host.own.test. 7 3600 600 86400 60"), record(t, "own.test. 300 NS ns.own.test."), record(t, "ns.own.test. 300 AAAA 2001:db8::1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	catalog.Publish(own)
	s := server.New(server.Config{Listen: []string{listen}, Catalog: catalog, Forward: f.Service, Names: server.Names{ID: "east"}})
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wait.Go(func() { _ = f.Run(ctx) })
	select {
	case <-s.Ready():
	case <-time.After(allow):
		t.Fatal("the server does not open its sockets")
	}
	f.at = s.Addrs()[0]
	f.stop = func() { stop(); wait.Wait() }
	t.Cleanup(f.stop)
	return f
}

// query is a question as a stub resolver asks it, with EDNS.
func query(name string, qtype uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, false)
}

// exchange asks a server.
func exchange(t testing.TB, at netip.AddrPort, network string, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: allow}
	reply, _, err := c.Exchange(m, at.String())
	if err != nil {
		t.Fatalf("asking for %v: %v", m.Question, err)
	}
	return reply
}

// say is what a server answers: "NOERROR 192.0.2.1 192.0.2.2", "SERVFAIL EDE 22".
func say(m *dns.Msg) string {
	words := []string{dns.RcodeToString[m.Rcode]}
	var data []string
	for _, rr := range m.Answer {
		data = append(data, strings.Join(strings.Fields(rr.String())[4:], " "))
	}
	slices.Sort(data)
	words = append(words, data...)
	if o := m.IsEdns0(); o != nil {
		for _, option := range o.Option {
			if e, ok := option.(*dns.EDNS0_EDE); ok {
				words = append(words, fmt.Sprint("EDE ", e.InfoCode))
			}
		}
	}
	return strings.Join(words, " ")
}

func (f *forwarder) ask(t testing.TB, name string, qtype uint16) string {
	t.Helper()
	return say(exchange(t, f.at, "udp", query(name, qtype)))
}

// server is the status of one server of the first zone.
func (f *forwarder) server(k int) forward.ServerStatus { return f.Status()[0].Servers[k] }

// authority is a server for west.test. that tests change: a function gives the reply; nil is silence.
type authority struct {
	at      netip.AddrPort
	reply   atomic.Pointer[func(q *dns.Msg, network string) *dns.Msg]
	queries atomic.Int64 // without probes
}

func (a *authority) set(reply func(q *dns.Msg, network string) *dns.Msg) { a.reply.Store(&reply) }

func probing(q *dns.Msg) bool { return strings.HasPrefix(q.Question[0].Name, "dnsingress-probe-") }

// authoritative starts one that answers with the records, in zone-file form.
func authoritative(t testing.TB, records ...string) *authority {
	t.Helper()
	a := &authority{}
	a.set(zoneOf(t, records...))
	var stop func()
	var err error
	if a.at, stop, err = dnstest.Serve(a); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return a
}

// authoritativeAt starts one at an address that is known.
func authoritativeAt(t testing.TB, at netip.AddrPort, records ...string) *authority {
	t.Helper()
	a := &authority{at: at}
	a.set(zoneOf(t, records...))
	for _, network := range []string{"udp", "tcp"} {
		started := make(chan struct{})
		s := &dns.Server{Addr: at.String(), Net: network, Handler: a, NotifyStartedFunc: func() { close(started) }}
		done := make(chan error, 1)
		go func() { done <- s.ListenAndServe() }()
		select {
		case <-started:
		case err := <-done:
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Shutdown(); <-done })
	}
	return a
}

// ServeDNS implements dns.Handler.
func (a *authority) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	if !probing(q) {
		a.queries.Add(1)
	}
	if m := (*a.reply.Load())(q, w.LocalAddr().Network()); m != nil {
		_ = w.WriteMsg(m)
	}
}

// silent answers nothing.
func silent(*dns.Msg, string) *dns.Msg { return nil }

// refusing answers with a response code.
func refusing(rcode int) func(*dns.Msg, string) *dns.Msg {
	return func(q *dns.Msg, _ string) *dns.Msg { return new(dns.Msg).SetRcode(q, rcode) }
}

// zoneOf answers from records.
func zoneOf(t testing.TB, records ...string) func(*dns.Msg, string) *dns.Msg {
	t.Helper()
	soa := record(t, "west.test. 60 SOA ns.west.test. host.west.test. 1 3600 600 86400 5")
	var rrs []dns.RR
	for _, text := range records {
		rrs = append(rrs, record(t, text))
	}
	return func(q *dns.Msg, network string) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		m.Rcode = dns.RcodeNameError
		name := dns.CanonicalName(q.Question[0].Name)
		for again := true; again; {
			again = false
			for _, rr := range rrs {
				if rr.Header().Name != name {
					continue
				}
				m.Rcode = dns.RcodeSuccess
				if c, ok := rr.(*dns.CNAME); ok && q.Question[0].Qtype != dns.TypeCNAME {
					m.Answer = append(m.Answer, dns.Copy(rr))
					name, again = c.Target, true
					break
				}
				if rr.Header().Rrtype == q.Question[0].Qtype {
					m.Answer = append(m.Answer, dns.Copy(rr))
				}
			}
		}
		if len(m.Answer) == 0 {
			m.Ns = []dns.RR{dns.Copy(soa)}
		}
		if network == "udp" {
			m.Truncate(512)
		}
		return m
	}
}

func record(t testing.TB, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}
