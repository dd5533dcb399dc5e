// SPDX-License-Identifier: Apache-2.0

package numbers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

const v1 = "../../../../internal/results/testdata/v1/quickstart/20261121T200000Z"

// opened reads each run once for all tests.
var opened sync.Map

func open(t *testing.T) Open {
	return func(dir string) (*digest.Run, error) {
		path, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		if run, ok := opened.Load(path); ok {
			return run.(*digest.Run), nil
		}
		run, err := digest.Open(t.Context(), dir, nil)
		if err == nil {
			opened.Store(path, run)
		}
		return run, err
	}
}

func TestQuantitiesAreThoseOfTheDigest(t *testing.T) {
	run, err := open(t)(v1)
	if err != nil {
		t.Fatal(err)
	}
	all := Of(run)
	cells := run.Cells()
	i := slices.IndexFunc(cells[0].Systems, func(s digest.System) bool { return s.Name == "nginx" })
	nginx := cells[0].Systems[i]
	for _, c := range []struct {
		fault, name string
		want        stats.Summary
	}{
		{"", "p99", nginx.P99},
		{"", "p50", nginx.P50},
		{"", "cpu", nginx.CPU},
		{"", "failed", nginx.ErrorPercent},
	} {
		q, err := Find(all, "", "nginx", c.fault, c.name)
		if err != nil {
			t.Error(err)
			continue
		}
		if q.Median != c.want.Median || q.Min != c.want.Min || q.Max != c.want.Max || q.N() != c.want.N() {
			t.Errorf("%s: %g (%g to %g, n %d), the digest has %g (%g to %g, n %d)", q, q.Median, q.Min, q.Max, q.N(), c.want.Median, c.want.Min, c.want.Max, c.want.N())
		}
		if len(q.Trials) != q.N() || len(q.Cut) != q.N() {
			t.Errorf("%s: %d values of %d trials", q, q.N(), len(q.Trials))
		}
	}
	f := nginx.Faults[0]
	q, err := Find(all, "", "nginx", f.Fault.Kind, "window")
	if err != nil {
		t.Fatal(err)
	}
	if want := float64(f.Outage.DurationNs()) / 1e9; q.Median != want || q.IsCut() != f.StillFailing() {
		t.Errorf("window %g, bound %v; the trial has %g, %v", q.Median, q.IsCut(), want, f.StillFailing())
	}
	// traefik's steady trials were left out in part: what is not valid rests in no number.
	for _, q := range all {
		if slices.Contains(q.Trials, "010-traefik-steady") {
			t.Errorf("%s rests on a trial that is not valid", &q)
		}
	}
	if _, err := Find(all, "", "nginx", "", "p98"); err == nil || !strings.Contains(err.Error(), "p99") {
		t.Errorf("asking for what is not there: %v", err)
	}
	if _, err := Find(all, "", "ngin", "", "p99"); err == nil || !strings.Contains(err.Error(), "p99 of nginx") {
		t.Errorf("asking for a system that is not there: %v", err)
	}
}

func TestMeasuresAreQuantities(t *testing.T) {
	trial := func(id string, m map[string]float64) *digest.Trial {
		return &digest.Trial{Trial: results.Trial{ID: id, Measures: m}}
	}
	trials := []*digest.Trial{trial("1", map[string]float64{"gone_servers_ns": 2.5e9, "queries_root": 7}), trial("2", map[string]float64{"gone_servers_ns": 3.5e9})}
	got := over(trials, measures(trials))
	if len(got) != 2 || got[0].Name != "gone-servers" || got[0].Unit != "s" || got[0].Median != 3 || got[0].N() != 2 ||
		got[1].Name != "queries-root" || got[1].Unit != "" || got[1].N() != 1 || got[1].Trials[0] != "1" {
		t.Errorf("got %+v", got)
	}
}

