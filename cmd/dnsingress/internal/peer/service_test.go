// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

// patience is how long what must come is waited for. It is no measure of speed.
const patience = 30 * time.Second

const (
	testZone  = "peers.test."
	testKey   = "k."
	testLease = 500 * time.Millisecond
)

var testSecret = base64.StdEncoding.EncodeToString([]byte("a secret of some octets"))

// other is a server of another cluster, by another implementation of DNS and TSIG, that may behave in all ways.
type other struct {
	t      *testing.T
	at     netip.AddrPort
	secret string

	mu      sync.Mutex
	zones   map[string]*zone.Zone
	skew    time.Duration // of its clock, as its signatures show it
	silent  bool
	delay   time.Duration
	replied time.Time // when the last question came that got a reply
}

func newOther(t *testing.T) *other {
	t.Helper()
	o := &other{t: t, secret: testSecret, zones: map[string]*zone.Zone{}}
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	o.at = netip.MustParseAddrPort(l.Addr().String())
	for _, s := range []*dns.Server{{Listener: l}, {PacketConn: u}} {
		s.Handler, s.TsigSecret = o, map[string]string{testKey: o.secret}
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return o
}

// says makes this all that the server has of a cluster, in a zone of a new instance.
func (o *other) says(a apex, shares ...model.Share) *publisher {
	o.t.Helper()
	if a.lease == 0 {
		a.lease = time.Minute
	}
	p := &publisher{
		origin: a.cluster + "." + testZone, apex: a, publish: config.Hosts{"*"}, catalog: new(zone.Catalog), log: slog.New(slog.DiscardHandler),
		wake: make(chan struct{}, 1), shards: map[string]int{},
	}
	o.change(p, shares...)
	return p
}

// change has a publisher's zone hold other shares.
func (o *other) change(p *publisher, shares ...model.Share) {
	o.t.Helper()
	all := map[string]*model.Share{}
	for i := range shares {
		all[shares[i].Host] = &shares[i]
	}
	if err := p.change(all); err != nil {
		o.t.Fatal(err)
	}
	o.has(p.origin, p.zone)
}

func (o *other) has(origin string, z *zone.Zone) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.zones[origin] = z
}

func (o *other) behaves(how func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	how()
}

// ServeDNS implements dns.Handler.
func (o *other) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	came := time.Now()
	o.mu.Lock()
	z, silent, skew, delay := o.zones[dns.CanonicalName(m.Question[0].Name)], o.silent, o.skew, o.delay
	o.mu.Unlock()
	if silent {
		return
	}
	if delay > 0 {
		time.Sleep(delay)
	}
	r := new(dns.Msg).SetReply(m)
	r.Authoritative = true
	sig := m.IsTsig()
	switch {
	case sig == nil || w.TsigStatus() != nil:
		r.Rcode = dns.RcodeNotAuth
	case z == nil:
		r.Rcode = dns.RcodeRefused
	default:
		soa, err := z.SOA().RR()
		if err != nil {
			o.t.Error(err)
			return
		}
		r.Answer = append(r.Answer, soa)
		if m.Question[0].Qtype == dns.TypeAXFR || m.Question[0].Qtype == dns.TypeIXFR {
			for record := range z.Records() {
				rr, err := record.RR()
				if err != nil {
					o.t.Error(err)
					return
				}
				r.Answer = append(r.Answer, rr)
			}
			r.Answer = append(r.Answer, soa)
		}
	}
	if sig != nil {
		r.SetTsig(testKey, dns.HmacSHA256, 300, time.Now().Add(skew).Unix())
	}
	if w.WriteMsg(r) == nil {
		o.mu.Lock()
		if came.After(o.replied) {
			o.replied = came
		}
		o.mu.Unlock()
	}
}

// ear is a sink that remembers.
type ear struct {
	mu     sync.Mutex
	states map[string]model.PeerState
	shares map[string]map[string]*model.Share // by cluster and host
	news   int
}

