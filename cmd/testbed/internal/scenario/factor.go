// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Factor is something of which cells have different levels, besides their system and what is done in their trials.
type Factor uint8

// Factors, in the order in which cells list them.
const (
	Rate Factor = iota
	Connection
	ResponseBytes
	Pack
	Front
	TLS
	Retry
	TTL
	ClientTTL
	Timers
	Workers
	Services
	Pods
	Drain
	Clients
	Users
	Cached

	factors = iota
)

// String is the factor's key in a scenario, and its name in results.
func (f Factor) String() string {
	return [factors]string{
		"rate", "connection", "response_bytes", "pack", "front", "tls", "retry", "ttl", "client_ttl", "timers",
		"workers", "services", "pods", "drain", "clients", "users", "cached",
	}[f]
}

// AllFactors lists them.
func AllFactors() []Factor {
	all := make([]Factor, factors)
	for i := range all {
		all[i] = Factor(i)
	}
	return all
}

// factorBy returns the factor that has the key.
func factorBy(key string) (Factor, bool) {
	i := slices.IndexFunc(AllFactors(), func(f Factor) bool { return f.String() == key })
	return Factor(max(i, 0)), i >= 0
}

// Levels are those of a cell, as the scenario writes them: empty for a factor that it does not give, and for one that means
// nothing to the cell's system.
type Levels [factors]string

// Factors are lists of levels. All of them are crossed with each other, with the systems, and with the trials.
type Factors struct {
	// Rate of all client nodes together: requests a second, such as 120, or a share of the cell's own knee, such as 80%: the
	// highest rate that a find_max entry of the same run found for the same system and the same other levels.
	Rate []string `yaml:"rate"`
	// Connection is new (one a request) or keepalive.
	Connection []string `yaml:"connection"`
	// ResponseBytes are sizes of a response's body.
	ResponseBytes []string `yaml:"response_bytes"`
	// Pack of settings that a system stands with, below deploy/baselines/: default or tuned.
	Pack []string `yaml:"pack"`
	// Front is how clients reach a proxy: static addresses of its replicas, or a virtual address.
	Front []string `yaml:"front"`
	// TLS is off or on: pods terminate it for direct and dnsingress, the proxy for the others.
	TLS []string `yaml:"tls"`
	// Retry is who tries again what failed: none, client, proxy or both. Without the factor, proxies do as their pack says and
	// clients try once.
	Retry []string `yaml:"retry"`
	// TTL of the service's addresses in DNS, such as 5s, or dynamic where the system chooses it.
	TTL []string `yaml:"ttl"`
	// ClientTTL is what clients make of a TTL: honour, forever, min:30s or max:5s.
	ClientTTL []string `yaml:"client_ttl"`
	// Timers by which Kubernetes notices a dead node: stock or short. Without the factor, as the inventory has them.
	Timers []string `yaml:"timers"`
	// Workers that carry the backend and the system: the first so many of the inventory.
	Workers []string `yaml:"workers"`
	// Services behind the system, each with a name of its own; requests go to all of them.
	Services []string `yaml:"services"`
	// Pods of the backend.
	Pods []string `yaml:"pods"`
	// Drain is how long a pod of the backend serves on when it is told to end, by a preStop hook that sleeps: 0s, at which it ends at once,
	// to 30s. Without the factor, 0s.
	Drain []string `yaml:"drain"`
	// Clients is how many client nodes generate load.
	Clients []string `yaml:"clients"`
	// Users simulated on each client node: how far one service's data fans out.
	Users []string `yaml:"users"`
	// Cached is yes where the names of load.workload dns are asked of the client's own resolver, no where of the servers that
	// stand behind it, cluster where of the cluster's CoreDNS by the address of its Service.
	Cached []string `yaml:"cached"`
}

// of returns the levels of a factor.
func (f *Factors) of(which Factor) []string {
	return [factors][]string{
		f.Rate, f.Connection, f.ResponseBytes, f.Pack, f.Front, f.TLS, f.Retry, f.TTL, f.ClientTTL, f.Timers,
		f.Workers, f.Services, f.Pods, f.Drain, f.Clients, f.Users, f.Cached,
	}[which]
}

// Pair is a table of factors that vary together. Tables are crossed with each other and with everything else.
type Pair struct {
	// Of names the columns: factors, and "system" for one that restricts a line to a system.
	Of []string `yaml:"of"`
	// Levels are the lines, each with a level a column.
	Levels [][]string `yaml:"levels"`
}

// systemColumn is the column of a Pair that names systems.
const systemColumn = "system"

// variant is a combination of levels before there is a system; system is empty for any.
type variant struct {
	system string
	Levels
}

// variants crosses factors and tables; an entry's own stand in place of the scenario's of the same name.
func (s *Scenario) variants(t *Trials) []variant {
	out := []variant{{}}
	given := t.given()
	for _, f := range AllFactors() {
		levels := t.Factors.of(f)
		if len(levels) == 0 && !given[f.String()] {
			levels = s.Factors.of(f)
		}
		if len(levels) == 0 || f == Rate && !t.loaded() {
			continue
		}
		out = cross(out, levels, func(v *variant, level string) bool {
			v.Levels[f] = level
			return true
		})
	}
	for _, p := range s.tables(t) {
		out = cross(out, p.Levels, func(v *variant, line []string) bool {
			for i, level := range line {
				if p.Of[i] == systemColumn {
					if v.system != "" && v.system != level {
						return false
					}
					v.system = level
					continue
				}
				if f, _ := factorBy(p.Of[i]); f != Rate || t.loaded() {
					v.Levels[f] = level
				}
			}
			return true
		})
	}
	return out
}

