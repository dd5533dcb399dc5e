// SPDX-License-Identifier: Apache-2.0

package claim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/numbers"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/table"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// Outcome is what became of a claim, or of the text that makes it.
type Outcome struct {
	ID    string // of the claim; of what is wrong with a text, the text's file
	Line  int    // of the claim in its file, or of the text
	Holds bool
	Says  string // the relation that is expected, and what the data say

	Claim    *Claim // nil: it is about the text
	Run      string // identifier of the run that was asked
	Expected string // "max cpu of dnsingress below 0.5 times min of nginx, traefik, envoy"
	Measured string // "0.124 s; 0.236 s, 0.565 s, 0.565 s"
}

// Check holds every claim of the file at path against the newest run of its scenario, and the LaTeX files beside it against
// the claims: each is cited, what is cited is claimed, and no quantity is typed by hand. open reads the digest of a run
// directory. Only a file that cannot be read is an error; what does not hold is an Outcome.
func Check(ctx context.Context, path string, open func(dir string) (*digest.Run, error)) ([]Outcome, error) {
	l, err := Read(path)
	if err != nil {
		return nil, err
	}
	dirs, err := numbers.Latest(filepath.Join(l.dir(), filepath.FromSlash(l.Results)))
	if err != nil {
		return nil, err
	}
	out, err := l.hold(ctx, dirs, open)
	if err != nil {
		return nil, err
	}
	text, err := l.manuscript()
	if err != nil {
		return nil, err
	}
	stale, err := l.stale(dirs)
	return slices.Concat(out, text, stale), err
}

// numbersFile stands beside the claims where a text cites numbers.
const numbersFile = "numbers.tex"

// stale says that the text's numbers are of other runs than those that its claims are held against.
func (l *Ledger) stale(latest []string) ([]Outcome, error) {
	path := filepath.Join(l.dir(), numbersFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	from, err := numbers.ReadSource(path)
	if err != nil {
		return nil, err
	}
	has := map[string]bool{}
	for _, run := range from.Runs {
		has[filepath.Join(l.dir(), filepath.FromSlash(run))] = true
	}
	var out []Outcome
	for _, run := range latest {
		if !has[filepath.Clean(run)] {
			out = append(out, Outcome{ID: numbersFile, Line: 1, Says: fmt.Sprintf("%s:1:1: it has no number of %s, the run that counts of its experiment (hint: make paper-numbers)", path, run)})
		}
	}
	return out, nil
}

func (l *Ledger) hold(ctx context.Context, dirs []string, open numbers.Open) ([]Outcome, error) {
	byScenario := map[string]string{}
	for _, d := range dirs {
		byScenario[filepath.Base(filepath.Dir(d))] = d
	}
	opened := map[string]*evidence{}
	var out []Outcome
	for i := range l.Claims {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c := &l.Claims[i]
		dir, ok := byScenario[c.Scenario]
		if !ok && c.Awaited {
			continue
		}
		e := opened[c.Scenario]
		if e == nil {
			if !ok {
				e = &evidence{err: fmt.Errorf("no finished run of scenario %s in %s (hint: there are %s)", c.Scenario, l.Results, strings.Join(slices.Sorted(maps.Keys(byScenario)), ", "))}
			} else if run, err := open(dir); err != nil {
				e = &evidence{err: err}
			} else {
				e = &evidence{run: run, all: numbers.Of(run)}
			}
			opened[c.Scenario] = e
		}
		out = append(out, c.hold(e))
	}
	return out, nil
}

// evidence is a run that claims are held against.
type evidence struct {
	run *digest.Run
	all []numbers.Quantity
	err error
}

// value is a number that stands for trials.
type value struct {
	of   string // "nginx", for people
	v    float64
	cut  bool // it is a lower bound
	unit string
}

func (v value) String() string {
	s := table.Round(v.v)
	if v.cut {
		s = "≥" + s
	}
	if v.unit != "" {
		s += " " + v.unit
	}
	return s
}

func (c *Claim) hold(e *evidence) Outcome {
	o := Outcome{ID: c.ID, Line: c.line, Claim: c, Expected: c.expected()}
	says := func(format string, a ...any) Outcome {
		o.Says = "expected " + o.Expected + "; " + fmt.Sprintf(format, a...)
		return o
	}
	if e.err != nil {
		return says("%v", e.err)
	}
	o.Run = e.run.Manifest.RunID
	cells, err := e.cells(c.Statistic.Levels)
	if err != nil {
		return says("%v", err)
	}
	var left, right []value
	var contrary []string
	for _, cell := range cells {
		l, errLeft := e.each(c.Statistic, cell)
		r, errRight := c.references(e, cell)
		if err := errors.Join(errLeft, errRight); err != nil {
			return says("%v", err)
		}
		contrary = append(contrary, c.contrary(l, r, cell)...)
		left, right = append(left, l...), append(right, r...)
	}
	o.Measured = list(left) + "; " + list(right)
	if c.Reference.Value != nil {
		o.Measured = list(left)
	}
	o.Holds = len(contrary) == 0
	if !o.Holds && len(left)*len(right) > 1 {
		return says("run %s says %s: not so for %s", o.Run, o.Measured, shortened(contrary))
	}
	return says("run %s says %s", o.Run, o.Measured)
}

// contrary names the pairs that the relation does not hold of.
func (c *Claim) contrary(left, right []value, cell string) (out []string) {
	if cell != "" {
		cell = " at " + cell
	}
	for _, l := range left {
		for _, r := range right {
			if !c.holds(l, r) {
				out = append(out, l.of+" beside "+r.of+cell)
			}
		}
	}
	return out
}

// listed is how many values are written one by one.
const listed = 8

func list(values []value) string {
	if len(values) > listed {
		least := slices.MinFunc(values, func(a, b value) int { return cmp.Compare(a.v, b.v) })
		most := slices.MaxFunc(values, func(a, b value) int { return cmp.Compare(a.v, b.v) })
		return fmt.Sprintf("%s to %s of %d", least, most, len(values))
	}
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = v.String()
	}
	return strings.Join(words, ", ")
}