func (e *ear) Heard(n model.PeerNews) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.states[n.Name] = n.PeerState
	if e.shares[n.Name] == nil {
		e.shares[n.Name] = map[string]*model.Share{}
	}
	for host, s := range n.Changed {
		if s == nil {
			delete(e.shares[n.Name], host)
		} else {
			e.shares[n.Name][host] = s
		}
	}
	e.news++
}

// say gives what is known of a cluster: up or down, and its hosts with the addresses that are in.
func (e *ear) say(cluster string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	state, known := e.states[cluster]
	words := []string{"unknown"}
	switch {
	case known && state.Up:
		words[0] = "up"
	case known:
		words[0] = "down"
	}
	for _, host := range sorted(e.shares[cluster]) {
		words = append(words, host)
		for _, m := range e.shares[cluster][host].Members {
			if m.In {
				words = append(words, m.Address.String())
			}
		}
	}
	return strings.Join(words, " ")
}

func (e *ear) state(cluster string) model.PeerState {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.states[cluster]
}

// listening is a service under test, called home, with its sink.
type listening struct {
	*Service
	*ear
	t        *testing.T
	registry *prometheus.Registry
}

// listen has home follow clusters, each a name with the servers it has; what they may publish is below apps.test.
func listen(t *testing.T, clusters map[string][]*other) *listening {
	t.Helper()
	var text strings.Builder
	if len(clusters) == 0 {
		text.WriteString("    []\n")
	}
	for _, name := range sorted(clusters) {
		fmt.Fprintf(&text, "    - {name: %s, hosts: [\"*.apps.test\"], servers: [", name)
		for _, s := range clusters[name] {
			fmt.Fprintf(&text, "%q, ", s.at)
		}
		text.WriteString("]}\n")
	}
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(testKey+":hmac-sha256:"+testSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("c.yaml", fmt.Appendf(nil, "tsigKeys: [%q]\ncluster: {name: home}\npeers:\n  zone: %s\n  key: %s\n  lease: %s\n  clusters:\n%s", keys, testZone, testKey, testLease, text.String()))
	if err != nil {
		t.Fatal(err)
	}
	l := &listening{t: t, ear: &ear{states: map[string]model.PeerState{}, shares: map[string]map[string]*model.Share{}}, registry: prometheus.NewRegistry()}
	l.Service, err = New(Options{
		Name: "home", Zone: testZone, Lease: testLease, Publish: config.Hosts{"*"}, Clusters: c.Peers.Clusters, Keys: c.Keys,
		Identity: func(context.Context) (string, error) { return "home-id", nil }, Sink: l.ear, Registerer: l.registry, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
	return l
}

func (l *listening) await(what string, holds func() error) {
	l.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = holds(); err == nil {
			return
		}
	}
	l.t.Fatalf("not %s: %v", what, err)
}

// hears waits until ear.say is want.
func (l *listening) hears(cluster, want string) {
	l.t.Helper()
	l.await("hearing "+want, func() error {
		if got := l.say(cluster); got != want {
			return errors.New(got)
		}
		return nil
	})
}

// tells waits until the status says something of a peer: why it is down, the trouble with a server, or a refused host.
func (l *listening) tells(cluster, text string) {
	l.t.Helper()
	l.await("telling "+text, func() error {
		var all []string
		for _, p := range l.Status().Peers {
			if p.Name != cluster {
				continue
			}
			all = append(append(all, p.Why), p.Refused...)
			for _, s := range p.Servers {
				all = append(all, s.Error)
			}
		}
		if said := strings.Join(all, "\n"); !strings.Contains(said, text) {
			return errors.New(said)
		}
		return nil
	})
}

// counted waits until a counter of what was refused is above 0.
func (l *listening) counted(cluster, what string) {
	l.t.Helper()
	l.await("counting", func() error {
		families, err := l.registry.Gather()
		if err != nil {
			return err
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				labels := map[string]string{}
				for _, pair := range m.GetLabel() {
					labels[pair.GetName()] = pair.GetValue()
				}
				if f.GetName() == "dnsingress_peer_refused_total" && labels["cluster"] == cluster && labels["what"] == what && m.GetCounter().GetValue() > 0 {
					return nil
				}
			}
		}
		return errors.New("none")
	})
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// share is what a cluster says of a host: addresses that are in.
func share(host string, addresses ...string) model.Share {
	s := model.Share{Host: host, TTL: 5}
	for _, a := range addresses {
		s.Members = append(s.Members, model.SharedMember{Address: netip.MustParseAddr(a), In: true, Reason: "ready", Weight: 1})
	}
	return s
}

// TestLease: a lease is counted from before the question, however long the answer takes, whatever the clocks say.
func TestLease(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		skew, delay time.Duration
	}{{"alike", 0, 0}, {"fast", 290 * time.Second, 0}, {"slow", -290 * time.Second, 0}, {"late", 0, 60 * time.Millisecond}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newOther(t)
			o.says(apex{cluster: "far", identity: "far-id"}, share("www.apps.test.", "fd00::1"))
			o.behaves(func() { o.skew, o.delay = c.skew, c.delay })
			l := listen(t, map[string][]*other{"far": {o}})
			l.hears("far", "up www.apps.test. fd00::1")
			o.behaves(func() { o.silent = true })
			l.hears("far", "down www.apps.test. fd00::1") // what it had is known, to explain it
			state := l.state("far")
			o.behaves(func() {
				if state.Heard.After(o.replied) {
					t.Errorf("the lease is counted from %v after the question came", state.Heard.Sub(o.replied))
				}
			})
			if held := state.Since.Sub(state.Heard); held < testLease {
				t.Errorf("the lease was %v", held)
			} else {
				t.Logf("down %v after the question that was answered last", held)
			}
			if !strings.Contains(state.Why, "the lease has ended, last heard") {
				t.Errorf("the reason is %q", state.Why)
			}
			o.behaves(func() { o.silent = false })
			l.hears("far", "up www.apps.test. fd00::1")
		})
	}
	t.Run("the other side wants less", func(t *testing.T) {
		t.Parallel()
		o := newOther(t)
		o.says(apex{cluster: "far", identity: "far-id", lease: time.Nanosecond}, share("www.apps.test.", "fd00::1"))
		l := listen(t, map[string][]*other{"far": {o}})
		l.await("asked", func() error {
			if o.mu.Lock(); o.replied.IsZero() {
				defer o.mu.Unlock()
				return errors.New("no")
			}
			o.mu.Unlock()
			return nil
		})
		l.hears("far", "down")
	})
}

