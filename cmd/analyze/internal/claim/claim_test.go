// SPDX-License-Identifier: Apache-2.0

package claim

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/numbers"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// runs has one run of quickstart in it: five systems, three valid steady trials and a fault each.
const runs = "../../../../internal/results/testdata/v1"

const ledger = `version: 1
results: RESULTS
claims:
  - id: cheap
    claim: It is cheap.
    scenario: quickstart
    statistic: {quantity: cpu, systems: [dnsingress], take: max}
    relation: below
    reference: {systems: [nginx, traefik], take: min, times: 0.9}
names: [IPv6]
`

// paper makes a directory with a ledger and texts, and opens runs for it.
func paper(t *testing.T, yaml string, texts map[string]string) (path string, open numbers.Open) {
	dir := t.TempDir()
	absolute, err := filepath.Abs(runs)
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(dir, absolute)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"claims.yaml": strings.ReplaceAll(yaml, "RESULTS", filepath.ToSlash(relative))}
	for name, text := range texts {
		files[name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "claims.yaml"), quickstart
}

// quickstart reads the run once for all tests, whatever it is called.
var quickstart = func() numbers.Open {
	read := sync.OnceValues(func() (*digest.Run, error) {
		return digest.Open(context.Background(), filepath.Join(runs, "quickstart", "20261121T200000Z"), nil)
	})
	return func(string) (*digest.Run, error) { return read() }
}()

func TestClaimsAgainstARun(t *testing.T) {
	for _, c := range []struct {
		name, claim string
		holds       bool
		says        string
	}{
		{"one that holds", `{quantity: cpu, systems: [dnsingress], take: max}, relation: below, reference: {systems: [nginx, traefik], take: min, times: 0.9}`, true, "expected max cpu of dnsingress below 0.9 times min of nginx, traefik; run 20261121T200000Z says"},
		{"falsified", `{quantity: cpu, systems: [dnsingress], take: min}, relation: above, reference: {systems: [nginx]}`, false, "run 20261121T200000Z says"},
		{"for one of two not", `{quantity: cpu, systems: [nginx]}, relation: below, reference: {systems: [dnsingress, traefik]}`, false, "not so for nginx beside dnsingress"},
		{"a value", `{quantity: requests, systems: [nginx]}, relation: at-least, reference: {value: 1}`, true, ""},
		{"within", `{quantity: p50, systems: [nginx]}, relation: within, reference: {quantity: p50, percent: 0.1}`, true, ""},
		{"another quantity", `{quantity: p50, systems: [nginx]}, relation: at-most, reference: {quantity: p99}`, true, "median p50 of nginx at most median p99 of nginx"},
		{"under a fault", `{quantity: window, systems: [dnsingress], fault: pod-sigkill}, relation: at-least, reference: {value: 0}`, true, "under pod-sigkill"},
		{"no such quantity", `{quantity: p98, systems: [nginx]}, relation: below, reference: {value: 1}`, false, "hint: there are"},
		{"no such system", `{quantity: p99, systems: [caddy]}, relation: below, reference: {value: 1}`, false, "no valid trial has p99 of caddy"},
		{"no such level", `{quantity: p99, systems: [nginx], levels: {tree: flat}}, relation: below, reference: {value: 1}`, false, "no cell of the run has the levels tree=flat"},
	} {
		t.Run(c.name, func(t *testing.T) {
			yaml := "version: 1\nresults: RESULTS\nclaims:\n  - {id: a, claim: b, scenario: quickstart, statistic: " + c.claim + "}\n"
			path, open := paper(t, yaml, nil)
			out, err := Check(t.Context(), path, open)
			if err != nil {
				t.Fatal(err)
			}
			if len(out) != 1 || out[0].ID != "a" || out[0].Line != 4 || out[0].Holds != c.holds || !strings.Contains(out[0].Says, c.says) {
				t.Errorf("got %+v", out)
			}
		})
	}
}

