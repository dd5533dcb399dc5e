// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/promql"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// published returns the set that the published zone answers AAAA of a name from.
func (b *bench) published(name string) zone.RRset {
	b.t.Helper()
	for owner, sets := range b.options.Catalog.Zone(b.zoneOf(name).origin).All() {
		for _, s := range sets {
			if owner == name && s.Type == dns.TypeAAAA {
				return s
			}
		}
	}
	b.t.Fatalf("nothing is published for %s", name)
	return zone.RRset{}
}

// ask returns the published answer to a query for AAAA.
func (b *bench) ask(name string) *dns.Msg {
	b.t.Helper()
	query, err := new(dns.Msg).SetQuestion(name, dns.TypeAAAA).Pack()
	if err != nil {
		b.t.Fatal(err)
	}
	var question zone.Question
	end, err := question.Parse(query)
	if err != nil {
		b.t.Fatal(err)
	}
	var reply zone.Reply
	reply.Start(make([]byte, 4096), query, end)
	b.options.Catalog.Zone(b.zoneOf(name).origin).Answer(&question, &reply)
	var m dns.Msg
	if err := m.Unpack(reply.Bytes()); err != nil {
		b.t.Fatal(err)
	}
	return &m
}

// TestDecisionReachesTheZone follows weights, selection, locations and TTLs into the answers.
func TestDecisionReachesTheZone(t *testing.T) {
	b := newBench(t)
	web := pool("web", "web.apps.test.", 1, 3)
	for i := range web.Members {
		web.Members[i].Zone, web.Members[i].Node = "a", fmt.Sprintf("node-%d", i)
	}
	web.Policy = policy(t, "< 8")
	web.Policy.Steer.Weight = steer.Weight{By: steer.WeightProportional}
	web.Policy.Steer.Selection = steer.Selection{Kind: steer.SelectNear, MaxAnswers: 2, Least: 2, Bits6: 48}
	web.Policy.Steer.TTL = steer.TTL{Ceiling: time.Minute, Rules: []steer.TTLRule{{Name: "mine", Kind: steer.TTLFixed, TTL: 17 * time.Second}}}
	web.Policy.Steer.NegativeTTL = steer.TTL{Ceiling: time.Minute, Rules: []steer.TTLRule{{Kind: steer.TTLFixed, TTL: 3 * time.Second}}}
	b.update(web)
	q := b.queries[0]
	b.do(mail{synced: true, results: []promql.Result{b.samples(q, "web-1", "1", "web-2", "3", "web-3", "9")}})
	s := b.published("web.apps.test.")
	if s.TTL != 17 || s.MaxAnswers != 2 || s.Select != (zone.Selection{Kind: zone.Near, Bits4: 24, Bits6: 48, Least: 2}) {
		t.Errorf("ttl %d, max %d, selection %+v", s.TTL, s.MaxAnswers, s.Select)
	}
	if len(s.Weights) != 2 || s.Weights[0] == 0 || s.Weights[1] < 5*s.Weights[0]/2 || s.Weights[1] > 7*s.Weights[0]/2 {
		t.Errorf("weights %v, want one to three", s.Weights)
	}
	if !slices.Equal(s.Locations, []string{"a/node-0", "a/node-1"}) {
		t.Errorf("locations %v", s.Locations)
	}
	x, _ := b.Explain("web.apps.test")
	if x.TTLRule != "mine" || x.TTL != 17 || x.NegativeTTL != 3 || x.Selection != "near" || x.Max != 2 {
		t.Errorf("explained as %+v", x)
	}
	if m := x.Members[2]; m.State != "out" || *m.Limit != 8 || *m.Value != 9 || m.Weight != 0 {
		t.Errorf("member %+v", m)
	}
	last := x.History[len(x.History)-1]
	if last.In != 2 || last.Ready != 3 || last.TTL != 17 || last.TTLRule != "mine" {
		t.Errorf("event %+v", last)
	}

	// With nobody in, the answer says for how long that may be remembered.
	empty := pool("web", "web.apps.test.", 1, 0)
	empty.Policy = web.Policy
	b.update(empty)
	answer := b.ask("web.apps.test.")
	if len(answer.Answer) != 0 || len(answer.Ns) != 1 || answer.Ns[0].Header().Ttl != 3 {
		t.Errorf("answer %v", answer)
	}

	// Each zone's default holds where no rule speaks.
	plain := pool("plain", "plain.apps.test. plain.deep.apps.test.", 1, 2)
	plain.Policy = policy(t, "< 8")
	b.update(plain)
	if one, other := b.published("plain.apps.test.").TTL, b.published("plain.deep.apps.test.").TTL; one != 5 || other != 60 {
		t.Errorf("ttls %d and %d", one, other)
	}
}

// checks is a prober that does nothing but note what it is to do.
type checks map[model.Ref]string

