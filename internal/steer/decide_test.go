// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"math"
	"net/netip"
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

// signals has one signal, of the values of the members as members makes them.
func signals(at time.Time, values ...float64) map[string]Signal {
	return map[string]Signal{"load": {At: at, Expires: at.Add(time.Minute), Values: values}}
}

// bounded is a policy with one rule on the signal load: the bounds to stay and, if there is a second one, to return.
func bounded(t testing.TB, g Guards, bounds ...string) Policy {
	rule := Rule{Signal: "load", Keep: mustBound(t, bounds[0])}
	if len(bounds) > 1 {
		rule.Readmit = mustBound(t, bounds[1])
	}
	return Policy{Rules: []Rule{rule}, Guards: g}
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
	below8 := bounded(t, Guards{}, "< 8")
	band := bounded(t, Guards{}, "< 8", "< 6")
	held := bounded(t, Guards{Hold: 25 * time.Second}, "< 8")
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
		{"lower bound", bounded(t, Guards{}, ">= 1"), []step{
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
		{"no data drops", bounded(t, Guards{NoData: NoDataDrop}, "< 8"), []step{
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
		{"those that are let in are in: hysteresis begins anew", band, []step{
			{"rr", []float64{1, 9}, "+within -beyond"},
			{"rr", []float64{9, 7}, "+fail-open +fail-open FAIL-OPEN"},
			{"rr", []float64{5, 7}, "+within +within"},
		}},
		{"minimum", bounded(t, Guards{MinMembers: 2}, "< 8"), []step{
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
		{"largest step", bounded(t, Guards{MaxStep: 0.5}, "< 8"), []step{
			{"rrrrr", []float64{1, 9, 12, 11, 10}, "+within +limited -beyond -beyond +limited"},
			{"rrrrr", nil, "+within +limited -beyond -beyond +limited"},
			{"rrrrr", []float64{1, 9, 12, 11, 10}, "+within -beyond -beyond -beyond -beyond"},
		}},
		{"relative to the mean", bounded(t, Guards{}, "< 2 * mean"), []step{
			{"rrrr", []float64{1, 1, 1, 9}, "+within +within +within -beyond"},
		}},
		{"outlier by mad", bounded(t, Guards{}, "<= median + 3 * mad"), []step{
			{"rrrrr", []float64{10, 11, 12, 13, 40}, "+within +within +within +within -beyond"},
			{"rrrrr", []float64{10, 10, 10, 10, 10}, "+within +within +within +within +within"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.policy.Check([]string{"load"}); err != nil {
				t.Fatal(err)
			}
			var d Decision
			var s map[string]Signal
			for i, step := range c.steps {
				now := start().Add(time.Duration(i) * 10 * time.Second)
				if step.values != nil {
					s = signals(now, step.values...)
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
	pool := Pool{Members: members("rr"), Policy: bounded(t, Guards{}, "< 8")}
	s := signals(start(), 1, 9)
	d := Decide(pool, s, Decision{}, start())
	if got := show(d); got != "+within -beyond" || !d.Next.Equal(s["load"].Expires) {
		t.Errorf("live: %s, next %v", got, d.Next)
	}
	d = Decide(pool, s, d, s["load"].Expires.Add(-1))
	if got := show(d); got != "+within -beyond" {
		t.Errorf("just before expiry: %s", got)
	}
	d = Decide(pool, s, d, s["load"].Expires)
	if got := show(d); got != "+no-signal +no-signal" || !d.Next.IsZero() {
		t.Errorf("expired: %s, next %v", got, d.Next)
	}
}

func TestSince(t *testing.T) {
	pool := Pool{Members: members("r"), Policy: bounded(t, Guards{}, "< 8")}
	var d Decision
	for i, c := range []struct{ value, since float64 }{{1, 0}, {2, 0}, {9, 2}, {10, 2}, {1, 4}} {
		now := start().Add(time.Duration(i) * time.Second)
		d = Decide(pool, signals(now, c.value), d, now)
		if got := d.Members[0].Since.Sub(start()).Seconds(); got != c.since {
			t.Errorf("step %d: since %vs, want %vs", i, got, c.since)
		}
	}
}