// What was done decides what a trial has: requests where somebody asked, outages where something broke, and its measures always.
func TestEveryConditionHasQuantities(t *testing.T) {
	run := &digest.Run{Manifest: results.Manifest{Factors: map[string][]string{"system": {"s"}, "fault": {"none", "churn-4", "churn-10", "find-max", "idle"}}}}
	add := func(kind, level string, valid bool, measures map[string]float64) {
		trial := digest.Trial{
			Trial:   results.Trial{ID: fmt.Sprint(len(run.Trials)), System: "s", Kind: kind, Factors: map[string]string{"fault": level}, Measures: measures},
			Verdict: results.Verdict{Valid: valid},
		}
		if kind != results.KindIdle {
			trial.Requests, trial.Failed = 100, 1
		}
		run.Trials = append(run.Trials, trial)
	}
	add(results.KindSteady, "none", true, map[string]float64{"link_per_million_mib": 7})
	add(results.KindChurn, "churn-4", true, map[string]float64{"ready_to_first_answer_s": 0.1})
	add(results.KindChurn, "churn-4", true, map[string]float64{"ready_to_first_answer_s": 0.3})
	add(results.KindChurn, "churn-4", false, map[string]float64{"ready_to_first_answer_s": 9})
	add(results.KindChurn, "churn-10", true, map[string]float64{"ready_to_first_answer_s": 0.4})
	add(results.KindFindMax, "find-max", true, map[string]float64{"knee_requests_per_s": 24})
	add(results.KindIdle, "idle", true, map[string]float64{"proxy_cpu_per_hour_s": 36})
	all := Of(run)
	for _, c := range []struct {
		fault, name, unit string
		median            float64
		trials            int
	}{
		{"", "failed", "%", 1, 1},
		{"", "link-per-million", "MiB", 7, 1},
		{"churn-4", "ready-to-first-answer", "s", 0.2, 2},
		{"churn-4", "failed", "%", 1, 2},
		{"churn-10", "ready-to-first-answer", "s", 0.4, 1},
		{"find-max", "knee-requests", "1/s", 24, 1},
		{"find-max", "requests", "", 100, 1},
		{"idle", "proxy-cpu-per-hour", "s", 36, 1},
	} {
		q, err := Find(all, "", "s", c.fault, c.name)
		if err != nil {
			t.Error(err)
			continue
		}
		if math.Abs(q.Median-c.median) > 1e-9 || q.N() != c.trials || q.Unit != c.unit {
			t.Errorf("%s: %g %s of %d trials, want %g %s of %d", q, q.Median, q.Unit, q.N(), c.median, c.unit, c.trials)
		}
	}
	if q, err := Find(all, "", "s", "idle", "requests"); err == nil {
		t.Errorf("%s: %g, of which nobody was asked", q, q.Median)
	}
	macros, err := Macros(run)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(macros, func(m Macro) bool { return m.Name == "SChurnFourReadyToFirstAnswer" }) {
		t.Error("no macro for what was measured while four pods were replaced")
	}
}

func TestPooledOverCells(t *testing.T) {
	run := &digest.Run{Manifest: results.Manifest{Factors: map[string][]string{"system": {"s"}, "tree": {"flat", "deep"}, "resolver": {"a", "b"}}}}
	for i, levels := range []map[string]string{{"tree": "flat", "resolver": "a"}, {"tree": "deep", "resolver": "a"}, {"tree": "flat", "resolver": "b"}, {"tree": "deep", "resolver": "b"}} {
		run.Trials = append(run.Trials, digest.Trial{
			Trial:   results.Trial{ID: string(rune('1' + i)), System: "s", Kind: results.KindSteady, Factors: levels, Measures: map[string]float64{"last_s": float64(i + 1), "last_max_s": float64(i + 2)}},
			Verdict: results.Verdict{Valid: true},
		})
	}
	got := map[string]float64{}
	for _, q := range Pooled(run) {
		if q.Name == "last" {
			got[fmt.Sprintf("%s of %d", q.Levels, q.Cells)] = q.Median
		}
	}
	want := map[string]float64{" of 4": 2.5, "tree=flat of 2": 2, "tree=deep of 2": 3, "resolver=a of 2": 1.5, "resolver=b of 2": 3.5}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if n := len(Of(run)); n < 4 {
		t.Errorf("%d quantities of four cells", n)
	}
	if _, err := Macros(run); err != nil {
		t.Error(err)
	}
}

func TestCamel(t *testing.T) {
	for words, want := range map[string]string{
		"power-cut":         "PowerCut",
		"p99":               "PNineNine",
		"behaviour=min-300": "BehaviourMinThreeZeroZero",
		"a/b.c_d é":         "ABCD",
	} {
		if got := Camel(words); got != want {
			t.Errorf("%q: %q, want %q", words, got, want)
		}
	}
}

