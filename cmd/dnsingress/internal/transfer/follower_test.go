// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// same waits until two servers have the same zone.
func same(t *testing.T, a, b *node) {
	t.Helper()
	waitFor(t, "the secondary has what the primary has", func() bool {
		return b.catalog.Zone("example.org.").Serial() == a.catalog.Zone("example.org.").Serial()
	})
	if d := cmp.Diff(flat(t, a.catalog.Zone("example.org.")), flat(t, b.catalog.Zone("example.org."))); d != "" {
		t.Error(d)
	}
}

func change(t testing.TB, n *node, changes ...zone.Change) {
	t.Helper()
	next, err := n.catalog.Zone("example.org.").With(changes...)
	if err != nil {
		t.Fatal(err)
	}
	n.catalog.Publish(next)
}

func address(t testing.TB, name, address string) zone.Change {
	return zone.Change{Owner: name, RRsets: []zone.RRset{{Type: dns.TypeA, TTL: 5, Records: records(t, ". IN A "+address)}}}
}

// freeAddress is one that a server can be started on later.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// relay hands NOTIFYs on to a server that is started later.
func relay(t testing.TB) (at string, to *atomic.Pointer[string]) {
	t.Helper()
	in, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	to = new(atomic.Pointer[string])
	go func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := in.ReadFrom(buf)
			if err != nil {
				return
			}
			target := to.Load()
			if target == nil {
				continue
			}
			out, err := net.Dial("udp", *target)
			if err != nil {
				continue
			}
			_, _ = out.Write(buf[:n])
			_ = out.SetReadDeadline(time.Now().Add(time.Second))
			if n, err = out.Read(buf); err == nil {
				_, _ = in.WriteTo(buf[:n], from)
			}
			out.Close()
		}
	}()
	return in.LocalAddr().String(), to
}

func TestSecondaryFollows(t *testing.T) {
	keys := keysOf(t, "k:hmac-sha512")
	at, to := relay(t)
	primary := start(t, Options{Keys: keys, Default: Policy{Allow: grants(t, "::1+key:k"), Notify: []Remote{remote(t, at+"+key:k")}}}, compile(t, small))
	secondary := start(t, Options{Keys: keys, Secondaries: []Secondary{{Origin: "example.ORG", Primaries: []Remote{remote(t, primary.address+"+key:k")}}}})
	same(t, primary, secondary)
	to.Store(&secondary.address)
	for i := range 20 {
		change(t, primary, address(t, fmt.Sprintf("h%d.example.org.", i%7), fmt.Sprintf("192.0.2.%d", i)))
		change(t, primary, address(t, fmt.Sprintf("g%d.example.org.", i%3), fmt.Sprintf("192.0.2.%d", i)), zone.Change{Owner: fmt.Sprintf("h%d.example.org.", i%5), Remove: true})
		if i%5 == 4 {
			same(t, primary, secondary)
		}
	}
	// At the origin, and to a name without data.
	change(t, primary, zone.Change{Owner: "example.org.", RRsets: []zone.RRset{{Type: dns.TypeA, TTL: 9, Records: records(t, ". IN A 192.0.2.77")}}}, zone.Change{Owner: "g1.example.org."})
	same(t, primary, secondary)
	if n := secondary.log.count("a difference was of no use"); n > 0 {
		t.Errorf("differences were of no use: %s", secondary.log)
	}
	if n := secondary.log.count("whole=true"); n != 1 {
		t.Errorf("%d whole transfers: %s", n, secondary.log)
	}
	if n := secondary.log.count("whole=false"); n < 4 {
		t.Errorf("%d differences: %s", n, secondary.log)
	}
}

// TestNotifyIsTrusted from primaries alone, and signed where they sign.
func TestNotifyIsTrusted(t *testing.T) {
	keys := keysOf(t, "k:hmac-sha256", "j:hmac-sha256")
	for _, c := range []struct {
		primary, key string
		want         int
	}{
		{"[::1]:9", "", dns.RcodeSuccess},
		{"[::1]:9", "k.", dns.RcodeRefused},
		{"[::1]:9+key:k", "k.", dns.RcodeSuccess},
		{"[::1]:9+key:k", "j.", dns.RcodeRefused},
		{"[::1]:9+key:k", "", dns.RcodeRefused},
		{"[::2]:9", "", dns.RcodeRefused},
	} {
		n := start(t, Options{Keys: keys, Secondaries: []Secondary{{Origin: "example.org", Primaries: []Remote{remote(t, c.primary)}}}})
		m, err := client{to: remote(t, n.address), key: keys[c.key]}.ask(t.Context(), new(dns.Msg).SetNotify("example.org."), 5)
		if err != nil || m.Rcode != c.want || m.Authoritative != (c.want == dns.RcodeSuccess) {
			t.Errorf("%v: %v %v", c, m, err)
		}
		n.stop()
	}
}

