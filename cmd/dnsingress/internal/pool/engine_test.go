// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/promql"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// bench is an engine whose steps and clock the test makes itself.
type bench struct {
	*Engine
	t        testing.TB
	now      time.Time
	queries  []promql.Query
	back     map[promql.Query]time.Duration // how much of the past is wanted
	problems map[model.Ref][]model.Problem
	told     []string
}

func (b *bench) Set(_ context.Context, queries map[promql.Query]time.Duration) {
	b.queries, b.back = slices.Collect(maps.Keys(queries)), queries
}

func (b *bench) Report(ref model.Ref, problems []model.Problem) { b.problems[ref] = problems }

func (b *bench) Tell(_ model.Ref, p model.Problem) { b.told = append(b.told, p.Message) }

func newBench(t testing.TB) *bench {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(`zones:
  - origin: apps.test
    nameservers: [{name: ns1.apps.test, addresses: ["fd00::53"]}]
    maxAnswers: 3
  - origin: deep.apps.test
    nameservers: [{name: ns.elsewhere.test}]
    addresses: ["fd00::a"]
    ttl: 1m
prometheus: {urls: ["http://[::1]:9090"], staleness: 1m, firstPass: 10s}
`))
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Options{Config: c, Catalog: new(zone.Catalog), Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Engine: e, t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), problems: map[model.Ref][]model.Problem{}}
	e.Connect(b, b)
	return b
}

// do takes a step after a second and returns how long until the next.
func (b *bench) do(m mail) time.Duration {
	b.now = b.now.Add(time.Second)
	return b.step(b.t.Context(), m, b.now).Sub(b.now)
}

func (b *bench) update(pools ...*model.Pool) {
	var m mail
	for _, p := range pools {
		m.updates = append(m.updates, model.Update{Ref: p.Ref, Pool: p, Received: b.now})
	}
	b.do(m)
}

func (b *bench) remove(p *model.Pool) { b.do(mail{updates: []model.Update{{Ref: p.Ref}}}) }

// samples asks a real HTTP server that answers with pods' values, so that they come the way they always come.
func (b *bench) samples(q promql.Query, values ...string) promql.Result {
	b.t.Helper()
	var series []string
	for i := 0; i < len(values); i += 2 {
		series = append(series, fmt.Sprintf(`{"metric":{"pod":%q},"value":[1,%q]}`, values[i], values[i+1]))
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, strings.Join(series, ","))
	}))
	defer s.Close()
	client, err := promql.NewClient(config.Prometheus{URLs: []string{s.URL}, Timeout: time.Minute}, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.t.Fatal(err)
	}
	got, err := client.Instant(b.t.Context(), q, b.now, promql.Samples{})
	if err != nil {
		b.t.Fatal(err)
	}
	return promql.Result{Query: q, Due: b.now, At: b.now, Samples: got}
}

// answers prints the addresses that the published zone has for a name.
func (b *bench) answers(name string) string {
	z := b.zoneOf(name)
	published := b.options.Catalog.Zone(z.origin)
	if published == nil {
		return "no zone"
	}
	for owner, sets := range published.All() {
		if owner != name {
			continue
		}
		var out []string
		for _, s := range sets {
			for _, rr := range s.Records {
				if a, ok := rr.(*dns.AAAA); ok {
					out = append(out, netip.AddrFrom16([16]byte(a.AAAA)).String())
				}
			}
			if s.Type == dns.TypeAAAA {
				out = append(out, fmt.Sprintf("ttl=%d max=%d", s.TTL, s.MaxAnswers))
			}
		}
		if len(out) == 0 {
			return "no data"
		}
		return strings.Join(out, " ")
	}
	return "no name"
}

func (b *bench) want(name, want string) {
	b.t.Helper()
	if got := b.answers(name); got != want {
		b.t.Errorf("%s: %q, want %q", name, got, want)
	}
}

