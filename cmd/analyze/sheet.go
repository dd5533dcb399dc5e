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
		if t := comparisonTable("comparison"+suffix, title, c); len(t.Rows) > 0 {
			s.tables = append(s.tables, namedTable{t, false})
		}
	}
	s.tables = append(s.tables, namedTable{trialTable(run), true})
	return s
}

type file struct {
	name  string
	write func(io.Writer) error
}

// files lists what save writes, in order.
func (s *sheet) files() []file {
	var out []file
	for _, f := range s.figures {
		for _, format := range figure.Formats() {
			out = append(out, file{f.Name + "." + format, func(w io.Writer) error { return f.Encode(w, format, figure.Light()) }})
		}
	}
	for _, t := range s.tables {
		if !t.quiet {
			out = append(out, file{t.Name + ".tex", t.LaTeX}, file{t.Name + ".md", t.Markdown})
		}
		out = append(out, file{t.Name + ".csv", t.CSV})
	}
	return append(out, file{reportFile, s.report})
}

// save writes every file into dir. A file is replaced whole or not at all.
func (s *sheet) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making directory for figures: %w", err)
	}
	for _, f := range s.files() {
		path := filepath.Join(dir, f.name)
		tmp, err := os.CreateTemp(dir, "."+f.name+"-*")
		if err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		err = f.write(tmp)
		if e := tmp.Chmod(0o644); err == nil {
			err = e
		}
		if e := tmp.Close(); err == nil {
			err = e
		}
		if err == nil {
			err = os.Rename(tmp.Name(), path)
		}
		if err != nil {
			os.Remove(tmp.Name())
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	return nil
}

func (s *sheet) report(w io.Writer) error {
	page := report.Page{Run: s.run, Cells: s.cells, Figures: s.figures}
	for _, t := range s.tables {
		if !t.quiet {
			page.Tables = append(page.Tables, t.Table)
		}
	}
	return page.Write(w)
}

func sec(ns int64) float64 { return float64(ns) / 1e9 }
