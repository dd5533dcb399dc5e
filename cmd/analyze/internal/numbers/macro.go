// SPDX-License-Identifier: Apache-2.0

package numbers

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/table"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// Macro is one LaTeX macro without arguments.
type Macro struct {
	Name  string // letters alone, without the backslash
	Value string // as LaTeX
	From  string // what it is and which trials it rests on; one line
}

var digits = strings.NewReplacer(
	"0", "-zero-", "1", "-one-", "2", "-two-", "3", "-three-", "4", "-four-",
	"5", "-five-", "6", "-six-", "7", "-seven-", "8", "-eight-", "9", "-nine-")

// Camel makes of words the part of a macro's name: "power-cut", "p99" → PowerCutPNineNine. LaTeX allows letters alone.
func Camel(words ...string) string {
	var b strings.Builder
	for _, w := range words {
		for _, part := range strings.FieldsFunc(digits.Replace(w), func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsLetter(r) }) {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

// Macros returns the macros of a run, in a fixed order: what the run was, then its quantities, each with its spread and its
// ratios to the other systems in its cell. Two that would have one name are an error.
func Macros(run *digest.Run) ([]Macro, error) {
	out := facts(run)
	all := append(Of(run), Pooled(run)...)
	for i := range all {
		q := &all[i]
		base := Camel(run.Manifest.Experiment, q.Levels, q.System, q.Fault, ownExtreme(q.Name))
		add := func(suffix, value, what string) {
			out = append(out, Macro{base + suffix, value, what + trialsOf(q.Trials)})
		}
		unit := q.Unit
		if unit != "" {
			unit = ", " + unit
		}
		says := fmt.Sprintf("%s%s (%s)", q, unit, q.Means)
		add("", bound(q.IsCut(), number(q.Median, q.Unit)), says+": "+middle(q))
		add("Spread", spread(q), says+": "+spreadMeans(&q.Summary))
		add("Min", number(q.Min, q.Unit), says+": least of the trials")
		add("Max", bound(q.IsCut(), number(q.Max, q.Unit)), says+": greatest of the trials")
		add("Trials", number(float64(q.N()), ""), says+": number of trials")
		if q.Unit == "" {
			add("Sum", bound(q.IsCut(), number(q.Sum(), q.Unit)), says+": sum over the trials")
		}
		for j := range all {
			o := &all[j]
			if o.System == q.System || o.Levels != q.Levels || o.Fault != q.Fault || o.Name != q.Name || q.IsCut() || o.IsCut() || !(o.Median > 0) || !(q.Median > 0) {
				continue
			}
			add("Over"+Camel(o.System), number(q.Median/o.Median, "times"), fmt.Sprintf("%s over that of %s: ratio of medians", says, o.System))
			add("Under"+Camel(o.System), number(100*(1-q.Median/o.Median), "%"), fmt.Sprintf("%s below that of %s, %%: of medians", says, o.System))
		}
	}
	seen := map[string]string{}
	for _, m := range out {
		if other, twice := seen[m.Name]; twice {
			return nil, fmt.Errorf("naming quantities of %s: \\%s would be %s, and %s", run.Dir, m.Name, other, m.From)
		}
		seen[m.Name] = m.From
	}
	return out, nil
}

// ownExtreme has the names of extremes within a trial (…-max) differ from those of extremes over trials (…Max).
func ownExtreme(name string) string {
	words := strings.Split(name, "-")
	for i, w := range words {
		switch w {
		case "max":
			words[i] = "most"
		case "min":
			words[i] = "least"
		}
	}
	return strings.Join(words, "-")
}

func middle(q *Quantity) string {
	switch {
	case q.IsCut():
		return "at least, for the measured window ended before"
	case q.N() == 1:
		return "of its one trial"
	}
	return "median over trials"
}

func trialsOf(ids []string) string {
	if len(ids) == 1 {
		return "; trial " + ids[0]
	}
	if len(ids) > 20 {
		return fmt.Sprintf("; %d trials from %s to %s", len(ids), ids[0], ids[len(ids)-1])
	}
	return fmt.Sprintf("; %d trials %s", len(ids), strings.Join(ids, " "))
}

// spread is the interval of the median where there is one, else the range; the value itself where there is one trial.
// Of lower bounds the upper end is one too.
func spread(q *Quantity) string {
	low, high := number(q.Min, q.Unit), number(q.Max, q.Unit)
	if q.Interval != nil {
		low, high = number(q.Interval.Low, q.Unit), number(q.Interval.High, q.Unit)
	}
	if low == high {
		return bound(q.IsCut(), low)
	}
	return low + "--" + bound(q.IsCut(), high)
}

func spreadMeans(s *stats.Summary) string {
	if s.Interval != nil {
		return "95 % interval of the median, BCa bootstrap over trials"
	}
	return "range over trials"
}

// number writes v with three significant digits, as tables do, for LaTeX; a count whole.
func number(v float64, unit string) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "--"
	}
	s := table.Round(v)
	if unit == "" && v == math.Trunc(v) && math.Abs(v) < 1000 {
		s = strconv.FormatFloat(v, 'f', 0, 64)
	}
	if mantissa, exponent, ok := strings.Cut(s, "e"); ok {
		n, _ := strconv.Atoi(exponent)
		return fmt.Sprintf("$%s\\cdot 10^{%d}$", mantissa, n)
	}
	s = strings.ReplaceAll(s, ",", "{,}")
	if strings.HasPrefix(s, "-") {
		return "$" + s + "$"
	}
	return s
}