func (c checks) Set(ref model.Ref, list []model.HealthCheck, addresses []netip.Addr) {
	c[ref] = fmt.Sprint(len(list), addresses)
}

// TestHealthChecks are one more signal, and are waited for at the start.
func TestHealthChecks(t *testing.T) {
	b := newBench(t)
	prober := checks{}
	b.ConnectProber(prober)
	web := pool("web", "web.apps.test.", 1, 3)
	web.Policy = policy(t, "> 0")
	web.Policy.Signals, web.Policy.Checks = nil, []model.HealthCheck{{Name: "health", Protocol: model.TCP, Port: 80}}
	web.Policy.Steer.Rules[0].Signal = "health"
	b.update(web)
	if got := prober[web.Ref]; got != "1 [fd00::1 fd00::2 fd00::3]" {
		t.Errorf("checks: %s", got)
	}
	b.do(mail{synced: true})
	b.want("web.apps.test.", "no zone")
	found := func(values map[netip.Addr]float64) {
		b.Checked(web.Ref, "health", b.now, func() map[netip.Addr]float64 { return values })
		b.do(b.inbox.take())
	}
	one, two, three := web.Members[0].Address, web.Members[1].Address, web.Members[2].Address
	found(map[netip.Addr]float64{one: 1, two: 0})
	b.want("web.apps.test.", "fd00::1 fd00::3 ttl=5 max=3")
	b.now = b.now.Add(time.Hour) // it stands until the next
	found(map[netip.Addr]float64{one: 1, two: 1, three: 0})
	b.want("web.apps.test.", "fd00::1 fd00::2 ttl=5 max=3")
	x, _ := b.Explain("web.apps.test.")
	if len(x.Policy.Signals) != 1 || x.Policy.Signals[0].Kind != "health" || x.History[len(x.History)-1].Trigger != "health" {
		t.Errorf("explained as %+v, %+v", x.Policy, x.History)
	}
	b.remove(web)
	if got := prober[web.Ref]; got != "0 []" {
		t.Errorf("checks of what is gone: %s", got)
	}
}

// TestChecksThatAreGone say nothing any more, whatever their name is given to and however late they come.
func TestChecksThatAreGone(t *testing.T) {
	for _, late := range []bool{false, true} {
		b := newBench(t)
		b.do(mail{synced: true})
		web := pool("web", "web.apps.test.", 1, 2)
		web.Policy = policy(t, "< 8")
		web.Policy.Signals[0].Name, web.Policy.Steer.Rules[0].Signal = "health", "health"
		b.update(web)
		b.do(mail{results: []promql.Result{b.samples(b.queries[0], "web-1", "1", "web-2", "9")}})
		b.want("web.apps.test.", "fd00::1 ttl=5 max=3")
		before := *web.Policy
		before.Signals, before.Checks = nil, []model.HealthCheck{{Name: "health", Protocol: model.TCP, Port: 80}}
		checked := pool("web", "web.apps.test.", 1, 2)
		checked.Policy = &before
		if b.update(checked); !late {
			b.found(checked, 1, 1)
			b.want("web.apps.test.", "fd00::1 fd00::2 ttl=5 max=3")
		}
		if b.update(web); late {
			b.found(checked, 1, 1)
		}
		b.do(mail{results: []promql.Result{b.samples(b.queries[0], "web-1", "1", "web-2", "9")}})
		b.want("web.apps.test.", "fd00::1 ttl=5 max=3")
		if n := len(b.pools[web.Ref].checks); n != 0 {
			t.Errorf("%d outcomes of no check are kept", n)
		}
	}
}

// TestOutcomesAreReadOnce has every member of a large pool settle before the engine looks: it looks once.
func TestOutcomesAreReadOnce(t *testing.T) {
	b := newBench(t)
	web := pool("web", "web.apps.test.", 1, 1000)
	web.Policy = policy(t, "> 0")
	web.Policy.Signals, web.Policy.Checks = nil, []model.HealthCheck{{Name: "health", Protocol: model.TCP, Port: 80}}
	web.Policy.Steer.Rules[0].Signal = "health"
	b.update(web)
	b.do(mail{synced: true})
	settled, read := map[netip.Addr]float64{}, 0
	for i, m := range web.Members {
		settled[m.Address] = float64(i % 2)
		b.Checked(web.Ref, "health", b.now.Add(time.Duration(i)*time.Millisecond), func() map[netip.Addr]float64 {
			read++
			return settled
		})
	}
	b.now = b.now.Add(time.Second)
	b.do(b.inbox.take())
	if read != 1 {
		t.Errorf("what was found was read %d times", read)
	}
	if c := b.pools[web.Ref].checks["health"]; !c.at.Equal(b.now.Add(-2*time.Second+999*time.Millisecond)) || len(c.values) != 1000 {
		t.Errorf("%d values of %v", len(c.values), c.at)
	}
}

