// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// source is a run that plots are drawn of. Its name tells two runs on one page apart, and is empty on the page of one.
type source struct {
	name  string
	run   *digest.Run
	cells []digest.Cell
}

// plot is one interactive plot, as plot.js reads it.
type plot struct {
	ID       string    `json:"id"`
	Title    string    `json:"title"`
	Says     string    `json:"-"`      // what it shows and how it is read
	Read     string    `json:"read"`   // the axis of the cursor: x, or y where values are read off at a share
	Choice   string    `json:"choice"` // what the variants differ in
	Variants []variant `json:"variants"`
}

type variant struct {
	Name   string   `json:"name"`
	X      axis     `json:"x"`
	Y      axis     `json:"y"`
	Series []series `json:"series"`
	Bands  []band   `json:"bands,omitempty"`
	Marks  []mark   `json:"marks,omitempty"`
	Note   string   `json:"note,omitempty"`
}

type axis struct {
	Label string `json:"label"`
	Unit  string `json:"unit"`
	Scale string `json:"scale"` // linear, log, or nines: -log10(1-share)
}

type series struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"` // line, steps or dots
	Color  int      `json:"color"`
	Dash   string   `json:"dash,omitempty"`
	Points []point  `json:"points"`
	Labels []string `json:"labels,omitempty"` // of the points
}

type band struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
	Name string  `json:"name"`
}

type mark struct {
	At     float64 `json:"at"`
	Name   string  `json:"name"`
	Series string  `json:"series"` // that it goes with
}

// point is x and y, written as short as a screen needs it.
type point [2]float64

func (p point) MarshalJSON() ([]byte, error) {
	b := strconv.AppendFloat([]byte{'['}, p[0], 'g', 6, 64)
	b = strconv.AppendFloat(append(b, ','), p[1], 'g', 8, 64)
	return append(b, ']'), nil
}

var _ json.Marshaler = point{}

// looks are the colours and dashes of the systems that figures know too; others take those that are left, in turn.
var looks = map[string]struct {
	color int
	dash  string
}{
	"direct": {0, "2 4"}, "dnsingress": {1, ""}, "nginx": {2, "10 4"}, "traefik": {3, "10 4 2 4"}, "envoy": {4, "5 4"},
}

// spare is how many colours beyond those of looks the style sheet has.
const spare = 3

// look gives a series its colour by system, and its dash by system on the page of one run, by run on that of two.
func (s *series) look(system string, from, sources, other int) {
	l, known := looks[system]
	s.Color, s.Dash = l.color, l.dash
	if !known {
		s.Color, s.Dash = len(looks)+other%spare, "8 4"
	}
	if sources > 1 {
		s.Dash = []string{"", "6 4"}[from%2]
	}
}

func (s source) series(system string) string {
	if s.name == "" {
		return system
	}
	return system + " " + s.name
}