func TestSecondaryExpires(t *testing.T) {
	quick := strings.Replace(small, "7 3600 600 86400 60", "7 1 1 2 60", 1)
	at := freeAddress(t)
	primary := start(t, Options{Default: Policy{Allow: grants(t, "::1")}}, compile(t, quick))
	secondary := start(t, Options{Secondaries: []Secondary{{Origin: "example.org", Primaries: []Remote{remote(t, at), remote(t, primary.address)}}}})
	rcode := func() int {
		m, _, err := (&dns.Client{Timeout: patience}).Exchange(new(dns.Msg).SetQuestion("ns1.example.org.", dns.TypeAAAA), secondary.address)
		if err != nil {
			t.Fatal(err)
		}
		return m.Rcode
	}
	same(t, primary, secondary) // by the second of its primaries
	primary.stop()
	waitFor(t, "the zone expires", func() bool { return rcode() == dns.RcodeServerFailure })
	if n := secondary.log.count("it stays as it is until it expires"); n != 1 {
		t.Errorf("the cause was logged %d times: %s", n, secondary.log)
	}
	if !strings.Contains(secondary.log.String(), "the zone has expired") {
		t.Errorf("nothing of it in the log: %s", secondary.log)
	}
}

func TestSecondaryServesFromDisk(t *testing.T) {
	dir := t.TempDir()
	primary := start(t, Options{Default: Policy{Allow: grants(t, "::1")}}, compile(t, small))
	o := Options{State: dir, Secondaries: []Secondary{{Origin: "example.org", Primaries: []Remote{remote(t, primary.address)}}}}
	first := start(t, o)
	same(t, primary, first)
	change(t, primary, address(t, "late.example.org.", "192.0.2.1"), zone.Change{Owner: "none.example.org."})
	first.service.secondaries["example.org."].Tell()
	same(t, primary, first)
	first.stop()

	change(t, primary, address(t, "later.example.org.", "192.0.2.1"))
	second := &node{catalog: new(zone.Catalog), log: new(lines)}
	o.Catalog = second.catalog
	second = start(t, o)
	if !strings.Contains(second.log.String(), "serving the zone kept on disk") {
		t.Errorf("nothing kept: %s", second.log)
	}
	same(t, primary, second)
	if second.log.count("whole=false") != 1 {
		t.Errorf("no difference after a restart: %s", second.log)
	}
	second.stop()

	// What is too old is not served.
	path := filepath.Join(dir, "example.org.zone")
	old := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	primary.stop()
	third := start(t, o)
	if third.catalog.Zone("example.org.").Available() {
		t.Error("an expired zone is served")
	}
	third.stop()
	// Nor what is damaged.
	if err := os.WriteFile(path, []byte("example.org. SOA"), 0o644); err != nil {
		t.Fatal(err)
	}
	fourth := start(t, o)
	if fourth.catalog.Zone("example.org.").Available() || !strings.Contains(fourth.log.String(), "example.org.zone:1:") {
		t.Errorf("a damaged file: %s", fourth.log)
	}
}

// cutter stands between a secondary and its primary and closes connections after so many octets of the reply.
type cutter struct {
	to     string
	octets atomic.Int64
	cuts   atomic.Int32
	open   sync.Map // net.Conn
}

// end closes the connections that there are.
func (c *cutter) end() {
	c.open.Range(func(conn, _ any) bool {
		conn.(net.Conn).Close()
		return true
	})
}

func (c *cutter) start(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Skip(err) // the port is taken
	}
	t.Cleanup(func() {
		l.Close()
		pc.Close()
	})
	go func() { // SOA queries pass
		buf := make([]byte, 65535)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			out, err := net.Dial("udp", c.to)
			if err != nil {
				continue
			}
			_, _ = out.Write(buf[:n])
			_ = out.SetReadDeadline(time.Now().Add(patience))
			if n, err = out.Read(buf); err == nil {
				_, _ = pc.WriteTo(buf[:n], from)
			}
			out.Close()
		}
	}()
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				c.open.Store(in, true)
				defer c.open.Delete(in)
				out, err := net.Dial("tcp", c.to)
				if err != nil {
					return
				}
				defer out.Close()
				go func() { _, _ = io.Copy(out, in) }()
				if limit := c.octets.Load(); limit > 0 {
					if n, _ := io.CopyN(in, out, limit); n == limit {
						c.cuts.Add(1)
					}
					return
				}
				_, _ = io.Copy(in, out)
			}()
		}
	}()
	return l.Addr().String()
}