// tables are the pairs of an entry, and those of the scenario that name none of the entry's own factors.
func (s *Scenario) tables(t *Trials) []Pair {
	given := t.given()
	tables := slices.DeleteFunc(slices.Clone(s.Pairs), func(p Pair) bool {
		return slices.ContainsFunc(p.Of, func(of string) bool { return of != systemColumn && given[of] })
	})
	return append(tables, t.Pairs...)
}

// given holds the factors of the entry's own.
func (t *Trials) given() map[string]bool {
	given := map[string]bool{}
	for _, f := range AllFactors() {
		if len(t.Factors.of(f)) > 0 {
			given[f.String()] = true
		}
	}
	for _, p := range t.Pairs {
		for _, of := range p.Of {
			given[of] = true
		}
	}
	return given
}

// cross sets each level in a copy of each variant, and keeps the copies for which set says so.
func cross[L any](all []variant, levels []L, set func(v *variant, level L) bool) []variant {
	var out []variant
	for _, v := range all {
		for _, l := range levels {
			if c := v; set(&c, l) {
				out = append(out, c)
			}
		}
	}
	return out
}

// cells lists the cells of one entry: every system with every variant, less the factors that mean nothing to it, each once.
func (s *Scenario) cells(t *Trials) []Cell {
	var out []Cell
	variants := s.variants(t)
	seen := map[Cell]bool{}
	for _, system := range s.Systems {
		for _, v := range variants {
			if v.system != "" && v.system != system {
				continue
			}
			c := Cell{System: system, Trials: t, Levels: v.Levels}
			for _, f := range AllFactors() {
				if c.Levels[f] != "" && !s.means(system, f) {
					c.Levels[f] = ""
				}
			}
			if !seen[c] {
				seen[c] = true
				out = append(out, c)
			}
		}
	}
	return out
}

// means says whether a system differs by a factor.
func (s *Scenario) means(system string, f Factor) bool {
	return s.vocabulary.Means == nil || s.vocabulary.Means(system, f)
}

// Given lists the factors that any entry has levels of.
func (s *Scenario) Given() []Factor {
	var out []Factor
	for _, f := range AllFactors() {
		if len(s.LevelsOf(f)) > 0 {
			out = append(out, f)
		}
	}
	return out
}

// LevelsOf lists the levels of a factor that the scenario has anywhere, in the order in which it gives them.
func (s *Scenario) LevelsOf(f Factor) []string {
	var out []string
	add := func(levels []string) {
		for _, l := range levels {
			if !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
	}
	pairs := func(pairs []Pair) {
		for _, p := range pairs {
			if i := slices.Index(p.Of, f.String()); i >= 0 {
				for _, line := range p.Levels {
					if i < len(line) { // else a finding
						add(line[i : i+1])
					}
				}
			}
		}
	}
	add(s.Factors.of(f))
	pairs(s.Pairs)
	for i := range s.Trials {
		add(s.Trials[i].Factors.of(f))
		pairs(s.Trials[i].Pairs)
	}
	return out
}

// share reads "80%" as 0.8.
func share(level string) (float64, bool) {
	text, ok := strings.CutSuffix(level, "%")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	return n / 100, err == nil && n > 0 && n <= 200
}

// readable says what is wrong with a level of a factor whose levels have a syntax; those with names are in the vocabulary.
func readable(f Factor, level string) (hint string, ok bool) {
	count := func(most int) bool {
		n, err := strconv.Atoi(level)
		return err == nil && n >= 1 && n <= most
	}
	switch f {
	case Rate:
		n, err := strconv.ParseFloat(level, 64)
		_, isShare := share(level)
		return "requests a second, such as 120, or a share of the knee, such as 80%", isShare || err == nil && n > 0 && n <= 1e6
	case Connection:
		return "new or keepalive", level == ConnectionNew || level == ConnectionKeepAlive
	case ResponseBytes:
		n, err := strconv.ParseInt(level, 10, 64)
		return "0 to 1073741824", err == nil && n >= 0 && n <= maxResponse
	case TTL:
		d, err := time.ParseDuration(level)
		return "whole seconds, 1s to 24h, or dynamic", level == dynamic || err == nil && d >= time.Second && d <= 24*time.Hour && d%time.Second == 0
	case Drain:
		d, err := time.ParseDuration(level)
		return "whole seconds, 0s to " + maxDrain.String(), err == nil && d >= 0 && d <= maxDrain && d%time.Second == 0
	case ClientTTL:
		how, bound, bounded := strings.Cut(level, ":")
		d, err := time.ParseDuration(bound)
		return "honour, forever, min:30s or max:5s",
			!bounded && (how == "honour" || how == "forever") || (how == "min" || how == "max") && err == nil && d > 0
	case Cached:
		return "yes, no or cluster", level == "yes" || level == "no" || level == ByCluster
	case Workers, Clients:
		return "1 to 1000", count(1000)
	case Services, Pods, Users:
		return "1 to 10000", count(10_000)
	}
	return "", true
}

// String lists the levels that there are, as "rate 80%, pack tuned".
func (l Levels) String() string {
	var parts []string
	for _, f := range AllFactors() {
		if l[f] != "" {
			parts = append(parts, fmt.Sprintf("%s %s", f, l[f]))
		}
	}
	return strings.Join(parts, ", ")
}
