// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func address(i int) netip.Addr {
	a := netip.MustParseAddr("fd00::").As16()
	a[14], a[15] = byte(i>>8), byte(i)
	return netip.AddrFrom16(a)
}

func mustBound(t testing.TB, s string) Bound {
	t.Helper()
	b, err := ParseBound(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// members makes one member for each letter: r ready, n not ready, t terminating and serving, d terminating and dead.
func members(states string) []Member {
	var all []Member
	for i, s := range states {
		all = append(all, Member{
			Address: address(i), Ready: s == 'r', Serving: s == 'r' || s == 't', Terminating: s == 't' || s == 'd',
		})
	}
	return all
}

func signal(at time.Time, values ...float64) Signal {
	s := Signal{At: at, Expires: at.Add(time.Minute), Values: map[netip.Addr]float64{}}
	for i, v := range values {
		s.Values[address(i)] = v
	}
	return s
}

// show prints a decision as "+reason" (in) or "-reason" (out) a member.
func show(d Decision) string {
	var out []string
	for _, v := range d.Members {
		sign := "-"
		if v.In {
			sign = "+"
		}
		out = append(out, sign+string(v.Reason))
	}
	if d.FailOpen {
		out = append(out, "FAIL-OPEN")
	}
	return strings.Join(out, " ")
}

func TestDecide(t *testing.T) {
	nan := math.NaN()
	below8 := Policy{Keep: mustBound(t, "< 8")}
	band := Policy{Keep: mustBound(t, "< 8"), Readmit: mustBound(t, "< 6")}
	held := Policy{Keep: mustBound(t, "< 8"), Hold: 25 * time.Second}
	type step struct {
		states string
		values []float64 // nil: no new signal; empty: an empty one
		want   string
	}
	for _, c := range []struct {
		name   string
		policy Policy
		steps  []step // ten seconds apart
	}{
		{"readiness", Policy{}, []step{
			{"rnt", nil, "+ready -not-ready -terminating"},
			{"nnt", nil, "-not-ready -not-ready +last-resort"},
			{"nnd", nil, "-not-ready -not-ready -terminating"},
			{"", nil, ""},
		}},
		{"threshold", below8, []step{
			{"rrr", []float64{1, 8, 9}, "+within -beyond -beyond"},
			{"rrr", []float64{1, 7.9, 9}, "+within +within -beyond"},
		}},
		{"lower bound", Policy{Keep: mustBound(t, ">= 1")}, []step{
			{"rr", []float64{1, 0.5}, "+within -beyond"},
		}},
		{"metric says nothing of members that are not ready", below8, []step{
			{"rnt", []float64{1, 9, 9}, "+within -not-ready -terminating"},
		}},
		{"no signal yet", below8, []step{
			{"rn", nil, "+no-signal -not-ready"},
		}},
		{"empty and NaN keep", below8, []step{
			{"rr", []float64{}, "+no-data +no-data"},
			{"rr", []float64{nan, 9}, "+no-data -beyond"},
		}},
		{"no data drops", Policy{Keep: mustBound(t, "< 8"), NoData: NoDataDrop}, []step{
			{"rr", []float64{1, nan}, "+within -no-data"},
			{"rr", []float64{}, "+fail-open +fail-open FAIL-OPEN"},
		}},
		{"infinite value", below8, []step{
			{"rr", []float64{math.Inf(-1), math.Inf(1)}, "+within -beyond"},
		}},
		{"hysteresis", band, []step{
			{"rr", []float64{1, 7}, "+within +within"},
			{"rr", []float64{1, 8}, "+within -beyond"},
			{"rr", []float64{1, 7}, "+within -waiting"},
			{"rr", []float64{1, 6}, "+within -waiting"},
			{"rr", []float64{1, 5.9}, "+within +within"},
			{"rr", []float64{1, 7}, "+within +within"},
		}},
		{"fail open and hysteresis remembers", band, []step{
			{"rr", []float64{9, 9}, "+fail-open +fail-open FAIL-OPEN"},
			{"rr", []float64{5, 7}, "+within -waiting"},
		}},
		{"minimum", Policy{Keep: mustBound(t, "< 8"), Min: 2}, []step{
			{"rrr", []float64{1, 1, 9}, "+within +within -beyond"},
			{"rrr", []float64{1, 9, 9}, "+within +fail-open +fail-open FAIL-OPEN"},
			{"rnn", []float64{1, 9, 9}, "+within -not-ready -not-ready"},
			{"rnn", []float64{9, 9, 9}, "+fail-open -not-ready -not-ready FAIL-OPEN"},
		}},
		{"last resort is not for the metric", below8, []step{
			{"tt", []float64{9, 9}, "+last-resort +last-resort"},
		}},
		{"hold", held, []step{
			{"rr", []float64{1, 1}, "+within +within"},
			{"rr", []float64{1, 9}, "+within -beyond"},
			{"rr", []float64{1, 1}, "+within -held"},
			{"rr", []float64{1, 1}, "+within -held"},
			{"rr", []float64{1, 1}, "+within +within"},
			{"rr", []float64{1, 9}, "+within +held"},
		}},
		{"largest step", Policy{Keep: mustBound(t, "< 8"), MaxStep: 0.5}, []step{
			{"rrrrr", []float64{1, 9, 12, 11, 10}, "+within +limited -beyond -beyond +limited"},
			{"rrrrr", nil, "+within +limited -beyond -beyond +limited"},
			{"rrrrr", []float64{1, 9, 12, 11, 10}, "+within -beyond -beyond -beyond -beyond"},
		}},
		{"relative to the mean", Policy{Keep: mustBound(t, "< 2 * mean")}, []step{
			{"rrrr", []float64{1, 1, 1, 9}, "+within +within +within -beyond"},
		}},
		{"outlier by mad", Policy{Keep: mustBound(t, "<= median + 3 * mad")}, []step{
			{"rrrrr", []float64{10, 11, 12, 13, 40}, "+within +within +within +within -beyond"},
			{"rrrrr", []float64{10, 10, 10, 10, 10}, "+within +within +within +within +within"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.policy.Check(); err != nil {
				t.Fatal(err)
			}
			var d Decision
			var s Signal
			for i, step := range c.steps {
				now := start().Add(time.Duration(i) * 10 * time.Second)
				if step.values != nil {
					s = signal(now, step.values...)
				}
				d = Decide(Pool{Members: members(step.states), Policy: c.policy}, s, d, now)
				if got := show(d); got != step.want {
					t.Errorf("step %d: %s, want %s", i, got, step.want)
				}
			}
		})
	}
}

func TestSignalExpires(t *testing.T) {
	pool := Pool{Members: members("rr"), Policy: Policy{Keep: mustBound(t, "< 8")}}
	s := signal(start(), 1, 9)
	d := Decide(pool, s, Decision{}, start())
	if got := show(d); got != "+within -beyond" || !d.Next.Equal(s.Expires) {
		t.Errorf("live: %s, next %v", got, d.Next)
	}
	d = Decide(pool, s, d, s.Expires.Add(-1))
	if got := show(d); got != "+within -beyond" {
		t.Errorf("just before expiry: %s", got)
	}
	d = Decide(pool, s, d, s.Expires)
	if got := show(d); got != "+no-signal +no-signal" || !d.Next.IsZero() {
		t.Errorf("expired: %s, next %v", got, d.Next)
	}
}

func TestSince(t *testing.T) {
	pool := Pool{Members: members("r"), Policy: Policy{Keep: mustBound(t, "< 8")}}
	var d Decision
	for i, c := range []struct{ value, since float64 }{{1, 0}, {2, 0}, {9, 2}, {10, 2}, {1, 4}} {
		now := start().Add(time.Duration(i) * time.Second)
		d = Decide(pool, signal(now, c.value), d, now)
		if got := d.Members[0].Since.Sub(start()).Seconds(); got != c.since {
			t.Errorf("step %d: since %vs, want %vs", i, got, c.since)
		}
	}
}

func TestPolicyCheck(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		want   string
	}{
		{Policy{Readmit: mustBound(t, "< 6")}, "keep is not"},
		{Policy{Keep: mustBound(t, "< 8"), Readmit: mustBound(t, "> 6")}, "opposite sides"},
		{Policy{Keep: mustBound(t, "< 8"), Readmit: mustBound(t, "< 9")}, "looser"},
		{Policy{Keep: mustBound(t, "> 8"), Readmit: mustBound(t, "> 7")}, "looser"},
		{Policy{NoData: "guess"}, "keep or drop"},
		{Policy{Min: -1}, "negative"},
		{Policy{Hold: -1}, "negative"},
		{Policy{MaxStep: 1.1}, "not a share"},
		{Policy{Keep: mustBound(t, "< 8"), Readmit: mustBound(t, "< 2 * mean")}, ""},
	} {
		err := c.policy.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.policy, err, c.want)
		}
	}
}

