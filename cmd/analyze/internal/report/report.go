// SPDX-License-Identifier: Apache-2.0

// Package report writes report.html of a run, or of two set beside each other:
// one file that opens from disk, needs no network and no library, follows the
// reader's dark or light setting, and says without its script what it says with it.
//
//  1. view fills in what a template shows; templates hold no figures of their own.
//  2. plots gives the data of interactive plots, which plot.js draws.
//  3. A Content-Security-Policy lets the browser load nothing and run no script but that one.
package report

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/figure"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/table"
)

//go:embed *.html.tmpl style.css plot.js
var sources embed.FS

// Page is what the report of one run shows.
type Page struct {
	Run     *digest.Run
	Cells   []digest.Cell
	Figures []*figure.Figure
	Tables  []*table.Table // the first is the result
	// Refresh makes the browser load the page again after so many seconds; 0: never.
	Refresh int
}

// frame is what every page has around its contents.
type frame struct {
	Title            string
	Refresh          int
	Font, Style      template.CSS
	Script, PlotData template.JS
	ScriptHash       string // as a Content-Security-Policy names it
	Plots            []plot
	Left             []digest.Warning
	Headlines        []string
}

func newFrame(title string, runs []source) (*frame, error) {
	f := &frame{Title: title, Plots: plots(runs), Font: template.CSS(figure.FontFace())}
	style, err := sources.ReadFile("style.css")
	if err != nil {
		return nil, fmt.Errorf("reading style sheet: %w", err)
	}
	script, err := sources.ReadFile("plot.js")
	if err != nil {
		return nil, fmt.Errorf("reading script: %w", err)
	}
	hash := sha256.Sum256(script)
	f.Style, f.Script, f.ScriptHash = template.CSS(style), template.JS(script), "sha256-"+base64.StdEncoding.EncodeToString(hash[:]) //nolint:gosec // our own files
	data, err := json.Marshal(f.Plots)                                                                                               // escapes <, > and &
	if err != nil {
		return nil, fmt.Errorf("encoding plots: %w", err)
	}
	f.PlotData = template.JS(data) //nolint:gosec // JSON without <
	return f, nil
}

type view struct {
	*frame
	*Page
	Refresh  int
	Drawings []drawing
	Order    order
	Diaries  []diary
	Valid    int
	Damaged  int
}

// order is a table of trials in the order of execution.
type order struct {
	Caption string
	Run     *digest.Run
}

type drawing struct {
	ID, Title   string
	Light, Dark template.HTML
}

// Write writes the page.
func (p *Page) Write(w io.Writer) error {
	m := p.Run.Manifest
	f, err := newFrame(m.Experiment+" "+m.RunID, []source{{run: p.Run, cells: p.Cells}})
	if err != nil {
		return err
	}
	v := &view{
		frame: f, Page: p, Refresh: p.Refresh, Order: order{"Every trial, in the order of execution", p.Run},
		Damaged: p.Run.Damaged(), Diaries: diaries(p.Run),
	}
	f.Left = p.Run.AllWarnings()
	for i := range p.Run.Trials {
		if p.Run.Trials[i].Used() {
			v.Valid++
		}
	}
	if v.Drawings, err = drawings(p.Figures); err != nil {
		return err
	}
	for i := range p.Cells {
		f.Headlines = append(f.Headlines, headlines(&p.Cells[i])...)
	}
	return write(w, "run.html.tmpl", v, p.Run)
}

// write fills the template in whole before anything is written.
func write(w io.Writer, name string, view any, runs ...*digest.Run) error {
	t, err := template.New(name).Funcs(template.FuncMap{
		"seconds": func(ns int64) string { return table.Round(float64(ns)/1e9) + " s" },
		"at":      func(ns int64) string { return fmt.Sprintf("%.3f", float64(ns)/1e9) },
		"millis":  func(ns int64) string { return table.Round(float64(ns)/1e6) + " ms" },
		"percent": func(part, whole int64) string {
			if whole == 0 {
				return table.Missing
			}
			return table.Round(100*float64(part)/float64(whole)) + " %"
		},
		"number":     table.Round,
		"gib":        func(b int64) string { return fmt.Sprintf("%.1f GiB", float64(b)/(1<<30)) },
		"utc":        func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"join":       strings.Join,
		"keys":       func(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) },
		"nodes":      generators,
		"components": func() []string { return components(runs...) },
		"cpu":        func(u *digest.Usage, component string) string { return table.Round(u.Component[component]) },
	}).ParseFS(sources, "*.html.tmpl")
	if err != nil {
		return fmt.Errorf("parsing report template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, view); err != nil {
		return fmt.Errorf("filling report: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing report: %w", err)
	}
	return nil
}

