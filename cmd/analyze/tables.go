// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/table"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

func resultTable(name, title string, c *digest.Cell) *table.Table {
	t := &table.Table{
		Name: name, Caption: "Results by system" + title + ": median over trials",
		Columns: []table.Column{
			{Head: "system", Key: "system"},
			{Head: "trials", Key: "trials", Right: true},
			{Head: "requests", Key: "requests", Right: true, Wide: true},
			{Head: "failed (%)", Key: "failed_percent", Right: true, Spread: true, Better: table.Lower},
			{Head: "p50 (ms)", Key: "p50_ms", Right: true, Spread: true, Better: table.Lower},
			{Head: "p90 (ms)", Key: "p90_ms", Right: true, Spread: true, Better: table.Lower, Wide: true},
			{Head: "p99 (ms)", Key: "p99_ms", Right: true, Spread: true, Better: table.Lower},
			{Head: "CPU (s/1,000 req)", Key: "cpu_seconds_per_1000_requests", Right: true, Spread: true, Better: table.Lower},
		},
	}
	intervals, flagged := false, false
	for _, s := range c.Systems {
		trials := table.Count(uint64(len(s.Steady)))
		if len(s.Steady) != s.Recorded {
			trials = table.Text(fmt.Sprintf("%d of %d", len(s.Steady), s.Recorded))
		}
		t.Rows = append(t.Rows, []table.Cell{
			table.Text(s.Name), trials, table.Count(s.Requests), table.Over(s.ErrorPercent),
			table.Over(s.P50), table.Over(s.P90), table.Over(s.P99), table.Over(s.CPU),
		})
		intervals = intervals || s.P50.Interval != nil
		flagged = flagged || s.P50.Interval != nil && s.P50.N() < stats.FewTrials
	}
	if intervals {
		t.Notes = append(t.Notes, "In brackets: 95 % interval of the median (BCa bootstrap over trials), or the range where a system has fewer than 6 trials.")
	} else {
		t.Notes = append(t.Notes, "In brackets: range over trials; fewer than 6 trials give no interval and no test.")
	}
	if flagged {
		t.Notes = append(t.Notes, "Some intervals rest on fewer than 10 trials.")
	}
	var floor []int
	for i, s := range c.Systems {
		if s.Name == digest.Floor {
			floor = append(floor, i)
		}
	}
	t.MarkBest(floor...)
	t.Notes = append(t.Notes, "p50, p90 and p99: latency of successful requests, from the intended send to the last byte.", "CPU: everything between client and backend (proxy, controller, dnsingress, resolver).")
	return t
}

func faultTable(name, title string, c *digest.Cell) *table.Table {
	t := &table.Table{
		Name: name, Caption: "Client error windows" + title + ": first failed intended send to last failure seen",
		Columns: []table.Column{
			{Head: "system", Key: "system"},
			{Head: "fault", Key: "fault"},
			{Head: "trial", Key: "trial", Wide: true},
			{Head: "window (s)", Key: "window_seconds", Right: true},
			{Head: "first (s)", Key: "first_seconds_after_fault", Right: true},
			{Head: "last (s)", Key: "last_seconds_after_fault", Right: true},
			{Head: "failed", Key: "failed_requests", Right: true},
			{Head: "requests", Key: "requests", Right: true},
			{Head: "errors", Key: "error_classes", Wide: true},
		},
		Notes: []string{"Times are relative to the fault's begin; a request in flight at that moment may be due before it."},
	}
	open := false
	for _, s := range c.Systems {
		for _, f := range s.Faults {
			o := f.Outage
			first, last, window := math.NaN(), math.NaN(), 0.0
			if o.Failed > 0 {
				first, last, window = sec(o.FirstNs-f.Fault.BeginNs), sec(o.LastNs-f.Fault.BeginNs), sec(o.DurationNs())
			}
			classes := []string{}
			for _, class := range f.ErrorClasses() {
				classes = append(classes, fmt.Sprintf("%s %d", class, f.Errors[class]))
			}
			cell := table.Number(window)
			if f.StillFailing() {
				open = true
				cell = table.AtLeast(window)
			}
			t.Rows = append(t.Rows, []table.Cell{
				table.Text(f.System), table.Text(f.Fault.Kind), table.Text(f.ID), cell, table.Number(first), table.Number(last),
				table.Count(o.Failed), table.Count(f.Requests), table.Text(strings.Join(classes, ", ")),
			})
		}
	}
	if open {
		t.Notes = append(t.Notes, "≥: requests still failed when the measured window ended.")
	}
	return t
}