// TestBoundsOfTTLs hold where no rule speaks, too, for each zone's own TTL.
func TestBoundsOfTTLs(t *testing.T) {
	for _, c := range []struct {
		ttl                    steer.TTL
		one, other             uint32 // where the zones have 5 s and 60 s
		negative               steer.TTL
		negativeOne, negOthers uint32 // where both have 5 s
	}{
		{steer.TTL{}, 5, 60, steer.TTL{}, 5, 5},
		{steer.TTL{Ceiling: 2 * time.Second}, 2, 2, steer.TTL{Ceiling: 2 * time.Second}, 2, 2},
		{steer.TTL{Ceiling: 20 * time.Second}, 5, 20, steer.TTL{Ceiling: 20 * time.Second}, 5, 5},
		{steer.TTL{Floor: 10 * time.Second}, 10, 60, steer.TTL{Floor: time.Second}, 5, 5},
		// A rule that is silent, for want of a signal.
		{steer.TTL{Ceiling: 3 * time.Second, Rules: []steer.TTLRule{{Kind: steer.TTLLinear, Signal: "absent", High: 1}}}, 3, 3, steer.TTL{}, 5, 5},
		// One that says more than it may.
		{steer.TTL{Ceiling: 30 * time.Second, Rules: []steer.TTLRule{{Kind: steer.TTLFixed, TTL: time.Minute}}}, 30, 30, steer.TTL{}, 5, 5},
	} {
		b := newBench(t)
		b.do(mail{synced: true})
		web := pool("web", "web.apps.test. web.deep.apps.test.", 1, 2)
		web.Policy = policy(t, "< 8")
		web.Policy.Steer.TTL, web.Policy.Steer.NegativeTTL = c.ttl, c.negative
		b.update(web)
		if one, other := b.published("web.apps.test.").TTL, b.published("web.deep.apps.test.").TTL; one != c.one || other != c.other {
			t.Errorf("%+v: %d and %d, want %d and %d", c.ttl, one, other, c.one, c.other)
		}
		empty := pool("web", "web.apps.test. web.deep.apps.test.", 1, 0)
		empty.Policy = web.Policy
		b.update(empty)
		for name, want := range map[string]uint32{"web.apps.test.": c.negativeOne, "web.deep.apps.test.": c.negOthers} {
			if m := b.ask(name); len(m.Ns) != 1 || m.Ns[0].Header().Ttl != want {
				t.Errorf("%+v: no data of %s: %v, want %d", c.negative, name, m.Ns, want)
			}
		}
	}
}

// TestMetrics scrapes what the engine says of a pool.
func TestMetrics(t *testing.T) {
	b := newBench(t)
	web := pool("web", "web.apps.test.", 1, 3)
	web.Policy = policy(t, "< 8")
	web.Policy.Signals[0].Name, web.Policy.Steer.Rules[0].Signal = "load", "load"
	b.update(web)
	b.do(mail{synced: true, results: []promql.Result{b.samples(b.queries[0], "web-1", "1", "web-2", "9")}})
	want := `
dnsingress_pool_members{kind="Service",name="web",namespace="shop",part="",reason="beyond",state="out"} 1
dnsingress_pool_members{kind="Service",name="web",namespace="shop",part="",reason="no-data",state="in"} 1
dnsingress_pool_members{kind="Service",name="web",namespace="shop",part="",reason="within",state="in"} 1
dnsingress_pool_ttl_seconds{kind="Service",name="web",namespace="shop",part="",rule="pool"} 5
dnsingress_pool_weight{bound="greatest",kind="Service",name="web",namespace="shop",part=""} 1
dnsingress_pool_weight{bound="least",kind="Service",name="web",namespace="shop",part=""} 1
dnsingress_pool_fail_open{kind="Service",name="web",namespace="shop",part=""} 0
dnsingress_pool_decisions_total{reason="beyond",state="out"} 1`
	families, err := b.options.Registerer.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			fmt.Fprintf(&got, "%s{%s} %v\n", f.GetName(), strings.Join(labels, ","), m.GetGauge().GetValue()+m.GetCounter().GetValue())
		}
	}
	for line := range strings.Lines(strings.TrimSpace(want) + "\n") {
		if !strings.Contains(got.String(), line) {
			t.Errorf("no %s in\n%s", line, got.String())
		}
	}
	for _, name := range []string{"dnsingress_signal_age_seconds{kind=\"Service\",name=\"web\",namespace=\"shop\",part=\"\",signal=\"load\"}", "dnsingress_pool_evaluation_duration_seconds"} {
		if !strings.Contains(got.String(), name) {
			t.Errorf("no %s", name)
		}
	}
}