// randomWorld plays steps of random members, values and policies and calls check after each.
func randomWorld(t *testing.T, check func(pool Pool, s Signal, previous, d Decision, now time.Time)) {
	bounds := []string{"< 8", "> 3", "< 1.5 * mean", "<= median + 2 * mad", "< mean + stddev", "< p80"}
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := Policy{
			Keep: mustBound(t, bounds[r.IntN(len(bounds))]), Min: r.IntN(6), MaxStep: float64(r.IntN(4)) / 4,
			Hold: time.Duration(r.IntN(30)) * time.Second, NoData: []NoData{NoDataKeep, NoDataDrop}[r.IntN(2)],
		}
		var d Decision
		var s Signal
		for i := range 30 {
			now := start().Add(time.Duration(i) * 5 * time.Second)
			states := make([]byte, r.IntN(12))
			for j := range states {
				states[j] = "rrrrrntd"[r.IntN(8)]
			}
			if r.IntN(3) > 0 {
				s = signal(now)
				for j := range 12 {
					if r.IntN(5) > 0 {
						s.Values[address(j)] = []float64{10 * r.Float64(), math.NaN(), math.Inf(1), 5}[max(0, r.IntN(20)-16)]
					}
				}
				if r.IntN(10) == 0 {
					s.Expires = now
				}
			}
			pool := Pool{Members: members(string(states)), Policy: p}
			previous := d
			d = Decide(pool, s, previous, now)
			check(pool, s, previous, d, now)
		}
	}
}

