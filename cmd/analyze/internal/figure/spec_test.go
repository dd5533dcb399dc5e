// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

const v1 = "../../../../internal/results/testdata/v1/quickstart/20261121T200000Z"

func open(t testing.TB) *digest.Run {
	t.Helper()
	run, err := digest.Open(t.Context(), v1, nil)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func namesOfFigures(figures []*Figure) []string {
	var out []string
	for _, f := range figures {
		out = append(out, f.Name)
	}
	return out
}

// The default set has every kind, and what a run has no data for is left out without a word.
func TestDefaults(t *testing.T) {
	specs := Defaults()
	for _, k := range Kinds() {
		if k.Name == "staleness" {
			continue // of one experiment, which declares it
		}
		if !slices.ContainsFunc(specs, func(s Spec) bool { return s.Kind == k.Name }) {
			t.Errorf("no default figure is of kind %s", k.Name)
		}
		if k.Does == "" || k.Draw == nil {
			t.Errorf("kind %q says nothing or draws nothing", k.Name)
		}
	}
	figures, warnings := Lay(open(t), specs)
	want := "latency-cdf latency-tail percentiles trials-p99 error-timeline cpu memory phases pareto"
	if got := strings.Join(namesOfFigures(figures), " "); got != want || len(warnings) != 0 {
		t.Errorf("drew %s with %v, want %s", got, warnings, want)
	}
}

// A few lines of YAML make a figure of levels, series and quantities of the user's choice.
func TestDeclaredFigures(t *testing.T) {
	run := open(t)
	run.Manifest.Factors["connection"] = []string{"new", "keepalive"}
	run.Manifest.Factors["rate"] = []string{"100", "200", "400"}
	for i := range run.Trials {
		x := &run.Trials[i]
		x.Factors = map[string]string{"system": x.System, "connection": []string{"new", "keepalive"}[i%2], "rate": []string{"100", "200", "400"}[i/2%3]}
		x.Measures = map[string]float64{"lookup_cold_p50_ms": float64(i)}
	}
	for _, tc := range []struct{ name, yaml, want, warns string }{
		{"one a level of what varies", "{name: cdf, kind: latency-cdf, where: {rate: ['100']}}", "cdf-connection-keepalive-rate-100 cdf-connection-new-rate-100", ""},
		{"pooled over levels", "{name: cdf, kind: latency-cdf, each: []}", "cdf", ""},
		{"levels as series", "{name: cdf, kind: latency-cdf, series: [system, connection], each: []}", "cdf", ""},
		{"a factor as x", "{name: r, kind: rate-latency, x: rate, y: p90, each: []}", "r", ""},
		{"each factor with numbers", "{name: s, kind: scaling, y: failed, each: []}", "s-rate", ""},
		{"a measure of trials", "{name: m, kind: trials, y: lookup_cold_p50_ms, each: []}", "m", ""},
		{"a measure that no trial has", "{name: m, kind: trials, y: lookup_warm_p50_ms}", "", "figure m is not drawn: its trials do not have what it shows"},
		{"faults by choice", "{name: o, kind: trials, y: outage, where: {kind: [fault]}, series: [fault], each: []}", "o", ""},
		{"another factor", "{name: x, kind: latency-cdf, series: [colour]}", "", `the run has no factor "colour" (known: connection, fault, kind, rate, system)`},
		{"no such level", "{name: x, kind: latency-cdf, where: {system: [haproxy]}}", "", "no valid trial is of the kind and the levels that it asks for"},
		{"nothing with numbers", "{name: x, kind: scaling, where: {rate: ['100']}, series: [system, rate]}", "", "no factor with numbers as levels varies"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			specs, err := Parse("f.yaml", []byte("version: 1\nfigures:\n- "+tc.yaml+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			figures, warnings := Lay(run, specs)
			if got := strings.Join(namesOfFigures(figures), " "); got != tc.want {
				t.Errorf("drew %q, want %q (%v)", got, tc.want, warnings)
			}
			if said := fmt.Sprint(warnings); (len(warnings) > 0) != (tc.warns != "") || !strings.Contains(said, tc.warns) {
				t.Errorf("warnings %s, want %q", said, tc.warns)
			}
			for _, f := range figures {
				encode(t, f, "svg")
			}
		})
	}
	specs, err := Parse("f.yaml", []byte("version: 1\nfigures:\n- {name: a, kind: cpu, title: What it costs, each: []}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if figures, _ := Lay(run, specs); len(figures) != 1 || figures[0].Title != "What it costs" {
		t.Errorf("the title given is not the figure's: %+v", figures)
	}
}

// Everything that is wrong with a figures file is said at once, each with its place.
func TestParseRefuses(t *testing.T) {
	const file = `version: 2
figures:
- {name: A/b, kind: latency-cdf}
- {name: x, kind: latency-cfd}
- {name: x, kind: cpu, y: p99}
- {name: y, kind: trials, y: p9x}
- {name: z, kind: trials, y: faild}
- {name: q, kind: latency-cdf, colour: red}
- {name: r, kind: rate-latency, x: rate, series: [rate]}
- {name: w, kind: pareto, x: cpi, where: {kind: [slow]}}
`
	_, err := Parse("figures.yaml", []byte(file))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"figures.yaml:1:10: version: want 1, got 2",
		`figures.yaml:3:10: figures[0].name: "A/b" is no name for a file (hint: small letters, digits, - and .)`,
		`figures.yaml:4:19: figures[1].kind: no kind of figure is called "latency-cfd" (hint: did you mean "latency-cdf"?)`,
		`figures.yaml:5:10: figures[2].name: "x" is taken by a figure above`,
		`figures.yaml:5:27: figures[2].y: a figure of kind cpu takes no y (hint: leave it out)`,
		`figures.yaml:6:30: figures[3].y: no quantity is called "p9x"`,
		`figures.yaml:7:30: figures[4].y: no quantity is called "faild" (hint: did you mean "failed"?`,
		`figures.yaml:8:32: figures[5]: unknown key "colour"`,
		`figures.yaml:9:50: figures[6].series: factor "rate" is used twice`,
		`figures.yaml:10:30: figures[7].x: no quantity is called "cpi"`,
		`figures.yaml:10:49: figures[7].where.kind: no kind of trial is called "slow" (hint: steady, fault, churn, find-max, idle)`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not said: %s", want)
		}
	}
	var p strictyaml.Problem
	if !errors.As(err, &p) {
		t.Error("the error is no strictyaml.Problem")
	}
	if t.Failed() {
		t.Log(err)
	}
	for _, broken := range []string{"", "version: 1\n", "- a\n", "version: 1\nfigures: [\n", "version: 1\nfigures: 3\n"} {
		if _, err := Parse("f.yaml", []byte(broken)); err == nil || !strings.Contains(err.Error(), "f.yaml:") {
			t.Errorf("%q: error %v, want one with a place", broken, err)
		}
	}
}

// Whatever a figures file holds, it is read or refused with a place.
func FuzzParse(f *testing.F) {
	f.Add(defaults)
	f.Add([]byte("version: 1\nfigures:\n- {name: a, kind: scaling, x: rate, y: p99.9, where: {kind: [steady]}, series: [system, rate]}\n"))
	f.Add([]byte("version: 1\nfigures:\n- {name: a, kind: pareto, x: memory, each: []}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		specs, err := Parse("f.yaml", data)
		if err == nil && len(specs) == 0 {
			t.Error("neither figures nor an error")
		}
		if err != nil && !strings.Contains(err.Error(), "f.yaml:") {
			t.Errorf("an error without a place: %v", err)
		}
	})
}

// More trials give a box, an interval, a cloud; a knee is found where a run has one.
func TestKnees(t *testing.T) {
	all := someTraces([]string{"nginx"}, rates(), 8)
	k := findKnee(all[0], true, 1)
	if !k.Clear || k.X < 850 || k.X > 950 || k.ci == nil || k.ci.Low > k.X || k.ci.High < k.X {
		t.Errorf("knee %+v %+v, it was put at 900", k, k.ci)
	}
	flat := trace{name: "flat"}
	for i, x := range rates() {
		flat.places = append(flat.places, place{x, some(uint64(i), 8, 2, 0.1)})
	}
	if k := findKnee(flat, true, 1); k.Clear {
		t.Errorf("a flat line has a knee: %+v", k)
	}
}

func TestFront(t *testing.T) {
	one := func(v float64) stats.Summary { return stats.Summarize([]float64{v}, 1) }
	var got []string
	for _, x := range front([]Trade{{"dear", one(5), one(1)}, {"beaten", one(4), one(4)}, {"cheap", one(1), one(6)}, {"direct", one(0), one(0)}, {"even", one(2), one(3)}, {"even too", one(2), one(3)}}) {
		got = append(got, x.Name)
	}
	if want := "cheap, even, even too, dear"; strings.Join(got, ", ") != want {
		t.Errorf("front %v, want %s", got, want)
	}
}

func TestUncertainty(t *testing.T) {
	n := func(n int) stats.Summary { return some(1, n, 5, 0.2) }
	for want, all := range map[string][]stats.Summary{
		"":                                      {n(0)},
		"n = 1 trial each: no spread is known.": {n(1), n(1)},
		"Bars: range over trials, n = 3 trials, too few for a CI.":                                     {n(3), n(3)},
		"Bars: 95 % CI of the median (BCa over trials), n = 6 to 12 trials (below 10: few).":           {n(6), n(12)},
		"Bars: 95 % CI of the median (BCa over trials), below 6 trials the range; n = 3 to 12 trials.": {n(3), n(12)},
		"Bars: 95 % CI of the median (BCa over trials), n = 10 trials.":                                {n(10)},
	} {
		if got := uncertainty("Bars", all); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The strokes of a figure differ, whatever its names are.
func TestStrokes(t *testing.T) {
	for _, names := range [][]string{
		{"static", "dnsingress-threshold", "dnsingress-outlier", "dnsingress-weighted", "nginx-least", "traefik-least", "envoy-least"},
		{"direct", "dnsingress", "dnsingress-outlier", "nginx", "nginx-least", "traefik", "envoy"},
		{"unbound", "bind", "knot", "powerdns", "none"},
	} {
		shapes, colours, dashes := map[shape]bool{}, map[string]bool{}, map[string]bool{}
		for _, s := range Light().strokes(names) {
			shapes[s.shape], colours[fmt.Sprint(s.color)], dashes[fmt.Sprint(s.dashes)] = true, true, true
		}
		if len(shapes) < len(names) || len(colours) < len(names) || len(dashes) < len(names) {
			t.Errorf("%v: %d shapes, %d colours, %d dash patterns", names, len(shapes), len(colours), len(dashes))
		}
	}
}

// A run without a trial has no figure, and nothing of the default set is complained of.
func TestRunWithNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, results.ManifestFile), []byte(`{"schema_version": 1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	run, err := digest.Open(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if figures, warnings := Lay(run, Defaults()); len(figures)+len(warnings) > 0 {
		t.Errorf("%v and %v of nothing", namesOfFigures(figures), warnings)
	}
	if !bytes.Contains(DefaultFile(), []byte("version: 1")) {
		t.Error("the default file cannot be begun with")
	}
}