// TestChanges: a difference, a restart and a lost host come through, and only what has changed is told.
func TestChanges(t *testing.T) {
	t.Parallel()
	o := newOther(t)
	p := o.says(apex{cluster: "far", identity: "far-id"}, share("www.apps.test.", "fd00::1"), share("api.apps.test.", "fd00::2"))
	l := listen(t, map[string][]*other{"far": {o}})
	l.hears("far", "up api.apps.test. fd00::2 www.apps.test. fd00::1")
	o.change(p, share("www.apps.test.", "fd00::1", "fd00::3"))
	l.hears("far", "up api.apps.test. fd00::2 www.apps.test. fd00::1 fd00::3")
	if err := p.change(map[string]*model.Share{"api.apps.test.": nil}); err != nil {
		t.Fatal(err)
	}
	o.has(p.origin, p.zone)
	l.hears("far", "up www.apps.test. fd00::1 fd00::3")
	before := func() int { l.ear.mu.Lock(); defer l.ear.mu.Unlock(); return l.news }()
	o.says(apex{cluster: "far", identity: "far-id"}, share("www.apps.test.", "fd00::1", "fd00::3")) // another instance, the same members
	instance := l.Status().Peers[0].Servers[0].Instance
	l.await("following the new instance", func() error {
		if l.Status().Peers[0].Servers[0].Instance == instance {
			return errors.New("not yet")
		}
		return nil
	})
	if after := func() int { l.ear.mu.Lock(); defer l.ear.mu.Unlock(); return l.news }(); after != before {
		t.Errorf("%d news of nothing new", after-before)
	}
	// A pool of very many members is divided, and comes through whole.
	many := model.Share{Host: "many.apps.test.", TTL: 5}
	for i := range 300 { // what one message of the other implementation holds
		many.Members = append(many.Members, share("", fmt.Sprintf("fd00::%x", i+1)).Members[0])
	}
	o.says(apex{cluster: "far", identity: "far-id"}, many)
	l.await("having all members", func() error {
		l.ear.mu.Lock()
		defer l.ear.mu.Unlock()
		if s := l.shares["far"]["many.apps.test."]; s == nil || !s.Equal(&many) {
			return fmt.Errorf("%v", s)
		}
		return nil
	})
}

