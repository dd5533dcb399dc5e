// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// DNS puts real recursive resolvers between the clients and dnsingress, which then answers at the ends of delegation trees
// below a private root. Its three factors are crossed: a cell is a resolver with a behaviour over a tree.
type DNS struct {
	// Resolvers on the client nodes; none means that clients ask a leaf themselves, which has no behaviour.
	Resolvers []string `yaml:"resolvers"`
	// Behaviours of each resolver.
	Behaviours []string `yaml:"behaviours"`
	// Trees of delegations from the root to the service's name.
	Trees []string `yaml:"trees"`
	// TTL of the service's addresses. Default 10s.
	TTL time.Duration `yaml:"ttl"`
	// DelegationTTL of name servers and their addresses. Default 60s.
	DelegationTTL time.Duration `yaml:"delegation_ttl"`
	// Cold is how many resolutions of each trial begin with a resolver that has just started. Default 3.
	Cold int `yaml:"cold"`
}

// Lookup is the resolver that a cell's clients ask: a level of each of the three factors.
type Lookup struct{ Resolver, Behaviour, Tree string }

// form is what a client node runs.
func (l Lookup) form() [2]string { return [2]string{l.Resolver, l.Behaviour} }

// none and compliant are the levels that belong together: who asks no resolver meets none of its liberties.
const none, compliant = "none", "compliant"

// Given says whether the scenario has the section.
func (d *DNS) Given() bool { return len(d.Resolvers) > 0 }

func (s *Scenario) checkDNS(f *strictyaml.File, v Vocabulary) {
	if !f.Has("dns") {
		return
	}
	d := s.DNS
	for _, factor := range []struct {
		name         string
		levels, have []string
	}{{"resolvers", v.Resolvers, d.Resolvers}, {"behaviours", v.Behaviours, d.Behaviours}, {"trees", v.Trees, d.Trees}} {
		known := "known: " + strings.Join(factor.levels, ", ")
		if len(factor.have) == 0 {
			f.Problem("dns."+factor.name, known, "none given")
		}
		for i, level := range factor.have {
			path := fmt.Sprintf("dns.%s[%d]", factor.name, i)
			if !slices.Contains(factor.levels, level) {
				f.Problem(path, known, "unknown %s %q", strings.TrimSuffix(factor.name, "s"), level)
			}
			if slices.Contains(factor.have[:i], level) {
				f.Problem(path, "", "%q given twice", level)
			}
		}
	}
	for _, ttl := range []struct {
		path  string
		value time.Duration
	}{{"dns.ttl", d.TTL}, {"dns.delegation_ttl", d.DelegationTTL}} {
		if ttl.value < time.Second || ttl.value > 24*time.Hour || ttl.value%time.Second != 0 {
			f.Problem(ttl.path, "whole seconds, 1s to 24h", "%s", ttl.value)
		}
	}
	if d.Cold < 1 || d.Cold > 100 {
		f.Problem("dns.cold", "1 to 100", "%d cold resolutions", d.Cold)
	}
	if len(s.Systems) != 1 || s.Systems[0] != "dnsingress" {
		f.Problem("systems", "systems: [dnsingress]", "resolvers are compared over dnsingress alone")
	}
	if s.Load.Warmup < d.TTL {
		f.Problem("load.warmup", "at least dns.ttl, in which the trials' loads begin at random", "%s, but addresses live for %s", s.Load.Warmup, d.TTL)
	}
	if s.Load.Connection == ConnectionKeepAlive {
		f.Problem("load.connection", "new: a connection that is kept asks nobody", "keepalive hides what resolvers answer")
	}
}

// lookups lists the cells of one block: all forms in an order that the random source gives, each with all trees.
func (d *DNS) lookups(rng *rand.Rand) []Lookup {
	var forms []Lookup
	for _, r := range d.Resolvers {
		if r == none {
			forms = append(forms, Lookup{Resolver: none, Behaviour: compliant})
			continue
		}
		for _, b := range d.Behaviours {
			forms = append(forms, Lookup{Resolver: r, Behaviour: b})
		}
	}
	rng.Shuffle(len(forms), func(i, j int) { forms[i], forms[j] = forms[j], forms[i] })
	var out []Lookup
	for _, form := range forms {
		for _, i := range rng.Perm(len(d.Trees)) {
			form.Tree = d.Trees[i]
			out = append(out, form)
		}
	}
	return out
}

// Rounds divides cells, in their order, into those that are executed at the same time and so meet the same fault: as many
// forms of resolvers as there are client nodes, one on each. Without resolvers each cell is a round of its own.
func Rounds(cells []Cell, clients int) [][]Cell {
	var rounds [][]Cell
	var forms [][2]string
	for _, c := range cells {
		last := len(rounds) - 1
		known := slices.Contains(forms, c.Lookup.form())
		beside := last >= 0 && c.Lookup != (Lookup{}) && rounds[last][0].Trials == c.Trials && !slices.Contains(rounds[last], c) &&
			(known || len(forms) < clients)
		if !beside {
			rounds, forms, known = append(rounds, nil), nil, false
			last++
		}
		rounds[last] = append(rounds[last], c)
		if !known {
			forms = append(forms, c.Lookup.form())
		}
	}
	return rounds
}

// EstimateRounds is about how long rounds take one after the other.
func (s *Scenario) EstimateRounds(rounds [][]Cell) time.Duration {
	var sum time.Duration
	for _, r := range rounds {
		sum += s.EstimateCell(r[0])
		if s.DNS.Given() {
			sum += time.Duration(s.DNS.Cold*len(r)) * lookup
		}
	}
	return sum
}

// lookup is about how long one cold resolution takes with the start of its resolver, as measured on the twin where several
// nodes share a core.
const lookup = 500 * time.Millisecond