func TestNoRunOfTheScenario(t *testing.T) {
	path, open := paper(t, strings.Replace(ledger, "scenario: quickstart", "scenario: absent", 1), nil)
	out, err := Check(t.Context(), path, open)
	if err != nil || len(out) != 1 || out[0].Holds || !strings.Contains(out[0].Says, "no finished run of scenario absent") || !strings.Contains(out[0].Says, "quickstart") {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestAwaited(t *testing.T) {
	awaited := strings.Replace(ledger, "    relation:", "    awaited: true\n    relation:", 1)
	path, open := paper(t, strings.Replace(awaited, "scenario: quickstart", "scenario: absent", 1), map[string]string{"text.tex": "\\claim{cheap}"})
	if out, err := Check(t.Context(), path, open); err != nil || len(out) != 0 {
		t.Errorf("before its run: %+v, %v", out, err)
	}
	path, open = paper(t, strings.Replace(awaited, "relation: below", "relation: above", 1), nil)
	if out, err := Check(t.Context(), path, open); err != nil || len(out) != 1 || out[0].Holds {
		t.Errorf("with a run that says otherwise: %+v, %v", out, err)
	}
}

func TestBoundsHoldOnlyWhatTheyCan(t *testing.T) {
	quantity := func(v float64, cut bool) *numbers.Quantity {
		return &numbers.Quantity{System: "s", Summary: stats.Summarize([]float64{v}, 1), Cut: []bool{cut}}
	}
	for _, c := range []struct {
		relation             string
		left                 float64
		leftCut              bool
		right                float64
		rightCut, wantToHold bool
	}{
		{Below, 1, false, 2, false, true},
		{Below, 1, true, 2, false, false}, // at least 1 may be 3
		{Below, 1, false, 2, true, true},  // less than what is at least 2
		{Above, 3, true, 2, false, true},
		{Above, 3, false, 2, true, false},
		{AtMost, 2, false, 2, false, true},
		{AtMost, 2, true, 2, false, false},
		{AtLeast, 2, true, 2, false, true},
		{AtLeast, 2, false, 2, true, false},
		{Within, 2, false, 2.1, false, true},
		{Within, 2, false, 2.5, false, false},
		{Within, 2, true, 2, false, false},
	} {
		percent := 10.0
		claim := Claim{Relation: c.relation, Reference: Reference{Percent: &percent}}
		if got := claim.holds(take(quantity(c.left, c.leftCut), ""), take(quantity(c.right, c.rightCut), "")); got != c.wantToHold {
			t.Errorf("%s of %g (bound %v) and %g (bound %v): %v", c.relation, c.left, c.leftCut, c.right, c.rightCut, got)
		}
	}
}

func TestCells(t *testing.T) {
	e := &evidence{run: &digest.Run{}}
	for cell, v := range map[string]float64{"behaviour=compliant,tree=flat": 9, "behaviour=compliant,tree=deep": 10, "behaviour=long,tree=flat": 300, "behaviour=long,tree=deep": 290} {
		e.all = append(e.all, numbers.Quantity{Levels: cell, System: "s", Name: "last", Summary: stats.Summarize([]float64{v}, 1), Cut: []bool{false}})
	}
	factor, percent := 20.0, 5.0
	limit := 11.0
	for _, c := range []struct {
		name  string
		claim Claim
		holds bool
		says  string
	}{
		{"all that have a level", Claim{Relation: Below, Statistic: Statistic{Levels: map[string]string{"behaviour": "compliant"}}, Reference: Reference{Value: &limit}}, true, ""},
		{"all", Claim{Relation: Below, Reference: Reference{Value: &limit}}, false, "not so for s beside 11.0 at behaviour=long,tree="},
		{"beside the cell that differs in one level", Claim{
			Relation: Above, Statistic: Statistic{Levels: map[string]string{"behaviour": "long"}},
			Reference: Reference{Levels: map[string]string{"behaviour": "compliant"}, Times: &factor},
		}, true, ""},
		{"and not for another", Claim{
			Relation: Within, Statistic: Statistic{Levels: map[string]string{"tree": "deep"}},
			Reference: Reference{Levels: map[string]string{"tree": "flat"}, Percent: &percent},
		}, false, "not so for s beside s at behaviour=compliant,tree=deep"},
		{"none", Claim{Relation: Below, Statistic: Statistic{Levels: map[string]string{"tree": "wide"}}, Reference: Reference{Value: &limit}}, false, "no cell of the run has the levels tree=wide"},
	} {
		c.claim.Statistic.Quantity, c.claim.Statistic.Systems = "last", []string{"s"}
		if o := c.claim.hold(e); o.Holds != c.holds || !strings.Contains(o.Says, c.says) {
			t.Errorf("%s: %+v", c.name, o)
		}
	}
}

func TestManyValues(t *testing.T) {
	var values []value
	for i := range 20 {
		values = append(values, value{v: float64(i + 1), unit: "s"})
	}
	if got, want := list(values), "1.00 s to 20.0 s of 20"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLeastOfBounds(t *testing.T) {
	q := &numbers.Quantity{Summary: stats.Summarize([]float64{5, 9}, 1), Cut: []bool{false, true}}
	if v := take(q, "min"); v.cut || v.v != 5 {
		t.Errorf("the least of 5 and at least 9: %+v", v)
	}
	q.Cut = []bool{true, false}
	if v := take(q, "min"); !v.cut {
		t.Errorf("the least of at least 5 and 9: %+v", v)
	}
}

func TestManuscript(t *testing.T) {
	good := map[string]string{
		"paper.tex": "\\documentclass[10pt]{article}\n\\newcommand{\\x}[2]{#1}\nIPv6 is cheap\\claim{cheap}, see \\cite{rfc8200}, \\ref{fig:1}. % 99 is a comment\n\\vspace{3mm}\\rfc{8767}\n\\figureof{a}{found-churn-4}{Found}\\tableof*{a}{b-2}",
		// Its numbers are generated.
		"more.tex": "% Generated by another program.\n\\newcommand{\\A}{0.118}\n",
	}
	path, open := paper(t, ledger, good)
	out, err := Check(t.Context(), path, open)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range out {
		if !o.Holds {
			t.Errorf("a text in order: %s", o.Says)
		}
	}
	for text, want := range map[string]string{
		"It costs 0.118 s\\claim{cheap}.":             "paper.tex:1:10: the number 0 is typed by hand",
		"cheap\\claim{cheap}\nand 4 times less":       "paper.tex:2:5: the number 4",
		"cheap\\claim{cheap}, dear\\claim{dear}":      `claim "dear" is not in`,
		"\\claim{cheap}\\figureof{a}{b}{In 7 trials}": "paper.tex:1:33: the number 7",
		"nothing is claimed":                          "no text cites claim cheap",
		"\\claim{cheap} and 5\\% or IPv6 at 3~ms.":    "the number 5",
	} {
		path, open := paper(t, ledger, map[string]string{"paper.tex": text})
		out, err := Check(t.Context(), path, open)
		if err != nil {
			t.Fatal(err)
		}
		var says []string
		for _, o := range out {
			if !o.Holds {
				says = append(says, o.Says)
			}
		}
		if all := strings.Join(says, "\n"); !strings.Contains(all, want) {
			t.Errorf("%q: got %q, want %q", text, all, want)
		}
	}
}

func TestNumbersOfAnotherRun(t *testing.T) {
	path, open := paper(t, ledger, map[string]string{"paper.tex": "\\claim{cheap}"})
	l, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for run, fresh := range map[string]bool{l.Results + "/quickstart/20261121T200000Z": true, l.Results + "/quickstart/20250101T000000Z": false} {
		data, err := numbers.Make(t.Context(), filepath.Dir(path), numbers.Source{Runs: []string{run}, Cited: []string{"paper.tex"}}, open)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), "numbers.tex"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := Check(t.Context(), path, open)
		if err != nil {
			t.Fatal(err)
		}
		last := out[len(out)-1]
		if last.Holds != fresh || !fresh && !strings.Contains(last.Says, "has no number of") {
			t.Errorf("numbers of %s: %+v", run, last)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"version: 1", "version: 2", "claims.yaml:1:10: version: version 2 is not known"},
		{"id: cheap", "id: Cheap!", `claims.yaml:4:9: claims[0].id: id "Cheap!" cannot be cited`},
		{"relation: below", "relation: under", `claims.yaml:8:15: claims[0].relation: relation "under" is not known (hint: below, at-most, above, at-least, within)`},
		{"take: max", "take: most", `claims[0].statistic.take: take "most" is not known`},
		{"{systems: [nginx, traefik], take: min, times: 0.9}", "{}", "it is not said what to compare with"},
		{"times: 0.9", "times: -1", "a factor of -1"},
		{"times: 0.9", "value: 3", "a value and what it would be taken from"},
		{"relation: below", "relation: within", "percent belongs to the relation within"},
		{"quantity: cpu, ", "", "no quantity"},
		{"systems: [dnsingress], ", "", "no system"},
		{"    scenario: quickstart\n", "", "no scenario"},
		{"quantity: cpu", "quantty: cpu", `unknown key "quantty" (hint: did you mean "quantity"?)`},
		{ledger, "version: 1\nresults: x\nclaims: []\n", "there is no claim"},
		{ledger, "claims: {", "the file is no YAML"},
	} {
		_, err := Parse("claims.yaml", []byte(strings.Replace(ledger, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: %v, want %q", c.new, c.old, err, c.want)
		}
	}
	twice := ledger[:strings.Index(ledger, "names:")] + ledger[strings.Index(ledger, "  - id"):]
	if _, err := Parse("claims.yaml", []byte(twice)); err == nil || !strings.Contains(err.Error(), `id "cheap" is another claim's`) {
		t.Errorf("one identifier twice: %v", err)
	}
}

func TestLaTeX(t *testing.T) {
	path, open := paper(t, ledger, nil)
	out, err := Check(t.Context(), path, open)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := LaTeX(&b, out); err != nil {
		t.Fatal(err)
	}
	if want := `\claimentry{cheap}{1}{It is cheap.}{quickstart 20261121T200000Z}{max cpu of dnsingress below 0.9 times min of nginx, traefik}{`; !strings.Contains(b.String(), want) || !strings.HasSuffix(b.String(), "{holds}\n") {
		t.Errorf("got %s", b.String())
	}
}

func FuzzParse(f *testing.F) {
	f.Add(ledger)
	f.Add("version: 1\nclaims: [{id: a, reference: {value: .nan}}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse("claims.yaml", []byte(text))
		if (l == nil) == (err == nil) {
			t.Errorf("ledger %v, error %v", l, err)
		}
	})
}
