// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/figure"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/report"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/table"
	"github.com/dnsingress/dnsingress/internal/stats"
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

// lay lays out the figures and tables of a run. A figure that has no data is left out.
func lay(run *digest.Run) *sheet {
	s := &sheet{run: run, cells: run.Cells()}
	for i := range s.cells {
		c := &s.cells[i]
		suffix := ""
		if c.Levels != "" {
			suffix = "-" + strings.NewReplacer("=", "-", ",", "-", "/", "-", " ", "-").Replace(c.Levels)
		}
		s.add(figure.CDF("latency-cdf"+suffix, distributions(c)))
		kinds := c.FaultKinds()
		for _, kind := range kinds {
			name := "error-timeline" + suffix
			if len(kinds) > 1 {
				name += "-" + kind
			}
			s.add(figure.Timeline(name, kind, panels(c, kind)))
			s.add(figure.Share(strings.Replace(name, "error-timeline", "pod-share", 1), kind, sharePanels(c, kind)))
		}
		s.add(figure.CPU("cpu"+suffix, cpuBars(c)))
		s.add(figure.Phases("phases"+suffix, phaseBars(c)))
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

func (s *sheet) add(f *figure.Figure) {
	if f != nil {
		s.figures = append(s.figures, f)
	}
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

func distributions(c *digest.Cell) []figure.Distribution {
	var out []figure.Distribution
	for i := range c.Systems {
		s := &c.Systems[i]
		d := figure.Distribution{System: s.Name, Pooled: s.Pooled()}
		for _, t := range s.Steady {
			l := t.Latency
			if l == nil { // every request failed
				l = stats.NewLatency()
			}
			d.Trials, d.Failed = append(d.Trials, l), append(d.Failed, t.Failed)
		}
		out = append(out, d)
	}
	return out
}

// timelineBins is how many bins fit a column before a bar is thinner than a hair.
const timelineBins = 80

// panels aligns the fault trials of each system at the fault's begin and adds them up in bins that figures can show.
func panels(c *digest.Cell, kind string) []figure.Panel {
	bin, start, end := int64(0), int64(math.MaxInt64), int64(math.MinInt64)
	for _, s := range c.Systems {
		for _, t := range s.Faults {
			if l := t.Timeline; t.Fault.Kind == kind {
				bin = max(bin, l.BinNs)
				start, end = min(start, l.StartNs), max(end, t.WindowEndNs-t.Fault.BeginNs)
			}
		}
	}
	if bin == 0 {
		return nil
	}
	for factor := int64(1); ; factor++ { // in steps of the finest bin; 250 ms and 1 s rather than 300 ms and 1.15 s
		if nice := factor * bin; (end-start)/nice <= timelineBins && (1e9%nice == 0 || nice%1e9 == 0) {
			bin = nice
			break
		}
	}
	first := start / bin * bin
	if first > start {
		first -= bin
	}
	var out []figure.Panel
	for _, s := range c.Systems {
		p := figure.Panel{System: s.Name, Bin: sec(bin), Start: sec(first), First: math.NaN(), Last: math.NaN()}
		n := (end - first + bin - 1) / bin
		p.Requests, p.Failed = make([]float64, n), make([]float64, n)
		for _, t := range s.Faults {
			if t.Fault.Kind != kind {
				continue
			}
			p.Trials++
			l := t.Timeline
			for i := range l.OK {
				at := min((l.StartNs+int64(i)*l.BinNs-first)/bin, n-1)
				p.Requests[at] += l.OK[i] + l.Failed[i]
				p.Failed[at] += l.Failed[i]
			}
			p.FaultEnd = max(p.FaultEnd, sec(l.EndNs))
			p.FailedSum += t.Outage.Failed
			p.RequestSum += t.Requests
			p.Open = p.Open || t.StillFailing()
			if o := t.Outage; o.Failed > 0 {
				// NaN loses every comparison: the first trial with an outage sets both.
				if from := sec(o.FirstNs - t.Fault.BeginNs); !(p.First <= from) {
					p.First = from
				}
				if to := sec(o.LastNs - t.Fault.BeginNs); !(p.Last >= to) {
					p.Last = to
				}
			}
		}
		if p.Trials > 0 {
			out = append(out, p)
		}
	}
	return out
}

// shareBin is the width of a bin of shares: finer ones hold too few requests for a share to be seen in them.
const shareBin = int64(1e9)

// sharePanels adds up the fault trials of each system that say which pod answered, as panels does.
func sharePanels(c *digest.Cell, kind string) []figure.SharePanel {
	start, end := int64(math.MaxInt64), int64(math.MinInt64)
	for _, s := range c.Systems {
		for _, t := range s.Faults {
			if l := t.Share; l != nil && t.Fault.Kind == kind {
				start, end = min(start, l.StartNs), max(end, t.WindowEndNs-t.Fault.BeginNs)
			}
		}
	}
	if end < start {
		return nil
	}
	bin := shareBin * max(1, (end-start)/shareBin/timelineBins)
	first := int64(math.Floor(float64(start)/float64(bin))) * bin
	n := (end - first + bin - 1) / bin
	var out []figure.SharePanel
	for _, s := range c.Systems {
		p := figure.SharePanel{System: s.Name, Bin: sec(bin), Start: sec(first), Answered: make([]float64, n), Target: make([]float64, n)}
		var sum [3]digest.SharePart
		for _, t := range s.Faults {
			l := t.Share
			if l == nil || t.Fault.Kind != kind {
				continue
			}
			p.Trials++
			p.FaultEnd = max(p.FaultEnd, sec(t.Fault.EndNs-t.Fault.BeginNs))
			for i := range l.Answered {
				at := min((l.StartNs+int64(i)*l.BinNs-first)/bin, n-1)
				p.Answered[at] += l.Answered[i]
				p.Target[at] += l.Target[i]
			}
			for i := range sum {
				sum[i].Answered += l.Parts[i].Answered
				sum[i].Target += l.Parts[i].Target
			}
		}
		if p.Trials == 0 {
			continue
		}
		for i := range sum {
			p.Parts[i] = sum[i].Of()
		}
		out = append(out, p)
	}
	return out
}

func sec(ns int64) float64 { return float64(ns) / 1e9 }

func cpuBars(c *digest.Cell) []figure.Bar {
	var out []figure.Bar
	for i := range c.Systems {
		s := &c.Systems[i]
		u := s.Usage()
		if u == nil {
			continue
		}
		b := figure.Bar{System: s.Name, Trials: s.CPU.Values}
		for _, component := range digest.Between() {
			b.Parts = append(b.Parts, figure.Part{Name: component, Value: u.Component[component]})
		}
		b.Apart = []figure.Part{{Name: "prometheus", Value: u.Component["prometheus"]}, {Name: "softirq", Value: u.Softirq}}
		out = append(out, b)
	}
	return out
}

func phaseBars(c *digest.Cell) []figure.Bar {
	var out []figure.Bar
	for i := range c.Systems {
		s := &c.Systems[i]
		p, ok := s.Phases()
		if !ok {
			continue
		}
		b := figure.Bar{System: s.Name}
		for _, part := range []figure.Part{
			{Name: "send lag", Value: p.Lag},
			{Name: "dns", Value: p.DNS},
			{Name: "connect", Value: p.Connect},
			{Name: "tls", Value: p.TLS},
			{Name: "first byte", Value: p.FirstByte},
			{Name: "rest", Value: p.Rest},
		} {
			part.Value /= 1e6
			b.Parts = append(b.Parts, part)
		}
		for _, t := range s.Steady {
			if q := t.Phases; q.Requests > 0 {
				b.Trials = append(b.Trials, (q.Lag+q.DNS+q.Connect+q.TLS+q.FirstByte+q.Rest)/1e6)
			}
		}
		out = append(out, b)
	}
	return out
}
