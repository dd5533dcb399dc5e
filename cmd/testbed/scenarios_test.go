// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
)

// questions are the nine experiments; each has a file in each form, figures and a page.
var questions = []string{
	"latency", "scalability", "resources", "failover", "propagation", "resolvers", "steering", "dynamic-ttl", "resilience",
}

// runLine is the line of a scenario that says on which inventory it is meant to run, and where it is written about.
var runLine = regexp.MustCompile(`(?m)^# testbed experiment run -i (\S+) (\S+) \((\S+)\)`)

const repo = "../.."

// shipped reads a scenario against the inventory that its head names, beside its page.
func shipped(t *testing.T, path, page string) (*scenario.Scenario, *inventory.Inventory) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repo, path))
	if err != nil {
		t.Fatal(err)
	}
	says := runLine.FindStringSubmatch(string(text))
	if says == nil || says[2] != path || says[3] != page {
		t.Fatalf("its command and its page are not in its head: %q", says)
	}
	inv, err := inventory.Load(filepath.Join(repo, says[1]))
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := scenario.Read(filepath.Join(repo, path), vocabulary(repo, inv))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Index(string(text), "\nhypothesis:") > strings.Index(string(text), "\nsystems:") {
		t.Error("its question and its hypothesis do not come first")
	}
	return s, inv
}

// Every scenario of every form can be run on the inventory that it names, and takes no longer than its form may.
func TestScenarios(t *testing.T) {
	longest := map[string]time.Duration{"ci": 3 * time.Minute, "twin": 40 * time.Minute, "pi": 120 * time.Hour, "brief": 13 * time.Minute}
	for _, form := range append(scenario.Forms(), "brief") { // which is a part of twin's
		for _, name := range questions {
			t.Run(form+"/"+name, func(t *testing.T) {
				s, inv := shipped(t, filepath.Join("experiments", form, name+".yaml"), "docs/experiments/"+name+".md")
				if hardware := inv.Substrate == "pi"; hardware != (form == "pi") {
					t.Errorf("form %s names an inventory of substrate %s", form, inv.Substrate)
				}
				if s.Name != name || s.Form != form && form != "brief" {
					t.Errorf("it says that it is %s in form %q", s.Name, s.Form)
				}
				cells := s.Order()
				took := scenario.SetUp + s.EstimateRounds(scenario.Rounds(cells, len(inv.Group(inventory.Client))))
				if took > longest[form] {
					t.Errorf("%d trials take about %s, more than %s", len(cells), took, longest[form])
				}
				// Besides what is compared there may be single trials that show a course.
				compared := slices.ContainsFunc(s.Trials, func(e scenario.Trials) bool { return e.Count >= 10 })
				if (form == "twin" || form == "pi") && !compared {
					t.Error("no cell has ten trials")
				}
				for _, beside := range []string{"experiments/figures/" + name + ".yaml", "docs/experiments/" + name + ".md"} {
					if _, err := os.Stat(filepath.Join(repo, beside)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		found, err := filepath.Glob(filepath.Join(repo, "experiments", form, "*.yaml"))
		if err != nil || len(found) != len(questions) {
			t.Errorf("form %s has %d files for %d questions (%v)", form, len(found), len(questions), err)
		}
	}
}

// The scenarios about tuned packs compare both packs of every system that they put ten trials into a cell of.
func TestPacks(t *testing.T) {
	found, err := filepath.Glob(filepath.Join(repo, "experiments", "packs*.yaml"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no scenarios about packs (%v)", err)
	}
	for _, path := range found {
		t.Run(filepath.Base(path), func(t *testing.T) {
			s, _ := shipped(t, filepath.Join("experiments", filepath.Base(path)), "docs/experiments/baselines.md")
			trials := map[string]map[string]int{} // by system, by pack
			for _, c := range s.Order() {
				if trials[c.System] == nil {
					trials[c.System] = map[string]int{}
				}
				trials[c.System][c.Levels[scenario.Pack]]++
			}
			for name, packs := range trials {
				if packs["default"] < 10 || packs["default"] != packs["tuned"] {
					t.Errorf("%s has %v trials by pack", name, packs)
				}
			}
		})
	}
}