func TestMinimumIsNeverUndercut(t *testing.T) {
	randomWorld(t, func(pool Pool, _ Signal, _, d Decision, _ time.Time) {
		ready, in, serving := 0, 0, 0
		for i, m := range pool.Members {
			v := d.Members[i]
			if m.available() {
				ready++
				if v.In {
					in++
				}
			} else if v.In && v.Reason != LastResort {
				t.Fatalf("%v is in and not ready: %s", m, show(d))
			}
			if m.Serving && v.In {
				serving++
			}
		}
		if in < min(max(1, pool.Policy.Min), ready) {
			t.Fatalf("minimum %d undercut: %s", pool.Policy.Min, show(d))
		}
		if slices.ContainsFunc(pool.Members, func(m Member) bool { return m.Serving }) && serving == 0 {
			t.Fatalf("somebody serves, but the answer is empty: %s", show(d))
		}
	})
}

func TestOrderOfMembersDoesNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	randomWorld(t, func(pool Pool, s Signal, previous, d Decision, now time.Time) {
		pool.Members = slices.Clone(pool.Members)
		r.Shuffle(len(pool.Members), func(i, j int) { pool.Members[i], pool.Members[j] = pool.Members[j], pool.Members[i] })
		// Printed, since NaN is not equal to itself.
		if again := Decide(pool, s, previous, now); fmt.Sprint(again) != fmt.Sprint(d) {
			t.Fatalf("shuffled members decided otherwise:\n%v\n%v", again, d)
		}
	})
}

func TestDecidingAgainChangesNothing(t *testing.T) {
	randomWorld(t, func(pool Pool, s Signal, _, d Decision, now time.Time) {
		if pool.Policy.MaxStep > 0 || pool.Policy.Hold > 0 {
			return
		}
		if again := Decide(pool, s, d, now); show(again) != show(d) {
			t.Fatalf("same input, other decision: %s, then %s", show(d), show(again))
		}
	})
}

func TestStepIsBounded(t *testing.T) {
	randomWorld(t, func(pool Pool, s Signal, previous, d Decision, now time.Time) {
		if pool.Policy.MaxStep == 0 || !s.live(now) {
			return
		}
		ready, newly := 0, 0
		for i, m := range pool.Members {
			if !m.available() {
				continue
			}
			ready++
			if old, _ := previous.verdict(m.Address); d.Members[i].Excluded && !old.Excluded {
				newly++
			}
		}
		if newly > max(1, int(pool.Policy.MaxStep*float64(ready))) {
			t.Fatalf("%d of %d newly out with a step of %v: %s", newly, ready, pool.Policy.MaxStep, show(d))
		}
	})
}
