// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/figure"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/report"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/table"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/verify"
)

const reportFile = "report.html"

// sheet is everything that is drawn of a run.
type sheet struct {
	run     *digest.Run
	cells   []digest.Cell
	figures []*figure.Figure
	tables  []namedTable
}

type namedTable struct {
	*table.Table
	quiet bool // not printed: too wide for people
}

// lay lays out the figures of a set and the tables of a run. A figure that has no data is left out.
func lay(run *digest.Run, set []figure.Spec) *sheet {
	figures, warnings := figure.Lay(run, set)
	told := *run
	told.Warnings = slices.Concat(run.Warnings, warnings)
	s := &sheet{run: &told, cells: run.Cells(), figures: figures}
	for i := range s.cells {
		c := &s.cells[i]
		suffix := ""
		if c.Levels != "" {
			suffix = "-" + strings.NewReplacer("=", "-", ",", "-", "/", "-", " ", "-").Replace(c.Levels)
		}
		title := ""
		if c.Levels != "" {
			title = " (" + c.Levels + ")"
		}
		if slices.ContainsFunc(c.Systems, func(x digest.System) bool { return x.Recorded > 0 }) {
			s.tables = append(s.tables, namedTable{resultTable("results"+suffix, title, c), false})
		}
		if t := faultTable("faults"+suffix, title, c); len(t.Rows) > 0 {
			s.tables = append(s.tables, namedTable{t, false})
		}
		if t := shareTable("pod-share"+suffix, title, c); len(t.Rows) > 0 {
			s.tables = append(s.tables, namedTable{t, false})
		}
		if t := measureTable("measures"+suffix, title, c, run.Manifest.Seed); len(t.Rows) > 0 {
			s.tables = append(s.tables, namedTable{t, false})
		}
		if t := comparisonTable("comparison"+suffix, title, c); len(t.Rows) > 0 {
			s.tables = append(s.tables, namedTable{t, false})
		}
	}
	s.tables = append(s.tables, namedTable{trialTable(run), true})
	return s
}

// files lists what save writes, in order.
func (s *sheet) files() []verify.File {
	var out []verify.File
	for _, f := range s.figures {
		for _, format := range figure.Formats() {
			out = append(out, verify.File{Name: f.Name + "." + format, Write: func(w io.Writer) error { return f.Encode(w, format, figure.Light()) }})
		}
	}
	for _, t := range s.tables {
		if !t.quiet {
			out = append(out, verify.File{Name: t.Name + ".tex", Write: t.LaTeX}, verify.File{Name: t.Name + ".md", Write: t.Markdown})
		}
		out = append(out, verify.File{Name: t.Name + ".csv", Write: t.CSV})
	}
	return append(out, verify.File{Name: reportFile, Write: s.report})
}

// save writes every file into dir, and what they were derived from. A file is replaced whole or not at all.
func (s *sheet) save(dir, figures string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making directory for figures: %w", err)
	}
	var names []string
	for _, f := range s.files() {
		if err := replaceFile(filepath.Join(dir, f.Name), f.Write); err != nil {
			return err
		}
		names = append(names, f.Name)
	}
	return verify.Record(dir, s.run.Dir, figures, names)
}

func (s *sheet) report(w io.Writer) error { return s.page().Write(w) }

func (s *sheet) page() *report.Page {
	page := &report.Page{Run: s.run, Cells: s.cells, Figures: s.figures}
	for _, t := range s.tables {
		if !t.quiet {
			page.Tables = append(page.Tables, t.Table)
		}
	}
	return page
}

func sec(ns int64) float64 { return float64(ns) / 1e9 }
