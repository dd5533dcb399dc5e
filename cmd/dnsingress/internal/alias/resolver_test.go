// SPDX-License-Identifier: Apache-2.0

package alias

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/dnsingress/dnsingress/internal/dnsclient"
)

// world is a resolver for tests: records by owner and type, or a failure.
type world struct {
	mu      sync.Mutex
	records []string // in zone-file form
	rcode   int      // SERVFAIL, …; 0: as the records say
	err     error
	large   bool // replies fit into TCP alone
	pieces  bool // gives one CNAME at a time
	asked   int
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) Exchange(_ context.Context, network string, query *dns.Msg) (*dns.Msg, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.err != nil {
		return nil, w.err
	}
	m := new(dns.Msg).SetReply(query)
	if w.rcode != 0 {
		m.Rcode = w.rcode
		return m, nil
	}
	if w.large && network == "udp" {
		m.Truncated = true
		return m, nil
	}
	name, known := query.Question[0].Name, false
	for again := true; again; {
		again = false
		for _, text := range w.records {
			rr, err := dns.NewRR(text)
			if err != nil {
				return nil, err
			}
			if rr.Header().Name != name {
				continue
			}
			known = true
			if c, ok := rr.(*dns.CNAME); ok {
				m.Answer = append(m.Answer, rr)
				name, known, again = c.Target, false, !w.pieces
				if w.pieces {
					return m, nil
				}
				break
			}
			if rr.Header().Rrtype == query.Question[0].Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
	}
	if !known {
		m.Rcode = dns.RcodeNameError
	}
	if soa, err := dns.NewRR("test. 60 IN SOA a. b. 1 1 1 1 20"); err == nil {
		m.Ns = []dns.RR{soa}
	}
	return m, nil
}

// told collects outcomes.
type told struct {
	mu   sync.Mutex
	last map[string]Outcome
	n    int
}

func (o *told) deliver(name string, x Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last[name], o.n = x, o.n+1
}

func (o *told) text(name string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	x, ok := o.last[name]
	if !ok {
		return "nothing"
	}
	text := strings.Trim(fmt.Sprint(x.Addresses), "[]")
	if x.Err != nil {
		text += " (" + x.Err.Error() + ")"
	}
	return strings.TrimSpace(text)
}

func start(t *testing.T, servers ...dnsclient.Exchanger) (*Resolver, *told, *prometheus.Registry) {
	t.Helper()
	o := &told{last: map[string]Outcome{}}
	registry := prometheus.NewRegistry()
	r, err := New(Options{
		Servers: func() ([]dnsclient.Exchanger, error) { return servers, nil }, Timeout: time.Second,
		Deliver: o.deliver, Registerer: registry, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { _ = r.Run(ctx) })
	t.Cleanup(func() { stop(); wait.Wait() })
	return r, o, registry
}

func TestWhatIsFound(t *testing.T) {
	for _, c := range []struct {
		name  string
		world *world
		want  string
	}{
		{"both families, IPv6 first", &world{records: []string{"lb.test. 60 A 192.0.2.2", "lb.test. 60 A 192.0.2.1", "lb.test. 60 AAAA 2001:db8::1"}}, "2001:db8::1 192.0.2.1 192.0.2.2"},
		{"one family", &world{records: []string{"lb.test. 60 A 192.0.2.1"}}, "192.0.2.1"},
		{"a chain", &world{records: []string{"lb.test. 60 CNAME a.test.", "a.test. 60 CNAME b.test.", "b.test. 60 AAAA 2001:db8::1"}}, "2001:db8::1"},
		{"a chain in pieces", &world{pieces: true, records: []string{"lb.test. 60 CNAME a.test.", "a.test. 60 CNAME b.test.", "b.test. 60 AAAA 2001:db8::1", "b.test. 60 A 192.0.2.1"}}, "2001:db8::1 192.0.2.1"},
		{"a chain that leads back", &world{pieces: true, records: []string{"lb.test. 60 CNAME a.test.", "a.test. 60 CNAME lb.test."}}, "(looking up lb.test.: the chain of CNAMEs is too long or a loop)"},
		{"no such name", &world{}, "(there is no such name)"},
		{"a chain to nowhere", &world{records: []string{"lb.test. 60 CNAME a.test."}}, "(there is no such name)"},
		{"no addresses", &world{records: []string{"lb.test. 60 TXT x"}}, "(it has no addresses)"},
		{"over TCP", &world{large: true, records: []string{"lb.test. 60 A 192.0.2.1"}}, "192.0.2.1"},
		{"a failure", &world{err: errors.New("unreachable")}, "unreachable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, o, _ := start(t, c.world)
				r.Follow("lb.test.")
				synctest.Wait()
				if got := o.text("lb.test."); got != c.want && (c.world.err == nil || !strings.Contains(got, c.want)) {
					t.Errorf("%q, want %q", got, c.want)
				}
			})
		})
	}
}

func TestFoundAnewByTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{records: []string{"lb.test. 60 A 192.0.2.1", "lb.test. 10 AAAA 2001:db8::1"}}
		r, o, _ := start(t, w)
		r.Follow("lb.test.")
		synctest.Wait()
		w.set(func() { w.records[1] = "lb.test. 1000 AAAA 2001:db8::2" })
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if got := o.text("lb.test."); got != "2001:db8::1 192.0.2.1" {
			t.Errorf("before the TTL has ended: %s", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := o.text("lb.test."); got != "2001:db8::2 192.0.2.1" {
			t.Errorf("after the TTL has ended: %s", got)
		}
		asked := w.asked
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if w.asked != asked {
			t.Error("asked before any TTL has ended")
		}
		r.Forget("lb.test.")
		time.Sleep(time.Hour)
		synctest.Wait()
		if w.asked != asked {
			t.Error("asked for a name that nobody follows")
		}
	})
}

func TestKeptWhenResolutionFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{records: []string{"lb.test. 5 A 192.0.2.1", "lb.test. 5 AAAA 2001:db8::1"}}
		r, o, registry := start(t, w)
		r.Follow("lb.test.")
		synctest.Wait()
		began := time.Now()
		w.set(func() { w.rcode = dns.RcodeServerFailure })
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if got := o.text("lb.test."); !strings.HasPrefix(got, "2001:db8::1 192.0.2.1 (") {
			t.Errorf("after a day without an answer: %s", got)
		}
		if at := o.last["lb.test."].At; !at.Equal(began) {
			t.Errorf("confirmed %v, want %v", at, began)
		}
		if want := 24 * 60 * 2 * 2; w.asked > want+50 {
			t.Errorf("asked %d times in a day, want some %d", w.asked, want)
		}
		if err := testutil.GatherAndCompare(registry, strings.NewReader(`# HELP dnsingress_alias_age_seconds Time since the addresses of a host name outside were last confirmed; +Inf: never.
# TYPE dnsingress_alias_age_seconds gauge
dnsingress_alias_age_seconds{name="lb.test."} 86400
`), "dnsingress_alias_age_seconds"); err != nil {
			t.Error(err)
		}
		w.set(func() { w.rcode = 0 })
		time.Sleep(lastTry)
		synctest.Wait()
		if got := o.text("lb.test."); got != "2001:db8::1 192.0.2.1" {
			t.Errorf("after it is back: %s", got)
		}
		w.set(func() { w.records = nil })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := o.text("lb.test."); got != "(there is no such name)" {
			t.Errorf("after its owner has taken it away: %s", got)
		}
	})
}

func TestServersOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead, refusing := &world{err: errors.New("unreachable")}, &world{rcode: dns.RcodeRefused}
		alive := &world{records: []string{"lb.test. 60 A 192.0.2.1"}}
		r, o, _ := start(t, dead, refusing, alive)
		r.Follow("lb.test.")
		synctest.Wait()
		if got := o.text("lb.test."); got != "192.0.2.1" {
			t.Errorf("found %s", got)
		}
	})
}

func TestManyNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		for i := range 1000 {
			w.records = append(w.records, fmt.Sprintf("n%d.test. 30 A 192.0.2.1", i))
		}
		r, o, _ := start(t, w)
		for i := range 50 {
			r.Follow(fmt.Sprintf("n%d.test.", i))
			r.Follow(fmt.Sprintf("n%d.test.", i)) // it is followed already
		}
		synctest.Wait()
		if len(o.last) != 50 || w.asked != 100 {
			t.Errorf("%d names found with %d questions", len(o.last), w.asked)
		}
		r.Forget("n0.test.")
		r.Follow("n0.test.")
		synctest.Wait()
		if o.n != 51 {
			t.Errorf("%d outcomes", o.n)
		}
	})
}

// A real server over real sockets, as resolv.conf names it.
func TestConfiguredServers(t *testing.T) {
	packets, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{records: []string{"lb.test. 60 AAAA 2001:db8::1"}}
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(rw dns.ResponseWriter, q *dns.Msg) {
		m, err := w.Exchange(t.Context(), "udp", q)
		if err == nil {
			_ = rw.WriteMsg(m)
		}
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })

	address := packets.LocalAddr().String()
	servers, err := Configured([]string{address}, "/nowhere")
	if err != nil {
		t.Fatal(err)
	}
	found := make(chan Outcome, 1)
	r, err := New(Options{
		Servers: servers, Timeout: time.Minute, Deliver: func(_ string, o Outcome) { found <- o },
		Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { _ = r.Run(ctx) }()
	r.Follow("lb.test.")
	if o := <-found; !slices.Equal(o.Addresses, []netip.Addr{netip.MustParseAddr("2001:db8::1")}) || o.Err != nil {
		t.Errorf("found %+v", o)
	}

	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("search x.test\nnameserver ::1\nnameserver 192.0.2.53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if servers, err = Configured(nil, conf); err != nil {
		t.Fatal(err)
	}
	if got, err := servers(); err != nil || fmt.Sprint(got) != "[[::1]:53 192.0.2.53:53]" {
		t.Errorf("servers %v, %v", got, err)
	}
	if err := os.Remove(conf); err != nil {
		t.Fatal(err)
	}
	if _, err := servers(); err == nil || !strings.Contains(err.Error(), "hint: kubernetes.resolvers") {
		t.Errorf("without resolv.conf: %v", err)
	}
	if _, err := Configured([]string{"localhost"}, conf); err == nil {
		t.Error("localhost is taken for an address")
	}
}