func TestQuantityOf(t *testing.T) {
	for setting, want := range map[string]string{
		"2ms": "2 ms", "5s": "5 s", "1m0s": "1 min", "1m30s": "90 s", "24h0m0s": "24 h", "0s": "0 s", "1.5ms": "1.5ms",
		"0": "0", "20": "20", "20mbit": "20mbit", "none": "none", "": "",
	} {
		if got := quantityOf(setting); got != want {
			t.Errorf("%q: %q, want %q", setting, got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{
		{3, "", "3"},
		{2160, "", "2{,}160"},
		{3, "s", "3.00"},
		{0, "s", "0"},
		{0.1184, "s", "0.118"},
		{-0.00485, "s", "$-0.00485$"},
		{0.0000123, "s", `$1.2\cdot 10^{-5}$`},
		{2.5, "", "2.50"},
		{math.NaN(), "s", "--"},
	} {
		if got := number(c.v, c.unit); got != c.want {
			t.Errorf("number(%g, %q) = %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

// write makes files of their texts in a directory of the test.
func write(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func source(t *testing.T, dir string, cited ...string) Source {
	run, err := filepath.Abs(v1)
	if err == nil {
		run, err = filepath.Rel(dir, run)
	}
	if err != nil {
		t.Fatal(err)
	}
	return Source{Runs: []string{filepath.ToSlash(run)}, Cited: cited}
}

func TestRedoWritesTheSameBytes(t *testing.T) {
	dir := write(t, map[string]string{"text.tex": `\QuickstartNginxCpu{} and \QuickstartNginxCpuOverDnsingress % \QuickstartNotThere`})
	data, err := Make(t.Context(), dir, source(t, dir, "text.tex"), open(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "numbers.tex")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	again, err := Redo(t.Context(), path, open(t))
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(data) {
		t.Errorf("Redo gave\n%s\nof\n%s", again, data)
	}
	for _, want := range []string{
		`\\newcommand\{\\QuickstartNginxCpu\}\{[0-9.]+\}% cpu of nginx, s \(.*\): median over trials; 3 trials [^;]*; run 20261121T200000Z; analyze numbers .*20261121T200000Z\n`,
		`\\newcommand\{\\QuickstartNginxCpuOverDnsingress\}\{[0-9.]+\}% .* ratio of medians`,
		`\\newcommand\{\\QuickstartSubstrate\}\{twin\}`,
	} {
		if !regexp.MustCompile(want).Match(data) {
			t.Errorf("the file lacks %s:\n%s", want, data)
		}
	}
	if strings.Contains(string(data), `\QuickstartTraefikCpu}`) {
		t.Error("what is not cited is in the file")
	}
}

func TestEverythingWithoutTexts(t *testing.T) {
	dir := t.TempDir()
	data, err := Make(t.Context(), dir, source(t, dir), open(t))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\\newcommand\{\\(\w+)\}\{.*\}% .+; run .+; analyze numbers .+$`).FindAllStringSubmatch(string(data), -1) {
		if seen[m[1]] {
			t.Errorf("\\%s twice", m[1])
		}
		seen[m[1]] = true
	}
	if n := strings.Count(string(data), `\newcommand`); n != len(seen) || n < 500 {
		t.Errorf("%d macros, %d of them with name and provenance", n, len(seen))
	}
}

func TestCitedWhatIsNotThere(t *testing.T) {
	dir := write(t, map[string]string{"text.tex": "\\LaTeX{} and\n  \\QuickstartNginxCpuu", "other.tex": `\PowerCutWindow is no quantity of these runs`})
	_, err := Make(t.Context(), dir, source(t, dir, "text.tex", "other.tex", "absent.tex"), open(t))
	if !errors.Is(err, ErrCited) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{`text.tex:2:3: \QuickstartNginxCpuu is no quantity of`, `(hint: did you mean \QuickstartNginxCpu?)`, "absent.tex"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "PowerCut") {
		t.Errorf("a macro of a run that is not there: %v", err)
	}
}

func TestTwoRunsOfOneExperiment(t *testing.T) {
	dir := t.TempDir()
	s := source(t, dir)
	s.Runs = append(s.Runs, s.Runs[0])
	if _, err := Make(t.Context(), dir, s, open(t)); err == nil || !strings.Contains(err.Error(), "runs of one experiment") {
		t.Errorf("got %v", err)
	}
}

func TestHeaders(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "no file that `analyze numbers` wrote",
		"\\newcommand{\\A}{1}\n":            "no file that `analyze numbers` wrote",
		firstLine + "\n\n% run: ../later\n": "names no run",
	} {
		dir := write(t, map[string]string{"numbers.tex": text})
		if _, err := Redo(context.Background(), filepath.Join(dir, "numbers.tex"), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestLatest(t *testing.T) {
	root := t.TempDir()
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	make := func(experiment, id, substrate string, started, finished time.Time, ttls ...string) {
		m := results.Manifest{Experiment: experiment, RunID: id, Substrate: substrate, Started: started, Finished: finished, Factors: map[string][]string{"ttl": ttls}}
		if _, err := results.CreateRun(root, m, nil); err != nil {
			t.Fatal(err)
		}
	}
	make("a", "old", "twin", day(1), day(2))
	make("a", "new", "twin", day(3), day(4))
	make("a", "torn", "twin", day(5), time.Time{})
	make("b", "boards", "pi", day(1), day(2))
	make("b", "later", "twin", day(3), day(4), "1s")
	make("e", "whole", "twin", day(1), day(2), "1s", "5s")
	make("e", "part", "twin", day(3), day(4), "5s")
	make("f", "whole", "twin", day(1), day(2), "1s", "5s")
	make("f", "other", "twin", day(3), day(4), "5s", "30s")
	make("f", "part", "twin", day(5), day(6), "1s")
	for _, d := range []string{"c/empty", "d"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Latest(root)
	want := []string{filepath.Join(root, "a", "new"), filepath.Join(root, "b", "boards"), filepath.Join(root, "e", "whole"), filepath.Join(root, "f", "other")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if _, err := Latest(t.TempDir()); err == nil {
		t.Error("no error for a directory without runs")
	}
}

func TestUncommented(t *testing.T) {
	for line, want := range map[string]string{
		`a % b`:     `a `,
		`5 \% of %`: `5 \% of `,
		`\\% x`:     `\\`,
		`plain`:     `plain`,
	} {
		if got := Uncommented(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