// pool makes one with ready members fd00::first to fd00::last, in pods named NAME-N.
func pool(name string, hosts string, first, last int) *model.Pool {
	p := &model.Pool{Ref: model.Ref{Kind: "Service", Namespace: "shop", Name: name}, Hosts: strings.Fields(hosts)}
	for i := first; i <= last; i++ {
		p.Members = append(p.Members, model.Member{
			Address: netip.MustParseAddr(fmt.Sprintf("fd00::%x:%x", i>>16, i&0xffff)), Pod: fmt.Sprintf("%s-%d", name, i), Ready: true, Serving: true,
		})
	}
	return p
}

func policy(t testing.TB, keep string) *model.Policy {
	b, err := steer.ParseBound(keep)
	if err != nil {
		t.Fatal(err)
	}
	return &model.Policy{Signals: []model.Signal{{Query: "load"}}, Steer: steer.Policy{Rules: []steer.Rule{{Keep: b}}}}
}

func TestNothingIsAnsweredBeforeEverythingIsKnown(t *testing.T) {
	b := newBench(t)
	b.update(pool("web", "web.apps.test.", 1, 1))
	b.want("web.apps.test.", "no zone")
	b.do(mail{synced: true})
	b.want("web.apps.test.", "fd00::1 ttl=5 max=3")
	select {
	case <-b.Ready():
	default:
		t.Error("not ready")
	}
}

func TestFirstMetricsAreWaitedForButNotForever(t *testing.T) {
	for _, answered := range []bool{true, false} {
		b := newBench(t)
		web := pool("web", "web.apps.test.", 1, 2)
		web.Policy = policy(t, "< 8")
		b.update(web)
		if wait := b.do(mail{synced: true}); wait != 10*time.Second {
			t.Errorf("next step after %v, want the end of the wait", wait)
		}
		b.do(mail{results: []promql.Result{{Query: b.queries[0], Due: b.now, At: b.now, Err: errors.New("away")}}})
		b.want("web.apps.test.", "no zone")
		if answered {
			b.do(mail{results: []promql.Result{b.samples(b.queries[0], "web-1", "1", "web-2", "9")}})
			b.want("web.apps.test.", "fd00::1 ttl=5 max=3")
		} else {
			b.now = b.now.Add(10 * time.Second)
			b.do(mail{})
			b.want("web.apps.test.", "fd00::1 fd00::2 ttl=5 max=3")
		}
	}
}

func TestOwnership(t *testing.T) {
	b := newBench(t)
	b.do(mail{synced: true})
	a, c := pool("a", "x.apps.test. a.apps.test.", 1, 1), pool("c", "x.apps.test. c.apps.test.", 3, 3)
	b.update(c)
	b.want("x.apps.test.", "fd00::3 ttl=5 max=3")
	b.update(a) // of the same age and the lesser name
	b.want("x.apps.test.", "fd00::1 ttl=5 max=3")
	b.want("c.apps.test.", "fd00::3 ttl=5 max=3")
	if p := b.problems[c.Ref]; len(p) != 1 || p[0].Reason != "NameTaken" || !strings.Contains(p[0].Message, "Service shop/a") {
		t.Errorf("problems of c: %v", p)
	}
	b.remove(a)
	b.want("x.apps.test.", "fd00::3 ttl=5 max=3")
	b.want("a.apps.test.", "no name")
	if p := b.problems[c.Ref]; len(p) != 0 {
		t.Errorf("problems of c after a has gone: %v", p)
	}
	b.remove(c)
	b.want("x.apps.test.", "no name")
}

