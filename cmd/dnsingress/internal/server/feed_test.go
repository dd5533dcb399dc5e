// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dnstap "github.com/dnstap/golang-dnstap"
	framestream "github.com/farsightsec/golang-framestream"
	"github.com/miekg/dns"
	"google.golang.org/protobuf/proto"
)

// tapCollector is what listens on a dnstap socket.
type tapCollector struct {
	net.Listener
	messages chan *dnstap.Dnstap
}

func listenTap(t *testing.T, path string) *tapCollector {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c := &tapCollector{l, make(chan *dnstap.Dnstap, 1000)}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r, err := framestream.NewReader(conn, &framestream.ReaderOptions{ContentTypes: [][]byte{dnstap.FSContentType}, Bidirectional: true})
			if err != nil {
				t.Error(err)
				return
			}
			c.read(t, r)
			conn.Close()
		}
	}()
	return c
}

func (c *tapCollector) read(t *testing.T, r *framestream.Reader) {
	buf := make([]byte, 1<<17)
	for {
		n, err := r.ReadFrame(buf)
		if err != nil { // the stream's end
			return
		}
		m := new(dnstap.Dnstap)
		if err := proto.Unmarshal(buf[:n], m); err != nil {
			t.Error(err)
			return
		}
		c.messages <- m
	}
}

// TestDnstap reads what a server writes to a socket: everything that it was asked, how, by whom, and what it said.
func TestDnstap(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tap")
	c := listenTap(t, path)
	s := start(t, Config{Workers: 1, Dnstap: Dnstap{To: "unix:" + path}, Names: Names{ID: "ns1", Version: "1.0"}, TLS: newPair(t).config()})
	type exchange struct {
		query, reply []byte
		from, to     netip.AddrPort
	}
	want := map[dnstap.SocketProtocol]exchange{}
	for network, protocol := range map[string]dnstap.SocketProtocol{"udp": dnstap.SocketProtocol_UDP, "tcp": dnstap.SocketProtocol_TCP, "tls": dnstap.SocketProtocol_DOT} {
		x := exchange{query: pack(t, ask("wWw.example.org.", dns.TypeAAAA)), to: s.Addrs()[0]}
		if network == "tls" {
			x.to = s.TLSAddrs()[0]
		}
		conn := dial(t, network, x.to)
		x.from = netip.MustParseAddrPort(conn.LocalAddr().String())
		send(t, conn, x.query)
		x.reply = receive(t, conn)
		want[protocol] = x
	}
	send(t, dial(t, "udp", s.Addrs()[0]), []byte{1, 2, 3})
	for range len(want) + 1 {
		m := <-c.messages
		b := m.Message
		if len(b.QueryMessage) == 3 {
			if b.GetType() != dnstap.Message_AUTH_QUERY || b.ResponseMessage != nil {
				t.Errorf("of what is not answered: %v", m)
			}
			continue
		}
		x := want[b.GetSocketProtocol()]
		at := time.Unix(int64(b.GetQueryTimeSec()), int64(b.GetQueryTimeNsec()))
		if string(m.Identity) != "ns1" || string(m.Version) != "1.0" || b.GetType() != dnstap.Message_AUTH_RESPONSE ||
			b.GetSocketFamily() != dnstap.SocketFamily_INET6 || time.Since(at).Abs() > patience ||
			!bytes.Equal(b.QueryAddress, x.from.Addr().AsSlice()) || b.GetQueryPort() != uint32(x.from.Port()) || b.GetResponsePort() != uint32(x.to.Port()) ||
			!bytes.Equal(b.QueryMessage, x.query) || !bytes.Equal(b.ResponseMessage, x.reply) {
			t.Errorf("%v\nis not of %+v", m, x)
		}
	}
	awaitMetrics(t, s, `dnsingress_dns_samples_total{to="dnstap"} 4`, `dnsingress_dns_samples_lost_total{to="dnstap"} 0`)
}

// TestDnstapIsAway answers while nobody collects, and while a collector takes nothing; what it misses is counted, and
// when it is back it gets what comes then. Each change is logged once.
func TestDnstapIsAway(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tap")
	log := new(syncLog)
	s := start(t, Config{Workers: 1, Dnstap: Dnstap{To: "unix:" + path}, Log: slog.New(slog.NewTextHandler(log, nil))})
	conn := dial(t, "udp", s.Addrs()[0])
	query := pack(t, ask("www.example.org.", dns.TypeA))
	asking := func() {
		t.Helper()
		send(t, conn, query)
		receive(t, conn)
	}
	for range 3 * tapSamples {
		asking()
	}
	awaitMetrics(t, s, fmt.Sprintf(`dnsingress_dns_samples_lost_total{to="dnstap"} %d`, 3*tapSamples))
	c := listenTap(t, path)
	for end := time.Now().Add(patience); len(c.messages) == 0; time.Sleep(20 * time.Millisecond) {
		if asking(); time.Now().After(end) {
			t.Fatalf("never back: %s", log)
		}
	}
	if text := log.String(); strings.Count(text, "dnstap is away") != 1 || strings.Count(text, "writing dnstap") != 1 {
		t.Error(text)
	}
}

