// SPDX-License-Identifier: Apache-2.0

package results

import (
	"errors"
	"fmt"
	"os"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// WriteHistogram writes a trial's HistogramFile: h as the log's one interval, between the start and end that h is stamped with.
func WriteHistogram(path string, h *hdrhistogram.Histogram) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("creating %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := hdrhistogram.NewHistogramLogWriter(f)
	for _, write := range []func() error{
		w.OutputLogFormatVersion,
		func() error { return w.OutputComment("total_ns of successful requests, from the intended send") },
		func() error { return w.OutputStartTime(h.StartTimeMs()) },
		w.OutputLegend,
		func() error { return w.OutputIntervalHistogram(h) },
	} {
		if err := write(); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	return nil
}
