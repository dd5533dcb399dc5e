// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// chaos is a way in which metrics go wrong.
type chaos struct {
	name  string
	spoil func(*fake)
	mend  func(*fake) // nil: by serving well again
	away  bool        // no value comes: the last ones count until they are stale
	// states are those of four members, of which the third has a bad value, in the long run; empty: as with away
	states string
}

var good = "web-1:in:within web-2:in:within web-3:out:beyond web-4:in:within"

var chaoses = []chaos{
	{name: "killed", spoil: (*fake).kill, mend: func(f *fake) { f.start(f.address) }, away: true},
	{name: "hanging", spoil: stick(hang), away: true},
	{name: "dripping", spoil: stick(drip), away: true},
	{name: "garbage", spoil: serve(say(200, "\x00\xff<html>")), away: true},
	{name: "another program", spoil: serve(say(200, `{"hello":"world"}`)), away: true},
	{name: "nothing", spoil: serve(say(200, "")), away: true},
	{name: "cut off", spoil: serve(say(200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"pod":"web-1"},"value":[1,"1"]},{"metric":{`)), away: true},
	{name: "overloaded", spoil: serve(say(503, `{"status":"error","errorType":"timeout","error":"query timed out"}`)), away: true},
	{name: "refused", spoil: serve(say(400, `{"status":"error","errorType":"bad_data","error":"no"}`)), away: true},
	{name: "login page", spoil: serve(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }), away: true},
	{name: "scalar", spoil: serve(say(200, `{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`)), away: true},
	{name: "matrix", spoil: serve(say(200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`)), away: true},
	{name: "empty", spoil: values(func(map[string]string) map[string]string { return nil }), away: true},
	{name: "label renamed", spoil: labels("kubernetes_pod"), away: true},
	{name: "NaN", spoil: each(func(string) string { return "NaN" }), states: "web-1:in:no-data web-2:in:no-data web-3:in:no-data web-4:in:no-data"},
	{name: "infinite", spoil: each(func(string) string { return "+Inf" }), states: "web-1:in:fail-open web-2:in:fail-open web-3:in:fail-open web-4:in:fail-open"},
	{name: "minus infinite", spoil: each(func(string) string { return "-Inf" }), states: "web-1:in:within web-2:in:within web-3:in:within web-4:in:within"},
	{name: "no number", spoil: each(func(string) string { return "soon" }), away: true},
	{name: "all bad", spoil: each(func(string) string { return "1e308" }), states: "web-1:in:fail-open web-2:in:fail-open web-3:in:fail-open web-4:in:fail-open"},
	{name: "counter reset", spoil: each(func(string) string { return "0" }), states: "web-1:in:within web-2:in:within web-3:in:within web-4:in:within"},
	{name: "negative", spoil: each(func(v string) string { return "-" + v }), states: "web-1:in:within web-2:in:within web-3:in:within web-4:in:within"},
	{name: "some gone", spoil: values(func(v map[string]string) map[string]string { delete(v, "web-1"); return v }), states: "web-1:in:no-data web-2:in:within web-3:out:beyond web-4:in:within"},
	{name: "strangers", spoil: values(func(v map[string]string) map[string]string { v["db-1"], v["db-2"] = "99", "99"; return v }), states: good},
	{name: "doubled", spoil: func(f *fake) {
		f.labels = func(pod string) []map[string]string {
			return []map[string]string{{"pod": pod, "scraper": "a"}, {"pod": pod, "scraper": "b"}}
		}
	}, mend: func(f *fake) { f.labels = nil }, states: "web-1:in:no-data web-2:in:no-data web-3:in:no-data web-4:in:no-data"},
	// Of one whose clock is behind, what is asked for is history: the same values as ever.
	{name: "clock behind", spoil: func(f *fake) {
		old := f.values
		f.values = func(e string, at time.Time) map[string]string { return old(e, at.Add(-time.Hour)) }
	}, states: good},
}

func serve(h http.HandlerFunc) func(*fake) { return func(f *fake) { f.serve = h } }

// stick serves with what never ends.
func stick(h http.HandlerFunc) func(*fake) { return func(f *fake) { f.serve, f.stuck = h, true } }

func values(change func(map[string]string) map[string]string) func(*fake) {
	return func(f *fake) {
		old := f.values
		f.values = func(expr string, at time.Time) map[string]string { return change(old(expr, at)) }
	}
}

func each(change func(string) string) func(*fake) {
	return values(func(v map[string]string) map[string]string {
		for pod := range v {
			v[pod] = change(v[pod])
		}
		return v
	})
}

func labels(name string) func(*fake) {
	return func(f *fake) {
		f.labels = func(pod string) []map[string]string { return []map[string]string{{name: pod}} }
	}
}

// TestChaos breaks metrics in every way for longer than values live. Whatever it is, the pool never runs empty, follows
// readiness all the while, and is after the mending what it was before.
func TestChaos(t *testing.T) {
	for _, c := range chaoses {
		for _, noData := range []steer.NoData{steer.NoDataKeep, steer.NoDataDrop} {
			t.Run(c.name+" "+string(noData), func(t *testing.T) {
				t.Parallel()
				c.run(t, noData)
			})
		}
	}
}

func (c chaos) run(t *testing.T, noData steer.NoData) {
	healthy := func(string, time.Time) map[string]string {
		return map[string]string{"web-1": "1", "web-2": "2", "web-3": "20", "web-4": "3"}
	}
	f := newFake(t, healthy)
	b := newBench(t)
	web := pool("web", "web.apps.test.", 1, 4)
	web.Policy = policy(t, "< 8")
	web.Policy.Steer.Guards = steer.Guards{NoData: noData, MinShare: 0.5, MaxStep: 0.5}
	b.update(web)
	b.do(mail{synced: true})
	never := func(when string) {
		t.Helper()
		if got := b.answers("web.apps.test."); !strings.Contains(got, "fd00::") && b.live {
			t.Errorf("%s: %q: %s", when, got, b.states("web.apps.test."))
		}
	}
	tick := func(when string, n int) {
		t.Helper()
		for range n {
			b.tick(f)
			never(when)
		}
	}
	tick("before", 3)
	if got := b.states("web.apps.test."); got != good {
		t.Fatalf("before: %s", got)
	}

	f.mu.Lock()
	labels, values := f.labels, f.values
	c.breakUnder(f)
	tick("broken", 1)
	if c.away {
		if got := b.states("web.apps.test."); got != good {
			t.Errorf("the last values do not count: %s", got)
		}
	}
	// A pod that ends leaves at once, also now, and one that comes is there.
	down := pool("web", "web.apps.test.", 1, 5)
	down.Policy, down.Members[1].Ready = web.Policy, false
	b.update(down)
	never("broken")
	if got := b.states("web.apps.test."); !strings.Contains(got, "web-2:out:not-ready") || !strings.Contains(got, "web-5:") {
		t.Errorf("readiness is not followed: %s", got)
	}
	tick("broken", 1)
	b.update(web)
	b.now = b.now.Add(time.Minute) // for which values live
	tick("broken", 2)
	want := c.states
	if c.away {
		want = "web-1:in:no-signal web-2:in:no-signal web-3:in:no-signal web-4:in:no-signal"
	}
	if noData == steer.NoDataDrop { // who has no value leaves, but half of the members at least stay
		switch c.name {
		case "NaN", "doubled":
			want = strings.ReplaceAll(want, "no-data", "fail-open")
		case "some gone":
			want = "web-1:out:no-data web-2:in:within web-3:out:beyond web-4:in:within"
		}
	}
	if got := b.states("web.apps.test."); got != want {
		t.Errorf("broken for long: %s, want %s", got, want)
	}

	f.mu.Lock()
	f.serve, f.stuck, f.labels, f.values = nil, false, labels, values
	f.mu.Unlock()
	if c.mend != nil {
		c.mend(f)
	}
	tick("mended", 6)
	if got := b.states("web.apps.test."); got != good {
		t.Errorf("stuck: %s", got)
	}
	if p := b.problems[web.Ref]; len(p) > 0 {
		t.Errorf("problems afterwards: %v", p)
	}
}

// breakUnder breaks f, whose lock is held and given back.
func (c chaos) breakUnder(f *fake) {
	if c.name == "killed" {
		f.mu.Unlock()
		c.spoil(f)
		return
	}
	c.spoil(f)
	f.mu.Unlock()
}

// TestManyFaults has metrics fail in another way at each instant, in an order that is drawn, with pods coming and going.
func TestManyFaults(t *testing.T) {
	healthy := func(string, time.Time) map[string]string {
		return map[string]string{"web-1": "1", "web-2": "2", "web-3": "20", "web-4": "3"}
	}
	f := newFake(t, healthy)
	b := newBench(t)
	web := pool("web", "web.apps.test.", 1, 4)
	web.Policy = policy(t, "< 8")
	b.update(web)
	b.do(mail{synced: true})
	b.tick(f)
	state := uint32(1)
	for i := range 300 {
		state = state*1664525 + 1013904223
		c := chaoses[int(state>>16)%len(chaoses)]
		if c.name == "killed" || c.name == "hanging" || c.name == "dripping" { // which take their time, above
			continue
		}
		f.mu.Lock()
		f.serve, f.labels, f.values = nil, nil, healthy
		c.breakUnder(f)
		b.tick(f)
		changed := pool("web", "web.apps.test.", 1, 4)
		changed.Policy, changed.Members[i%4].Ready = web.Policy, false
		b.update([]*model.Pool{web, changed}[i%2])
		if got := b.answers("web.apps.test."); !strings.Contains(got, "fd00::") {
			t.Fatalf("%d, %s: %q", i, c.name, got)
		}
	}
	f.mu.Lock()
	f.serve, f.labels, f.values = nil, nil, healthy
	f.mu.Unlock()
	b.update(web)
	b.tick(f)
	if got := b.states("web.apps.test."); got != good {
		t.Errorf("stuck: %s", got)
	}
	x, _ := b.Explain("web.apps.test.")
	if len(x.History) != mostEvents {
		t.Errorf("%d events are kept, want %d", len(x.History), mostEvents)
	}
	for i := 1; i < len(x.History); i++ {
		if x.History[i].At.Before(x.History[i-1].At) {
			t.Errorf("event %d is before the one before it", i)
		}
	}
	if last := x.History[len(x.History)-1]; last.In != 3 || last.Ready != 4 || fmt.Sprint(last.Trigger) == "" {
		t.Errorf("last event %+v", last)
	}
}

// healthy gives a pool's policy one more rule: that a health check succeeds.
func healthy(t *testing.T, p *model.Pool) {
	b, err := steer.ParseBound("> 0")
	if err != nil {
		t.Fatal(err)
	}
	p.Policy.Checks = append(p.Policy.Checks, model.HealthCheck{Name: "health", Protocol: model.TCP, Port: 80})
	p.Policy.Steer.Rules = append(p.Policy.Steer.Rules, steer.Rule{Signal: "health", Keep: b})
}

// found delivers what the health check found of each member.
func (b *bench) found(p *model.Pool, values ...float64) {
	by := map[netip.Addr]float64{}
	for i, v := range values {
		by[p.Members[i].Address] = v
	}
	b.Checked(p.Ref, "health", b.now, func() map[netip.Addr]float64 { return by })
	b.do(b.inbox.take())
}

// TestClockSetAhead has this machine's clock set ahead by an hour, and back: meanwhile Prometheus has nothing yet.
func TestClockSetAhead(t *testing.T) {
	now := func() time.Time { return time.Time{} } // by the clock of Prometheus
	f := newFake(t, func(_ string, at time.Time) map[string]string {
		if at.After(now()) {
			return nil
		}
		return map[string]string{"web-1": "1", "web-2": "2", "web-3": "20", "web-4": "3"}
	})
	b := newBench(t)
	now = func() time.Time { return b.now }
	web := pool("web", "web.apps.test.", 1, 4)
	web.Policy = policy(t, "< 8")
	web.Policy.Steer.Guards = steer.Guards{Hold: 30 * time.Second, Votes: 2, Of: 3, MaxStep: 0.5}
	b.update(web)
	b.do(mail{synced: true})
	ticks := func(n int) {
		for range n {
			b.tick(f)
			if got := b.answers("web.apps.test."); b.live && !strings.Contains(got, "fd00::") {
				t.Errorf("%q: %s", got, b.states("web.apps.test."))
			}
		}
	}
	ticks(20)
	if got := b.states("web.apps.test."); got != good {
		t.Fatalf("before: %s", got)
	}
	b.now = b.now.Add(time.Hour)
	now = func() time.Time { return b.now.Add(-time.Hour) }
	ticks(20)
	if got, want := b.states("web.apps.test."), "web-1:in:no-signal web-2:in:no-signal web-3:in:no-signal web-4:in:no-signal"; got != want {
		t.Errorf("ahead: %s, want %s", got, want)
	}
	down := pool("web", "web.apps.test.", 1, 4)
	down.Policy, down.Members[1].Ready = web.Policy, false
	b.update(down)
	if got := b.states("web.apps.test."); !strings.Contains(got, "web-2:out:not-ready") {
		t.Errorf("readiness is not followed: %s", got)
	}
	b.update(web)
	b.now = b.now.Add(-time.Hour)
	now = func() time.Time { return b.now }
	ticks(20)
	if got := b.states("web.apps.test."); got != good {
		t.Errorf("stuck: %s, want %s", got, good)
	}
}

// TestTimesAreOfTheWall: by the monotonic clock, which a time that is not stripped of it compares by, nobody sees that the
// clock was set back.
func TestTimesAreOfTheWall(t *testing.T) {
	b := newBench(t)
	web := pool("web", "web.apps.test.", 1, 2)
	web.Policy = policy(t, "< 8")
	healthy(t, web)
	b.update(web)
	b.now = time.Now()
	b.found(web, 1, 1)
	s := b.pools[web.Ref]
	for name, at := range map[string]time.Time{"decision": s.decided, "outcome": s.checks["health"].at} {
		if at.IsZero() || at != at.Round(0) {
			t.Errorf("time of the %s: %v", name, at)
		}
	}
}

// TestClockSetBack has this machine's clock set back by an hour: what metrics say counts on.
func TestClockSetBack(t *testing.T) {
	busy := "web-3"
	f := newFake(t, func(string, time.Time) map[string]string {
		v := map[string]string{"web-1": "1", "web-2": "1", "web-3": "1", "web-4": "1"}
		v[busy] = "20"
		return v
	})
	b := newBench(t)
	web := pool("web", "web.apps.test.", 1, 4)
	web.Policy = policy(t, "< 8")
	web.Policy.Signals = append(web.Policy.Signals, model.Signal{Name: "seldom", Query: "seldom", Interval: time.Minute})
	web.Policy.Steer.Guards = steer.Guards{Hold: 30 * time.Second, Votes: 2, Of: 3, MaxStep: 0.5}
	healthy(t, web)
	b.update(web)
	b.do(mail{synced: true})
	for range 20 {
		b.tick(f)
		b.found(web, 1, 1, 1, 1)
	}
	if got := b.states("web.apps.test."); got != good {
		t.Fatalf("before: %s", got)
	}
	b.now = b.now.Add(-time.Hour)
	b.tick(f)
	if got := b.states("web.apps.test."); got != good {
		t.Errorf("at once: %s", got)
	}
	f.mu.Lock()
	busy = "web-1"
	f.mu.Unlock()
	for range 20 {
		b.tick(f)
	}
	if got, want := b.states("web.apps.test."), "web-1:out:beyond web-2:in:within web-3:in:within web-4:in:within"; got != want {
		t.Errorf("stuck: %s, want %s", got, want)
	}
}