// TestBrokenTransferKeepsTheOldZone cuts transfers off at every kind of place.
func TestBrokenTransferKeepsTheOldZone(t *testing.T) {
	quick := strings.Replace(small, "7 3600 600 86400 60", "7 1 1 86400 60", 1)
	z := compile(t, quick)
	primary := start(t, Options{Default: Policy{Allow: grants(t, "::1")}}, z)
	c := &cutter{to: primary.address}
	at := c.start(t)
	secondary := start(t, Options{Secondaries: []Secondary{{Origin: "example.org", Primaries: []Remote{remote(t, at)}}}})
	same(t, primary, secondary)
	before := flat(t, secondary.catalog.Zone("example.org."))
	c.octets.Store(1)
	c.end() // also of the connection that is kept for another transfer
	var many []zone.Change
	for i := range 3000 {
		many = append(many, address(t, fmt.Sprintf("m%d.example.org.", i), "192.0.2.1"))
	}
	change(t, primary, many...)
	for _, octets := range []int64{1, 2, 30, 100, 1000, 16384, 40000} {
		c.octets.Store(octets)
		seen := c.cuts.Load()
		secondary.service.secondaries["example.org."].Tell()
		waitFor(t, "the transfer is cut off", func() bool { return c.cuts.Load() >= seen+2 }) // IXFR and AXFR
		if d := cmp.Diff(before, flat(t, secondary.catalog.Zone("example.org."))); d != "" {
			t.Fatalf("cut off after %d octets: %s", octets, d)
		}
	}
	waitFor(t, "the cause is logged", func() bool { return secondary.log.count("closed in the middle") > 0 })
	c.octets.Store(0)
	same(t, primary, secondary)
	if n := secondary.log.count("it stays as it is until it expires"); n != 1 {
		t.Errorf("the cause was logged %d times: %s", n, secondary.log)
	}
}

// TestFailoverAsksForAll: what one primary has of history says nothing of another's.
func TestFailoverAsksForAll(t *testing.T) {
	quick := strings.Replace(small, "7 3600 600 86400 60", "7 1 1 86400 60", 1)
	a := start(t, Options{Default: Policy{Allow: grants(t, "::1")}}, compile(t, quick))
	b := start(t, Options{Default: Policy{Allow: grants(t, "::1")}}, compile(t, strings.Replace(quick, "192.0.2.9", "192.0.2.99", 1)))
	secondary := start(t, Options{Secondaries: []Secondary{{Origin: "example.org", Primaries: []Remote{remote(t, a.address), remote(t, b.address)}}}})
	same(t, a, secondary)
	change(t, a, address(t, "a.example.org.", "192.0.2.1"))
	same(t, a, secondary)
	a.stop()
	for range 3 { // the other gets ahead; a difference from 8 would not bring its own ns.cut
		change(t, b, address(t, "b.example.org.", "192.0.2.2"))
	}
	same(t, b, secondary)
	if n := secondary.log.count("whole=true"); n != 2 {
		t.Errorf("%d whole transfers: %s", n, secondary.log)
	}
}

// pretend runs a primary that answers as the test says.
func pretend(t *testing.T, handle dns.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		l.Close()
		t.Skip(err) // the port is taken
	}
	for _, s := range []*dns.Server{{Listener: l, Handler: handle}, {PacketConn: pc, Handler: handle}} {
		go func() { _ = s.ActivateAndServe() }()
	}
	t.Cleanup(func() {
		l.Close()
		pc.Close()
	})
	return l.Addr().String()
}

// respond answers with records.
func respond(w dns.ResponseWriter, q *dns.Msg, rrs ...dns.RR) error {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative, m.Answer = true, rrs
	return w.WriteMsg(m)
}

// TestGivesWayOnceTold: a NOTIFY, and asking what is new, are work that queries do not wait for the end of.
func TestGivesWayOnceTold(t *testing.T) {
	var ways, before, after atomic.Int64
	first := records(t, small)
	at := pretend(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeIXFR {
			after.CompareAndSwap(0, ways.Load())
		}
		_ = respond(w, q, append(first, first[0])...)
	})
	n := start(t, Options{GiveWay: func() { ways.Add(1) }, Secondaries: []Secondary{{Origin: "example.org", Primaries: []Remote{remote(t, at)}}}})
	waitFor(t, "the zone is there", func() bool { return n.catalog.Zone("example.org.").Available() })
	before.Store(ways.Load())
	if _, err := (client{to: remote(t, n.address)}).ask(t.Context(), new(dns.Msg).SetNotify("example.org."), 5); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "what is new is asked for", func() bool { return after.Load() > 0 })
	if got := after.Load() - before.Load(); got != 4 {
		t.Errorf("it gave way %d times, want 4: before the NOTIFY, before and behind the reply to it, and before the question", got)
	}
}

