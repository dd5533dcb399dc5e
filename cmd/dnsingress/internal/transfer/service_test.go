// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/server"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// patience is how long these tests wait for what must come. It is no measure of speed.
const patience = 60 * time.Second

const secret = "c2VjcmV0IG9mIHR3byBzZXJ2ZXJzIGFuZCBub2JvZHkgZWxzZQ=="

// keysOf makes keys of NAME:ALGORITHM.
func keysOf(t testing.TB, names ...string) Keys {
	t.Helper()
	keys := Keys{}
	for _, n := range names {
		name, algorithm, _ := strings.Cut(n, ":")
		k, err := NewKey(name, algorithm, secret)
		if err != nil {
			t.Fatal(err)
		}
		keys[k.Name] = k
	}
	return keys
}

func grants(t testing.TB, texts ...string) Access {
	t.Helper()
	a := make(Access, len(texts))
	for i, text := range texts {
		if err := a[i].UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func remote(t testing.TB, text string) Remote {
	t.Helper()
	var r Remote
	if err := r.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

func records(t testing.TB, text string) []dns.RR {
	t.Helper()
	p := dns.NewZoneParser(strings.NewReader(text), "", "")
	var rrs []dns.RR
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		rrs = append(rrs, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return rrs
}

const small = `example.org. 300 IN SOA ns1.example.org. host.example.org. 7 3600 600 86400 60
example.org. 300 IN NS ns1.example.org.
example.org. 300 IN MX 10 Mail.example.org.
ns1.example.org. 300 IN AAAA 2001:db8::1
*.w.example.org. 300 IN TXT "a" "b"
alias.example.org. 300 IN CNAME ns1.example.org.
cut.example.org. 300 IN NS ns.cut.example.org.
ns.cut.example.org. 300 IN A 192.0.2.9
odd.example.org. 300 IN TYPE65280 \# 4 01020304
`

func compile(t testing.TB, text string) *zone.Zone {
	t.Helper()
	rrs := records(t, text)
	z, err := zone.New(rrs[0].Header().Name, rrs)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// flat gives every record of a zone as sorted text.
func flat(t testing.TB, z *zone.Zone) []string {
	t.Helper()
	var out []string
	for r := range z.Records() {
		rr, err := r.RR()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rr.String())
	}
	rr, err := z.SOA().RR()
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, rr.String())
	slices.Sort(out)
	return out
}

// lines gathers a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) count(text string) int { return strings.Count(l.String(), text) }

// node is a server with its transfers, running.
type node struct {
	catalog *zone.Catalog
	service *Service
	address string
	log     *lines
	stop    func()
}

// start runs a server on loopback; publish puts zones in before it begins.
func start(t testing.TB, o Options, zones ...*zone.Zone) *node {
	t.Helper()
	n := &node{catalog: new(zone.Catalog), log: new(lines)}
	for _, z := range zones {
		n.catalog.Publish(z)
	}
	o.Catalog = n.catalog
	o.Log = slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if n.service, err = New(o); err != nil {
		t.Fatal(err)
	}
	s := server.New(server.Config{Listen: []string{"[::1]:0"}, Catalog: n.catalog, Transfer: n.service, Workers: 1})
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	all.Go(func() {
		if err := n.service.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	n.stop = sync.OnceFunc(func() {
		cancel()
		all.Wait()
	})
	t.Cleanup(n.stop)
	<-s.Ready()
	n.address = s.Addrs()[0].String()
	return n
}

// axfr transfers a zone by the client of miekg/dns.
func axfr(t testing.TB, address string, m *dns.Msg, key *Key) (records []dns.RR, messages int, err error) {
	t.Helper()
	tr := &dns.Transfer{DialTimeout: patience, ReadTimeout: patience}
	if key != nil {
		tr.TsigSecret = map[string]string{key.Name: base64.StdEncoding.EncodeToString(key.secret)}
		m.SetTsig(key.Name, key.Algorithm, 300, time.Now().Unix())
	}
	in, err := tr.In(m, address)
	if err != nil {
		return nil, 0, err
	}
	for e := range in {
		if e.Error != nil {
			err = e.Error
			continue
		}
		messages++
		records = append(records, e.RR...)
	}
	return records, messages, err
}

func texts(rrs []dns.RR) []string {
	var out []string
	for _, rr := range rrs {
		out = append(out, rr.String())
	}
	slices.Sort(out)
	return out
}

func waitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestAXFR(t *testing.T) {
	changes := []zone.Change{{Owner: "empty.example.org."}}
	for i := range 5000 {
		changes = append(changes, zone.Change{Owner: fmt.Sprintf("host-%d.sub%d.example.org.", i, i%7), RRsets: []zone.RRset{
			{Type: dns.TypeA, TTL: 5, MaxAnswers: 1, Records: records(t, fmt.Sprintf(". IN A 192.0.2.%d\n. IN A 198.51.100.%d\n", i%250, i%251))},
			{Type: dns.TypeMX, TTL: 60, Records: records(t, fmt.Sprintf(". IN MX 5 mx%d.example.org.", i%3))},
		}})
	}
	z, err := compile(t, small).With(changes...)
	if err != nil {
		t.Fatal(err)
	}
	for _, algorithm := range []string{"", "hmac-sha256", "hmac-sha384", "hmac-sha512"} {
		t.Run("signed with "+algorithm, func(t *testing.T) {
			o := Options{Default: Policy{Allow: grants(t, "::1")}}
			var key *Key
			if algorithm != "" {
				o.Keys = keysOf(t, "k:"+algorithm)
				o.Default.Allow = grants(t, "key:k")
				key = o.Keys["k."]
			}
			n := start(t, o, z)
			got, messages, err := axfr(t, n.address, new(dns.Msg).SetAxfr("example.org."), key)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) < 2 || got[0].Header().Rrtype != dns.TypeSOA || got[0].String() != got[len(got)-1].String() {
				t.Fatal("the SOA is not first and last")
			}
			if d := cmp.Diff(flat(t, z), texts(got[1:])); d != "" {
				t.Error(d)
			}
			if per := len(got) / messages; per < 300 {
				t.Errorf("%d records a message", per)
			}
		})
	}
}

func TestIXFR(t *testing.T) {
	z := compile(t, small)
	n := start(t, Options{Default: Policy{Allow: grants(t, "::1")}}, z)
	publish := func(changes ...zone.Change) {
		t.Helper()
		next, err := n.catalog.Zone("example.org.").With(changes...)
		if err != nil {
			t.Fatal(err)
		}
		n.catalog.Publish(next)
	}
	a := func(name, address string) zone.Change {
		return zone.Change{Owner: name, RRsets: []zone.RRset{{Type: dns.TypeA, TTL: 5, Records: records(t, ". IN A "+address)}}}
	}
	publish(a("a.example.org.", "192.0.2.1"), a("b.example.org.", "192.0.2.2"))
	publish(a("a.example.org.", "192.0.2.3"), zone.Change{Owner: "odd.example.org.", Remove: true})
	publish(a("a.example.org.", "192.0.2.4"), zone.Change{Owner: "b.example.org.", Remove: true})
	soa := func(serial int) string {
		return fmt.Sprintf("example.org.	300	IN	SOA	ns1.example.org. host.example.org. %d 3600 600 86400 60", serial)
	}
	whole := len(flat(t, n.catalog.Zone("example.org."))) + 1
	for _, c := range []struct {
		serial uint32
		want   []string // nil: the whole zone
	}{
		{7, []string{soa(10), soa(7), "odd.example.org.	300	CLASS1	TYPE65280	\\# 4 01020304", soa(10), "a.example.org.	5	IN	A	192.0.2.4", soa(10)}},
		{8, []string{
			soa(10), soa(8), "a.example.org.	5	IN	A	192.0.2.1", "odd.example.org.	300	CLASS1	TYPE65280	\\# 4 01020304", "b.example.org.	5	IN	A	192.0.2.2",
			soa(10), "a.example.org.	5	IN	A	192.0.2.4", soa(10),
		}},
		{10, []string{soa(10)}},
		{11, []string{soa(10)}}, // newer than ours
		{6, nil},
		{110 + 1<<31, nil}, // so far ahead that it is behind
	} {
		for _, proto := range []string{"tcp", "udp"} {
			query := new(dns.Msg).SetIxfr("example.org.", c.serial, "ns1.example.org.", "host.example.org.")
			query.SetEdns0(1232, false)
			client := &dns.Client{Net: proto, Timeout: patience, UDPSize: 1232}
			m, _, err := client.Exchange(query, n.address)
			if err != nil {
				t.Fatal(err)
			}
			if m.IsEdns0() == nil {
				t.Error("no OPT in the reply")
			}
			var got []string
			for _, rr := range m.Answer {
				got = append(got, rr.String())
			}
			if c.want == nil && proto == "udp" { // over TCP, please
				if len(got) != 1 || got[0] != soa(10) {
					t.Errorf("IXFR since %d over udp: %q is not the SOA alone", c.serial, got)
				}
				continue
			}
			if c.want == nil {
				if len(got) != whole {
					t.Errorf("IXFR since %d over %s: %q is not the whole zone", c.serial, proto, got)
				}
				continue
			}
			sorted := func(lines []string) []string { return slices.Sorted(slices.Values(lines)) }
			if d := cmp.Diff(sorted(c.want), sorted(got)); d != "" {
				t.Errorf("IXFR since %d over %s: %s", c.serial, proto, d)
			}
		}
	}
	// What does not fit a datagram is the SOA alone.
	var many []zone.Change
	for i := range 100 {
		many = append(many, a(fmt.Sprintf("m%d.example.org.", i), "192.0.2.1"))
	}
	publish(many...)
	m, _, err := (&dns.Client{Timeout: patience}).Exchange(new(dns.Msg).SetIxfr("example.org.", 10, ".", "."), n.address)
	if err != nil || len(m.Answer) != 1 || m.Answer[0].String() != soa(11) || m.Truncated {
		t.Errorf("too much for UDP: %v %v", m, err)
	}
	// A serial that went back makes every difference void.
	n.catalog.Publish(z)
	rrs, _, err := axfr(t, n.address, new(dns.Msg).SetIxfr("example.org.", 6, ".", "."), nil)
	if err != nil || len(rrs) != len(flat(t, z))+1 {
		t.Errorf("after a step back: %v %v", rrs, err)
	}
}

func TestJournalForgets(t *testing.T) {
	j := &journal{limit: 100 * 400}
	z := compile(t, small)
	j.publish(z)
	for i := range 1000 {
		next, err := z.With(zone.Change{Owner: fmt.Sprintf("h%d.example.org.", i%3), RRsets: []zone.RRset{{Type: dns.TypeA, TTL: uint32(i), Records: records(t, ". IN A 192.0.2.1")}}})
		if err != nil {
			t.Fatal(err)
		}
		j.publish(next)
		z = next
	}
	if j.size > j.limit || len(j.steps) < 20 || len(j.steps) > 200 {
		t.Errorf("%d steps of %d octets", len(j.steps), j.size)
	}
	oldest := j.steps[0].serial
	if _, _, known := j.since(oldest-1, math.MaxInt); known {
		t.Error("knows what it has forgotten")
	}
	_, d, known := j.since(oldest, math.MaxInt)
	if !known || len(d.removed) != 3 || len(d.added) != 3 {
		t.Errorf("known %v, removes %d, adds %d", known, len(d.removed), len(d.added))
	}
}

func TestAccess(t *testing.T) {
	for _, c := range []struct {
		list    []string
		from    string
		key     string
		permits bool
	}{
		{nil, "::1", "k.", false},
		{[]string{"2001:db8::/32"}, "2001:db8::7", "", true},
		{[]string{"2001:db8::/32"}, "2001:db9::7", "k.", false},
		{[]string{"192.0.2.1"}, "::ffff:192.0.2.1", "", true},
		{[]string{"192.0.2.1"}, "192.0.2.2", "", false},
		{[]string{"::ffff:192.0.2.1"}, "192.0.2.1", "", true},
		{[]string{"::ffff:192.0.2.0/120"}, "192.0.2.9", "", true},
		{[]string{"::ffff:192.0.2.0/120"}, "192.0.3.9", "", false},
		{[]string{"key:K"}, "192.0.2.2", "k.", true},
		{[]string{"key:k."}, "192.0.2.2", "", false},
		{[]string{"key:k"}, "192.0.2.2", "j.", false},
		{[]string{"::/0+key:k"}, "192.0.2.2", "k.", false},
		{[]string{"::/0+key:k"}, "::2", "k.", true},
		{[]string{"::/0+key:k"}, "::2", "", false},
		{[]string{"::1", "key:k"}, "::2", "k.", true},
	} {
		if got := grants(t, c.list...).Permits(netip.MustParseAddr(c.from), c.key); got != c.permits {
			t.Errorf("%v permits %s with %q: %v", c.list, c.from, c.key, got)
		}
	}
	if err := new(Grant).UnmarshalText([]byte("::ffff:0.0.0.0/90")); err == nil {
		t.Error("a prefix of both families is taken")
	}
	for _, bad := range []string{"", "example.org", "192.0.2.0/33", "192.0.2.1key:k", "key:", "192.0.2.1+key:"} {
		if err := new(Grant).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
		if err := new(Remote).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("remote %q is taken", bad)
		}
	}
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:53", "2001:db8::1": "[2001:db8::1]:53", "[2001:db8::1]:5353+key:K": "[2001:db8::1]:5353+key:k.",
	} {
		if got := remote(t, text).String(); got != want {
			t.Errorf("%s is %s", text, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	n := start(t, Options{Policies: map[string]Policy{"example.org.": {Allow: grants(t, "192.0.2.0/24", "key:k")}}, Keys: keysOf(t, "k:hmac-sha256")},
		compile(t, small), compile(t, strings.ReplaceAll(small, "example.org", "example.net")))
	for _, c := range []struct {
		name string
		want int
	}{
		{"example.org.", dns.RcodeRefused},
		{"example.net.", dns.RcodeRefused},
		{"example.com.", dns.RcodeNotAuth},
		{"a.example.org.", dns.RcodeNotAuth},
	} {
		m, _, err := (&dns.Client{Net: "tcp", Timeout: patience}).Exchange(new(dns.Msg).SetAxfr(c.name), n.address)
		if err != nil || m.Rcode != c.want {
			t.Errorf("AXFR of %s: %v %v", c.name, m, err)
		}
	}
	m, _, err := (&dns.Client{Timeout: patience}).Exchange(new(dns.Msg).SetNotify("example.org."), n.address)
	if err != nil || m.Rcode != dns.RcodeNotAuth || m.Opcode != dns.OpcodeNotify {
		t.Errorf("NOTIFY of a zone of our own: %v %v", m, err)
	}
}

// TestRepliesHaveEDNS where queries have it, RFC 6891 §6.1.1, also when all there is to say is no.
func TestRepliesHaveEDNS(t *testing.T) {
	keys := keysOf(t, "k:hmac-sha256")
	n := start(t, Options{Keys: keys, Default: Policy{Allow: grants(t, "2001:db8::1")}}, compile(t, small))
	for _, proto := range []string{"tcp", "udp"} {
		for _, edns := range []bool{true, false} {
			for _, key := range []string{"", "k.", "unknown."} {
				for what, m := range map[string]*dns.Msg{
					"IXFR": new(dns.Msg).SetIxfr("example.org.", 7, ".", "."), "NOTIFY": new(dns.Msg).SetNotify("example.org."),
				} {
					if edns {
						m.SetEdns0(1232, false)
					}
					if key != "" {
						m.SetTsig(key, dns.HmacSHA256, fudge, time.Now().Unix())
					}
					client := &dns.Client{Net: proto, Timeout: patience, TsigSecret: map[string]string{key: secret}}
					r, _, _ := client.Exchange(m, n.address) // an error is that of the unknown key
					if r == nil || r.Rcode == dns.RcodeSuccess || (r.IsEdns0() != nil) != edns {
						t.Errorf("%s over %s, EDNS %v, key %q: %v", what, proto, edns, key, r)
					}
				}
			}
		}
	}
}

// TestNotifyWaits until the server answers, and for the process before to be gone.
func TestNotifyWaits(t *testing.T) {
	in, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var open atomic.Bool
	var early, told atomic.Int32
	go func() {
		buf := make([]byte, maxMessage)
		for {
			n, from, err := in.ReadFrom(buf)
			if err != nil {
				return
			}
			if !open.Load() {
				early.Add(1)
			}
			buf[2] |= 0x80
			if _, err := in.WriteTo(buf[:n], from); err == nil {
				told.Add(1)
			}
		}
	}()
	answering := make(chan struct{})
	n := start(t, Options{Answering: func() <-chan struct{} { return answering }, Beside: 2 * notifyGap, Default: Policy{Notify: []Remote{remote(t, in.LocalAddr().String())}}}, compile(t, small))
	change(t, n, address(t, "a.example.org.", "192.0.2.1"))
	time.Sleep(3 * notifyGap) // what must not come has no event
	open.Store(true)
	close(answering)
	waitFor(t, "the server is told twice", func() bool { return told.Load() >= 2 })
	if n := early.Load(); n > 0 {
		t.Errorf("it was told %d times before", n)
	}
}

// TestJournalLimitsTheWork of one reply.
func TestJournalLimitsTheWork(t *testing.T) {
	j := &journal{limit: 1 << 20}
	z := compile(t, small)
	j.publish(z)
	for i := range 50 {
		next, err := z.With(address(t, "h.example.org.", fmt.Sprintf("192.0.2.%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		j.publish(next)
		z = next
	}
	// 50 steps, each with a record that comes and, but for the first, one that goes.
	if _, _, known := j.since(7, 148); known {
		t.Error("149 records and steps are 148")
	}
	if _, d, known := j.since(7, 149); !known || len(d.removed) != 0 || len(d.added) != 1 {
		t.Error(known, d)
	}
}

// TestBrokenTransfersAreLoggedOnce per cause.
func TestBrokenTransfersAreLoggedOnce(t *testing.T) {
	n := start(t, Options{Default: Policy{Allow: grants(t, "::1")}}, compile(t, small))
	wire, err := new(dns.Msg).SetAxfr("example.org.").Pack()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		n.service.Handle(t.Context(), &server.Exchange{
			Query: slices.Clone(wire), Peer: server.Peer{Addr: netip.IPv6Loopback(), TCP: true}, Limit: maxMessage,
			Reply: func([]byte) error { return errFull },
		})
	}
	if n, all := n.log.count("level=INFO msg=\"a transfer broke off\""), n.log.count("a transfer broke off"); n != 1 || all != 5 {
		t.Errorf("%d of %d lines", n, all)
	}
}

// TestTrustOfAddresses with and without their interface, and of IPv4 in both forms.
func TestTrustOfAddresses(t *testing.T) {
	f := &follower{primaries: []Remote{remote(t, "[fe80::1%eth0]:53"), remote(t, "[::ffff:192.0.2.1]:53")}}
	for _, from := range []string{"fe80::1", "fe80::1%eth0", "192.0.2.1", "::ffff:192.0.2.1"} {
		if !f.Trusts(netip.MustParseAddr(from), "") {
			t.Errorf("%s is not trusted", from)
		}
	}
	if f.Trusts(netip.MustParseAddr("fe80::2"), "") {
		t.Error("fe80::2 is trusted")
	}
}
