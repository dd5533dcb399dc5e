// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"io"
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram bounds of latencies: 1 ns to 10 minutes at three significant digits (0.1 %).
const (
	lowestNs  = 1
	highestNs = 600_000_000_000
	digits    = 3
)

// Latency is a mergeable histogram of durations in nanoseconds (http://hdrhistogram.org): percentiles
// of merged trials are those of the pooled requests, to 0.1 % of the value.
type Latency struct{ h *hdrhistogram.Histogram }

// NewLatency returns an empty histogram.
func NewLatency() *Latency {
	return &Latency{hdrhistogram.New(lowestNs, highestNs, digits)}
}

// ReadLatency merges every interval of an HdrHistogram log.
// A log without an interval is an error: a trial in which nothing succeeded says so with an empty one.
func ReadLatency(r io.Reader) (*Latency, error) {
	out := NewLatency()
	log := hdrhistogram.NewHistogramLogReader(r)
	for intervals := 0; ; intervals++ {
		h, err := log.NextIntervalHistogram()
		if err != nil {
			return nil, fmt.Errorf("decoding histogram interval %d: %w", intervals+1, err)
		}
		if h == nil {
			if intervals == 0 {
				return nil, fmt.Errorf("decoding histogram log: no interval in it (hint: the file is truncated or no HdrHistogram log)")
			}
			return out, nil
		}
		if dropped := out.h.Merge(h); dropped > 0 {
			return nil, fmt.Errorf("merging histogram interval %d: %d values are longer than %d s", intervals+1, dropped, int64(highestNs/1e9))
		}
	}
}

// WriteLog writes the histogram as a log of one interval, stamped with Unix milliseconds.
func (l *Latency) WriteLog(w io.Writer, startMs, endMs int64) error {
	l.h.SetStartTimeMs(startMs)
	l.h.SetEndTimeMs(endMs)
	log := hdrhistogram.NewHistogramLogWriter(w)
	if err := log.OutputLogFormatVersion(); err != nil {
		return fmt.Errorf("writing histogram log: %w", err)
	}
	if err := log.OutputIntervalHistogram(l.h); err != nil {
		return fmt.Errorf("writing histogram log: %w", err)
	}
	return nil
}

// Record adds n values of ns nanoseconds. A value out of range is an error and is not counted.
func (l *Latency) Record(ns int64, n int64) error { return l.h.RecordValues(ns, n) }

// Merge adds other's values.
func (l *Latency) Merge(other *Latency) { l.h.Merge(other.h) }

// Count is the number of values.
func (l *Latency) Count() int64 { return l.h.TotalCount() }

// MaxNs is the largest value, to the histogram's resolution.
func (l *Latency) MaxNs() int64 { return l.h.Max() }

// PercentileNs returns the least value that at least p percent of the values do not exceed, 0 < p ≤ 100.
// ok is false when fewer than TailSupport values lie beyond it (p > 50): such
// a percentile is one request's luck, and no property of the system. The median needs one value.
func (l *Latency) PercentileNs(p float64) (ns int64, ok bool) {
	n := l.h.TotalCount()
	if n == 0 {
		return 0, false
	}
	// By rank, upwards: the library rounds the rank to the nearest, which falls short of p percent half of the time.
	rank := int64(math.Ceil(float64(n)*p/100 - 1e-9))
	for _, s := range l.Steps() {
		if ns = s.Ns; s.Count >= rank {
			break
		}
	}
	return ns, p <= 50 || float64(n)*(100-p)/100 >= TailSupport-1e-6
}

// TailSupport is the least number of values that must lie beyond a percentile for it to be published.
const TailSupport = 5

// Step is one point of an empirical distribution: Count values do not exceed Ns.
type Step struct {
	Ns    int64
	Count int64
}

// Steps returns the cumulative distribution at every distinct recorded value, ascending.
func (l *Latency) Steps() []Step {
	var out []Step
	total := int64(0)
	for _, b := range l.h.Distribution() {
		if b.Count == 0 {
			continue
		}
		total += b.Count
		out = append(out, Step{Ns: b.To, Count: total})
	}
	return out
}