// TestServersOfOneCluster: the copies of several servers count one for another.
func TestServersOfOneCluster(t *testing.T) {
	t.Parallel()
	one, two := newOther(t), newOther(t)
	a := apex{cluster: "far", identity: "far-id"}
	one.says(a, share("www.apps.test.", "fd00::1"))
	two.says(a, share("www.apps.test.", "fd00::1"))
	l := listen(t, map[string][]*other{"far": {one, two}})
	l.hears("far", "up www.apps.test. fd00::1")
	one.behaves(func() { one.silent = true })
	l.await("counting the second", func() error {
		if s := l.Status().Peers[0].Servers; !s[1].Counts {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	two.says(a, share("www.apps.test.", "fd00::2")) // what the first one has is old now
	l.hears("far", "up www.apps.test. fd00::2")
	if since := l.state("far"); !since.Up || since.Why != "" {
		t.Errorf("%+v", since)
	}
	two.behaves(func() { two.silent = true })
	l.hears("far", "down www.apps.test. fd00::2")
}

// TestRefused goes through what a peer must not do: it is refused, counted, and said.
func TestRefused(t *testing.T) {
	t.Parallel()
	good := share("www.apps.test.", "fd00::1")
	for _, c := range []struct {
		name    string
		others  func(t *testing.T) map[string][]*other
		hears   map[string]string
		cluster string // that the rest is said of
		tells   string
		counts  string // what; "": it is counted elsewhere
	}{
		{"a host that was not granted", func(t *testing.T) map[string][]*other {
			o := newOther(t)
			o.says(apex{cluster: "far", identity: "far-id"}, good, share("www.bank.test.", "fd00::666"), share("apps.test.", "fd00::667"))
			return map[string][]*other{"far": {o}}
		}, map[string]string{"far": "up www.apps.test. fd00::1"}, "far", "www.bank.test.", "host"},
		{"two clusters with one name", func(t *testing.T) map[string][]*other {
			one, two := newOther(t), newOther(t)
			one.says(apex{cluster: "far", identity: "first-id"}, good)
			two.says(apex{cluster: "far", identity: "second-id"}, share("www.apps.test.", "fd00::666"))
			two.behaves(func() { two.delay = testLease / polls / 2 }) // the first is heard first
			return map[string][]*other{"far": {one, two}}
		}, map[string]string{"far": "up www.apps.test. fd00::1"}, "far", "two clusters are called far", "identity"},
		{"our own identity", func(t *testing.T) map[string][]*other {
			o := newOther(t)
			o.says(apex{cluster: "far", identity: "home-id"}, good)
			return map[string][]*other{"far": {o}}
		}, map[string]string{"far": "down"}, "far", "has the identity of this one", "identity"},
		{"our own name", func(t *testing.T) map[string][]*other {
			o := newOther(t)
			o.says(apex{cluster: "home", identity: "other-id"}, good)
			return map[string][]*other{"far": {o}}
		}, map[string]string{"far": "down"}, "far", "another cluster is called home as this one, with identity other-id", "identity"},
		{"ourselves", func(t *testing.T) map[string][]*other {
			o := newOther(t)
			o.says(apex{cluster: "home", identity: "home-id"}, good)
			return map[string][]*other{"far": {o}}
		}, map[string]string{"far": "down"}, "far", "it is of this cluster, home, itself", "identity"},
		{"the identity of another peer", func(t *testing.T) map[string][]*other {
			one, two := newOther(t), newOther(t)
			one.says(apex{cluster: "far", identity: "same-id"}, good)
			two.says(apex{cluster: "near", identity: "same-id"}, share("www.apps.test.", "fd00::666"))
			two.behaves(func() { two.delay = testLease / polls / 2 })
			return map[string][]*other{"far": {one}, "near": {two}}
		}, map[string]string{"far": "up www.apps.test. fd00::1", "near": "down"}, "near", "has the identity of far", "identity"},
		{"another cluster's server", func(t *testing.T) map[string][]*other {
			o := newOther(t)
			o.says(apex{cluster: "near", identity: "near-id"}, good)
			return map[string][]*other{"far": {o}}
		}, map[string]string{"far": "down"}, "far", "it has no zone of cluster far: it says REFUSED", ""},
		{"a zone of another cluster under the name", func(t *testing.T) map[string][]*other {
			o := newOther(t)
			p := o.says(apex{cluster: "far", identity: "far-id"}, good)
			p.zone, p.apex.cluster = nil, "near"
			o.change(p, good)
			return map[string][]*other{"far": {o}}
		}, map[string]string{"far": "down"}, "far", `its zone is of cluster "near"`, "zone"},
		{"a zone that is no peer's", func(t *testing.T) map[string][]*other {
			o := newOther(t)
			o.has("far."+testZone, testZoneOf(t, "far.peers.test. 0 SOA ns.example. host.example. 1 1 1 1 1", "far.peers.test. 0 NS ns.example."))
			return map[string][]*other{"far": {o}}
		}, map[string]string{"far": "down"}, "far", "its SOA tells of no cluster", "zone"},
		{"another protocol", func(t *testing.T) map[string][]*other {
			o := newOther(t)
			o.has("far."+testZone, testZoneOf(t, testSOA, `far.peers.test. 0 TXT "protocol=2" "cluster=far" "identity=far-id" "lease=5s"`))
			return map[string][]*other{"far": {o}}
		}, map[string]string{"far": "down"}, "far", `its protocol is "2", and this is 1`, "zone"},
		{"a member without an address", func(t *testing.T) map[string][]*other {
			o := newOther(t)
			o.has("far."+testZone, testZoneOf(t, testSOA, testApex, `www.apps.test.far.peers.test. 0 TXT "pool" "ttl=5" "shards=1"`, `www.apps.test.far.peers.test. 0 TXT "member" "state=in"`))
			return map[string][]*other{"far": {o}}
		}, map[string]string{"far": "down"}, "far", `www.apps.test.: address "" of a member is no address`, "zone"},
		{"a clock far off", func(t *testing.T) map[string][]*other {
			o := newOther(t)
			o.says(apex{cluster: "far", identity: "far-id"}, good)
			o.behaves(func() { o.skew = 310 * time.Second })
			return map[string][]*other{"far": {o}}
		}, map[string]string{"far": "down"}, "far", "BADTIME", ""},
		{"a wrong key", func(t *testing.T) map[string][]*other {
			o := newOther(t)
			o.secret = base64.StdEncoding.EncodeToString([]byte("another"))
			stranger := stranger(t, o.secret)
			return map[string][]*other{"far": {stranger}}
		}, map[string]string{"far": "down"}, "far", "TSIG", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := listen(t, c.others(t))
			for cluster, want := range c.hears {
				l.hears(cluster, want)
			}
			l.tells(c.cluster, c.tells)
			if c.counts != "" {
				l.counted(c.cluster, c.counts)
			}
			for cluster, want := range c.hears { // also after all has been refused
				l.hears(cluster, want)
			}
		})
	}
}

const (
	testSOA  = "far.peers.test. 0 SOA aa.far.peers.test. far-id.far.peers.test. 1 1 1 1 1"
	testApex = `far.peers.test. 0 TXT "protocol=1" "cluster=far" "identity=far-id" "lease=5s"`
)

func testZoneOf(t *testing.T, records ...string) *zone.Zone {
	t.Helper()
	var all []dns.RR
	for _, text := range append(records, "far.peers.test. 0 NS ns.example.") {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rr)
	}
	z, err := zone.New("far."+testZone, all)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// stranger is a server of our own implementation with another secret under the key's name.
func stranger(t *testing.T, secret string) *other {
	t.Helper()
	o := &other{t: t, secret: secret, zones: map[string]*zone.Zone{}}
	u, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	o.at = netip.MustParseAddrPort(u.LocalAddr().String())
	s := &dns.Server{PacketConn: u, Handler: o, TsigSecret: map[string]string{testKey: secret}}
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	go s.ActivateAndServe()
	<-started
	t.Cleanup(func() { _ = s.Shutdown() })
	return o
}

// TestLastGoodCopy: a zone that cannot be read any more leaves the copy before until its lease ends.
func TestLastGoodCopy(t *testing.T) {
	t.Parallel()
	o := newOther(t)
	o.says(apex{cluster: "far", identity: "far-id"}, share("www.apps.test.", "fd00::1"))
	l := listen(t, map[string][]*other{"far": {o}})
	l.hears("far", "up www.apps.test. fd00::1")
	o.has("far."+testZone, testZoneOf(t, testSOA, testApex, `www.apps.test.far.peers.test. 0 TXT "member" "address=fd00::2" "state=in" "weight=1"`))
	l.hears("far", "down www.apps.test. fd00::1")
	if why := l.state("far").Why; !strings.Contains(why, "no record says how the pool is") {
		t.Errorf("the reason is %q", why)
	}
	l.counted("far", "zone")
}

// TestDenied: who is refused our own zone is told of.
func TestDenied(t *testing.T) {
	t.Parallel()
	l := listen(t, nil)
	for range 3 {
		l.Denied(l.origin, netip.MustParseAddr("fd00::5"), "other.", "TSIG: BADKEY")
	}
	l.counted("home", "asked")
	if d := l.Status().Denied; len(d) != 1 || d[0].Count != 3 || d[0].Key != "other." || d[0].Why != "TSIG: BADKEY" {
		t.Errorf("%+v", d)
	}
	for i := range 2 * mostDenied { // nobody can fill the memory
		l.Denied(l.origin, netip.MustParseAddr(fmt.Sprintf("fd00::%x", i+16)), "", "")
	}
	if d := l.Status().Denied; len(d) != mostDenied {
		t.Errorf("%d are remembered", len(d))
	}
	l.Service.mu.Lock()
	for _, d := range l.denied { // as if time had passed
		d.last = d.last.Add(-2 * leastDenied)
	}
	l.Service.mu.Unlock()
	l.Denied(l.origin, netip.MustParseAddr("fd00::6"), "late.", "TSIG: BADSIG")
	if d := l.Status().Denied; len(d) != mostDenied || d[0].Key != "late." {
		t.Errorf("of those who came long ago none made room: %d, the latest %+v", len(d), d[0])
	}
}

// TestNoIdentity: that the identity cannot be found ends the service, also while others are followed.
func TestNoIdentity(t *testing.T) {
	t.Parallel()
	l := listen(t, map[string][]*other{"far": {newOther(t)}})
	want := errors.New("nobody says")
	o := l.options
	o.Registerer, o.Identity = nil, func(context.Context) (string, error) { return "", want }
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	select {
	case err := <-ended:
		if !errors.Is(err, want) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(patience):
		t.Error("it goes on without an identity, and says nothing")
	}
}

// TestDifferenceOfAnotherInstance: while two processes answer at one address, as in a handover, the difference that one
// gives is not applied to the zone of the other, even where the serials fit.
func TestDifferenceOfAnotherInstance(t *testing.T) {
	t.Parallel()
	zoneOf := func(instance, address string) *zone.Zone {
		return testZoneOf(t, "far.peers.test. 0 SOA "+instance+".far.peers.test. far-id.far.peers.test. 1 1 1 1 1", testApex,
			`www.apps.test.far.peers.test. 0 TXT "pool" "ttl=5" "shards=1"`, `www.apps.test.far.peers.test. 0 TXT "member" "address=`+address+`" "state=in" "weight=1"`)
	}
	l := &link{cluster: &cluster{name: "far"}, origin: "far." + testZone}
	n, err := l.read(news{whole: true}, zoneOf("aa", "fd00::1"))
	if err != nil {
		t.Fatal(err)
	}
	l.take(n)
	if n, err := l.read(news{}, zoneOf("bb", "fd00::2")); err == nil {
		t.Errorf("taken as a difference: %+v", n)
	}
	if n, err := l.read(news{}, zoneOf("aa", "fd00::2")); err != nil || !n.fresh || len(n.changed) != 1 {
		t.Errorf("a difference of the same instance: %+v, %v", n, err)
	}
}

// TestSizeOfNews: how much there is with a difference counts, not how much changes.
func TestSizeOfNews(t *testing.T) {
	t.Parallel()
	a, b, c := share("a.", "fd00::1", "fd00::2"), share("b.", "fd00::1"), share("a.", "fd00::1")
	h := &held{pools: map[string]*model.Share{"a.": &a}, size: a.Size()}
	for _, x := range []struct {
		news news
		want int
	}{
		{news{}, 3},
		{news{changed: map[string]*model.Share{"b.": &b}}, 5},
		{news{changed: map[string]*model.Share{"a.": &c}}, 2},
		{news{changed: map[string]*model.Share{"a.": nil}}, 0},
		{news{whole: true, changed: map[string]*model.Share{"b.": &b}}, 2},
	} {
		if got := x.news.size(h); got != x.want {
			t.Errorf("%+v: %d, not %d", x.news, got, x.want)
		}
	}
}

// TestServerWithStolenIdentity: where the server that counts takes the identity of somebody else, the others of its cluster
// go on to count.
func TestServerWithStolenIdentity(t *testing.T) {
	t.Parallel()
	one, two := newOther(t), newOther(t)
	one.says(apex{cluster: "far", identity: "far-id"}, share("www.apps.test.", "fd00::1"))
	two.behaves(func() { two.delay = testLease / polls / 2 }) // the first is heard first
	two.says(apex{cluster: "far", identity: "far-id"}, share("www.apps.test.", "fd00::2"))
	l := listen(t, map[string][]*other{"far": {one, two}})
	l.hears("far", "up www.apps.test. fd00::1")
	one.says(apex{cluster: "far", identity: "home-id"}, share("www.apps.test.", "fd00::1"))
	l.tells("far", "has the identity of this one")
	l.hears("far", "up www.apps.test. fd00::2")
}

// TestIdentityOfFiles is kept over restarts where there is something to keep it in.
func TestIdentityOfFiles(t *testing.T) {
	dir := t.TempDir()
	first, err := Identity(dir)
	if err != nil || !label.MatchString(first) {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := Identity(dir); err != nil || again != first {
		t.Errorf("then %q, %v", again, err)
	}
	if another, err := Identity(t.TempDir()); err != nil || another == first {
		t.Errorf("elsewhere %q, %v", another, err)
	}
	path := filepath.Join(dir, identityFile)
	if err := os.WriteFile(path, []byte("not one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Identity(dir); err == nil || !strings.Contains(err.Error(), path+`:1:1: "not one" is no identity (hint: `) {
		t.Errorf("%v", err)
	}
}

var _ transfer.Listener = listener{}
