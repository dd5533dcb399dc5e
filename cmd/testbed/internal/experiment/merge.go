// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// outcome counts what the samples of a trial say.
type outcome struct {
	requests, failed uint64 // of the window
	lookups          uint64 // DNS queries that clients sent for its requests
	failures         []stats.Failure
	latency          *hdrhistogram.Histogram
}

// mergeSamples writes the samples of several generators into one file, generator after generator,
// and counts those whose intended send is within the window. It holds a batch in memory, and the instants of failures.
func mergeSamples(to string, from []string, windowStart, windowEnd int64) (o outcome, err error) {
	w, err := results.CreateRows[results.Sample](to)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for _, path := range from {
		if err := results.ReadRows(path, func(rows []results.Sample) error {
			for i := range rows {
				s := &rows[i]
				if s.Attempt != 0 || s.IntendedNs < windowStart || s.IntendedNs >= windowEnd {
					continue
				}
				o.requests++
				o.lookups += uint64(max(s.DNSQueries, 0))
				if !s.OK() {
					o.failed++
					o.failures = append(o.failures, stats.Failure{IntendedNs: s.IntendedNs, TotalNs: s.TotalNs})
				}
			}
			return w.Write(rows...)
		}); err != nil {
			return o, err
		}
	}
	return o, nil
}

// mergeHistograms adds the HdrHistogram logs of several generators up into one, and returns the sum.
func mergeHistograms(to string, from []string) (sum *hdrhistogram.Histogram, err error) {
	var start, end int64
	for _, path := range from {
		h, err := readHistogram(path)
		if err != nil {
			return nil, err
		}
		if sum == nil {
			sum, start, end = h, h.StartTimeMs(), h.EndTimeMs()
			continue
		}
		if lost := sum.Merge(h); lost > 0 {
			return nil, fmt.Errorf("merging %s: %d values do not fit", path, lost)
		}
		start, end = min(start, h.StartTimeMs()), max(end, h.EndTimeMs())
	}
	if sum == nil {
		return nil, errors.New("merging histograms: none given")
	}
	sum.SetStartTimeMs(start)
	sum.SetEndTimeMs(end)
	if err := results.WriteHistogram(to, sum); err != nil {
		return nil, err
	}
	return sum, nil
}

// emptyHistogram is that of a window in which nobody asked.
func emptyHistogram(start, end int64) *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, int64(10*time.Minute), 3)
	h.SetStartTimeMs(start / 1e6)
	h.SetEndTimeMs(end / 1e6)
	return h
}

// mergeLines puts files of lines one behind the other.
func mergeLines(to string, from []string) (err error) {
	out, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("creating %s: %w", to, err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for _, path := range from {
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		if _, err := out.Write(b); err != nil {
			return fmt.Errorf("writing %s: %w", to, err)
		}
	}
	return nil
}

// readHistogram returns the sum of all intervals in an HdrHistogram log.
func readHistogram(path string) (*hdrhistogram.Histogram, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	defer f.Close()
	var sum *hdrhistogram.Histogram
	for r := hdrhistogram.NewHistogramLogReader(f); ; {
		h, err := r.NextIntervalHistogram()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("parsing %s: %w", path, err)
		}
		switch {
		case h == nil && sum == nil:
			return nil, fmt.Errorf("parsing %s: no interval", path)
		case h == nil:
			return sum, nil
		case sum == nil:
			sum = h
		default:
			sum.Merge(h)
		}
	}
}