func shortened(words []string) string {
	if n := len(words); n > listed {
		words = append(slices.Clone(words[:listed]), fmt.Sprintf("and %d more", n-listed))
	}
	return strings.Join(words, ", ")
}

// holds is the relation of two numbers; of a lower bound no more is known than that it is one.
func (c *Claim) holds(left, right value) bool {
	switch c.Relation {
	case Below:
		return left.v < right.v && !left.cut
	case AtMost:
		return left.v <= right.v && !left.cut
	case Above:
		return left.v > right.v && !right.cut
	case AtLeast:
		return left.v >= right.v && !right.cut
	case Within:
		return math.Abs(left.v-right.v) <= math.Abs(right.v)**c.Reference.Percent/100 && !left.cut && !right.cut
	}
	return false
}

// references are what the statistic is held against in a cell: in the same one, unless levels of another are named.
func (c *Claim) references(e *evidence, cell string) ([]value, error) {
	r := c.Reference
	if r.Value != nil {
		return []value{{of: table.Round(*r.Value), v: *r.Value}}, nil
	}
	s := c.Statistic
	s.Take = r.Take
	if r.Quantity != "" {
		s.Quantity = r.Quantity
	}
	if r.Fault != "" {
		s.Fault = r.Fault
	}
	if len(r.Systems) > 0 {
		s.Systems = r.Systems
	}
	out, err := e.each(s, override(cell, r.Levels))
	for i := range out {
		if r.Times != nil {
			out[i].v *= *r.Times
		}
	}
	return out, err
}

