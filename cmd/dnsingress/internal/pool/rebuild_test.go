// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/promql"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// weather is a metric of eight pods that wanders, the same for whoever asks for the same instant.
func weather(expr string, at time.Time) map[string]string {
	out := map[string]string{}
	for i := 1; i <= 8; i++ {
		h := fnv.New64a()
		fmt.Fprint(h, expr, i)
		phase := float64(h.Sum64()%628) / 100
		seconds := float64(at.Unix() % 100_000)
		fmt.Fprint(h, at.Unix())
		noise := float64(h.Sum64()%100)/50 - 1
		value := 6 + 4*math.Sin(seconds/(40+7*float64(i))+phase) + noise
		out[fmt.Sprintf("web-%d", i)] = strconv.FormatFloat(value, 'f', 3, 64)
	}
	return out
}

// forgetful is a policy whose every decision depends on the ones before: two signals, hysteresis, votes, hold with
// growing relapses, steps, slow start, damped weights, TTLs by churn and calm.
func forgetful(t testing.TB) *model.Policy {
	bound := func(s string) steer.Bound {
		b, err := steer.ParseBound(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	p := &model.Policy{
		Signals: []model.Signal{{Name: "load", Query: "load"}, {Name: "errors", Query: "errors", Interval: 10 * time.Second}},
		Steer: steer.Policy{
			Rules: []steer.Rule{
				{Name: "busy", Signal: "load", Keep: bound("< 9"), Readmit: bound("< 6")},
				{Name: "odd", Signal: "errors", Keep: bound("< median + 2 * mad"), Readmit: bound("< median + 1 * mad")},
			},
			Guards: steer.Guards{Votes: 2, Of: 3, Hold: 20 * time.Second, HoldMax: 80 * time.Second, MaxStep: 0.25, MinShare: 0.25, SlowStart: 30 * time.Second},
			Weight: steer.Weight{By: steer.WeightInverse, Signal: "load"},
			TTL: steer.TTL{Floor: 2 * time.Second, Ceiling: 30 * time.Second, Rules: []steer.TTLRule{
				{Name: "calm", Kind: steer.TTLCalm}, {Name: "churn", Kind: steer.TTLChurn},
			}},
			Selection: steer.Selection{Kind: steer.SelectWeighted, MaxAnswers: 3},
		},
	}
	if problems := p.Steer.Check([]string{"load", "errors"}); len(problems) > 0 {
		t.Fatal(problems)
	}
	return p
}

// started is an engine that has just gone live at b.now, having asked f for as much of the past as it wants, if it may.
func started(t *testing.T, f *fake, p *model.Policy, now time.Time, past bool) *bench {
	b := newBench(t)
	b.now = now.Add(-interval)
	web := pool("web", "web.apps.test.", 1, 8)
	web.Policy = p
	b.step(t.Context(), mail{updates: []model.Update{{Ref: web.Ref, Pool: web}}, synced: true}, b.now)
	if !past {
		clear(b.back)
	}
	b.tick(f)
	clear(b.back)
	return b
}

var shop = model.Ref{Kind: "Service", Namespace: "shop", Name: "web"}

// TestRestartIsUnseen starts a second engine again and again while a first one runs, and wants it to decide from its first
// answer on as the one that was there all the time.
func TestRestartIsUnseen(t *testing.T) {
	f := newFake(t, weather)
	p := forgetful(t)
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	always := started(t, f, p, begin, false)
	differs := 0
	for i := range 300 {
		always.tick(f)
		if i < 250 || i%10 != 0 {
			continue
		}
		late := started(t, f, p, always.now, true)
		anew := started(t, f, p, always.now, false)
		for range 4 {
			if d := difference(always, late); d != "" {
				t.Fatalf("%d instants after the start the one that was restarted differs (-always +restarted):\n%s", i, d)
			}
			if difference(always, anew) != "" {
				differs++
			}
			// The two are asked for the same instants.
			now := always.now
			always.tick(f)
			late.now, anew.now = now, now
			late.tick(f)
			anew.tick(f)
		}
	}
	if differs == 0 {
		t.Error("an engine that knows no past decides the same: the test shows nothing")
	}
	x, _ := always.Explain("web.apps.test.")
	if len(x.History) < 10 {
		t.Errorf("only %d decisions changed anything", len(x.History))
	}
}

// difference compares what two engines decided on, by the members' states, weights and memory, and TTL.
func difference(a, b *bench) string {
	options := cmp.Options{
		cmpopts.EquateNaNs(), cmp.Comparer(func(x, y netip.Addr) bool { return x == y }), cmpopts.EquateApprox(1e-3, 0),
		// A churn that is older than what a restart asks for has decayed to a quarter.
		cmpopts.IgnoreFields(steer.Decision{}, "Churn", "Next"),
	}
	x, y := a.pools[shop].decision, b.pools[shop].decision
	return cmp.Diff(x, y, options) + cmp.Diff(a.answers("web.apps.test."), b.answers("web.apps.test."))
}

// TestReplicasDecideAlike gives two engines the same evaluations in another order, and late.
func TestReplicasDecideAlike(t *testing.T) {
	f := newFake(t, weather)
	p := forgetful(t)
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	one, two := started(t, f, p, begin, false), started(t, f, p, begin, false)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 100 {
		one.now = one.now.Add(interval)
		two.now = one.now
		var results []promql.Result
		for _, q := range one.queries {
			due := promql.Instant(one.now, q.Interval)
			if due.Before(one.now.Add(-interval)) || due.Equal(promql.Instant(one.now.Add(-interval), q.Interval)) {
				continue // it is not due
			}
			results = append(results, f.evaluate(t.Context(), q, due, 0))
		}
		for _, b := range []*bench{one, two} {
			r.Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
			at := b.now
			for _, x := range results { // each on its own, at some time after it was due
				at = at.Add(time.Duration(r.IntN(500)) * time.Millisecond)
				b.step(t.Context(), mail{results: []promql.Result{x}}, at)
			}
		}
		if d := cmp.Diff(one.pools[shop].decision, two.pools[shop].decision, cmpopts.EquateNaNs(), cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); d != "" {
			t.Fatalf("instant %d:\n%s", i, d)
		}
		if one.answers("web.apps.test.") != two.answers("web.apps.test.") {
			t.Fatalf("instant %d: %s and %s", i, one.answers("web.apps.test."), two.answers("web.apps.test."))
		}
	}
}

// TestOneQueryForAll has 50 pools of as many services ask the same, written in two ways, and one other thing.
func TestOneQueryForAll(t *testing.T) {
	f := newFake(t, func(expr string, _ time.Time) map[string]string {
		out := map[string]string{}
		for i := range 200 {
			out[fmt.Sprintf("s%d-%d", i/4, i+1)] = strconv.Itoa(i % 4 * 3)
		}
		return out
	})
	b := newBench(t)
	var pools []*model.Pool
	for i := range 50 {
		p := pool(fmt.Sprintf("s%d", i), fmt.Sprintf("s%d.apps.test.", i), 4*i+1, 4*i+4)
		p.Policy = policy(t, "< 8")
		p.Policy.Signals[0].Query = []string{`sum by(pod)(load)`, `sum by (pod) (load)`}[i%2]
		if i == 49 {
			p.Policy.Signals[0].Query = "other"
		}
		pools = append(pools, p)
	}
	b.update(pools...)
	b.do(mail{synced: true})
	if len(b.queries) != 2 {
		t.Fatalf("queries %v", b.queries)
	}
	clear(b.back)
	b.tick(f)
	if f.asked != 2 {
		t.Errorf("%d requests for 50 pools, want 2", f.asked)
	}
	for i := range 50 {
		if got := b.states(fmt.Sprintf("s%d.apps.test.", i)); got != fmt.Sprintf("s%[1]d-%[2]d:in:within s%[1]d-%[3]d:in:within s%[1]d-%[4]d:in:within s%[1]d-%[5]d:out:beyond", i, 4*i+1, 4*i+2, 4*i+3, 4*i+4) {
			t.Errorf("pool %d: %s", i, got)
		}
	}
}

// TestSlowSignal has one of two signals of a pool hang: the pool waits for half an interval, others not at all.
func TestSlowSignal(t *testing.T) {
	b := newBench(t)
	two := pool("web", "web.apps.test.", 1, 2)
	two.Policy = policy(t, "< 8")
	two.Policy.Signals = []model.Signal{{Name: "load", Query: "load"}, {Name: "slow", Query: "slow"}}
	two.Policy.Steer.Rules[0].Signal = "load"
	other := pool("other", "other.apps.test.", 3, 4)
	other.Policy = policy(t, "< 8")
	b.update(two, other)
	b.do(mail{synced: true})
	load, slow := promql.Query{Expr: "load", Interval: interval}, promql.Query{Expr: "slow", Interval: interval}
	due := promql.Instant(b.now.Add(time.Minute), interval)
	at := func(after time.Duration, m mail) time.Duration {
		for i := range m.results {
			m.results[i].Due, m.results[i].At = due, due
		}
		b.now = due.Add(after)
		return b.step(t.Context(), m, b.now).Sub(b.now)
	}
	values := b.samples(load, "web-1", "1", "web-2", "1", "other-3", "1", "other-4", "1")
	at(0, mail{results: []promql.Result{values, b.samples(slow, "web-1", "1")}})
	b.want("web.apps.test.", "fd00::1 fd00::2 ttl=5 max=3")
	due = due.Add(interval)
	values = b.samples(load, "web-1", "1", "web-2", "9", "other-3", "1", "other-4", "9")
	if wait := at(100*time.Millisecond, mail{results: []promql.Result{values}}); wait != interval/2-100*time.Millisecond {
		t.Errorf("the slow signal is waited for for %v", wait)
	}
	b.want("other.apps.test.", "fd00::3 ttl=5 max=3")
	b.want("web.apps.test.", "fd00::1 fd00::2 ttl=5 max=3")
	// Nor does news of the cluster let one signal be seen without the other.
	if wait := at(200*time.Millisecond, mail{updates: []model.Update{{Ref: two.Ref, Pool: two}}}); wait != interval/2-200*time.Millisecond {
		t.Errorf("the slow signal is waited for for %v", wait)
	}
	b.want("web.apps.test.", "fd00::1 fd00::2 ttl=5 max=3")
	at(interval/2, mail{})
	b.want("web.apps.test.", "fd00::1 ttl=5 max=3")
}
