// SPDX-License-Identifier: Apache-2.0

// Package report writes a run's report.html: one file that opens from disk,
// needs no network and no script, and follows the reader's dark or light setting.
package report

import (
	"bytes"
	_ "embed"
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

//go:embed report.html.tmpl
var source string

// Page is what a report shows.
type Page struct {
	Run     *digest.Run
	Cells   []digest.Cell
	Figures []*figure.Figure
	Tables  []*table.Table // the first is the result
}

// Write writes the page.
func (p *Page) Write(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"seconds": func(ns int64) string { return table.Round(float64(ns)/1e9) + " s" },
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
		"components": p.components,
		"cpu":        func(u *digest.Usage, component string) string { return table.Round(u.Component[component]) },
	}).Parse(source)
	if err != nil {
		return fmt.Errorf("parsing report template: %w", err)
	}
	view, err := p.view()
	if err != nil {
		return err
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

type view struct {
	*Page
	Font      template.CSS
	Headlines []string
	Drawings  []drawing
	Left      []digest.Warning
	Valid     int
	Damaged   int
}

type drawing struct {
	ID, Title   string
	Light, Dark template.HTML
}

func (p *Page) view() (*view, error) {
	v := &view{Page: p, Font: template.CSS(figure.FontFace()), Left: p.Run.AllWarnings(), Damaged: p.Run.Damaged()}
	for i := range p.Run.Trials {
		if p.Run.Trials[i].Used() {
			v.Valid++
		}
	}
	for _, f := range p.Figures {
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
		v.Drawings = append(v.Drawings, d)
	}
	for i := range p.Cells {
		v.Headlines = append(v.Headlines, headlines(&p.Cells[i])...)
	}
	return v, nil
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
	for _, kind := range c.FaultKinds() {
		s := list(func(s *digest.System) (string, bool) {
			var each []string
			for _, t := range s.Faults {
				if t.Fault.Kind != kind {
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
		say("Clients saw errors of %s for: %s.", kind, s)
	}
	return out
}

// components lists the components that any trial has a counter of, those between client and backend first.
func (p *Page) components() []string {
	seen := map[string]bool{}
	for _, t := range p.Run.Trials {
		if t.Usage != nil {
			for c := range t.Usage.Component {
				seen[c] = true
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
