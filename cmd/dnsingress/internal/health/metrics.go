// SPDX-License-Identifier: Apache-2.0

package health

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// metrics of a checker. The number of targets by state is read at scrape time.
type metrics struct {
	checker  *Checker
	checks   *prometheus.CounterVec
	duration *prometheus.HistogramVec
	delay    prometheus.Histogram
	targets  *prometheus.Desc
}

func newMetrics(c *Checker, r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		checker: c,
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dnsingress_health_checks_total", Help: "Health checks by protocol and outcome.",
		}, []string{"protocol", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dnsingress_health_check_duration_seconds", Help: "Time that a health check took.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}, []string{"protocol"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dnsingress_health_check_delay_seconds", Help: "How late health checks began.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}),
		targets: prometheus.NewDesc("dnsingress_health_targets", "Members under a health check by settled state.", []string{"protocol", "state"}, nil),
	}
	for _, c := range []prometheus.Collector{m.checks, m.duration, m.delay, m} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) observe(p model.Protocol, err error, took time.Duration) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	m.checks.WithLabelValues(string(p), outcome).Inc()
	m.duration.WithLabelValues(string(p)).Observe(took.Seconds())
}

// state is how the metrics call what is known.
func (s *subject) state() string {
	switch {
	case !s.known:
		return "unknown"
	case s.result.Healthy:
		return "healthy"
	}
	return "unhealthy"
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) { out <- m.targets }

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	type key struct{ protocol, state string }
	count := map[key]int{}
	m.checker.mu.Lock()
	for _, subjects := range m.checker.pools {
		for t, s := range subjects {
			count[key{string(t.Check.Protocol), s.state()}]++
		}
	}
	m.checker.mu.Unlock()
	for k, n := range count {
		out <- prometheus.MustNewConstMetric(m.targets, prometheus.GaugeValue, float64(n), k.protocol, k.state)
	}
}
