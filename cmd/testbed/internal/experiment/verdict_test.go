// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/search"
)

// Each rule is broken once; the trial is found invalid for that reason and no other.
func TestJudge(t *testing.T) {
	rules := scenario.Validity{
		LagP99: 10 * time.Millisecond, GeneratorCPU: 0.7, HostCPU: 0.9, Errors: 0.001, ClockOffset: 10 * time.Millisecond,
	}
	good := func() *facts {
		account := generator{
			Generator:     results.Generator{Requests: 1000, LagP99Ns: 9e6, CPUNs: 6e9, ElapsedNs: 10e9},
			WindowStartNs: 100, WindowEndNs: 200,
		}
		return &facts{
			kind: results.KindSteady, clients: []string{"c1", "c2"}, window: window{100, 200},
			generators: map[string]generator{"c1": account, "c2": account},
			outcome:    outcome{requests: 2000, failed: 2},
			resources:  []results.Resource{{Node: "w", Component: results.ComponentHost, CPUNs: 89, TotalNs: 100}},
			backends:   6, replicas: 6,
			clocks: map[string]clock{"w": {offset: -10 * time.Millisecond, rtt: time.Millisecond}},
		}
	}
	poison := func(change func(g *generator)) func(*facts) {
		return func(f *facts) {
			g := f.generators["c2"]
			change(&g)
			f.generators["c2"] = g
		}
	}
	for name, test := range map[string]struct {
		poison func(f *facts)
		want   []string
	}{
		"none":                    {func(*facts) {}, nil},
		"ended early":             {func(f *facts) { f.trial = errors.New("no pods") }, []string{"the trial ended early: no pods"}},
		"fault failed":            {func(f *facts) { f.fault = errors.New("missed") }, []string{"the fault: missed"}},
		"leftovers":               {func(f *facts) { f.leftovers = []string{"pod bench/x"} }, []string{"left over from the last trial: pod bench/x"}},
		"backends":                {func(f *facts) { f.backends = 5 }, []string{"5 of 6 backend pods were ready before the load"}},
		"no generator":            {func(f *facts) { delete(f.generators, "c2") }, []string{"generator on c2: no account"}},
		"interrupted":             {poison(func(g *generator) { g.Interrupted = true }), []string{"generator on c2: interrupted"}},
		"window":                  {poison(func(g *generator) { g.WindowStartNs = 101 }), []string{"generator on c2: measured the window 101 to 200, not 100 to 200"}},
		"lag":                     {poison(func(g *generator) { g.LagP99Ns = 10e6 + 1000 }), []string{"generator on c2: 1 % of requests were sent more than 10.001ms late, bound 10ms"}},
		"cpu":                     {poison(func(g *generator) { g.CPUNs = 8e9 }), []string{"generator on c2: used 0.80 cores, bound 0.70"}},
		"dropped":                 {poison(func(g *generator) { g.Dropped = 1 }), []string{"generator on c2: 1 of 1000 requests were never sent"}},
		"nothing sent":            {func(f *facts) { f.outcome = outcome{} }, []string{"no request in the window"}},
		"errors":                  {func(f *facts) { f.outcome.failed = 3 }, []string{"3 of 2000 requests failed (0.15 %), bound 0.10 % for a steady trial"}},
		"errors in a fault trial": {func(f *facts) { f.outcome.failed = 300; f.kind = results.KindFault }, nil},
		"counters":                {func(f *facts) { f.missing = []string{"w: pod bench/x"} }, []string{"missing counters: w: pod bench/x"}},
		"machine":                 {func(f *facts) { f.resources[0].CPUNs = 95 }, []string{"the CPUs of host w were busy for 95 % of the window, bound 90 %"}},
		"clock": {
			func(f *facts) { f.clocks["w"] = clock{offset: -12 * time.Millisecond, rtt: 2 * time.Millisecond} },
			[]string{"the clock of w is off by -12ms (±1ms), bound 10ms"},
		},
		"machine while the knee is sought": {func(f *facts) { f.resources[0].CPUNs = 95; f.kind = results.KindFindMax }, nil},
		"throttled":                        {func(f *facts) { f.throttled = []string{"w: under-voltage"} }, []string{"CPUs were throttled on w: under-voltage"}},
		"scrapes": {
			func(f *facts) {
				f.scrapes = scrapes{expected: 50, missing: 1, targets: []string{"pods [fd00::1]:9100 (1 of 10)"}}
			},
			[]string{"1 of 50 scrapes of Prometheus are missing or failed (2.0 %), bound 0.0 %: pods [fd00::1]:9100 (1 of 10)"},
		},
		"unsettled": {func(f *facts) { f.unsettled = 20 * time.Second }, []string{"latency was not stable after 20s of warm-up"}},
		"the generator was the limit": {
			func(f *facts) {
				f.kind, f.search = results.KindFindMax, &search.Account{Rate: 100, Confirmed: true, LimitedBy: search.Generator, Why: "90.00 % were sent in time, goal 99.00 %"}
			},
			[]string{"the generators, not the system, limited the rate: 90.00 % were sent in time, goal 99.00 % (hint: validity.lower_bounds takes it for a lower bound)"},
		},
		"no knee": {
			func(f *facts) {
				f.kind, f.search = results.KindFindMax, &search.Account{Why: "p99 is 200ms, goal 100ms"}
			},
			[]string{"no rate was found that keeps the goal: p99 is 200ms, goal 100ms"},
		},
		"idle": {func(f *facts) { f.kind, f.outcome, f.clients = results.KindIdle, outcome{}, nil }, nil},
		"two at once": {
			func(f *facts) { f.backends = 0; f.missing = []string{"x"} },
			[]string{"0 of 6 backend pods were ready before the load", "missing counters: x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := good()
			test.poison(f)
			want := results.Verdict{Valid: test.want == nil, Reasons: test.want}
			if d := cmp.Diff(want, judge(rules, f)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRemaining(t *testing.T) {
	s, err := scenario.Parse("s.yaml", []byte(`version: 1
name: s
question: What?
hypothesis: That.
systems: [a, b]
load: {rate: 100, connection: new}
factors: {ttl: [1s, 5s]}
trials:
  - {count: 2, window: 10s}
  - {count: 1, window: 10s, fault: {kind: pod-sigkill, at: 1s, hold: 2s}}
`), scenario.Vocabulary{
		Systems: []string{"a", "b"}, Faults: []string{"pod-sigkill"},
		Means: func(system string, f scenario.Factor) bool { return system == "a" },
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &Runner{Scenario: s}
	trial := func(system, condition, ttl string, valid bool) results.TrialDir {
		return results.TrialDir{
			Trial:   results.Trial{System: system, Factors: map[string]string{factorSystem: system, factorFault: condition, "ttl": ttl}},
			Verdict: results.Verdict{Valid: valid},
		}
	}
	names := func(cells []scenario.Cell) (out []string) {
		for _, c := range cells {
			out = append(out, c.String())
		}
		slices.Sort(out)
		return out
	}
	all := []string{
		"a none (ttl 1s)", "a none (ttl 1s)", "a none (ttl 5s)", "a none (ttl 5s)",
		"a pod-sigkill (ttl 1s)", "a pod-sigkill (ttl 5s)", "b none", "b none", "b pod-sigkill",
	}
	if d := cmp.Diff(all, names(r.remaining(s.Order(), nil))); d != "" {
		t.Error(d)
	}
	got := names(r.remaining(s.Order(), []results.TrialDir{
		trial("a", "none", "1s", true), trial("a", "none", "1s", true), trial("a", "none", "1s", true), // one too many
		trial("a", "none", "5s", false), trial("b", "none", none, true), trial("b", "pod-sigkill", none, true),
	}))
	want := []string{"a none (ttl 5s)", "a none (ttl 5s)", "a pod-sigkill (ttl 1s)", "a pod-sigkill (ttl 5s)", "b none"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
