// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what is counted of requests.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	records  prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dnsingress_webhook_requests_total", Help: "Requests of external-dns, by method, path and status of the answer; 4xx and 5xx are errors.",
		}, []string{"method", "path", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dnsingress_webhook_request_duration_seconds", Help: "How long requests of external-dns took.",
			Buckets: []float64{.001, .005, .02, .1, .5, 1, 2.5, 5, 10},
		}, []string{"method", "path"}),
		records: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dnsingress_webhook_records", Help: "Endpoints that external-dns was given when it last asked for all.",
		}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.records} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// begin returns what is called with the status at the end of a request.
func (m *metrics) begin(method, path string) (done func(status int)) {
	from := time.Now()
	return func(status int) {
		m.requests.WithLabelValues(method, path, strconv.Itoa(status)).Inc()
		m.duration.WithLabelValues(method, path).Observe(time.Since(from).Seconds())
	}
}
