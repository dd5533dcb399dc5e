// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are what the control loop reports of itself.
type counters struct {
	endpoints prometheus.Gauge
	reloads   *prometheus.CounterVec // by result: done, failed
}

func newCounters(registry *prometheus.Registry, p *process) counters {
	c := counters{
		endpoints: prometheus.NewGauge(prometheus.GaugeOpts{Name: "nginx_endpoints", Help: "Servers in the upstream."}),
		reloads:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "nginx_reloads_total", Help: "Reloads of nginx."}, []string{"result"}),
	}
	registry.MustRegister(c.endpoints, c.reloads, stubStatus{
		nginx:       p,
		connections: prometheus.NewDesc("nginx_connections_active", "Open client connections.", nil, nil),
		accepted:    prometheus.NewDesc("nginx_connections_accepted_total", "Accepted client connections.", nil, nil),
		handled:     prometheus.NewDesc("nginx_connections_handled_total", "Accepted client connections that a worker had room for.", nil, nil),
		requests:    prometheus.NewDesc("nginx_http_requests_total", "Client requests.", nil, nil),
	})
	return c
}

// stubStatus reads nginx's own counters (ngx_http_stub_status_module) when it is scraped. They include the reading itself.
type stubStatus struct {
	nginx                                    *process
	connections, accepted, handled, requests *prometheus.Desc
}

func (s stubStatus) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.connections
	ch <- s.accepted
	ch <- s.handled
	ch <- s.requests
}

func (s stubStatus) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	text, err := s.nginx.get(ctx, "/stub_status")
	var n status
	if err == nil {
		n, err = parseStubStatus(text)
	}
	if err != nil {
		ch <- prometheus.NewInvalidMetric(s.connections, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(s.connections, prometheus.GaugeValue, n.active)
	ch <- prometheus.MustNewConstMetric(s.accepted, prometheus.CounterValue, n.accepted)
	ch <- prometheus.MustNewConstMetric(s.handled, prometheus.CounterValue, n.handled)
	ch <- prometheus.MustNewConstMetric(s.requests, prometheus.CounterValue, n.requests)
}

// status is what stub_status counts; handled differs from accepted when a worker runs out of connections.
type status struct{ active, accepted, handled, requests float64 }

// parseStubStatus reads the first three lines of an answer of stub_status.
func parseStubStatus(text string) (status, error) {
	var n status
	_, err := fmt.Sscanf(text, "Active connections: %f \nserver accepts handled requests\n %f %f %f", &n.active, &n.accepted, &n.handled, &n.requests)
	if err != nil {
		return status{}, fmt.Errorf("reading stub_status %q: %w", text, err)
	}
	return n, nil
}