func bound(cut bool, s string) string {
	if cut {
		return "$\\geq$" + s
	}
	return s
}

// facts are what a text says of a run that is no quantity: when it was, of what, with which settings.
func facts(run *digest.Run) (out []Macro) {
	m := &run.Manifest
	add := func(what, value string, words ...string) {
		if value != "" {
			out = append(out, Macro{Camel(append([]string{m.Experiment}, words...)...), table.EscapeLaTeX(value), what + " of manifest.json"})
		}
	}
	add("run_id", m.RunID, "run")
	add("substrate", m.Substrate, "substrate")
	if !m.Started.IsZero() {
		add("started", m.Started.UTC().Format("2006-01-02"), "day")
	}
	if !m.Finished.IsZero() {
		add("started and finished, minutes between them", table.Round(math.Round(m.Finished.Sub(m.Started).Minutes())), "minutes")
	}
	add("source.commit", fmt.Sprintf("%.12s", m.Source.Commit), "commit")
	add("seed", fmt.Sprint(m.Seed), "seed")
	add("question", m.Question, "question")
	add("hypothesis", m.Hypothesis, "hypothesis")
	for _, f := range slices.Sorted(maps.Keys(m.Factors)) {
		if f != "fault" {
			add("factors."+f, strings.Join(m.Factors[f], ", "), "factor", f)
			add("factors."+f+", how many", fmt.Sprint(len(m.Factors[f])), "factor", f, "count")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(m.Settings)) {
		add("settings."+k, quantityOf(m.Settings[k]), "setting", k)
	}
	for _, k := range slices.Sorted(maps.Keys(m.Versions)) {
		add("versions."+k, m.Versions[k], "version", k)
	}
	groups := map[string]int{}
	for _, h := range m.Hosts {
		for _, g := range h.Groups {
			groups[g]++
		}
	}
	add("hosts, how many", fmt.Sprint(len(m.Hosts)), "hosts")
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		add("hosts of group "+g+", how many", fmt.Sprint(groups[g]), "hosts", g)
	}
	if len(m.Hosts) > 0 {
		h := m.Hosts[0]
		add("hosts[0].cpu", h.CPU, "cpu")
		add("hosts[0].cpus", fmt.Sprint(h.CPUs), "cpus")
		add("hosts[0].kernel", h.Kernel, "kernel")
		add("hosts[0].memory_bytes, GiB", table.Round(float64(h.Memory)/(1<<30)), "memory")
	}
	valid := 0
	for i := range run.Trials {
		if run.Trials[i].Used() {
			valid++
		}
	}
	out = append(out,
		Macro{Camel(m.Experiment, "valid"), fmt.Sprint(valid), "valid trials, how many"},
		Macro{Camel(m.Experiment, "recorded"), fmt.Sprint(len(run.Trials)), "recorded trials, how many"})
	return out
}

// quantityOf writes a setting that is a time, such as 2ms or 1m0s, in the largest unit of which it is a whole number.
func quantityOf(setting string) string {
	d, err := time.ParseDuration(setting)
	if err != nil || setting == "0" {
		return setting
	}
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if d%unit.of == 0 && (d != 0 || unit.of == time.Second) {
			return fmt.Sprintf("%d %s", d/unit.of, unit.name)
		}
	}
	return setting
}
