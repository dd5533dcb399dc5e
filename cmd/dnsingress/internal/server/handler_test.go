// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// handlerFunc is a Handler.
type handlerFunc func(ctx context.Context, x *Exchange)

func (f handlerFunc) Handle(ctx context.Context, x *Exchange) { f(ctx, x) }

// TestHanded checks what is handed over, over which protocol, and what is not.
func TestHanded(t *testing.T) {
	var was atomic.Pointer[Exchange]
	s := start(t, Config{TLS: newPair(t).config(), Transfer: handlerFunc(func(_ context.Context, x *Exchange) {
		was.Store(x)
		_ = x.Reply(headerOnly(make([]byte, headerLen), x.Query, dns.RcodeNotAuth))
	})})
	signed := func(b []byte) []byte { b[11]++; return append(b, tsig...) }
	for _, c := range []struct {
		name  string
		query func() []byte
		udp   bool
		tcp   bool
	}{
		{"AXFR", msg(ask("example.org.", dns.TypeAXFR)), false, true},
		{"IXFR", ixfr, true, true},
		{"AXFR outside the zones", msg(ask("example.net.", dns.TypeAXFR)), false, true},
		{"NOTIFY", opcode(4), true, true},
		{"NOTIFY that is malformed", raw(opcode(4), func(b []byte) []byte { return append(b, 0) }), false, false},
		{"NOTIFY without a question", raw(opcode(4), func(b []byte) []byte { b[5] = 0; return b[:headerLen] }), false, false},
		{"a signed query", raw(msg(ask("www.example.org.", dns.TypeA)), signed), true, true},
		{"a signed query with EDNS", raw(edns(1232, nil), signed), true, true},
		{"a signed query of version 1", raw(edns(1232, func(o *dns.OPT) { o.SetVersion(1) }), signed), false, false},
		{"UPDATE", opcode(5), true, true},
		{"a signed UPDATE", raw(opcode(5), signed), true, true},
		{"a query", msg(ask("www.example.org.", dns.TypeA)), false, false},
		{"AXFR of class CH", msg(ask("example.org.", dns.TypeAXFR), class(dns.ClassCHAOS)), false, false},
	} {
		for _, network := range []string{"udp", "tcp", "tls"} {
			to, want := s.Addrs()[0], c.tcp
			switch network {
			case "udp":
				want = c.udp
			case "tls":
				to = s.TLSAddrs()[0]
			}
			was.Store(nil)
			conn := dial(t, network, to)
			query := c.query()
			send(t, conn, query)
			got := describe(t, receive(t, conn))
			if handed := strings.HasPrefix(got, "NOTAUTH"); handed != want || handed != (was.Load() != nil) {
				t.Errorf("%s over %s: %s", c.name, network, got)
			}
			if x := was.Load(); x != nil && (string(x.Query) != string(query) || x.Peer.TCP != (network != "udp") || x.Peer.TLS != (network == "tls") ||
				!x.Peer.Addr.IsLoopback() || network == "udp" && x.Limit > ednsUDP) {
				t.Errorf("%s over %s: %+v", c.name, network, x)
			}
		}
	}
	awaitMetrics(t, s, `dnsingress_dns_requests_total{family="2",proto="tcp",type="IXFR",zone="example.org."} 1`,
		`dnsingress_dns_requests_total{family="2",proto="udp",type="IXFR",zone="example.org."} 1`,
		`dnsingress_dns_responses_total{proto="udp",rcode="NOTAUTH",zone="example.org."} 6`)
}

// TestHandlerIsOvertaken asks for a transfer that does not end and then for other things on the same connection: they
// are answered. Then the transfer goes on, and it too is whole.
func TestHandlerIsOvertaken(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	s := start(t, Config{TCP: Limits{Idle: 200 * time.Millisecond}, Transfer: handlerFunc(func(_ context.Context, x *Exchange) {
		part := append(headerOnly(make([]byte, headerLen, 60000), x.Query, 0), make([]byte, 40000)...)
		for i := range 100 {
			if i == 50 {
				<-goOn
			}
			if err := x.Reply(part); err != nil {
				t.Error(err)
			}
		}
	})})
	c := dial(t, "tcp", s.Addrs()[0]).(*net.TCPConn)
	axfr := ask("example.org.", dns.TypeAXFR)
	axfr.Id = 1
	send(t, c, pack(t, axfr))
	parts := 0
	for range 50 {
		if m := receive(t, c); m[1] == 1 {
			parts++
		}
	}
	time.Sleep(300 * time.Millisecond) // longer than a connection may be idle, but this one is not
	other := ask("www.example.org.", dns.TypeA)
	for id := uint16(2); id < 12; id++ {
		other.Id = id
		send(t, c, pack(t, other))
		if m := receive(t, c); binary.BigEndian.Uint16(m) != id {
			t.Fatalf("message %d before %d", m[1], id)
		}
	}
	if err := c.CloseWrite(); err != nil { // who has asked for all it wants still gets it
		t.Fatal(err)
	}
	close(goOn)
	for range 50 {
		if m := receive(t, c); m[1] == 1 && len(m) == headerLen+40000 {
			parts++
		}
	}
	if _, err := c.Read(make([]byte, 1)); parts != 100 || !errors.Is(err, io.EOF) {
		t.Errorf("%d parts, then %v", parts, err)
	}
}

// TestHandlerLearnsOfTheEnd breaks a connection, and ends the server, while a Handler works.
func TestHandlerLearnsOfTheEnd(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}, 2), make(chan struct{}, 2)
	s := start(t, Config{Transfer: handlerFunc(func(ctx context.Context, _ *Exchange) {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
	})})
	tcp := dial(t, "tcp", s.Addrs()[0]).(*net.TCPConn)
	send(t, tcp, pack(t, ask("example.org.", dns.TypeAXFR)))
	<-begun
	_ = tcp.SetLinger(0) // closing is a reset
	tcp.Close()
	<-ended
	c := dial(t, "udp", s.Addrs()[0])
	send(t, c, ixfr())
	<-begun
	s.stop()
	<-ended
}

// TestHandlerIsBounded asks for more than a Handler works on at once, and for one that panics.
func TestHandlerIsBounded(t *testing.T) {
	goOn := make(chan struct{})
	s := start(t, Config{Workers: 1, Transfer: handlerFunc(func(_ context.Context, x *Exchange) {
		<-goOn
		if x.Query[1] == 1 {
			panic("a fault")
		}
		if x.Query[1]%2 == 0 {
			_ = x.Reply(x.Answer(msg(ask("www.example.org.", dns.TypeA))(), x.Limit))
		}
	})})
	for _, network := range []string{"udp", "tcp"} {
		c := dial(t, network, s.Addrs()[0])
		m := new(dns.Msg).SetIxfr("example.org.", 1, "a.", "b.")
		for id := range uint16(handedMost + 3) {
			m.Id = id
			send(t, c, pack(t, m))
		}
		for range 3 {
			if got := describe(t, receive(t, c)); got != "SERVFAIL" {
				t.Errorf("%s: %s beyond the bound", network, got)
			}
		}
	}
	close(goOn)
	awaitMetrics(t, s, `dnsingress_panics_total 2`, `dnsingress_dns_ignored_total{proto="udp",reason="unanswered"} 31`,
		`dnsingress_dns_responses_total{proto="udp",rcode="NOERROR",zone="example.org."} 32`,
		`dnsingress_dns_responses_total{proto="tcp",rcode="SERVFAIL",zone="example.org."} 4`)
}
