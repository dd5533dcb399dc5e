// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// TestReplyComesFromTheAddressAsked asks a server that listens on all addresses by several of them. A connected
// socket takes no reply from another address.
func TestReplyComesFromTheAddressAsked(t *testing.T) {
	for _, c := range []struct {
		listen string
		by     []string
	}{
		{"[::]:0", []string{"::1", "127.0.0.1", "127.0.0.2", "127.1.2.3"}},
		{"0.0.0.0:0", []string{"127.0.0.1", "127.0.0.2"}},
		{"127.0.0.7:0", []string{"127.0.0.7"}},
	} {
		s := start(t, Config{Listen: []string{c.listen}, Workers: 2})
		for _, by := range c.by {
			to := netip.AddrPortFrom(netip.MustParseAddr(by), s.Addrs()[0].Port())
			for _, network := range []string{"udp", "tcp"} {
				conn := dial(t, network, to)
				send(t, conn, pack(t, ask("www.example.org.", dns.TypeAAAA)))
				if got := describe(t, receive(t, conn)); got != "NOERROR aa q=1 an=1" {
					t.Errorf("%s by %s over %s: %s", c.listen, by, network, got)
				}
			}
		}
	}
}

// TestListenOpensThatAddressAlone checks that a server on one address of a port leaves the others free.
func TestListenOpensThatAddressAlone(t *testing.T) {
	s := start(t, Config{Listen: []string{"127.0.0.9:0"}})
	other := fmt.Sprintf("127.0.0.10:%d", s.Addrs()[0].Port())
	if pc, err := net.ListenPacket("udp", other); err != nil {
		t.Errorf("UDP: %v", err)
	} else {
		pc.Close()
	}
	if l, err := net.Listen("tcp", other); err != nil {
		t.Errorf("TCP: %v", err)
	} else {
		l.Close()
	}
}

// TestPortInUse checks that another server on the address is an error, although our own sockets share it.
func TestPortInUse(t *testing.T) {
	s := start(t, Config{})
	again := New(Config{Listen: []string{s.Addrs()[0].String()}, Catalog: new(zone.Catalog)})
	if err := again.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("with TCP and UDP in use: %v", err)
	}
	pc, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	again = New(Config{Listen: []string{pc.LocalAddr().String()}, Catalog: new(zone.Catalog)})
	if err := again.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("with UDP in use: %v", err)
	}
	again = New(Config{Listen: []string{"nonsense"}, Catalog: new(zone.Catalog)})
	if err := again.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "hint") {
		t.Errorf("with a bad address: %v", err)
	}
}

// TestManyClients asks from many sockets at once, so that batches are full and all workers have some.
func TestManyClients(t *testing.T) {
	s := start(t, Config{Workers: 4})
	var all sync.WaitGroup
	for range 16 {
		conn := dial(t, "udp", s.Addrs()[0])
		all.Go(func() {
			const window = 40
			for round := range 10 {
				open := map[uint16]bool{}
				for i := range window {
					m := ask("www.example.org.", dns.TypeAAAA)
					m.Id = uint16(round*window + i + 1)
					open[m.Id] = true
					wire, _ := m.Pack()
					conn.Write(wire)
				}
				buf := make([]byte, 512)
				for len(open) > 0 {
					n, err := conn.Read(buf)
					if err != nil {
						t.Error(err)
						return
					}
					var m dns.Msg
					if err := m.Unpack(buf[:n]); err != nil || !open[m.Id] || len(m.Answer) != 1 {
						t.Errorf("got %v, %v", &m, err)
						return
					}
					delete(open, m.Id)
				}
			}
		})
	}
	all.Wait()
}

// TestLongDatagram sends a query longer than any buffer.
func TestLongDatagram(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, "udp", s.Addrs()[0])
	send(t, c, append(pack(t, ask("www.example.org.", dns.TypeA)), make([]byte, queryMost)...))
	if got := describe(t, receive(t, c)); got != "FORMERR" {
		t.Error(got)
	}
}

// TestDrain checks that what has been sent before the end is answered.
func TestDrain(t *testing.T) {
	t.Parallel()
	for range 4 {
		s := start(t, Config{Workers: 1})
		udp, tcp := dial(t, "udp", s.Addrs()[0]), dial(t, "tcp", s.Addrs()[0])
		send(t, tcp, pack(t, ask("www.example.org.", dns.TypeA))) // it is accepted before the end
		receive(t, tcp)
		const n = 100
		for range n {
			send(t, udp, pack(t, ask("www.example.org.", dns.TypeA)))
			send(t, tcp, pack(t, ask("www.example.org.", dns.TypeA)))
		}
		s.stop()
		for range n {
			receive(t, udp)
			receive(t, tcp)
		}
		if err := <-s.done; err != nil {
			t.Error(err)
		}
		s.done <- nil
	}
}

// TestPanicCostsOneAnswer breaks a responder and checks that it answers SERVFAIL, counts, and logs once.
func TestPanicCostsOneAnswer(t *testing.T) {
	var log lines
	p := &panics{log: slog.New(slog.NewTextHandler(&log, nil))}
	g := &guard{Responder: NewResponder(nil), panics: p} // no catalog: a nil dereference
	for range 3 {
		reply, seen := g.respond(make([]byte, ednsUDP), pack(t, ask("www.example.org.", dns.TypeA)), Peer{}, false)
		if got := describe(t, reply); got != "SERVFAIL" || seen.rcode != dns.RcodeServerFailure {
			t.Errorf("%s, counted as %d", got, seen.rcode)
		}
	}
	if p.count.Load() != 3 || len(log) != 1 || !strings.Contains(log[0], "caught a panic") {
		t.Errorf("%d counted, log %q", p.count.Load(), log)
	}
}