// override gives factors of a cell other levels.
func override(cell string, levels map[string]string) string {
	parts := strings.Split(cell, ",")
	for i, p := range parts {
		factor, _, _ := strings.Cut(p, "=")
		if level, ok := levels[factor]; ok {
			parts[i] = factor + "=" + level
		}
	}
	return strings.Join(parts, ",")
}

// each reads a statistic of all its systems in a cell.
func (e *evidence) each(s Statistic, cell string) (out []value, err error) {
	var errs []error
	for _, system := range s.Systems {
		q, err := numbers.Find(e.all, cell, system, s.Fault, s.Quantity)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, take(q, s.Take))
	}
	return out, errors.Join(errs...)
}

// take is the number that stands for the trials of a quantity.
func take(q *numbers.Quantity, what string) value {
	out := value{of: q.System, cut: q.IsCut(), unit: q.Unit}
	switch what {
	case "", "median":
		out.v = q.Median
	case "min":
		out.v = q.Min
		// The least of several is known where no bound is below it.
		out.cut = out.cut && !leastKnown(q)
	case "max":
		out.v = q.Max
	case "low":
		out.v = edges(&q.Summary).Low
	case "high":
		out.v = edges(&q.Summary).High
	}
	return out
}

func leastKnown(q *numbers.Quantity) bool {
	for i, v := range q.Values {
		if v == q.Min && !q.Cut[i] {
			return true
		}
	}
	return false
}

func edges(s *stats.Summary) stats.Interval {
	if s.Interval != nil {
		return *s.Interval
	}
	return stats.Interval{Low: s.Min, High: s.Max}
}

// cells returns the levels, as digest names them, of all cells that have those that are wanted.
func (e *evidence) cells(want map[string]string) ([]string, error) {
	found := []string{}
	for _, q := range e.all {
		if !slices.Contains(found, q.Levels) && matches(q.Levels, want) {
			found = append(found, q.Levels)
		}
	}
	if len(found) == 0 {
		var wanted []string
		for _, k := range slices.Sorted(maps.Keys(want)) {
			wanted = append(wanted, k+"="+want[k])
		}
		return nil, fmt.Errorf("no cell of the run has the levels %s", strings.Join(wanted, ","))
	}
	return found, nil
}

func matches(levels string, want map[string]string) bool {
	has := strings.Split(levels, ",")
	for k, v := range want {
		if !slices.Contains(has, k+"="+v) {
			return false
		}
	}
	return true
}

// expected is the relation in words.
func (c *Claim) expected() string {
	s, r := c.Statistic, c.Reference
	relation := strings.ReplaceAll(c.Relation, "-", " ")
	left := phrase(s.Take, s.Quantity, s.Systems, s.Fault, s.Levels)
	if r.Value != nil {
		if r.Percent != nil {
			relation += fmt.Sprintf(" %g %% of", *r.Percent)
		}
		return fmt.Sprintf("%s %s %g", left, relation, *r.Value)
	}
	if r.Percent != nil {
		relation += fmt.Sprintf(" %g %% of", *r.Percent)
	}
	if r.Times != nil {
		relation += fmt.Sprintf(" %g times", *r.Times)
	}
	systems := r.Systems
	if len(systems) == 0 && (len(r.Levels) == 0 && r.Fault == "") {
		systems = s.Systems
	}
	return left + " " + relation + " " + phrase(r.Take, r.Quantity, systems, r.Fault, r.Levels)
}

func phrase(take, quantity string, systems []string, fault string, levels map[string]string) string {
	var words []string
	if take == "" {
		take = "median"
	}
	words = append(words, take)
	if quantity != "" {
		words = append(words, quantity)
	}
	if len(systems) > 0 {
		words = append(words, "of", strings.Join(systems, ", "))
	}
	if fault != "" {
		words = append(words, "under", fault)
	}
	for i, k := range slices.Sorted(maps.Keys(levels)) {
		if i == 0 {
			words = append(words, "at")
		}
		words = append(words, k+"="+levels[k])
	}
	return strings.Join(words, " ")
}
