// SPDX-License-Identifier: Apache-2.0

package stats_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/dnsingress/dnsingress/internal/stats"
)

// Percentiles of merged histograms are those of the pooled values, by counting, to the histogram's 0.1 %.
func TestMergedPercentiles(t *testing.T) {
	merged := stats.NewLatency()
	for part := range 4 {
		l := stats.NewLatency()
		for i := range 2500 {
			if err := l.Record(int64(i*4+part+1)*10_000, 1); err != nil { // together 10 µs, 20 µs … 100 ms
				t.Fatal(err)
			}
		}
		merged.Merge(l)
	}
	for _, p := range []float64{1, 50, 90, 99, 99.9} {
		got, ok := merged.PercentileNs(p)
		want := p / 100 * 100e6
		if !ok || math.Abs(float64(got)-want) > want*0.001+10_000 {
			t.Errorf("p%v = %d (%v), want %v", p, got, ok, want)
		}
	}
	if _, ok := merged.PercentileNs(99.99); ok {
		t.Error("p99.99 of 10,000 values rests on one of them and was published")
	}
	steps := merged.Steps()
	if last := steps[len(steps)-1]; last.Count != merged.Count() || last.Count != 10_000 {
		t.Errorf("the distribution ends at %d of %d", last.Count, merged.Count())
	}
}

// A log of several intervals of another geometry, as other writers leave it, reads as their sum.
func TestReadLatency(t *testing.T) {
	var buf bytes.Buffer
	w := hdrhistogram.NewHistogramLogWriter(&buf)
	for i := range 3 {
		h := hdrhistogram.New(1_000, 60_000_000_000, 3)
		if err := h.RecordValues(int64(i+1)*1_000_000, 10); err != nil {
			t.Fatal(err)
		}
		h.SetTag("client-1")
		if err := w.OutputIntervalHistogram(h); err != nil {
			t.Fatal(err)
		}
	}
	got, err := stats.ReadLatency(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if got.Count() != 30 || math.Abs(float64(got.MaxNs())-3e6) > 3e3 {
		t.Errorf("count %d, max %d; want 30, 3 ms", got.Count(), got.MaxNs())
	}
}

func TestWriteLogRoundTrip(t *testing.T) {
	l := stats.NewLatency()
	if err := l.Record(1_234_567, 7); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := l.WriteLog(&buf, 1000, 2000); err != nil {
		t.Fatal(err)
	}
	got, err := stats.ReadLatency(&buf)
	if err != nil || got.Count() != 7 || got.MaxNs() != l.MaxNs() {
		t.Errorf("read %v, %v back", got, err)
	}
}

func TestReadLatencyRefuses(t *testing.T) {
	for name, log := range map[string]string{
		"empty":     "",
		"comments":  "#[Histogram log format version 1.3]\n",
		"garbage":   "0.0,1.0,2.0,HISTnonsense\n",
		"truncated": "0.0,1.0,2.0,HISTFAAAAEV42pNpmSzMw\n",
	} {
		if _, err := stats.ReadLatency(strings.NewReader(log)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
