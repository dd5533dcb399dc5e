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

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/accuracy"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/clock"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/live"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/search"
)

// writeSummary prints the outcome for people (table) or programs (json).
func writeSummary(w io.Writer, format, title string, s *outcome) error {
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
	fmt.Fprintf(w, "generator  %s CPU, %.1f %% of %d cores, %s a request\n", span(time.Duration(s.CPUNs)), 100*s.CPUShare, s.CPUs, span(time.Duration(s.CPUNs/int64(max(s.Requests, 1)))))
	fmt.Fprintf(w, "verdict    %s\n\n", verdictLine(s.Verdict))

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
	writeClients(w, s.Clients)
	if len(s.Peers) > 1 {
		fmt.Fprintln(w, "\nattempts by address")
		peers := byCount(s.Peers)
		for _, p := range peers[:min(len(peers), 10)] {
			fmt.Fprintf(w, "  %-40s %8d\n", p, s.Peers[p])
		}
	}
	if err := writeAccuracy(w, s.Accuracy); err != nil {
		return err
	}
	if s.Search != nil {
		writeSearch(w, s.Search)
	}
	writeClocks(w, s.Clocks)
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

func verdictLine(v results.Verdict) string {
	if v.Valid {
		return "valid"
	}
	return "INVALID: " + strings.Join(v.Reasons, "; ")
}

// writeAccuracy prints what answers were worth, by server.
func writeAccuracy(w io.Writer, a *accuracy.Account) error {
	if a == nil {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\naccuracy   %d answers, %d changes; a name is asked for every %s at a server (at most %s)\n\n", a.Answers, a.Changes,
		span(time.Duration(a.Resolution.P50)), span(time.Duration(a.Resolution.Max)))
	fmt.Fprintln(t, "server\tright\tstale\tmissing\twrong\tmixed\tfirst right p50\tp99\tmax\tlast wrong p50\tmax\tnever\t")
	for _, s := range a.Servers {
		p := s.Propagation
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d", s.Server, percent(s.Right, s.Answers), s.Stale, s.Missing, s.Wrong, s.Mixed)
		for _, ns := range []int64{p.FirstRight.P50, p.FirstRight.P99, p.FirstRight.Max, p.LastWrong.P50, p.LastWrong.Max} {
			fmt.Fprintf(t, "\t%s", span(time.Duration(ns)))
		}
		fmt.Fprintf(t, "\t%d\t\n", p.Never)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing summary: %w", err)
	}
	return nil
}

func writeSearch(w io.Writer, s *search.Account) {
	confirmed := "confirmed"
	if !s.Confirmed {
		confirmed = "not confirmed"
	}
	fmt.Fprintf(w, "\nhighest rate  %.6g/s, %s; limited by the %s: %s\n", s.Rate, confirmed, s.LimitedBy, s.Why)
	for _, step := range s.Steps {
		mark, why := "kept", ""
		if !step.Kept {
			mark, why = "failed", "  "+step.Why
		}
		if step.Confirms {
			mark += ", the longer run"
		}
		fmt.Fprintf(w, "  %12.6g/s  p99 %-8s %s%s\n", step.Rate, span(time.Duration(step.P99Ns)), mark, why)
	}
}

func writeClocks(w io.Writer, a *clock.Account) {
	if a == nil {
		return
	}
	for _, l := range []struct {
		when string
		look clock.Look
	}{{"before", a.Before}, {"after", a.After}} {
		if c := l.look.Chrony; c != nil {
			fmt.Fprintf(w, "\nclock %s  within %s of true time, says chrony (stratum %d, %s)\n", l.when, span(time.Duration(c.BoundNs)), c.Stratum, c.Leap)
		}
		for _, r := range l.look.Peers {
			if r.Error != "" {
				fmt.Fprintf(w, "clock %s  %s: %s\n", l.when, r.Peer, r.Error)
				continue
			}
			fmt.Fprintf(w, "clock %s  %s is %+.3f ms off (±%s)\n", l.when, r.Peer, float64(r.OffsetNs)/1e6, span(time.Duration(r.RTTNs/2)))
		}
	}
}

func percent(part, whole uint64) string { return live.Share(part, whole) }

// span prints a duration with three digits.
func span(d time.Duration) string { return live.Span(d) }
