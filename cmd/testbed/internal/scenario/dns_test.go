// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var dnsVocabulary = Vocabulary{
	Systems: []string{"dnsingress", "nginx"}, Faults: []string{"pod-delete"},
	Resolvers: []string{"unbound", "knot", "none"}, Behaviours: []string{"compliant", "prefetch"}, Trees: []string{"flat", "depth-2"},
}

const goodDNS = `version: 1
name: small
question: Which?
hypothesis: This.
seed: 7
systems: [dnsingress]
dns: {resolvers: [unbound, knot, none], behaviours: [compliant, prefetch], trees: [flat, depth-2]}
load: {rate: 20, connection: new, warmup: 10s}
trials:
  - {count: 2, window: 10s}
  - {count: 1, window: 20s, fault: {kind: pod-delete, at: 5s, hold: 1s}}
`

func TestResolversAreCrossed(t *testing.T) {
	s, err := Parse("s.yaml", []byte(goodDNS), dnsVocabulary)
	if err != nil {
		t.Fatal(err)
	}
	if want := (DNS{s.DNS.Resolvers, s.DNS.Behaviours, s.DNS.Trees, 10 * time.Second, time.Minute, 3}); cmp.Diff(want, s.DNS) != "" {
		t.Error("defaults: ", cmp.Diff(want, s.DNS))
	}
	// Two resolvers with two behaviours and none with its only one, over two trees, three times.
	order := s.Order()
	if len(order) != 3*10 {
		t.Fatalf("%d cells", len(order))
	}
	seen := map[Cell]int{}
	for _, c := range order {
		seen[c]++
		if c.Lookup.Resolver == "none" && c.Lookup.Behaviour != "compliant" {
			t.Errorf("no resolver that does not comply: %+v", c.Lookup)
		}
	}
	for c, n := range seen {
		if n != c.Trials.Count {
			t.Errorf("%+v: %d times", c, n)
		}
	}
	again, _ := Parse("s.yaml", []byte(goodDNS), dnsVocabulary)
	lookups := func(cells []Cell) (out []Lookup) {
		for _, c := range cells {
			out = append(out, c.Lookup)
		}
		return out
	}
	if d := cmp.Diff(lookups(order), lookups(again.Order())); d != "" {
		t.Error("the same seed gives another order:\n", d)
	}
	again.Seed++
	if cmp.Equal(lookups(order), lookups(again.Order())) {
		t.Error("another seed gives the same order")
	}
}

func TestRounds(t *testing.T) {
	s, err := Parse("s.yaml", []byte(goodDNS), dnsVocabulary)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		clients int
		want    string // cells in each round
	}{
		{5, "[10 10 10]"}, // all five forms beside each other, with both trees
		{9, "[10 10 10]"},
		{2, "[4 4 2 4 4 2 4 4 2]"},
		{1, "[2 2 2 2 2 2 2 2 2 2 2 2 2 2 2]"},
	} {
		var sizes []int
		var cells []Cell
		for _, r := range Rounds(s.Order(), test.clients) {
			sizes = append(sizes, len(r))
			cells = append(cells, r...)
			forms, twice := map[[2]string]bool{}, map[Cell]bool{}
			for _, c := range r {
				forms[c.Lookup.form()] = true
				if twice[c] || c.Trials != r[0].Trials {
					t.Errorf("%d clients: %+v does not belong into its round", test.clients, c)
				}
				twice[c] = true
			}
			if len(forms) > test.clients {
				t.Errorf("%d clients: %d forms in a round", test.clients, len(forms))
			}
		}
		if got := fmt.Sprint(sizes); got != test.want {
			t.Errorf("%d clients: rounds of %s cells, want %s", test.clients, got, test.want)
		}
		if !cmp.Equal(cells, s.Order()) {
			t.Errorf("%d clients: cells were lost or moved", test.clients)
		}
	}
	// Trials that are repeated follow in one queue, whatever block they were of.
	c := s.Order()[0]
	if got := Rounds([]Cell{c, c}, 5); len(got) != 2 {
		t.Errorf("a cell and its repetition share a round: %v", got)
	}
	plain := []Cell{{System: "a", Trials: c.Trials}, {System: "b", Trials: c.Trials}}
	if got := Rounds(plain, 5); len(got) != 2 {
		t.Errorf("without resolvers, cells share a round: %v", got)
	}
}

func TestDNSFindings(t *testing.T) {
	for name, test := range map[string]struct{ old, new, want string }{
		"resolver":   {"knot, ", "knut, ", `s.yaml:7:28: dns.resolvers[1]: unknown resolver "knut" (hint: known: unbound, knot, none)`},
		"twice":      {"knot, ", "unbound, ", `s.yaml:7:28: dns.resolvers[1]: "unbound" given twice`},
		"behaviour":  {"prefetch", "prefetching", `s.yaml:7:65: dns.behaviours[1]: unknown behaviour "prefetching" (hint: known: compliant, prefetch)`},
		"no tree":    {"trees: [flat, depth-2]", "trees: []", `s.yaml:7:83: dns.trees: none given (hint: known: flat, depth-2)`},
		"ttl":        {"depth-2]}", "depth-2], ttl: 1500ms}", `s.yaml:7:105: dns.ttl: 1.5s (hint: whole seconds, 1s to 24h)`},
		"delegation": {"depth-2]}", "depth-2], delegation_ttl: 0s}", `s.yaml:7:116: dns.delegation_ttl: 0s (hint: whole seconds, 1s to 24h)`},
		"warm-up":    {"warmup: 10s", "warmup: 9s", `s.yaml:8:43: load.warmup: 9s, but addresses live for 10s (hint: at least dns.ttl, in which the trials' loads begin at random)`},
		"cold":       {"depth-2]}", "depth-2], cold: 0}", `s.yaml:7:106: dns.cold: 0 cold resolutions (hint: 1 to 100)`},
		"system":     {"[dnsingress]", "[nginx]", `s.yaml:6:10: systems: resolvers are compared over dnsingress alone (hint: systems: [dnsingress])`},
		"connection": {"connection: new", "connection: keepalive", `s.yaml:8:30: load.connection: keepalive hides what resolvers answer (hint: new: a connection that is kept asks nobody)`},
		"key":        {"resolvers:", "resolver:", `s.yaml:7:7: dns: unknown key "resolver" (hint: did you mean "resolvers"?)`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("s.yaml", []byte(strings.Replace(goodDNS, test.old, test.new, 1)), dnsVocabulary)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got\n%v\nwant\n%s", err, test.want)
			}
		})
	}
}