// shareTable says what part of the requests the fault's target answered, and how long all requests took, before, during and
// after the fault.
func shareTable(name, title string, c *digest.Cell) *table.Table {
	t := &table.Table{
		Name: name, Caption: "The pod with the fault" + title + ": its share of the requests, and latency of all requests, before, during and after",
		Columns: []table.Column{
			{Head: "system", Key: "system"},
			{Head: "fault", Key: "fault", Wide: true},
			{Head: "trial", Key: "trial", Wide: true},
		},
		Notes: []string{
			"Of answered requests, by when they were due. p99: from the intended send to the last byte.",
			fmt.Sprintf("From %.0f s: of the time during the fault, that when it should have been noticed.", sec(digest.SettledNs)),
		},
	}
	parts := func(s *digest.Share) []*digest.SharePart {
		return []*digest.SharePart{&s.Parts[digest.Before], &s.Parts[digest.During], &s.Settled, &s.Parts[digest.After]}
	}
	names := []struct{ head, key string }{{"before", "before"}, {"during", "during"}, {"from 10 s", "settled"}, {"after", "after"}}
	for _, n := range names {
		t.Columns = append(t.Columns, table.Column{Head: "share " + n.head + " (%)", Key: "share_" + n.key + "_percent", Right: true})
	}
	for _, n := range names {
		t.Columns = append(t.Columns, table.Column{Head: "p99 " + n.head + " (ms)", Key: "p99_" + n.key + "_ms", Right: true})
	}
	for _, s := range c.Systems {
		for _, f := range s.Faults {
			if f.Share == nil {
				continue
			}
			row := []table.Cell{table.Text(f.System), table.Text(f.Fault.Kind), table.Text(f.ID)}
			for _, part := range parts(f.Share) {
				row = append(row, table.Number(100*part.Of()))
			}
			for _, part := range parts(f.Share) {
				p99 := math.NaN()
				if ns, ok := part.Latency.PercentileNs(99); ok {
					p99 = float64(ns) / 1e6
				}
				row = append(row, table.Number(p99))
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

func comparisonTable(name, title string, c *digest.Cell) *table.Table {
	t := &table.Table{
		Name: name, Caption: "Systems against dnsingress" + title + ": Mann-Whitney test over trials",
		Columns: []table.Column{
			{Head: "system", Key: "system"},
			{Head: "quantity", Key: "quantity"},
			{Head: "p (Holm)", Key: "p_holm", Right: true},
			{Head: "Cliff's delta", Key: "cliffs_delta", Right: true},
		},
		Notes: []string{"Delta above 0: the system's values tend to be larger than those of dnsingress."},
	}
	for _, x := range c.Compare("dnsingress") {
		t.Rows = append(t.Rows, []table.Cell{table.Text(x.System), table.Text(x.Quantity), table.Number(x.Adjusted), table.Number(x.Delta)})
	}
	return t
}

// trialComponents returns the CPU columns of the table of trials.
func trialComponents() []string {
	return append(digest.Between(), results.ComponentPrometheus, results.ComponentBackend,
		results.ComponentGenerator, results.ComponentControlPlane, results.ComponentNodeAgent)
}

// trialTable has one row a trial, valid or not: the data behind every figure.
func trialTable(run *digest.Run) *table.Table {
	t := &table.Table{Name: "trials", Caption: "Every trial", Columns: []table.Column{
		{Key: "trial"},
		{Key: "system"},
		{Key: "kind"},
		{Key: "valid"},
		{Key: "reasons"},
		{Key: "rate_per_second"},
		{Key: "requests"},
		{Key: "failed"},
		{Key: "p50_ms"},
		{Key: "p90_ms"},
		{Key: "p99_ms"},
		{Key: "max_ms"},
		{Key: "lag_mean_ms"},
		{Key: "dns_mean_ms"},
		{Key: "connect_mean_ms"},
		{Key: "tls_mean_ms"},
		{Key: "first_byte_mean_ms"},
		{Key: "rest_mean_ms"},
		{Key: "cpu_path_s_per_1000"},
	}}
	for _, c := range trialComponents() {
		t.Columns = append(t.Columns, table.Column{Key: "cpu_" + strings.ReplaceAll(c, "-", "_") + "_s_per_1000"})
	}
	t.Columns = append(t.Columns, table.Column{Key: "softirq_s_per_1000"}, table.Column{Key: "cpu_unattributed_s_per_1000"})
	for i := range run.Trials {
		x := &run.Trials[i]
		row := []table.Cell{
			table.Text(x.ID), table.Text(x.System), table.Text(x.Kind), table.Text(fmt.Sprint(x.Verdict.Valid)), table.Text(strings.Join(x.Verdict.Reasons, "; ")),
			table.Number(x.Rate), table.Count(x.Requests), table.Count(x.Failed),
		}
		for _, p := range []float64{50, 90, 99} {
			v := math.NaN()
			if x.Latency != nil {
				if ns, ok := x.Latency.PercentileNs(p); ok {
					v = float64(ns) / 1e6
				}
			}
			row = append(row, table.Number(v))
		}
		longest := math.NaN()
		if x.Latency != nil {
			longest = float64(x.Latency.MaxNs()) / 1e6
		}
		row = append(row, table.Number(longest))
		for _, ns := range []float64{x.Phases.Lag, x.Phases.DNS, x.Phases.Connect, x.Phases.TLS, x.Phases.FirstByte, x.Phases.Rest} {
			if x.Phases.Requests == 0 {
				ns = math.NaN()
			}
			row = append(row, table.Number(ns/1e6))
		}
		usage := func(of func(*digest.Usage) float64) {
			v := math.NaN()
			if x.Usage != nil {
				v = of(x.Usage)
			}
			row = append(row, table.Number(v))
		}
		usage((*digest.Usage).Path)
		for _, c := range trialComponents() {
			usage(func(u *digest.Usage) float64 { return u.Component[c] })
		}
		usage(func(u *digest.Usage) float64 { return u.Softirq })
		usage(func(u *digest.Usage) float64 { return u.Unattributed })
		t.Rows = append(t.Rows, row)
	}
	return t
}

// measureTable has a row for each system and measure that its trials hold, those of each condition apart.
func measureTable(name, title string, c *digest.Cell, seed uint64) *table.Table {
	t := &table.Table{
		Name: name, Caption: "Measures of trials" + title + ": median over trials",
		Columns: []table.Column{
			{Head: "system", Key: "system"},
			{Head: "trials", Key: "trials"},
			{Head: "measure", Key: "measure"},
			{Head: "n", Key: "n", Right: true},
			{Head: "median", Key: "median", Right: true, Spread: true},
		},
		Notes: []string{"In brackets: 95 % interval of the median from 6 trials on, else the range."},
	}
	for _, s := range c.Systems {
		for _, condition := range c.Conditions() {
			trials := s.Under(condition)
			names := map[string]bool{}
			for _, x := range trials {
				for measure := range x.Measures {
					names[measure] = true
				}
			}
			for _, measure := range slices.Sorted(maps.Keys(names)) {
				q := digest.Measure(measure)
				var values []float64
				for _, x := range trials {
					if v, ok := q.Of(x); ok {
						values = append(values, v)
					}
				}
				over := stats.Summarize(values, seed)
				t.Rows = append(t.Rows, []table.Cell{table.Text(s.Name), table.Text(cmp.Or(condition, "steady")), table.Text(q.Label), table.Count(uint64(over.N())), table.Over(over)})
			}
		}
	}
	return t
}