// lasting gives small another serial and times of a second, so that it expires after two.
func lasting(serial, expire int) string {
	return strings.Replace(small, "7 3600 600 86400 60", fmt.Sprintf("%d 1 1 %d 60", serial, expire), 1)
}

// TestExpiresWhileATransferGoesOn that never ends.
func TestExpiresWhileATransferGoesOn(t *testing.T) {
	var endless atomic.Bool
	at := pretend(t, func(w dns.ResponseWriter, q *dns.Msg) {
		first := records(t, lasting(7, 2))
		next := records(t, lasting(8, 2))
		switch {
		case !endless.Load() && q.Question[0].Qtype != dns.TypeSOA:
			_ = respond(w, q, append(first, first[0])...)
		case !endless.Load():
			_ = respond(w, q, first[0])
		case q.Question[0].Qtype == dns.TypeSOA:
			_ = respond(w, q, next[0])
		default:
			for err := respond(w, q, next[:2]...); err == nil; err = respond(w, q, next[3]) {
				time.Sleep(50 * time.Millisecond)
			}
		}
	})
	n := start(t, Options{Secondaries: []Secondary{{Origin: "example.org", Primaries: []Remote{remote(t, at)}}}})
	waitFor(t, "the zone is there", func() bool { return n.catalog.Zone("example.org.").Available() })
	endless.Store(true)
	waitFor(t, "it expires", func() bool { return !n.catalog.Zone("example.org.").Available() })
	if n.log.count("has expired") == 0 {
		t.Error(n.log)
	}
}

// TestTransferMustBeWhatTheSOASaid: neither an older zone nor none confirms what is here.
func TestTransferMustBeWhatTheSOASaid(t *testing.T) {
	for what, given := range map[string]struct{ ixfr, axfr int }{"nothing new": {7, 7}, "an older zone": {6, 6}} {
		t.Run(what, func(t *testing.T) {
			var later atomic.Bool
			at := pretend(t, func(w dns.ResponseWriter, q *dns.Msg) {
				serial := 7
				switch {
				case !later.Load():
				case q.Question[0].Qtype == dns.TypeSOA:
					serial = 9
				case q.Question[0].Qtype == dns.TypeIXFR:
					_ = respond(w, q, records(t, lasting(given.ixfr, 1000))[0])
					return
				default:
					serial = given.axfr
				}
				rrs := records(t, lasting(serial, 1000))
				if q.Question[0].Qtype == dns.TypeSOA {
					_ = respond(w, q, rrs[0])
					return
				}
				_ = respond(w, q, append(rrs, rrs[0])...)
			})
			n := start(t, Options{Secondaries: []Secondary{{Origin: "example.org", Primaries: []Remote{remote(t, at)}}}})
			waitFor(t, "the zone is there", func() bool { return n.catalog.Zone("example.org.").Available() })
			later.Store(true)
			waitFor(t, "it is not confirmed", func() bool { return n.log.count("it gives no newer one") > 0 })
			for range 3 {
				n.service.secondaries["example.org."].Tell()
			}
			waitFor(t, "the primary is asked again", func() bool { return n.log.count("a difference was of no use") >= 3 })
			if serial := n.catalog.Zone("example.org.").Serial(); serial != 7 {
				t.Errorf("serial %d is published", serial)
			}
			if c := n.log.count("level=INFO msg=\"a difference was of no use"); c != 1 {
				t.Errorf("%d lines: %s", c, n.log)
			}
		})
	}
}

// TestReplacedKeepsOffTheStore: the process that has taken the place writes it.
func TestReplacedKeepsOffTheStore(t *testing.T) {
	replaced := errors.New("replaced")
	for _, c := range []struct {
		cause error
		want  bool
	}{{replaced, false}, {context.Canceled, true}} {
		s := newStore(t.TempDir(), "example.org.", slog.New(slog.DiscardHandler))
		s.zone, s.confirmed = compile(t, small), time.Now() // not woken for it
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(c.cause)
		s.run(ctx, replaced)
		if _, err := os.Stat(s.path); (err == nil) != c.want {
			t.Errorf("after %v: %v", c.cause, err)
		}
	}
}
