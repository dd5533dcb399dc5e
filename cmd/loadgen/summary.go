// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
)

// writeSummary prints the outcome for people (table) or programs (json).
func writeSummary(w io.Writer, format, title string, s record.Summary) error {
	if format == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, title)
	window := time.Duration(s.WindowEndNs - s.WindowStartNs)
	fmt.Fprintf(w, "\nwindow     %s from %s\n", span(window), time.Unix(0, s.WindowStartNs).UTC().Format("2006-01-02 15:04:05.000Z"))
	fmt.Fprintf(w, "requests   %d due (%.1f/s), %d dropped, %d sent late by over 1 ms\n", s.Requests, s.Rate.Intended, s.Dropped, s.Late)
	fmt.Fprintf(w, "succeeded  %d (%s), %.1f/s\n", s.Succeeded, percent(s.Succeeded, s.Requests), s.Rate.Succeeded)
	fmt.Fprintf(w, "generator  %s CPU, %.1f %% of one core\n\n", span(time.Duration(s.CPUNs)), 100*float64(s.CPUNs)/float64(max(s.ElapsedNs, 1)))

	fmt.Fprintln(t, "latency\tcount\tmean\tp50\tp90\tp99\tp99.9\tmax\t")
	for _, row := range []struct {
		name string
		p    record.Percentiles
	}{
		{"total", s.Latency.Total},
		{"dns", s.Latency.DNS},
		{"connect", s.Latency.Connect},
		{"tls", s.Latency.TLS},
		{"first byte", s.Latency.FirstByte},
		{"send lag", s.Lag},
	} {
		if row.p.Count == 0 {
			continue
		}
		fmt.Fprintf(t, "%s\t%d", row.name, row.p.Count)
		for _, ns := range []int64{int64(row.p.Mean), row.p.P50, row.p.P90, row.p.P99, row.p.P999, row.p.Max} {
			fmt.Fprintf(t, "\t%s", span(time.Duration(ns)))
		}
		fmt.Fprintln(t, "\t")
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing summary: %w", err)
	}
	if len(s.Errors) > 0 {
		fmt.Fprintln(w, "\nfailed attempts")
		for _, class := range byCount(s.Errors) {
			fmt.Fprintf(w, "  %-16s %8d  %s\n", class, s.Errors[class], s.Causes[class])
		}
	}
	if len(s.Peers) > 1 {
		fmt.Fprintln(w, "\nattempts by address")
		peers := byCount(s.Peers)
		for _, p := range peers[:min(len(peers), 10)] {
			fmt.Fprintf(w, "  %-40s %8d\n", p, s.Peers[p])
		}
	}
	for _, warning := range s.Warnings {
		fmt.Fprintf(w, "\nwarning: %s\n", warning)
	}
	return nil
}

func byCount(m map[string]uint64) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return int(int64(m[b]) - int64(m[a]))
		}
		return strings.Compare(a, b)
	})
}

func percent(part, whole uint64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(part)/float64(whole))
}

// span prints a duration with three digits.
func span(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	case d < 1000*time.Second:
		return fmt.Sprintf("%.3g s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