// lines keeps what is written.
type lines []string

func (l *lines) Write(b []byte) (int, error) {
	*l = append(*l, string(b))
	return len(b), nil
}

// TestAnswersAreNeverMixed changes a name's addresses and TTL together while readers ask for it. Each version
// has one TTL, and only addresses that show it.
func TestAnswersAreNeverMixed(t *testing.T) {
	catalog := new(zone.Catalog)
	z := exampleZone(t)
	publish := func(version int) {
		set := zone.RRset{Type: dns.TypeAAAA, TTL: uint32(version)}
		for i := range 1 + version%7 {
			set.Records = append(set.Records, &dns.AAAA{
				Hdr:  dns.RR_Header{Rrtype: dns.TypeAAAA, Class: dns.ClassINET},
				AAAA: net.IP{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, byte(i), 0, byte(version >> 16), byte(version >> 8), byte(version)},
			})
		}
		alias := zone.RRset{Type: dns.TypeCNAME, TTL: uint32(version), Records: []dns.RR{
			&dns.CNAME{Hdr: dns.RR_Header{Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: "pool.example.org."},
		}}
		next, err := z.With(zone.Change{Owner: "pool.example.org.", RRsets: []zone.RRset{set}}, zone.Change{Owner: "alias.example.org.", RRsets: []zone.RRset{alias}})
		if err != nil {
			t.Error(err)
			return
		}
		z = next
		catalog.Publish(z)
	}
	publish(1)
	s := start(t, Config{Catalog: catalog})
	done := make(chan struct{})
	var readers sync.WaitGroup
	for i := range 4 {
		conn := dial(t, []string{"udp", "tcp"}[i%2], s.Addrs()[0])
		readers.Go(func() {
			for last := 0; ; {
				select {
				case <-done:
					return
				default:
				}
				send(t, conn, pack(t, ask([]string{"pool.example.org.", "alias.example.org."}[i/2], dns.TypeAAAA)))
				m := unpack(t, receive(t, conn))
				version := int(m.Answer[0].Header().Ttl)
				count := 0
				for _, rr := range m.Answer {
					if int(rr.Header().Ttl) != version {
						t.Errorf("TTLs of versions %d and %d in one answer", version, rr.Header().Ttl)
					}
					if a, ok := rr.(*dns.AAAA); ok {
						count++
						if got := int(a.AAAA[13])<<16 | int(a.AAAA[14])<<8 | int(a.AAAA[15]); got != version {
							t.Errorf("an address of version %d in an answer of version %d", got, version)
						}
					}
				}
				if count != 1+version%7 || version < last {
					t.Errorf("version %d after %d with %d addresses", version, last, count)
				}
				last = version
			}
		})
	}
	for version := 2; version < 5000; version++ {
		publish(version)
	}
	close(done)
	readers.Wait()
}

// TestMetrics checks names, labels and sums of what is counted.
func TestMetrics(t *testing.T) {
	s := start(t, Config{Workers: 2})
	udp, tcp := dial(t, "udp", s.Addrs()[0]), dial(t, "tcp", s.Addrs()[0])
	do := ask("www.example.org.", dns.TypeAAAA)
	do.SetEdns0(1232, true)
	for _, c := range []net.Conn{udp, tcp} {
		for _, m := range []*dns.Msg{ask("www.example.org.", dns.TypeAAAA), ask("nx.example.org.", 1000), ask("example.net.", dns.TypeA), do} {
			send(t, c, pack(t, m))
			receive(t, c)
		}
	}
	send(t, udp, []byte{1, 2, 3})
	want := []string{
		`dnsingress_dns_requests_total{family="2",proto="udp",type="AAAA",zone="example.org."} 2`,
		`dnsingress_dns_requests_total{family="2",proto="tcp",type="other",zone="example.org."} 1`,
		`dnsingress_dns_requests_total{family="2",proto="udp",type="A",zone=""} 1`,
		`dnsingress_dns_do_requests_total{family="2",proto="udp",zone="example.org."} 1`,
		`dnsingress_dns_responses_total{proto="udp",rcode="NXDOMAIN",zone="example.org."} 1`,
		`dnsingress_dns_responses_total{proto="tcp",rcode="NOERROR",zone="example.org."} 2`,
		`dnsingress_dns_responses_total{proto="udp",rcode="REFUSED",zone=""} 1`,
		`dnsingress_dns_ignored_total{proto="udp",reason="short"} 1`,
		`dnsingress_dns_request_duration_seconds_count{proto="udp"} 4`,
		`dnsingress_dns_response_size_bytes_count{proto="tcp"} 4`,
		`dnsingress_dns_zone_serial{zone="example.org."} 7`,
		`dnsingress_dns_zone_names{zone="example.org."} 5`,
		`dnsingress_panics_total 0`,
		`dnsingress_dns_tcp_accepted_total 1`,
	}
	awaitMetrics(t, s, want...)
}

// awaitMetrics waits until all lines are among the metrics: a query is counted after its reply has left.
func awaitMetrics(t testing.TB, s *running, want ...string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		have := scrape(t, s)
		missing := slices.DeleteFunc(slices.Clone(want), func(w string) bool { return slices.Contains(have, w) })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("missing\n%s\nin\n%s", strings.Join(missing, "\n"), strings.Join(have, "\n"))
		}
	}
}

// syncLog keeps what is written by whomever.
type syncLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *syncLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *syncLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