// plots returns the plots of one run, or of several set beside each other. One without data is left out.
func plots(sources []source) []plot {
	var out []plot
	for _, p := range []plot{latencies(sources), overTrials(sources), failures(sources), shares(sources)} {
		p.Variants = slices.DeleteFunc(p.Variants, func(v variant) bool { return len(v.Series) == 0 })
		if len(p.Variants) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// eachSystem calls visit for every system of the cells with the levels.
func eachSystem(sources []source, levels string, visit func(from int, system *digest.System, other int)) {
	for from, s := range sources {
		for i := range s.cells {
			if s.cells[i].Levels != levels {
				continue
			}
			for j := range s.cells[i].Systems {
				visit(from, &s.cells[i].Systems[j], j)
			}
		}
	}
}

// levels lists those of all cells, each once, in order.
func levels(sources []source) []string {
	var out []string
	for _, s := range sources {
		for _, c := range s.cells {
			if !slices.Contains(out, c.Levels) {
				out = append(out, c.Levels)
			}
		}
	}
	return out
}

func latencies(sources []source) plot {
	p := plot{
		ID: "plot-latency", Title: "Latency of requests", Read: "y", Choice: "Levels",
		Says: "Which share of the requests took at most how long, from the intended send; valid steady trials of a system pooled. The cursor reads a percentile.",
	}
	for _, l := range levels(sources) {
		v := variant{
			Name: l, X: axis{"latency from intended send (ms)", "ms", "log"}, Y: axis{"requests at most so slow (%)", "", "nines"},
			Note: fmt.Sprintf("A curve ends where fewer than %d requests are slower. A failed request counts as slower than any.", stats.TailSupport),
		}
		eachSystem(sources, l, func(from int, system *digest.System, other int) {
			pooled, failed := system.Pooled(), uint64(0)
			if pooled == nil {
				return
			}
			for _, t := range system.Steady {
				failed += t.Failed
			}
			s := series{Name: sources[from].series(system.Name), Kind: "line", Points: distribution(pooled, failed)}
			s.look(system.Name, from, len(sources), other)
			v.Series = append(v.Series, s)
		})
		p.Variants = append(p.Variants, v)
	}
	return p
}

// resolution is how many steps of a curve a screen can show.
const resolution = 400

// distribution returns shares of requests by latency in ms, as fine as a screen shows them.
func distribution(l *stats.Latency, failed uint64) []point {
	all := float64(l.Count()) + float64(failed)
	support := float64(stats.TailSupport)
	if all < 2*support {
		support = 1
	}
	top := math.Log10(all / support)
	var out []point
	last := math.Inf(-1)
	for _, s := range l.Steps() {
		ms, slower := float64(s.Ns)/1e6, all-float64(s.Count)
		if len(out) == 0 {
			out = append(out, point{ms, 0})
		}
		if slower < support {
			break
		}
		if nines := -math.Log10(slower / all); nines-last >= top/resolution {
			out = append(out, point{ms, 1 - slower/all})
			last = nines
		}
	}
	return out
}

// overTrials shows one value a trial in the order of execution: whether a run drifted is seen at once.
func overTrials(sources []source) plot {
	p := plot{
		ID: "plot-trials", Title: "Trials in the order of execution", Read: "x", Choice: "Quantity",
		Says: "One point for each valid steady trial. A system whose points rise or fall from left to right drifted during the run.",
	}
	percentile := func(percent float64) func(*digest.Trial) float64 {
		return func(t *digest.Trial) float64 {
			if t.Latency != nil {
				if ns, ok := t.Latency.PercentileNs(percent); ok {
					return float64(ns) / 1e6
				}
			}
			return math.NaN()
		}
	}
	for _, q := range []struct {
		name, unit string
		of         func(*digest.Trial) float64
	}{
		{"p50", "ms", percentile(50)},
		{"p99", "ms", percentile(99)},
		{"failed requests", "%", func(t *digest.Trial) float64 { return 100 * t.ErrorShare() }},
		{"CPU between client and backend", "s per 1,000 requests", func(t *digest.Trial) float64 {
			if t.Usage == nil {
				return math.NaN()
			}
			return t.Usage.Path()
		}},
	} {
		v := variant{Name: q.name, X: axis{"trial, in the order of execution", "", "linear"}, Y: axis{q.name + " (" + q.unit + ")", q.unit, "linear"}}
		index := map[string]int{}
		for _, l := range levels(sources) {
			eachSystem(sources, l, func(from int, system *digest.System, other int) {
				name := sources[from].series(system.Name)
				if _, ok := index[name]; !ok {
					index[name] = len(v.Series)
					s := series{Name: name, Kind: "dots"}
					s.look(system.Name, from, len(sources), other)
					v.Series = append(v.Series, s)
				}
				s := &v.Series[index[name]]
				for _, t := range system.Steady {
					if value := q.of(t); !math.IsNaN(value) && !math.IsInf(value, 0) {
						s.Points = append(s.Points, point{float64(t.Index), value})
						s.Labels = append(s.Labels, t.ID)
					}
				}
			})
		}
		v.Series = slices.DeleteFunc(v.Series, func(s series) bool { return len(s.Points) == 0 })
		p.Variants = append(p.Variants, v)
	}
	return p
}

func failures(sources []source) plot {
	return aroundFault(sources, plot{
		ID: "plot-faults", Title: "Failed requests around faults", Read: "x", Choice: "Fault",
		Says: "Which share of the requests failed, by when they were due, over all trials of a system with the fault. Shaded: the time of the fault.",
	}, "failed requests (%)", int64(250e6), func(t *digest.Trial, b bins) {
		for i, ok := range t.Timeline.OK {
			b.add(t.Timeline.StartNs+int64(i)*t.Timeline.BinNs, ok+t.Timeline.Failed[i], t.Timeline.Failed[i])
		}
	})
}

func shares(sources []source) plot {
	return aroundFault(sources, plot{
		ID: "plot-shares", Title: "Share of the pod with the fault", Read: "x", Choice: "Fault",
		Says: "Which share of the answered requests the pod with the fault answered, by when they were due. Shaded: the time of the fault.",
	}, "answered by the pod with the fault (%)", int64(1e9), func(t *digest.Trial, b bins) {
		if t.Share == nil {
			return
		}
		for i, answered := range t.Share.Answered {
			b.add(t.Share.StartNs+int64(i)*t.Share.BinNs, answered, t.Share.Target[i])
		}
	})
}

// bins adds up requests by when they were due, in bins of a width in nanoseconds.
type bins struct {
	width int64
	sums  map[int64][2]float64 // whole and part
}

func (b bins) add(at int64, whole, part float64) {
	if whole == 0 {
		return
	}
	i := int64(math.Floor(float64(at) / float64(b.width)))
	s := b.sums[i]
	b.sums[i] = [2]float64{s[0] + whole, s[1] + part}
}

// percent returns the part of the whole by time in seconds.
func (b bins) percent() []point {
	var out []point
	width, last := float64(b.width)/1e9, int64(0)
	for _, i := range slices.Sorted(maps.Keys(b.sums)) {
		s := b.sums[i]
		out = append(out, point{float64(i) * width, 100 * s[1] / s[0]})
		last = i
	}
	if len(out) > 0 {
		out = append(out, point{float64(last+1) * width, out[len(out)-1][1]})
	}
	return out
}

// aroundFault fills in the plot's variants: one for each fault in each cell, with what fill adds to bins of a trial.
func aroundFault(sources []source, p plot, label string, width int64, fill func(*digest.Trial, bins)) plot {
	for _, l := range levels(sources) {
		kinds := map[string]bool{}
		eachSystem(sources, l, func(_ int, system *digest.System, _ int) {
			for _, t := range system.Faults {
				kinds[t.Fault.Kind] = true
			}
		})
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			v := variant{
				Name: strings.TrimSuffix(kind+", "+l, ", "), X: axis{"time since the fault began (s)", "s", "linear"}, Y: axis{label, "%", "linear"},
				Note: fmt.Sprintf("In bins of %g s.", float64(width)/1e9),
			}
			end := 0.0
			eachSystem(sources, l, func(from int, system *digest.System, other int) {
				b := bins{width: width, sums: map[int64][2]float64{}}
				for _, t := range system.Faults {
					if t.Fault.Kind == kind && t.Timeline != nil {
						fill(t, b)
						end = max(end, float64(t.Fault.EndNs-t.Fault.BeginNs)/1e9)
						v.mark(t, sources[from].series(system.Name))
					}
				}
				if points := b.percent(); len(points) > 0 {
					s := series{Name: sources[from].series(system.Name), Kind: "steps", Points: points}
					s.look(system.Name, from, len(sources), other)
					v.Series = append(v.Series, s)
				}
			})
			v.Bands = []band{{0, end, kind}}
			if len(v.Marks) > 0 {
				v.Note += " Thin lines: events of single trials; point at one to read it."
			}
			p.Variants = append(p.Variants, v)
		}
	}
	return p
}

// maxMarks is how many events a plot can show that are still told apart.
const maxMarks = 80

// mark adds what the cluster and its name servers did during a trial: what the experiment did itself is known.
func (v *variant) mark(t *digest.Trial, series string) {
	first, end := t.Timeline.StartNs, t.WindowEndNs-t.Fault.BeginNs
	for _, e := range t.Events {
		switch e.Kind {
		case results.EventPhase, results.EventFault, results.EventClock, results.EventClient:
			continue
		}
		if e.AtNs < first || e.AtNs > end || len(v.Marks) == maxMarks {
			continue
		}
		at := float64(e.AtNs) / 1e9
		v.Marks = append(v.Marks, mark{at, fmt.Sprintf("%s, %.3g s: %s %s", series, at, cmp.Or(e.Name, e.Kind), e.Target), series})
	}
}
