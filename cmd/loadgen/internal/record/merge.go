// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/dnsingress/dnsingress/internal/results"
)

// SummaryFile is the name of the whole outcome among the results.
const SummaryFile = "summary.json"

// Merged is what several generators of one run recorded, as if they were one.
type Merged struct {
	Summary
	total  *hdrhistogram.Histogram
	phases [len(phases)]*hdrhistogram.Histogram
}

// ReadMerged adds the results in directories. Windows that differ are an error: figures of other times are of another run.
func ReadMerged(dirs []string) (*Merged, error) {
	m := &Merged{total: newHistogram()}
	for i, tag := range phases {
		m.phases[i] = newHistogram()
		m.phases[i].SetTag(tag)
	}
	var errs []error
	for i, dir := range dirs {
		if err := m.add(dir, i == 0); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	m.finish()
	return m, nil
}

func (m *Merged) add(dir string, first bool) error {
	path := filepath.Join(dir, SummaryFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading %s: %w (hint: a directory that loadgen wrote with --out)", path, err)
	}
	var s Summary
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("parsing %s: %w", path, err)
	}
	if first {
		m.Summary = s
	} else if s.WindowStartNs != m.WindowStartNs || s.WindowEndNs != m.WindowEndNs {
		return fmt.Errorf("%s: its window is %d to %d, that of the first is %d to %d (hint: start generators with the same --start-at, --warmup and --duration)",
			path, s.WindowStartNs, s.WindowEndNs, m.WindowStartNs, m.WindowEndNs)
	} else {
		m.Summary.add(&s)
	}
	total, err := results.ReadHistograms(filepath.Join(dir, results.HistogramFile))
	if err != nil {
		return err
	}
	tagged, err := results.ReadHistograms(filepath.Join(dir, results.PhasesFile))
	if err != nil {
		return err
	}
	if h := total[""]; h == nil || m.total.Merge(h) > 0 {
		return fmt.Errorf("reading %s: no histogram of latencies in it", filepath.Join(dir, results.HistogramFile))
	}
	for i, tag := range phases {
		if h := tagged[tag]; h == nil || m.phases[i].Merge(h) > 0 {
			return fmt.Errorf("reading %s: no histogram of %s in it", filepath.Join(dir, results.PhasesFile), tag)
		}
	}
	return nil
}

// add adds the counts of another generator; percentiles come from the histograms.
func (s *Summary) add(o *Summary) {
	s.Requests, s.Dropped, s.Late = s.Requests+o.Requests, s.Dropped+o.Dropped, s.Late+o.Late
	s.Clients.merge(o.Clients)
	s.CPUNs, s.CPUs = s.CPUNs+o.CPUNs, s.CPUs+o.CPUs
	s.CPUShare = max(s.CPUShare, o.CPUShare)
	s.ElapsedNs = max(s.ElapsedNs, o.ElapsedNs)
	s.Interrupted = s.Interrupted || o.Interrupted
	s.Succeeded, s.InTime, s.Attempts, s.Warmup = s.Succeeded+o.Succeeded, s.InTime+o.InTime, s.Attempts+o.Attempts, s.Warmup+o.Warmup
	s.Bytes, s.DNSCached, s.Reused = s.Bytes+o.Bytes, s.DNSCached+o.DNSCached, s.Reused+o.Reused
	s.Errors, s.Peers, s.Statuses = sum(s.Errors, o.Errors), sum(s.Peers, o.Peers), sum(s.Statuses, o.Statuses)
	for class, cause := range o.Causes {
		if _, known := s.Causes[class]; !known {
			if s.Causes == nil {
				s.Causes = map[string]string{}
			}
			s.Causes[class] = cause
		}
	}
	s.Verdict.Valid = s.Verdict.Valid && o.Verdict.Valid
	s.Verdict.Reasons = append(s.Verdict.Reasons, o.Verdict.Reasons...)
	s.Warnings = append(s.Warnings, o.Warnings...)
	if s.Thinning == "" {
		s.Thinning = o.Thinning
	}
}

func sum[K comparable](a, b map[K]uint64) map[K]uint64 {
	if a == nil {
		a = map[K]uint64{}
	}
	for k, n := range b {
		a[k] += n
	}
	return a
}

// finish reads percentiles and rates off what was added.
func (m *Merged) finish() {
	s := &m.Summary
	s.Latency = Latency{
		Total: percentiles(m.total), DNS: percentiles(m.phases[0]), Connect: percentiles(m.phases[1]),
		TLS: percentiles(m.phases[2]), FirstByte: percentiles(m.phases[3]),
	}
	s.Lag = percentiles(m.phases[lag])
	s.LagP50Ns, s.LagP99Ns, s.LagMaxNs = s.Lag.P50, s.Lag.P99, s.Lag.Max
	s.rate()
}

// Write writes the merged histograms and the summary into a directory, which it makes.
func (m *Merged) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making output directory: %w", err)
	}
	if err := writeHistograms(dir, &m.Summary, m.total, m.phases[:]); err != nil {
		return err
	}
	return results.WriteJSON(filepath.Join(dir, SummaryFile), &m.Summary)
}
