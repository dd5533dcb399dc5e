// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// halfway is a connection that takes a part of what is written and fails.
type halfway struct {
	net.Conn
	tries int
}

var errHalfway = errors.New("half the way")

func (h *halfway) Write(b []byte) (int, error) {
	h.tries++
	n, _ := h.Conn.Write(b[:len(b)/2])
	return n, errHalfway
}

// TestWriteThatFails closes the connection, for nothing that follows a part of a message could be read.
func TestWriteThatFails(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	h := &halfway{Conn: conn}
	s := &stream{Conn: h, tcp: conn.(*net.TCPConn)}
	for range 3 {
		if err := s.write(framed(make([]byte, 100))); !errors.Is(err, errHalfway) {
			t.Errorf("write: %v", err)
		}
	}
	if got, err := io.ReadAll(client); len(got) != 51 || err != nil || h.tries != 1 {
		t.Errorf("%d octets in %d tries, then %v", len(got), h.tries, err)
	}
}

// TestEndWithBlockedHandlers ends a server while a client reads nothing of the many transfers that it has asked for.
// None of them gets a time of its own.
func TestEndWithBlockedHandlers(t *testing.T) {
	t.Parallel()
	blocked := make(chan struct{}, handedMost)
	s := start(t, Config{Transfer: handlerFunc(func(_ context.Context, x *Exchange) {
		big := append(headerOnly(make([]byte, headerLen, 60000), x.Query, 0), make([]byte, 50000)...)
		blocked <- struct{}{}
		for x.Reply(big) == nil {
		}
	})})
	c := dial(t, "tcp", s.Addrs()[0])
	for range handedMost {
		send(t, c, pack(t, ask("example.org.", dns.TypeAXFR)))
	}
	for range handedMost {
		<-blocked
	}
	s.stop()
	select {
	case err := <-s.done:
		s.done <- err
	case <-time.After(patience):
		t.Error("never ended")
	}
}

// TestHandedMemory counts what is handed over among the buffers of connections, and gives it back.
func TestHandedMemory(t *testing.T) {
	t.Parallel()
	goOn := make(chan struct{})
	s := start(t, Config{TCP: Limits{Memory: 2*(lengthLen+maxMessage) + 10*4000}, Transfer: handlerFunc(func(_ context.Context, x *Exchange) {
		<-goOn
		_ = x.Reply(headerOnly(make([]byte, headerLen), x.Query, dns.RcodeNotAuth))
	})})
	c := dial(t, "tcp", s.Addrs()[0])
	padded := func(size int) []byte {
		m := ask("example.org.", dns.TypeAXFR)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_PADDING{Padding: make([]byte, size)}}
		return pack(t, m)
	}
	const n = 20
	refused := 0
	for range n {
		send(t, c, padded(3500))
	}
	for refused < n/2 { // the receive buffer counts as well
		if got := describe(t, receive(t, c)); got != "SERVFAIL" {
			t.Fatal(got)
		}
		refused++
	}
	close(goOn)
	for range n - refused {
		if got := describe(t, receive(t, c)); got != "NOTAUTH" && got != "SERVFAIL" {
			t.Error(got)
		}
	}
	awaitMetrics(t, s, `dnsingress_dns_tcp_buffer_bytes 0`)
	// And what no such message needs is not handed over.
	send(t, c, padded(queryMost))
	if got := describe(t, receive(t, c)); got != "FORMERR" {
		t.Errorf("a long one: %s", got)
	}
}

// TestHandedRate bounds the replies of a Handler over UDP like all others: some are sent, some are empty with TC, some
// are not there.
func TestHandedRate(t *testing.T) {
	t.Parallel()
	const burst, more = 5, 20
	s := start(t, Config{Workers: 1, Rate: RateLimit{PerSecond: 1, Burst: burst, Slip: 2}, Transfer: handlerFunc(func(_ context.Context, x *Exchange) {
		_ = x.Reply(headerOnly(make([]byte, headerLen), x.Query, dns.RcodeNotAuth))
	})})
	c := dial(t, "udp", s.Addrs()[0])
	got := map[string]int{}
	asked := 0
	for got["NOERROR tc q=1"] < more/2 {
		send(t, c, ixfr())
		send(t, c, ixfr())
		asked += 2
		// Of two beyond the limit one is answered.
		got[describe(t, receive(t, c))]++
	}
	if full := got["NOTAUTH"]; full > burst+more/2 || len(got) != 2 {
		t.Errorf("of %d: %v", asked, got)
	}
	for _, line := range scrape(t, s) {
		if strings.HasPrefix(line, `dnsingress_dns_rate_limited_total{action="drop",proto="udp"`) && strings.HasSuffix(line, " 0") {
			t.Error(line)
		}
	}
	// TCP shows who asks.
	tcp := dial(t, "tcp", s.Addrs()[0])
	for range burst + more {
		send(t, tcp, ixfr())
		if got := describe(t, receive(t, tcp)); got != "NOTAUTH" {
			t.Fatal(got)
		}
	}
}

// TestHandedIsLogged reads what the query log says of what a Handler answers, and of what it does not.
func TestHandedIsLogged(t *testing.T) {
	t.Parallel()
	log := new(syncLog)
	s := start(t, Config{
		Workers: 1, Log: slog.New(slog.NewTextHandler(log, nil)), QueryLog: QueryLog{Every: 1, PerSecond: 100},
		Transfer: handlerFunc(func(_ context.Context, x *Exchange) {
			if id := x.Query[1]; id != 1 {
				clear(x.Query) // it is the Handler's own
				_ = x.Reply([]byte{0, id, 0x80, dns.RcodeNotAuth, 0, 0, 0, 0, 0, 0, 0, 0})
			}
		}),
	})
	silent := new(dns.Msg).SetIxfr("example.org.", 1, "a.", "b.")
	silent.Id = 1
	send(t, dial(t, "udp", s.Addrs()[0]), pack(t, silent))
	for _, network := range []string{"udp", "tcp"} {
		c := dial(t, network, s.Addrs()[0])
		m := new(dns.Msg).SetIxfr("example.org.", 1, "a.", "b.")
		m.Id = 2
		send(t, c, pack(t, m))
		receive(t, c)
	}
	awaitMetrics(t, s, `dnsingress_dns_samples_total{to="log"} 3`)
	for want, n := range map[string]int{
		"proto=udp size=%d name=example.org. type=IXFR class=IN edns=false rcode=NOTAUTH":  1,
		"proto=tcp size=%d name=example.org. type=IXFR class=IN edns=false rcode=NOTAUTH":  1,
		"proto=udp size=%d name=example.org. type=IXFR class=IN edns=false answered=false": 1,
	} {
		if want = fmt.Sprintf(want, len(pack(t, silent))); strings.Count(log.String(), want) != n {
			t.Errorf("not %d of %q in\n%s", n, want, log)
		}
	}
}

// TestHandshakeAtTheEnd has TLS connections open while the server ends, for the race detector.
func TestHandshakeAtTheEnd(t *testing.T) {
	t.Parallel()
	pair := newPair(t)
	for range 3 {
		s := start(t, Config{TLS: pair.config()})
		opened := make(chan struct{}, 100)
		for range 20 {
			go func() {
				c, err := net.Dial("tcp", s.TLSAddrs()[0].String())
				if err == nil {
					_ = tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}}).Handshake() // the server may end first
					c.Close()
				}
				opened <- struct{}{}
			}()
		}
		<-opened
		s.stop()
		for range 19 {
			<-opened
		}
	}
}