func TestZones(t *testing.T) {
	b := newBench(t)
	b.do(mail{synced: true})
	ttl := uint32(0)
	p := pool("web", "apps.test. deep.apps.test. x.deep.apps.test. ns1.apps.test. x.other.test. *.apps.test.", 1, 1)
	b.update(p)
	b.want("x.deep.apps.test.", "fd00::1 ttl=60 max=8")
	b.want("apps.test.", "fd00::1 ttl=5 max=3")
	b.want("*.apps.test.", "fd00::1 ttl=5 max=3")
	b.want("deep.apps.test.", "fd00::a ttl=300 max=0")
	b.want("ns1.apps.test.", "fd00::53 ttl=300 max=0")
	var reasons []string
	for _, x := range b.problems[p.Ref] {
		reasons = append(reasons, x.Reason)
	}
	if want := []string{"ReservedName", "ReservedName", "OutsideZones"}; !slices.Equal(reasons, want) {
		t.Errorf("problems %v, want %v", reasons, want)
	}
	p = pool("web", "apps.test. x.deep.apps.test.", 1, 0)
	p.TTL, p.MaxAnswers = &ttl, -1
	b.update(p)
	b.want("x.deep.apps.test.", "no data")
	b.want("apps.test.", "no data")
	p = pool("web", "x.deep.apps.test.", 1, 4)
	p.TTL, p.MaxAnswers = &ttl, -1
	b.update(p)
	b.want("x.deep.apps.test.", "fd00::1 fd00::2 fd00::3 fd00::4 ttl=0 max=0")
	b.want("*.apps.test.", "no name")
	b.remove(p)
	b.want("apps.test.", "no data") // the apex has its SOA and NS still
}

func TestSerialMovesOnlyWithAnswers(t *testing.T) {
	b := newBench(t)
	web := pool("web", "web.apps.test.", 1, 2)
	web.Policy = policy(t, "< 8")
	b.update(web)
	b.do(mail{synced: true, results: []promql.Result{b.samples(b.queries[0], "web-1", "1", "web-2", "1")}})
	serial := func() uint32 { return b.options.Catalog.Zone("apps.test.").Serial() }
	before := serial()
	b.update(web)
	b.do(mail{results: []promql.Result{b.samples(b.queries[0], "web-1", "2", "web-2", "7")}})
	if serial() != before {
		t.Error("the serial moved without a change")
	}
	b.do(mail{results: []promql.Result{b.samples(b.queries[0], "web-1", "2", "web-2", "8")}})
	if serial() != before+1 {
		t.Errorf("the serial went from %d to %d with one change", before, serial())
	}
}

func TestValuesLiveUntilTheyAreStale(t *testing.T) {
	b := newBench(t)
	web := pool("web", "web.apps.test.", 1, 2)
	web.Policy = policy(t, "< 8")
	b.update(web)
	q := b.queries[0]
	b.do(mail{synced: true, results: []promql.Result{b.samples(q, "web-1", "1", "web-2", "9")}})
	b.want("web.apps.test.", "fd00::1 ttl=5 max=3")
	wait := b.do(mail{results: []promql.Result{{Query: q, Due: b.now, At: b.now, Err: errors.New("away")}}})
	b.want("web.apps.test.", "fd00::1 ttl=5 max=3")
	b.now = b.now.Add(wait - 2*time.Second)
	b.do(mail{})
	b.want("web.apps.test.", "fd00::1 ttl=5 max=3")
	b.do(mail{})
	b.want("web.apps.test.", "fd00::1 fd00::2 ttl=5 max=3")
}

// TestSeldomEvaluated has a policy whose interval is longer than the staleness budget of a minute.
func TestSeldomEvaluated(t *testing.T) {
	b := newBench(t)
	web := pool("web", "web.apps.test.", 1, 2)
	web.Policy = policy(t, "< 8")
	web.Policy.Signals[0].Interval = 10 * time.Minute
	b.update(web)
	wait := b.do(mail{synced: true, results: []promql.Result{b.samples(b.queries[0], "web-1", "1", "web-2", "9")}})
	b.now = b.now.Add(11 * time.Minute)
	b.do(mail{})
	b.want("web.apps.test.", "fd00::1 ttl=5 max=3")
	if wait < 19*time.Minute {
		t.Errorf("stale after %v", wait)
	}
	b.now = b.now.Add(9 * time.Minute)
	b.do(mail{})
	b.want("web.apps.test.", "fd00::1 fd00::2 ttl=5 max=3")
}

