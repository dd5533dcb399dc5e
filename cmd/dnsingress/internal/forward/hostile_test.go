// SPDX-License-Identifier: Apache-2.0

package forward_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/forward"
)

// rawServer answers octets with octets: a message in, some out, over UDP and TCP.
func rawServer(t *testing.T, replies func(query []byte, network string) [][]byte) netip.AddrPort {
	t.Helper()
	at := reserve(t)
	p, err := net.ListenPacket("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, b := range replies(append([]byte(nil), buf[:n]...), "udp") {
				_, _ = p.WriteTo(b, from)
			}
		}
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(allow))
				for {
					var length [2]byte
					if _, err := io.ReadFull(c, length[:]); err != nil {
						return
					}
					query := make([]byte, binary.BigEndian.Uint16(length[:]))
					if _, err := io.ReadFull(c, query); err != nil {
						return
					}
					out := replies(query, "tcp")
					if out == nil {
						return
					}
					for _, b := range out {
						_, _ = c.Write(b)
					}
				}
			})
		}
	})
	t.Cleanup(func() { p.Close(); l.Close(); all.Wait() })
	return at
}

// framed is a message as it goes over TCP.
func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// good is the right reply to a query in wire form.
func good(t *testing.T, query []byte, data string) []byte {
	q := new(dns.Msg)
	if err := q.Unpack(query); err != nil {
		t.Error(err)
		return nil
	}
	m := new(dns.Msg).SetReply(q)
	rr, err := dns.NewRR(q.Question[0].Name + " 60 TXT " + data)
	if err != nil {
		t.Error(err)
		return nil
	}
	m.Answer = []dns.RR{rr}
	b, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

// changed is b with a change.
func changed(b []byte, change func(b []byte) []byte) []byte { return change(append([]byte(nil), b...)) }

// TestHostileReplies has a server, or somebody in its place, send what it likes; a fallback saves the question, or nothing
// does. No question takes longer than it may.
func TestHostileReplies(t *testing.T) {
	otherID := func(b []byte) []byte { b[0] ^= 0xFF; return b }
	otherName := func(b []byte) []byte { b[13] ^= 0x01; return b }
	otherType := func(b []byte) []byte { b[12+len("\x03www\x04west\x04test\x00")+1] ^= 0x01; return b }
	query := func(b []byte) []byte { b[2] &^= 0x80; return b }
	truncated := func(b []byte) []byte { b[2] |= 0x02; return b }
	times := func(n int, b []byte) (all [][]byte) {
		for range n {
			all = append(all, b)
		}
		return all
	}
	for _, c := range []struct {
		name    string
		udp     func(b []byte) [][]byte // of the right reply
		tcp     func(b []byte) [][]byte
		want    string
		unknown uint64 // messages that are no replies, at least
	}{
		{"another ID, then the right one", func(b []byte) [][]byte { return append(times(3, changed(b, otherID)), b) }, nil, `"x"`, 3},
		{"another name, then the right one", func(b []byte) [][]byte { return append(times(3, changed(b, otherName)), b) }, nil, `"x"`, 3},
		{"another type, then the right one", func(b []byte) [][]byte { return append(times(3, changed(b, otherType)), b) }, nil, `"x"`, 3},
		{"a query, then the right one", func(b []byte) [][]byte { return append(times(3, changed(b, query)), b) }, nil, `"x"`, 3},
		{"nothing, then the right one", func(b []byte) [][]byte { return [][]byte{{}, b[:11], b} }, nil, `"x"`, 2},
		{
			"somebody guesses IDs: TCP is asked", func(b []byte) [][]byte { return times(100, changed(b, otherID)) },
			func(b []byte) [][]byte { return [][]byte{framed(b)} }, `"x"`, 16,
		},
		{"truncated for ever", func(b []byte) [][]byte { return [][]byte{changed(b, truncated)} }, func(b []byte) [][]byte { return [][]byte{framed(changed(b, truncated))} }, "fallback", 0},
		{"truncated, and TCP closed", func(b []byte) [][]byte { return [][]byte{changed(b, truncated)} }, func([]byte) [][]byte { return nil }, "fallback", 0},
		{"truncated, and another ID over TCP", func(b []byte) [][]byte { return [][]byte{changed(b, truncated)} }, func(b []byte) [][]byte { return [][]byte{framed(changed(b, otherID))} }, "fallback", 0},
		{"truncated, and half a message over TCP", func(b []byte) [][]byte { return [][]byte{changed(b, truncated)} }, func(b []byte) [][]byte { return [][]byte{framed(b)[:20]} }, "fallback", 0},
		{"truncated, and 65535 octets over TCP", func(b []byte) [][]byte { return [][]byte{changed(b, truncated)} }, func(b []byte) [][]byte {
			return [][]byte{framed(append(slices.Clone(b), make([]byte, 65535-len(b))...))}
		}, `"x"`, 0},
		{"a datagram of 60000 octets", func(b []byte) [][]byte { return [][]byte{append(b, make([]byte, 60000)...)} }, func(b []byte) [][]byte { return [][]byte{framed(b)} }, `"x"`, 0},
		{"cut in the middle", func(b []byte) [][]byte { return [][]byte{b[:len(b)-1]} }, nil, "fallback", 0},
		{"a count too many", func(b []byte) [][]byte { return [][]byte{changed(b, func(b []byte) []byte { b[7]++; return b })} }, nil, `"x"`, 0},
		{"another opcode", func(b []byte) [][]byte { return [][]byte{changed(b, func(b []byte) []byte { b[2] |= 0x20; return b })} }, nil, "fallback", 1},
		{"a header alone", func(b []byte) [][]byte {
			return [][]byte{append(slices.Clone(b[:2]), 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0)}
		}, nil, "fallback", 0},
		{"silence", func([]byte) [][]byte { return [][]byte{} }, nil, "fallback", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			at := rawServer(t, func(q []byte, network string) [][]byte {
				b := good(t, q, "x")
				switch {
				case network == "udp":
					return c.udp(b)
				case c.tcp == nil:
					return nil
				}
				return c.tcp(b)
			})
			fallback := authoritative(t, "www.west.test. 60 TXT fallback")
			z := west(at, fallback.at)
			z.Health.Failures = 1000
			f := start(t, "[::1]:0", z)
			want := strings.ReplaceAll("NOERROR "+c.want, "fallback", `"fallback"`)
			if got := f.ask(t, "www.west.test.", dns.TypeTXT); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if s := f.server(0); s.Strangers < c.unknown {
				t.Errorf("%d messages that are no replies, want %d", s.Strangers, c.unknown)
			}
		})
	}
}

