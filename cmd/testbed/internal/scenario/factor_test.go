// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// direct differs by no pack, front or TTL; nginx by no TTL.
var factored = Vocabulary{
	Systems: []string{"direct", "dnsingress", "nginx"}, Faults: []string{"pod-sigkill", "dns-kill", "rack-cut"},
	Levels: map[Factor][]string{Pack: {"default", "tuned"}, Front: {"static", "l2", "bgp"}, TLS: {"off", "on"}, Retry: {"none", "client", "proxy"}},
	Means: func(system string, f Factor) bool {
		switch f {
		case Pack, Front:
			return system == "nginx"
		case TTL:
			return system == "dnsingress"
		}
		return true
	},
	Fits: func(system string, u Setup) error {
		if u.Front == "bgp" {
			return errors.New("there is no router")
		}
		return nil
	},
	Strikes: func(f Fault, systems []string) error {
		if f.Kind == "rack-cut" {
			return errors.New("fault rack-cut needs two racks")
		}
		return nil
	},
	Workers: 3, Clients: 2,
}

const crossed = `version: 1
name: crossed
question: Which?
hypothesis: This.
seed: 7
form: twin
systems: [direct, dnsingress, nginx]
factors:
  rate: [50%, 120]
  pack: [default, tuned]
  tls: [off, on]
pairs:
  - {of: [workers, pods], levels: [[2, 4], [3, 6]]}
load: {connection: new, warmup_most: 20s}
trials:
  - {count: 1, window: 20s, find_max: {from: 100, most: 1000}}
  - {count: 2, window: 10s}
  - {count: 1, window: 20s, fault: {kind: pod-sigkill, at: 5s, hold: 10s}, factors: {ttl: [1s, 5s, dynamic], rate: [120], pack: [default], tls: [off]}}
  - {count: 1, window: 10s, idle: true, factors: {tls: [off]}}
`