// TestDnstapThatIsStuck never takes anything from the writer of a feed: whoever feeds it does not wait.
func TestDnstapThatIsStuck(t *testing.T) {
	f := newFeed("dnstap", 1, 8)
	w := f.tap()
	query := make([]byte, 40)
	n := testing.AllocsPerRun(100, func() {
		if w.wants() {
			w.take(time.Now(), netip.AddrPort{}, netip.AddrPort{}, protoUDP, query, query)
		}
	})
	if lost := f.lost.Load(); n > 0 || len(f.full) != 8 || lost != 101-8 {
		t.Errorf("%v allocations, %d waiting, %d lost", n, len(f.full), lost)
	}
}

// TestDnstapToFile reads the files of servers that have ended: none has lost what the one before wrote.
func TestDnstapToFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queries.tap")
	for n := range 3 {
		s := start(t, Config{Workers: 1, Dnstap: Dnstap{To: "file:" + path}})
		conn := dial(t, "udp", s.Addrs()[0])
		for range 10 * (n + 1) {
			send(t, conn, pack(t, ask("www.example.org.", dns.TypeA)))
			receive(t, conn)
		}
		s.stop()
		if err := <-s.done; err != nil {
			t.Fatal(err)
		}
		s.done <- nil
	}
	for name, want := range map[string]int{path + ".1": 10, path + ".2": 20, path: 30} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := framestream.NewReader(f, &framestream.ReaderOptions{ContentTypes: [][]byte{dnstap.FSContentType}})
		if err != nil {
			t.Fatal(err)
		}
		c := &tapCollector{messages: make(chan *dnstap.Dnstap, 100)}
		c.read(t, r)
		if len(c.messages) != want {
			t.Errorf("%d messages in %s, want %d", len(c.messages), name, want)
		}
	}
}

func TestDnstapNowhere(t *testing.T) {
	for _, to := range []string{"tcp:1.2.3.4:5", "unix:", "/tmp/tap"} {
		if err := New(Config{Listen: []string{"[::1]:0"}, Dnstap: Dnstap{To: to}}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "hint") {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// TestSampling takes one of ten, and no pattern in the queries decides which.
func TestSampling(t *testing.T) {
	w := newFeed("log", 10, 1).tap()
	var by [10]int
	for i := range 100_000 {
		if w.wants() {
			by[i%10]++
		}
	}
	if least, most := slices.Min(by[:]), slices.Max(by[:]); least < 800 || most > 1200 {
		t.Errorf("%v of 10000 each", by)
	}
}

// TestQueryLog reads the lines of queries, and counts those beyond the bound.
func TestQueryLog(t *testing.T) {
	log := new(syncLog)
	s := start(t, Config{Workers: 1, Log: slog.New(slog.NewTextHandler(log, nil)), QueryLog: QueryLog{Every: 1, PerSecond: 5}})
	udp, tcp := dial(t, "udp", s.Addrs()[0]), dial(t, "tcp", s.Addrs()[0])
	send(t, udp, edns(1232, func(o *dns.OPT) { o.SetDo() })())
	receive(t, udp)
	send(t, tcp, msg(ask("nx.example.org.", dns.TypeA))())
	receive(t, tcp)
	send(t, udp, question("\xc0\x0c")())
	receive(t, udp)
	awaitMetrics(t, s, `dnsingress_dns_samples_total{to="log"} 3`)
	for _, want := range []string{
		`proto=udp size=44 name=www.example.org. type=AAAA class=IN edns=true do=true rcode=NOERROR answers=1 truncated=false`,
		`proto=tcp size=32 name=nx.example.org. type=A class=IN edns=false rcode=NXDOMAIN answers=0`,
		`proto=udp size=18 malformed=true rcode=FORMERR`, "client=[::1]:",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
	begin := time.Now()
	const n = 200
	for range n {
		send(t, udp, pack(t, ask("www.example.org.", dns.TypeA)))
		receive(t, udp)
	}
	seconds := int(time.Since(begin)/time.Second) + 2
	if lines := strings.Count(log.String(), "msg=query"); lines > 3+5*seconds {
		t.Errorf("%d lines in %d seconds", lines, seconds)
	}
}