// TestBailiwick: of a reply only what follows from the question is handed on and remembered.
func TestBailiwick(t *testing.T) {
	a := authoritative(t)
	f := start(t, "[::1]:0", west(a.at))
	for _, c := range []struct {
		name                      string
		qtype                     uint16
		rcode                     int
		answer, ns, extra         string // records, one a line
		want, wantNS, wantExtra   string
		secure                    bool
		remembered, answeredTwice bool
	}{
		{
			name: "addresses of others", qtype: dns.TypeA, answer: "@ 60 A 192.0.2.1\nwww.bank.test. 60 A 192.0.2.66",
			ns: "test. 60 NS ns.evil.test.", extra: "www.bank.test. 60 A 192.0.2.66\nns.evil.test. 60 A 192.0.2.67",
			want: "NOERROR 192.0.2.1", remembered: true,
		},
		{name: "an answer to something else", qtype: dns.TypeA, answer: "www.bank.test. 60 A 192.0.2.66", want: "SERVFAIL EDE 23", remembered: true},
		{name: "another type", qtype: dns.TypeA, answer: "@ 60 TXT x", want: "SERVFAIL EDE 23", remembered: true},
		{name: "another class", qtype: dns.TypeA, answer: "@ 60 CH A 192.0.2.1", want: "SERVFAIL EDE 23", remembered: true},
		{
			name: "a chain out of the zone", qtype: dns.TypeA, answer: "@ 60 CNAME lb.other.test.\nlb.other.test. 60 A 192.0.2.5\nnot.other.test. 60 A 192.0.2.6",
			want: "NOERROR 192.0.2.5 lb.other.test.", remembered: true,
		},
		{name: "a chain to itself", qtype: dns.TypeA, answer: "@ 60 CNAME b.west.test.\nb.west.test. 60 CNAME @", want: "NOERROR @ b.west.test.", remembered: true},
		{
			name: "a service", qtype: dns.TypeSRV, answer: "@ 60 SRV 1 1 1 t.west.test.\n@ 60 SRV 1 1 1 t.other.test.",
			extra: "t.west.test. 60 AAAA 2001:db8::1\nt.other.test. 60 AAAA 2001:db8::2\nu.west.test. 60 AAAA 2001:db8::3",
			want:  "NOERROR 1 1 1 t.other.test. 1 1 1 t.west.test.", wantExtra: "2001:db8::1", remembered: true,
		},
		{
			name: "a denial", qtype: dns.TypeA, rcode: dns.RcodeNameError, ns: "west.test. 60 SOA a. b. 1 2 3 4 5\nbank.test. 60 SOA a. b. 1 2 3 4 5\nwest.test. 60 NS ns.west.test.",
			want: "NXDOMAIN", wantNS: "a. b. 1 2 3 4 5", remembered: true,
		},
		{name: "a denial by somebody else", qtype: dns.TypeA, rcode: dns.RcodeNameError, ns: "bank.test. 60 SOA a. b. 1 2 3 4 5", want: "NXDOMAIN"},
		{name: "a denial without SOA", qtype: dns.TypeA, rcode: dns.RcodeNameError, want: "NXDOMAIN"},
		{name: "no data, without SOA", qtype: dns.TypeA, want: "NOERROR"},
		{name: "a referral", qtype: dns.TypeA, ns: "west.test. 60 NS ns.west.test.", extra: "ns.west.test. 60 A 192.0.2.1", want: "SERVFAIL EDE 23", remembered: true},
		{name: "a TTL with the top bit", qtype: dns.TypeA, answer: "@ 4294967295 A 192.0.2.1", want: "NOERROR 192.0.2.1"},
		{
			name: "a signed denial", qtype: dns.TypeA, rcode: dns.RcodeNameError, secure: true,
			ns: "west.test. 60 SOA a. b. 1 2 3 4 5\nwest.test. 60 NSEC z.west.test. SOA\nbank.test. 60 NSEC z.bank.test. SOA\n" +
				"west.test. 60 RRSIG NSEC 13 2 60 20300101000000 20200101000000 1 west.test. AAAA\nwest.test. 60 RRSIG NS 13 2 60 20300101000000 20200101000000 1 west.test. AAAA",
			want: "NXDOMAIN", wantNS: "NSEC 13 2 60 20300101000000 20200101000000 1 west.test. AAAA a. b. 1 2 3 4 5 z.west.test. SOA", remembered: true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := strings.ReplaceAll(c.name, " ", "-")
			name = strings.ReplaceAll(name, ",", "") + ".west.test."
			var answer, ns, extra []dns.RR
			for section, text := range map[*[]dns.RR]string{&answer: c.answer, &ns: c.ns, &extra: c.extra} {
				for line := range strings.Lines(text) {
					*section = append(*section, record(t, strings.ReplaceAll(line, "@", name)))
				}
			}
			var asked atomic.Int32
			a.set(func(q *dns.Msg, _ string) *dns.Msg {
				m := new(dns.Msg).SetReply(q)
				if probing(q) {
					m.Rcode = dns.RcodeNameError
					return m
				}
				asked.Add(1)
				m.Rcode, m.Answer, m.Ns, m.Extra = c.rcode, answer, ns, extra
				return m
			})
			m := query(name, c.qtype)
			m.IsEdns0().SetDo(c.secure)
			var after [2]int32
			for i := range after {
				r := exchange(t, f.at, "udp", m)
				after[i] = asked.Load() // a slow server is asked twice
				if got, want := say(r), strings.ReplaceAll(c.want, "@", name); got != want {
					t.Errorf("%s, want %s", got, want)
				}
				if got := data(r.Ns); got != c.wantNS {
					t.Errorf("authority section %q, want %q", got, c.wantNS)
				}
				if got := data(r.Extra); got != c.wantExtra {
					t.Errorf("additional section %q, want %q", got, c.wantExtra)
				}
			}
			if remembered := after[1] == after[0]; after[0] == 0 || remembered != c.remembered {
				t.Errorf("asked %v times, remembered: %v, want %v", after, remembered, c.remembered)
			}
		})
	}
}

