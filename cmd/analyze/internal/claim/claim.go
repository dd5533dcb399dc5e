// SPDX-License-Identifier: Apache-2.0

// Package claim holds what a text claims against what runs show.
//
// A claim names a scenario, a statistic of its newest run, and the relation to a reference that is expected of it:
//
//	version: 1
//	results: ../results                 # of each scenario the newest finished run, one on boards before one on a twin, and none with a part of another's levels
//	claims:
//	  - id: cpu-below-proxies
//	    claim: A request costs less CPU time through dnsingress than through any proxy.
//	    scenario: quickstart
//	    statistic: {quantity: cpu, systems: [dnsingress], take: max}
//	    relation: below                 # below | at-most | above | at-least | within
//	    reference: {systems: [nginx, traefik, envoy], take: min, times: 0.5}
//	names: [IPv6, p99]                  # words with digits that are no quantities
//
// A reference is a number (value), or the same quantity of other systems, at other levels, under another fault, or another
// quantity: what it does not say is the statistic's. take says what stands for the trials: their median (default), min, max,
// or low and high, the ends of the median's 95 % interval, or of the range where there are too few trials for one. Where there are
// several systems, the relation has to hold between each of the one side and each of the other; where a run has several cells
// with the statistic's levels, in each of them. A reference at other levels is of the cell that differs in these alone.
//
// A claim that is awaited (awaited: true) claims nothing until there is a run of its scenario, and from then on what all do: so text
// and expectation can be written before the run. Any other without a run does not hold.
//
// A value that is a lower bound, because a measured window ended before the thing did, holds a claim only where it can: it is
// above what it exceeds, and never below anything.
package claim

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// Ledger is a file of claims.
type Ledger struct {
	Version int      `yaml:"version"`
	Results string   `yaml:"results"` // directory of runs, relative to the file
	Claims  []Claim  `yaml:"claims"`
	Names   []string `yaml:"names"` // words with digits that are no quantities: the manuscript may hold them

	path string
}

// Claim is one sentence of a text and what it rests on.
type Claim struct {
	ID        string    `yaml:"id"`
	Text      string    `yaml:"claim"`
	Scenario  string    `yaml:"scenario"`
	Statistic Statistic `yaml:"statistic"`
	Relation  string    `yaml:"relation"`
	Reference Reference `yaml:"reference"`
	// Awaited claims nothing before there is a run of its scenario; its text stands in a section that is left out until then.
	Awaited bool `yaml:"awaited"`

	line int
}

// Statistic picks a number of a run.
type Statistic struct {
	Quantity string            `yaml:"quantity"`
	Systems  []string          `yaml:"systems"`
	Fault    string            `yaml:"fault"`  // kind, or churn-10, find-max, idle; empty: steady trials
	Levels   map[string]string `yaml:"levels"` // of the cells; none: of all
	Take     string            `yaml:"take"`
}

// Reference is what a statistic is held against.
type Reference struct {
	Value    *float64          `yaml:"value"`
	Quantity string            `yaml:"quantity"`
	Systems  []string          `yaml:"systems"`
	Fault    string            `yaml:"fault"`
	Levels   map[string]string `yaml:"levels"`
	Take     string            `yaml:"take"`
	Times    *float64          `yaml:"times"`   // factor on what it refers to
	Percent  *float64          `yaml:"percent"` // with "within": how far the statistic may be off
}

// Relations, as a file has them.
const (
	Below   = "below"
	AtMost  = "at-most"
	Above   = "above"
	AtLeast = "at-least"
	Within  = "within"
)

var (
	relations = []string{Below, AtMost, Above, AtLeast, Within}
	takes     = []string{"", "median", "min", "max", "low", "high"}
	plainID   = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
)

// Read reads and checks a file of claims. Every mistake is in the error, with its place.
func Read(path string) (*Ledger, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading claims: %w", err)
	}
	return Parse(path, data)
}

// Parse is Read for data that stands in the file at path.
func Parse(path string, data []byte) (*Ledger, error) {
	l := &Ledger{path: path}
	f := strictyaml.Decode(path, data, l)
	l.check(f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	for i := range l.Claims {
		l.Claims[i].line = f.Place(fmt.Sprintf("claims[%d]", i)).Line
	}
	return l, nil
}

func (l *Ledger) check(f *strictyaml.File) {
	if l.Version != 1 {
		f.Problem("version", "version: 1", "version %d is not known", l.Version)
	}
	if l.Results == "" {
		f.Problem("results", "results: ../results", "it is not said where the runs are")
	}
	if len(l.Claims) == 0 {
		f.Problem("claims", "", "there is no claim")
	}
	seen := map[string]bool{}
	for i := range l.Claims {
		c, at := &l.Claims[i], fmt.Sprintf("claims[%d]", i)
		if !plainID.MatchString(c.ID) {
			f.Problem(at+".id", "small letters, digits and hyphens", "id %q cannot be cited", c.ID)
		}
		if seen[c.ID] {
			f.Problem(at+".id", "", "id %q is another claim's", c.ID)
		}
		seen[c.ID] = true
		if strings.TrimSpace(c.Text) == "" {
			f.Problem(at+".claim", "", "it is not said what is claimed")
		}
		if c.Scenario == "" {
			f.Problem(at+".scenario", "the name of a file in experiments/", "no scenario")
		}
		if c.Statistic.Quantity == "" {
			f.Problem(at+".statistic.quantity", "analyze numbers lists them", "no quantity")
		}
		if len(c.Statistic.Systems) == 0 {
			f.Problem(at+".statistic.systems", "systems: [dnsingress]", "no system")
		}
		checkTake(f, at+".statistic.take", c.Statistic.Take)
		if !slices.Contains(relations, c.Relation) {
			f.Problem(at+".relation", strings.Join(relations, ", "), "relation %q is not known", c.Relation)
		}
		c.Reference.check(f, at+".reference", c.Relation)
	}
}

func (r *Reference) check(f *strictyaml.File, at, relation string) {
	checkTake(f, at+".take", r.Take)
	refers := r.Quantity != "" || len(r.Systems) > 0 || r.Fault != "" || len(r.Levels) > 0
	switch {
	case r.Value == nil && !refers:
		f.Problem(at, "value, or systems, levels, fault or quantity", "it is not said what to compare with")
	case r.Value != nil && (refers || r.Take != "" || r.Times != nil):
		f.Problem(at+".value", "", "a value and what it would be taken from")
	}
	if r.Times != nil && !(*r.Times > 0) {
		f.Problem(at+".times", "", "a factor of %g", *r.Times)
	}
	if within := relation == Within; within != (r.Percent != nil) {
		f.Problem(at+".percent", "how far the statistic may be off", "percent belongs to the relation within, and to no other")
	}
	if r.Percent != nil && !(*r.Percent > 0) {
		f.Problem(at+".percent", "", "%g percent", *r.Percent)
	}
}

func checkTake(f *strictyaml.File, at, take string) {
	if !slices.Contains(takes, take) {
		f.Problem(at, strings.Join(takes[1:], ", "), "take %q is not known", take)
	}
}

// dir is where the file stands.
func (l *Ledger) dir() string { return filepath.Dir(l.path) }

// Line is the line of the file that the claim begins at.
func (c *Claim) Line() int { return c.line }