func mustParse(t *testing.T, text string) *Scenario {
	t.Helper()
	s, err := Parse("s.yaml", []byte(text), factored)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFactorsAreCrossedAndPaired(t *testing.T) {
	s := mustParse(t, crossed)
	for i, want := range []int{
		// Workers and pods vary together: two lines. nginx has two packs more.
		2 * 2 * (1 + 1 + 2),     // tls: no rate is given to a search
		2 * 2 * 2 * (1 + 1 + 2), // rate and tls
		2 * (1 + 3 + 1),         // of its own: a TTL means something to dnsingress alone
		2 * (1 + 1 + 2),
	} {
		cells := s.cells(&s.Trials[i])
		if len(cells) != want {
			t.Errorf("entry %d: %d cells, want %d", i, len(cells), want)
		}
		for _, c := range cells {
			if (c.Levels[Workers] == "2") != (c.Levels[Pods] == "4") {
				t.Errorf("entry %d: %s: workers and pods are crossed", i, c)
			}
			if c.System == "direct" && c.Levels[Pack] != "" || c.System != "dnsingress" && c.Levels[TTL] != "" {
				t.Errorf("entry %d: %s: a factor that means nothing to it", i, c)
			}
		}
	}
	// Knees come first, whatever the seed.
	for seed := range uint64(20) {
		s.Seed = seed
		order := s.Order()
		for i, c := range order {
			if (c.Trials.FindMax != nil) != (i < 16) {
				t.Fatalf("seed %d: %s is trial %d", seed, c, i)
			}
		}
		// A block has each cell of its entry once.
		if block := order[:16]; len(slices.CompactFunc(slices.SortedFunc(slices.Values(block), func(a, b Cell) int { return strings.Compare(a.String(), b.String()) }),
			func(a, b Cell) bool { return a == b })) != 16 {
			t.Fatalf("seed %d: a cell is twice in a block", seed)
		}
	}
}

func TestSetupAndOffered(t *testing.T) {
	s := mustParse(t, crossed)
	i := slices.IndexFunc(s.Order(), func(c Cell) bool {
		return c.System == "dnsingress" && c.Levels[TTL] == "5s" && c.Levels[Workers] == "3"
	})
	c := s.Order()[i]
	if want := (Setup{TTL: 5 * time.Second, Workers: 3, Pods: 6, ResponseBytes: 1024}); s.Setup(c) != want {
		t.Error(cmp.Diff(want, s.Setup(c)))
	}
	if l := s.Offered(c); l.Rate != 120 || l.Users != 20 || l.Connection != ConnectionNew {
		t.Errorf("offered %+v", l)
	}
	c.Levels[Rate], c.Levels[TLS], c.Levels[Users], c.Levels[Connection], c.Levels[Drain] = "80%", "on", "7", "keepalive", "8s"
	if part, ok := c.Share(); !ok || part != 0.8 || s.Offered(c).Rate != 0 || s.Offered(c).Users != 7 || s.Offered(c).Connection != "keepalive" || !s.Setup(c).TLS || s.Setup(c).Drain != 8*time.Second {
		t.Errorf("share %g, %+v, %+v", part, s.Offered(c), s.Setup(c))
	}
}

func TestCached(t *testing.T) {
	fault, churn := &Fault{Kind: "pod-sigkill"}, &Churn{Pods: 1}
	for name, test := range map[string]struct {
		trials Trials
		dns    DNS
		ttl    string
		want   time.Duration
	}{
		"nothing changes":           {ttl: "30s"},
		"nobody asks":               {trials: Trials{Idle: true}, ttl: "30s"},
		"a fault":                   {trials: Trials{Fault: fault}, ttl: "30s", want: 30 * time.Second},
		"chaos":                     {trials: Trials{Chaos: []Step{{Inject: "dns-kill"}}}, ttl: "1s", want: time.Second},
		"churn, no level":           {trials: Trials{Churn: churn}, want: DefaultTTL},
		"means nothing to a proxy":  {trials: Trials{Fault: fault}, want: DefaultTTL},
		"as long as what it is not": {trials: Trials{Fault: fault}, ttl: dynamic, want: 30 * time.Second},
		"rounds":                    {trials: Trials{Fault: fault}, dns: DNS{Resolvers: []string{"unbound"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := Scenario{DNS: test.dns, Factors: Factors{TTL: []string{"1s", "30s", dynamic}}}
			c := Cell{Trials: &test.trials, Levels: Levels{TTL: test.ttl}}
			if got := s.Cached(c); got != test.want {
				t.Errorf("caches hold for %s, want %s", got, test.want)
			}
		})
	}
}

func TestFactorFindings(t *testing.T) {
	for name, test := range map[string]struct{ old, new, want string }{
		"unknown factor":      {"pack: [def", "park: [def", `s.yaml:10:3: factors: unknown key "park" (hint: did you mean "pack"?)`},
		"unknown level":       {"[default, tuned]", "[default, tuned2]", `s.yaml:10:19: factors.pack[1]: unknown level "tuned2" of factor pack (hint: known: default, tuned)`},
		"level twice":         {"[default, tuned]", "[tuned, tuned]", `s.yaml:10:17: factors.pack[1]: level "tuned" given twice`},
		"bad rate":            {"[50%, 120]", "[fast, 120]", `s.yaml:9:10: factors.rate[0]: unknown level "fast" of factor rate (hint: requests a second, such as 120, or a share of the knee, such as 80%)`},
		"given twice":         {"load: {", "load: {rate: 100, ", `s.yaml:14:14: load.rate: given here and as a factor (hint: leave one out)`},
		"drains for long":     {"pack: [default", "drain: [0s, 31s]\n  pack: [default", `s.yaml:10:15: factors.drain[1]: unknown level "31s" of factor drain (hint: whole seconds, 0s to 30s)`},
		"crossed and paired":  {"pack: [default", "workers: [1, 2]\n  pack: [default", `s.yaml:14:11: pairs[0].of[0]: factor workers varies in factors.workers too (hint: a factor stands in one place)`},
		"ragged table":        {"[3, 6]]", "[3]]", `s.yaml:13:44: pairs[0].levels[1]: 1 levels for 2 factors (hint: a level for each of workers, pods)`},
		"another's level":     {"[workers, pods], levels: [[2, 4], [3, 6]]", "[system, front], levels: [[direct, l2], [nginx, l2]]", `s.yaml:13:45: pairs[0].levels[0][1]: factor front means nothing to system direct (hint: none)`},
		"means nothing":       {"systems: [direct, dnsingress, nginx]", "systems: [direct, dnsingress]", `s.yaml:10:9: factors.pack: factor pack means nothing to any of the systems direct, dnsingress (hint: leave it out)`},
		"no knee":             {", find_max: {from: 100, most: 1000}}", ", idle: true}", `s.yaml:9:9: factors.rate: a share of a knee that no trial looks for (hint: add - {count: 3, window: 20s, find_max: {from: 100, most: 10000}} to trials)`},
		"another knee":        {"most: 1000}}", "most: 1000}, factors: {tls: [off]}}", `s.yaml:17:5: trials[1]: no trial looks for the knee of system direct with tls on, workers 2, pods 4 (hint: let the find_max entry have the same levels)`},
		"cannot stand":        {"tls: [off, on]", "front: [static, bgp]\n  tls: [off, on]", `s.yaml:17:5: trials[0]: there is no router (hint: leave the combination out)`},
		"too many workers":    {"[3, 6]]", "[4, 8]]", `s.yaml:16:5: trials[0]: 4 workers, but the inventory has 3 (hint: another inventory)`},
		"no such target":      {"kind: pod-sigkill", "kind: rack-cut", `s.yaml:18:43: trials[2].fault.kind: fault rack-cut needs two racks (hint: another fault, or another inventory)`},
		"two things at once":  {"idle: true", "idle: true, churn: {pods: 1, at: 1s, every: 2s}", `s.yaml:19:5: trials[3]: churn and idle exclude each other (hint: an entry each)`},
		"rate of idle trials": {"idle: true, factors: {tls: [off]}", "idle: true, factors: {rate: [5]}", `s.yaml:19:5: trials[3]: idle excludes rates (hint: leave one out)`},
		"short settling":      {"warmup_most: 20s", "warmup_most: 2s", `s.yaml:14:38: load.warmup_most: duration 2s (hint: at least 6s: a shorter series does not show that it is stable)`},
		"search downwards":    {"most: 1000", "most: 10", `s.yaml:16:57: trials[0].find_max.most: 10, but the search begins at 100 (hint: at least from)`},
		"form":                {"form: twin", "form: twins", `s.yaml:6:7: form: unknown form "twins" (hint: ci, twin, pi)`},
	} {
		t.Run(name, func(t *testing.T) {
			in := strings.Replace(crossed, test.old, test.new, 1)
			if in == crossed {
				t.Fatal("the test changes nothing")
			}
			_, err := Parse("s.yaml", []byte(in), factored)
			if err == nil {
				t.Fatal("no error")
			}
			if got := strings.Split(err.Error(), "\n"); !slices.Contains(got, test.want) {
				t.Errorf("%s\nis not among\n%s", test.want, err)
			}
		})
	}
}

const disturbed = `version: 1
name: disturbed
question: Which?
hypothesis: This.
systems: [dnsingress]
load: {workload: dns, rate: 50, names: 10, update_every: 10s}
factors: {cached: [yes, no]}
trials:
  - count: 1
    window: 5m
    chaos:
      - {wait: 30s}
      - {mark: start}
      - {inject: dns-kill, with: {count: 2}}
      - {wait: 2m}
      - {withdraw: dns-kill}
      - {mark: end}
      - {recover: 1m}
      - {mark: recovered}
`

func TestChaos(t *testing.T) {
	s, err := Parse("s.yaml", []byte(disturbed), factored)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Fault{{Kind: "dns-kill", Hold: 2 * time.Minute, With: map[string]string{"count": "2"}}}; cmp.Diff(want, s.Trials[0].Faults()) != "" {
		t.Error(cmp.Diff(want, s.Trials[0].Faults()))
	}
	if got := s.Trials[0].Condition(); got != "chaos-dns-kill" {
		t.Error(got)
	}
	for name, test := range map[string]struct{ old, new, want string }{
		"two things":       {"{mark: start}", "{mark: start, wait: 1s}", `s.yaml:13:9: trials[0].chaos[1]: a step does one thing, this one 2 (hint: one of mark, inject, wait, withdraw, recover)`},
		"never withdrawn":  {"      - {withdraw: dns-kill}\n", "", `s.yaml:12:7: trials[0].chaos: fault dns-kill is never withdrawn (hint: - withdraw: dns-kill)`},
		"not injected":     {"{withdraw: dns-kill}", "{withdraw: pod-sigkill}", `s.yaml:16:20: trials[0].chaos[4].withdraw: fault pod-sigkill does not stand (hint: inject it first)`},
		"too long":         {"{wait: 2m}", "{wait: 5m}", `s.yaml:12:7: trials[0].chaos: the steps take up to 6m30s, but the window ends at 5m0s (hint: a longer window)`},
		"mark twice":       {"{mark: end}", "{mark: start}", `s.yaml:17:16: trials[0].chaos[5].mark: mark "start" given twice (hint: another name)`},
		"nobody to ask":    {"[dnsingress]", "[direct]", `s.yaml:5:10: systems: clients of direct ask no DNS, so that workload dns has nobody to ask (hint: leave it out)`},
		"factor of http":   {"cached: [yes, no]", "connection: [new]", `s.yaml:6:18: load.workload: queries have no connection (hint: leave the factor out)`},
		"unknown workload": {"workload: dns", "workload: smtp", `s.yaml:6:18: load.workload: unknown workload "smtp" (hint: http or dns)`},
	} {
		t.Run(name, func(t *testing.T) {
			in := strings.Replace(disturbed, test.old, test.new, 1)
			if in == disturbed {
				t.Fatal("the test changes nothing")
			}
			_, err := Parse("s.yaml", []byte(in), factored)
			if err == nil || !slices.Contains(strings.Split(err.Error(), "\n"), test.want) {
				t.Errorf("%s\nis not among\n%v", test.want, err)
			}
		})
	}
}