// TestLargePool has more addresses than a message can hold, and all are asked for; another's change comes with it.
func TestLargePool(t *testing.T) {
	b := newBench(t)
	b.do(mail{synced: true})
	large := pool("large", "large.apps.test.", 1, 3000)
	large.MaxAnswers = -1
	b.update(large, pool("web", "web.apps.test.", 1, 1))
	if got := b.answers("large.apps.test."); !strings.HasSuffix(got, " ttl=5 max=2000") || strings.Count(got, "fd00::") != 3000 {
		t.Errorf("%.40s… %d", got, len(got))
	}
	b.want("web.apps.test.", "fd00::1 ttl=5 max=3")
}

func TestBadPolicyKeepsTheLast(t *testing.T) {
	b := newBench(t)
	web := pool("web", "web.apps.test.", 1, 2)
	web.Policy = policy(t, "< 8")
	b.update(web)
	q := b.queries[0]
	b.do(mail{synced: true, results: []promql.Result{b.samples(q, "web-1", "1", "web-2", "9")}})
	bad := pool("web", "web.apps.test.", 1, 3)
	bad.KeepPolicy = true
	b.update(bad)
	b.want("web.apps.test.", "fd00::1 fd00::3 ttl=5 max=3")
	if !slices.Equal(b.queries, []promql.Query{q}) {
		t.Errorf("queries %v", b.queries)
	}
	b.update(pool("web", "web.apps.test.", 1, 3))
	b.want("web.apps.test.", "fd00::1 fd00::2 fd00::3 ttl=5 max=3")
	if len(b.queries) != 0 {
		t.Errorf("queries %v of nobody", b.queries)
	}
}

func TestPoolsShareAQuery(t *testing.T) {
	b := newBench(t)
	one, two := pool("one", "one.apps.test.", 1, 2), pool("two", "two.apps.test.", 3, 4)
	one.Policy, two.Policy = policy(t, "< 8"), policy(t, "< 3")
	b.update(one, two)
	if len(b.queries) != 1 {
		t.Fatalf("queries %v", b.queries)
	}
	b.do(mail{synced: true, results: []promql.Result{b.samples(b.queries[0], "one-1", "5", "one-2", "9", "two-3", "5", "two-4", "1")}})
	b.want("one.apps.test.", "fd00::1 ttl=5 max=3")
	b.want("two.apps.test.", "fd00::4 ttl=5 max=3")
	b.remove(one)
	if len(b.queries) != 1 {
		t.Errorf("queries %v", b.queries)
	}
	b.remove(two)
	if len(b.queries) != 0 {
		t.Errorf("queries %v", b.queries)
	}
}

func TestAmbiguousSeriesAreReported(t *testing.T) {
	b := newBench(t)
	web := pool("web", "web.apps.test.", 1, 2)
	web.Policy = policy(t, "< 8")
	b.update(web)
	b.do(mail{synced: true, results: []promql.Result{b.samples(b.queries[0], "web-1", "9", "web-1", "10", "web-2", "9")}})
	b.want("web.apps.test.", "fd00::1 ttl=5 max=3")
	if p := b.problems[web.Ref]; len(p) != 1 || p[0].Reason != "AmbiguousMetric" {
		t.Errorf("problems %v", p)
	}
}

// BenchmarkRound is one evaluation of 1,000 policies over 100,000 pods whose values all change.
func BenchmarkRound(b *testing.B) {
	const pools, members = 1000, 100
	e := newBench(b)
	var m mail
	var values []string
	for i := range pools {
		p := pool(fmt.Sprintf("s%d", i), fmt.Sprintf("s%d.apps.test.", i), i*members+1, (i+1)*members)
		p.Policy = policy(b, "< 8")
		for _, one := range p.Members {
			values = append(values, one.Pod, "1")
		}
		m.updates = append(m.updates, model.Update{Ref: p.Ref, Pool: p, Received: e.now})
	}
	e.do(m)
	r := e.samples(e.queries[0], values...)
	e.do(mail{synced: true, results: []promql.Result{r}})
	for b.Loop() {
		r.Due, r.At = e.now, e.now
		e.do(mail{results: []promql.Result{r}})
	}
}