// data is the sorted data of records other than OPT.
func data(rrs []dns.RR) string {
	m := new(dns.Msg)
	for _, rr := range rrs {
		if rr.Header().Rrtype != dns.TypeOPT {
			m.Answer = append(m.Answer, rr)
		}
	}
	return strings.TrimPrefix(strings.TrimPrefix(say(m), "NOERROR"), " ")
}

// TestShared has many ask the same at once: the server is asked once.
func TestShared(t *testing.T) {
	a := authoritative(t, "www.west.test. 0 TXT here")
	up, goOn := *a.reply.Load(), make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release)
	z := west(a.at)
	z.Timeout = 20 * time.Second // longer than what follows may take
	f := start(t, "[::1]:0", z)
	await(t, "the server's time is known", func() bool { return f.server(0).RoundTrip > 0 })
	a.set(func(q *dns.Msg, network string) *dns.Msg {
		if !probing(q) {
			<-goOn
		}
		return up(q, network)
	})
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if got := f.ask(t, "www.west.test.", dns.TypeTXT); got != `NOERROR "here"` {
				t.Error(got)
			}
		})
	}
	await(t, "the question is under way", func() bool { return a.queries.Load() > 0 })
	release()
	all.Wait()
	// The second try of those that were the first is begun when it takes longer than usual.
	if n := a.queries.Load(); n > 20 {
		t.Errorf("asked %d times for 100 who asked the same at once", n)
	}
}

