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

// Every scenario of every form can be run on the inventory that it names, and takes no longer than its form may.
func TestScenarios(t *testing.T) {
	const repo = "../.."
	longest := map[string]time.Duration{"ci": 3 * time.Minute, "twin": 40 * time.Minute, "pi": 120 * time.Hour, "brief": 13 * time.Minute}
	for _, form := range append(scenario.Forms(), "brief") { // which is a part of twin's
		for _, name := range questions {
			t.Run(form+"/"+name, func(t *testing.T) {
				path := filepath.Join("experiments", form, name+".yaml")
				text, err := os.ReadFile(filepath.Join(repo, path))
				if err != nil {
					t.Fatal(err)
				}
				says := runLine.FindStringSubmatch(string(text))
				if says == nil || says[2] != path || says[3] != "docs/experiments/"+name+".md" {
					t.Fatalf("its command and its page are not in its head: %q", says)
				}
				inv, err := inventory.Load(filepath.Join(repo, says[1]))
				if err != nil {
					t.Fatal(err)
				}
				if hardware := inv.Substrate == "pi"; hardware != (form == "pi") {
					t.Errorf("form %s names an inventory of substrate %s", form, inv.Substrate)
				}
				s, _, err := scenario.Read(filepath.Join(repo, path), vocabulary(repo, inv))
				if err != nil {
					t.Fatal(err)
				}
				if s.Name != name || s.Form != form && form != "brief" {
					t.Errorf("it says that it is %s in form %q", s.Name, s.Form)
				}
				if strings.Index(string(text), "\nhypothesis:") > strings.Index(string(text), "\nsystems:") {
					t.Error("its question and its hypothesis do not come first")
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
