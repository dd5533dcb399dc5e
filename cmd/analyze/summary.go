// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"path/filepath"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// summary is what -o json prints: the result and fault tables and the paths.
type summary struct {
	Experiment string           `json:"experiment"`
	RunID      string           `json:"run_id"`
	Substrate  string           `json:"substrate"`
	Cells      []cellSummary    `json:"cells"`
	Report     string           `json:"report"`
	Figures    []string         `json:"figures"`
	Warnings   []digest.Warning `json:"warnings"`
}

type cellSummary struct {
	Levels  string          `json:"levels,omitempty"`
	Systems []systemSummary `json:"systems"`
	Faults  []faultSummary  `json:"faults"`
}

type systemSummary struct {
	Name     string  `json:"name"`
	Trials   int     `json:"valid_trials"`
	Recorded int     `json:"recorded_trials"`
	Requests uint64  `json:"requests"`
	Failed   *spread `json:"failed_percent"`
	P50      *spread `json:"p50_ms"`
	P90      *spread `json:"p90_ms"`
	P99      *spread `json:"p99_ms"`
	CPU      *spread `json:"cpu_seconds_per_1000_requests"`
}

// spread is a summary over trials; null in JSON when no trial has the quantity.
type spread struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Trials []float64 `json:"trials"`
	Low    *float64  `json:"ci95_low,omitempty"`
	High   *float64  `json:"ci95_high,omitempty"`
}

type faultSummary struct {
	System         string            `json:"system"`
	Trial          string            `json:"trial"`
	Fault          string            `json:"fault"`
	WindowSeconds  float64           `json:"window_seconds"`
	StillFailing   bool              `json:"still_failing"`
	FirstSeconds   *float64          `json:"first_seconds_after_fault"`
	LastSeconds    *float64          `json:"last_seconds_after_fault"`
	FailedRequests uint64            `json:"failed_requests"`
	Requests       uint64            `json:"requests"`
	Errors         map[string]uint64 `json:"errors"`
}

func over(s stats.Summary) *spread {
	if s.N() == 0 || math.IsNaN(s.Median) {
		return nil
	}
	out := &spread{Median: s.Median, Min: s.Min, Max: s.Max, Trials: s.Values}
	if s.Interval != nil {
		out.Low, out.High = &s.Interval.Low, &s.Interval.High
	}
	return out
}

func (s *sheet) summary(out string) summary {
	m := s.run.Manifest
	v := summary{
		Experiment: m.Experiment, RunID: m.RunID, Substrate: m.Substrate, Report: filepath.Join(out, reportFile),
		Figures: []string{}, Cells: []cellSummary{}, Warnings: append([]digest.Warning{}, s.run.AllWarnings()...),
	}
	for _, f := range s.figures {
		v.Figures = append(v.Figures, filepath.Join(out, f.Name+".pdf"))
	}
	for _, c := range s.cells {
		cell := cellSummary{Levels: c.Levels, Systems: []systemSummary{}, Faults: []faultSummary{}}
		for _, x := range c.Systems {
			cell.Systems = append(cell.Systems, systemSummary{
				Name: x.Name, Trials: len(x.Steady), Recorded: x.Recorded, Requests: x.Requests,
				Failed: over(x.ErrorPercent), P50: over(x.P50), P90: over(x.P90), P99: over(x.P99), CPU: over(x.CPU),
			})
			for _, t := range x.Faults {
				f := faultSummary{
					System: t.System, Trial: t.ID, Fault: t.Fault.Kind, WindowSeconds: sec(t.Outage.DurationNs()), StillFailing: t.StillFailing(),
					FailedRequests: t.Outage.Failed, Requests: t.Requests, Errors: t.Errors,
				}
				if t.Outage.Failed > 0 {
					first, last := sec(t.Outage.FirstNs-t.Fault.BeginNs), sec(t.Outage.LastNs-t.Fault.BeginNs)
					f.FirstSeconds, f.LastSeconds = &first, &last
				}
				cell.Faults = append(cell.Faults, f)
			}
		}
		v.Cells = append(v.Cells, cell)
	}
	return v
}