// TestBounded floods a forwarder whose server is silent with questions that all differ.
func TestBounded(t *testing.T) {
	a := authoritative(t, "www.west.test. 60 TXT here")
	a.set(silent)
	z := west(a.at)
	z.InFlight = 10
	f := start(t, "[::1]:0", z)
	var all sync.WaitGroup
	most := 0
	for i := range 200 {
		all.Go(func() {
			if got := f.ask(t, fmt.Sprintf("n%d.west.test.", i), dns.TypeA); !strings.HasPrefix(got, "SERVFAIL EDE 2") {
				t.Error(got)
			}
		})
		most = max(most, f.Status()[0].UnderWay)
	}
	all.Wait()
	if most > 10 {
		t.Errorf("%d questions to servers at once", most)
	}
	if got := f.ask(t, "ns.own.test.", dns.TypeAAAA); got != "NOERROR 2001:db8::1" {
		t.Errorf("the server's own zone meanwhile: %s", got)
	}
}

// TestCacheIsBounded fills the memory for answers with more than it takes.
func TestCacheIsBounded(t *testing.T) {
	a := authoritative(t)
	z := west(a.at)
	z.CacheSize = 8 << 10
	f := start(t, "[::1]:0", z)
	for i := range 100 {
		f.ask(t, fmt.Sprintf("n%d.west.test.", i), dns.TypeA)
	}
	c := f.Status()[0].Cache
	if c.Octets > 8<<10 || c.Entries == 0 || uint64(c.Entries)+c.Evicted != 100 {
		t.Errorf("%+v", c)
	}
	a.queries.Store(0)
	f.ask(t, "n99.west.test.", dns.TypeA)
	f.ask(t, "n0.west.test.", dns.TypeA)
	if n := a.queries.Load(); n != 1 {
		t.Errorf("%d questions for the newest and the oldest", n)
	}
}

// TestTLS forwards over DNS over TLS, which keeps its connections, to a server that is who it says, and not to another.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"dns.west.test"}, IPAddresses: []net.IP{net.IPv6loopback}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, made, made, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	a := &authority{}
	a.set(zoneOf(t, "www.west.test. 0 TXT here"))
	l, err := tls.Listen("tcp", "[::1]:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	counted := &countingListener{Listener: l}
	started := make(chan struct{})
	s := &dns.Server{Listener: counted, Net: "tcp-tls", Handler: a, NotifyStartedFunc: func() { close(started) }}
	done := make(chan error, 1)
	go func() { done <- s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = s.Shutdown(); <-done })
	z := west(l.Addr().(*net.TCPAddr).AddrPort())
	z.Timeout = 5 * time.Second
	z.TLS = &tls.Config{RootCAs: pool, ServerName: "dns.west.test", MinVersion: tls.VersionTLS12}
	f := start(t, "[::1]:0", z)
	for range 20 {
		if got := f.ask(t, "www.west.test.", dns.TypeTXT); got != `NOERROR "here"` {
			t.Fatal(got)
		}
	}
	if n := counted.accepted(); n > 4 {
		t.Errorf("%d connections for 20 questions, one after the other", n)
	}
	z.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12} // without a name, the certificate is for the address
	if got := start(t, "[::1]:0", z).ask(t, "www.west.test.", dns.TypeTXT); got != `NOERROR "here"` {
		t.Error(got)
	}
	z.TLS = &tls.Config{RootCAs: pool, ServerName: "dns.other.test", MinVersion: tls.VersionTLS12}
	f = start(t, "[::1]:0", z)
	if got := f.ask(t, "www.west.test.", dns.TypeTXT); got != "SERVFAIL EDE 22" {
		t.Error(got)
	}
	await(t, "the reason is told", func() bool {
		return f.server(0).State == forward.Down && strings.Contains(f.server(0).Reason, "certificate is valid for dns.west.test, not dns.other.test")
	})
}

// countingListener counts connections.
type countingListener struct {
	net.Listener
	mu sync.Mutex
	n  int
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.n++
		l.mu.Unlock()
	}
	return c, err
}

func (l *countingListener) accepted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}