func drawings(figures []*figure.Figure) ([]drawing, error) {
	var out []drawing
	for _, f := range figures {
		d := drawing{ID: f.Name, Title: f.Title}
		for _, into := range []struct {
			theme *figure.Theme
			to    *template.HTML
		}{{figure.Light(), &d.Light}, {figure.Dark(), &d.Dark}} {
			svg, err := f.Inline(into.theme)
			if err != nil {
				return nil, err
			}
			*into.to = inline(string(svg))
		}
		out = append(out, d)
	}
	return out, nil
}

var svgHead = regexp.MustCompile(`^<svg width="[^"]*" height="[^"]*"`)

// inline makes an SVG file part of a page: as wide as its place.
func inline(svg string) template.HTML {
	return template.HTML(svgHead.ReplaceAllString(svg, `<svg aria-hidden="true"`)) //nolint:gosec // our own drawing, whose text is escaped where it is drawn
}

// headlines says a cell's result in sentences.
func headlines(c *digest.Cell) []string {
	var out []string
	say := func(format string, a ...any) {
		s := fmt.Sprintf(format, a...)
		if c.Levels != "" {
			s = c.Levels + ": " + s
		}
		out = append(out, s)
	}
	list := func(of func(*digest.System) (string, bool)) string {
		var parts []string
		for i := range c.Systems {
			if v, ok := of(&c.Systems[i]); ok {
				parts = append(parts, c.Systems[i].Name+" "+v)
			}
		}
		return strings.Join(parts, ", ")
	}
	if s := list(func(s *digest.System) (string, bool) { return table.Over(s.P99).String(), s.P99.N() > 0 }); s != "" {
		say("99 of 100 successful requests took at most, in ms: %s.", s)
	}
	if s := list(func(s *digest.System) (string, bool) { return table.Over(s.CPU).String(), s.CPU.N() > 0 }); s != "" {
		say("CPU seconds for 1,000 requests between client and backend: %s.", s)
	}
	for _, condition := range c.Conditions() {
		s := list(func(s *digest.System) (string, bool) {
			var each []string
			for _, t := range s.Under(condition) {
				if t.Fault == nil {
					continue
				}
				w := table.Round(float64(t.Outage.DurationNs())/1e9) + " s"
				if t.StillFailing() {
					w = "at least " + w
				}
				each = append(each, w)
			}
			return strings.Join(each, " and "), len(each) > 0
		})
		if s != "" {
			say("Clients saw errors of %s for: %s.", condition, s)
		}
	}
	return out
}

// components lists the components that any trial has a counter of, those between client and backend first.
func components(runs ...*digest.Run) []string {
	seen := map[string]bool{}
	for _, run := range runs {
		for _, t := range run.Trials {
			if t.Usage != nil {
				for c := range t.Usage.Component {
					seen[c] = true
				}
			}
		}
	}
	var out []string
	for _, c := range digest.Between() {
		if seen[c] {
			out = append(out, c)
			delete(seen, c)
		}
	}
	return append(out, slices.Sorted(maps.Keys(seen))...)
}

type generator struct {
	Node                                   string
	Requests, Dropped, Late                uint64
	LagP50, LagP99, LagMax, CPUNs, Elapsed int64
}

func generators(t digest.Trial) []generator {
	var out []generator
	for _, node := range slices.Sorted(maps.Keys(t.Generators)) {
		g := t.Generators[node]
		out = append(out, generator{node, g.Requests, g.Dropped, g.Late, g.LagP50Ns, g.LagP99Ns, g.LagMaxNs, g.CPUNs, g.ElapsedNs})
	}
	return out
}
