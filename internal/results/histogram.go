// SPDX-License-Identifier: Apache-2.0

package results

import (
	"errors"
	"fmt"
	"os"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// WriteHistogram writes a trial's HistogramFile: h as the log's one interval, between the start and end that h is stamped with.
func WriteHistogram(path string, h *hdrhistogram.Histogram) error {
	return writeLog(path, "total_ns of successful requests, from the intended send", h)
}

// WritePhases writes a trial's PhasesFile: each histogram as an interval of its own, told apart by its tag.
func WritePhases(path string, phases ...*hdrhistogram.Histogram) error {
	return writeLog(path, "phases of successful requests, and lag_ns of all sends, by tag", phases...)
}

func writeLog(path, comment string, intervals ...*hdrhistogram.Histogram) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("creating %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := hdrhistogram.NewHistogramLogWriter(f)
	writes := []func() error{
		w.OutputLogFormatVersion,
		func() error { return w.OutputComment(comment) },
		func() error { return w.OutputStartTime(intervals[0].StartTimeMs()) },
		w.OutputLegend,
	}
	for _, h := range intervals {
		writes = append(writes, func() error { return w.OutputIntervalHistogram(h) })
	}
	for _, write := range writes {
		if err := write(); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	return nil
}

// ReadHistograms returns the intervals of the HdrHistogram log at path, merged by tag; the interval without one is "".
func ReadHistograms(path string) (map[string]*hdrhistogram.Histogram, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	defer f.Close()
	out := map[string]*hdrhistogram.Histogram{}
	for log := hdrhistogram.NewHistogramLogReader(f); ; {
		h, err := log.NextIntervalHistogram()
		switch {
		case err != nil:
			return nil, fmt.Errorf("reading %s: %w", path, err)
		case h == nil && len(out) == 0:
			return nil, fmt.Errorf("reading %s: no interval in it (hint: the file is truncated or no HdrHistogram log)", path)
		case h == nil:
			return out, nil
		}
		known, ok := out[h.Tag()]
		if !ok {
			out[h.Tag()] = h
			continue
		}
		if lost := known.Merge(h); lost > 0 {
			return nil, fmt.Errorf("reading %s: %d values are beyond the bounds of the first interval", path, lost)
		}
	}
}
