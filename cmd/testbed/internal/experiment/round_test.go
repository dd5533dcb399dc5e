// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/tree"
	"github.com/dnsingress/dnsingress/internal/results"
)

func roundRunner() *Runner {
	return &Runner{
		Scenario: &scenario.Scenario{Seed: 5, DNS: scenario.DNS{Trees: tree.Names(), TTL: 9 * time.Second}},
		Inventory: &inventory.Inventory{
			Network: inventory.Network{Nodes: netip.MustParsePrefix("fd00::/64")},
			Nodes: []inventory.Node{
				{Name: "control-1", Groups: []string{inventory.Control}},
				{Name: "client-1", Groups: []string{inventory.Client}},
				{Name: "client-2", Groups: []string{inventory.Client}},
			},
		},
	}
}

// TestDelays holds the phases of a run to what comparisons need: each tree has been in each third of the TTL after three rounds.
func TestDelays(t *testing.T) {
	r := roundRunner()
	thirds := map[string][]int{}
	for number := 1; number <= 3; number++ {
		for _, of := range tree.All() {
			d := r.delay(number, of)
			if d < 0 || d >= 9*time.Second || d != r.delay(number, of) {
				t.Fatalf("round %d, %s: %s", number, of.Name, d)
			}
			thirds[of.Name] = append(thirds[of.Name], int(d/(3*time.Second)))
		}
	}
	for name, got := range thirds {
		if slices.Sort(got); !slices.Equal(got, []int{0, 1, 2}) {
			t.Errorf("%s begins in the thirds %v", name, got)
		}
	}
}

// TestWarmUp lets caches be of any age when something happens to pods, and of the same age when the run is repeated.
func TestWarmUp(t *testing.T) {
	r := &Runner{
		Scenario: &scenario.Scenario{Seed: 5, Load: scenario.Load{Warmup: time.Second}},
		run:      &results.Run{}, Inventory: roundRunner().Inventory,
	}
	cell := scenario.Cell{System: "nginx", Trials: &scenario.Trials{Fault: &scenario.Fault{Kind: "pod-sigkill"}}}
	thirds := map[int]int{}
	for i := range 300 {
		a, b := newTrial(r, i, cell), newTrial(r, i, cell)
		if a.offered.Warmup != b.offered.Warmup || a.offered.Warmup < time.Second || a.offered.Warmup >= time.Second+scenario.DefaultTTL {
			t.Fatalf("trial %d warms up for %s, and again for %s", i, a.offered.Warmup, b.offered.Warmup)
		}
		thirds[int((a.offered.Warmup-time.Second)*3/scenario.DefaultTTL)]++
	}
	for third := range 3 {
		if n := thirds[third]; n < 70 {
			t.Errorf("%d of 300 trials begin in third %d of a TTL", n, third)
		}
	}
	cell.Trials = &scenario.Trials{}
	if steady := newTrial(r, 1, cell); steady.offered.Warmup != time.Second {
		t.Errorf("a steady trial warms up for %s", steady.offered.Warmup)
	}
}

// TestFirst has runs go on with the round that they lack.
func TestFirst(t *testing.T) {
	r := roundRunner()
	r.Scenario.Systems = []string{"dnsingress"}
	r.Scenario.DNS.Resolvers, r.Scenario.DNS.Behaviours = []string{"knot", "none"}, []string{"compliant"}
	r.Scenario.Trials = []scenario.Trials{{Count: 3}}
	p := &roundsPhase{Runner: r} // 6 cells in a round
	for _, test := range []struct{ trials, invalid, want int }{{0, 0, 1}, {6, 0, 2}, {18, 8, 2}, {9, 0, 2}, {18, 1, 1}} {
		var before []results.TrialDir
		for i := 1; i <= test.trials; i++ {
			before = append(before, results.TrialDir{Trial: results.Trial{Index: i}, Verdict: results.Verdict{Valid: i != test.invalid}})
		}
		if got := p.first(before); got != test.want {
			t.Errorf("%d trials, of which number %d is invalid: round %d, want %d", test.trials, test.invalid, got, test.want)
		}
	}
}

func TestPlace(t *testing.T) {
	cell := func(resolver, tree string) scenario.Cell {
		return scenario.Cell{Lookup: scenario.Lookup{Resolver: resolver, Behaviour: "compliant", Tree: tree}}
	}
	cells := []scenario.Cell{cell("knot", "flat"), cell("none", "flat"), cell("knot", "depth-2"), cell("none", "depth-3")}
	var got []string
	for _, n := range place(cells, roundRunner().Inventory.Group(inventory.Client)) {
		got = append(got, n.Name)
	}
	if want := []string{"client-1", "client-2", "client-1", "client-2"}; !slices.Equal(got, want) {
		t.Errorf("cells are on %v, want %v", got, want)
	}
}

func TestBelongs(t *testing.T) {
	r := &round{Runner: roundRunner()}
	two := &trial{tree: tree.ByName("depth-2")[0]}
	for name, want := range map[string]bool{
		"backend.apps.two.": true, "two.": true, ".": true, "ns.root.": true, "backend.flat.": false, "site.three.": false,
	} {
		if r.belongs(two, name) != want {
			t.Errorf("%s belongs to the tree of depth 2: %t", name, !want)
		}
	}
}
