// SPDX-License-Identifier: Apache-2.0

package live

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
)

// buckets are the upper bounds that Prometheus is told of, in seconds: 1, 2, 5 in each power of ten. What is between them
// stays in the histogram files.
var buckets = []float64{
	1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100,
}

// collector gives Prometheus what is recorded at the instant it asks.
type collector struct {
	look func() record.Progress

	requests, warmup, succeeded, attempts, failed, dropped, late, cpu, latency, lag *prometheus.Desc
}

func newCollector(look func() record.Progress) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("loadgen_"+name, help, labels, nil)
	}
	return &collector{
		look:      look,
		requests:  desc("requests_total", "Requests of the measured window that fell due and have ended."),
		warmup:    desc("warmup_requests_total", "Requests of the warm-up, in no other metric."),
		succeeded: desc("requests_succeeded_total", "Requests whose last attempt succeeded."),
		attempts:  desc("attempts_total", "Attempts at requests."),
		failed:    desc("attempts_failed_total", "Attempts that failed, by class.", "class"),
		dropped:   desc("requests_dropped_total", "Requests that were due and never sent, because all workers were busy."),
		late:      desc("requests_late_total", "Requests that were sent more than 1 ms after they were due."),
		cpu:       desc("cpu_seconds_total", "CPU time that the generator has used."),
		latency:   desc("latency_seconds", "From the instant that a request was due to its last byte, of those that succeeded."),
		lag:       desc("send_lag_seconds", "From the instant that a request was due to its sending."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.requests, c.warmup, c.succeeded, c.attempts, c.failed, c.dropped, c.late, c.cpu, c.latency, c.lag} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	p := c.look()
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	count(c.requests, float64(p.Requests))
	count(c.warmup, float64(p.Warmup))
	count(c.succeeded, float64(p.Succeeded))
	count(c.attempts, float64(p.Attempts))
	count(c.dropped, float64(p.Dropped))
	count(c.late, float64(p.Late))
	count(c.cpu, p.CPU.Seconds())
	for class, n := range p.Errors {
		count(c.failed, float64(n), class)
	}
	to <- histogram(c.latency, p.Total)
	to <- histogram(c.lag, p.Lag)
}

// histogram tells the values by buckets. A value counts below a bound when its cell's mean does: off by 0.05 % at most.
func histogram(d *prometheus.Desc, h *hdrhistogram.Histogram) prometheus.Metric {
	counts := make(map[float64]uint64, len(buckets))
	sum, seen, i := 0.0, uint64(0), 0
	for _, b := range h.Distribution() {
		if b.Count == 0 {
			continue
		}
		mean := (time.Duration(b.From) + time.Duration(b.To-b.From)/2).Seconds()
		for ; i < len(buckets) && mean > buckets[i]; i++ {
			counts[buckets[i]] = seen
		}
		seen += uint64(b.Count)
		sum += mean * float64(b.Count)
	}
	for ; i < len(buckets); i++ {
		counts[buckets[i]] = seen
	}
	return prometheus.MustNewConstHistogram(d, seen, sum, counts)
}
