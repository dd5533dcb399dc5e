// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the exchange. What lives in the service's state is read at scrape time.
type metrics struct {
	service *Service
	looks   *prometheus.CounterVec
	refused *prometheus.CounterVec
	ended   *prometheus.CounterVec
	up      *prometheus.Desc
	left    *prometheus.Desc
	hosts   *prometheus.Desc
	members *prometheus.Desc
	own     *prometheus.Desc
}

func newMetrics(s *Service, r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		service: s,
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dnsingress_peer_questions_total", Help: "Questions to servers of peers by kind (soa, ixfr, axfr) and result (done, failed).",
		}, []string{"cluster", "server", "kind", "result"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dnsingress_peer_refused_total", Help: "What was refused of peers: hosts that they were not granted (host), zones that cannot be read (zone), servers that are not who they should be (identity); and who was refused this cluster's own zone (asked).",
		}, []string{"cluster", "what"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dnsingress_peer_leases_ended_total", Help: "How often a peer went down since nobody confirmed its members.",
		}, []string{"cluster"}),
		up:      prometheus.NewDesc("dnsingress_peer_up", "1 while the lease of a peer holds, so that its members count.", []string{"cluster"}, nil),
		left:    prometheus.NewDesc("dnsingress_peer_lease_seconds", "For how long what a server of a peer confirmed last still counts; 0: not any more.", []string{"cluster", "server"}, nil),
		hosts:   prometheus.NewDesc("dnsingress_peer_hosts", "Hosts that a peer has members for, granted or not.", []string{"cluster", "granted"}, nil),
		members: prometheus.NewDesc("dnsingress_peer_members", "Members of a peer's hosts, as its copy that counts has them.", []string{"cluster"}, nil),
		own:     prometheus.NewDesc("dnsingress_peer_published_hosts", "Hosts whose members are given to the peers.", nil, nil),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.looks, m.refused, m.ended, m} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering the peer metrics: %w", err)
		}
	}
	for _, c := range s.clusters { // from the start, so that a rate can be made of the first
		m.ended.WithLabelValues(c.name)
		for _, what := range []string{"host", "zone", "identity"} {
			m.refused.WithLabelValues(c.name, what)
		}
	}
	return m, nil
}

// looked counts a question to a server.
func (m *metrics) looked(l *link, kind string, err error) {
	result := "done"
	if err != nil {
		result = "failed"
	}
	m.looks.WithLabelValues(l.cluster.name, l.remote.Addr.String(), kind, result).Inc()
}

// failed counts what was wrong with an answer.
func (m *metrics) failed(l *link, err error) {
	var who identityError
	var zone unreadableError
	switch {
	case errors.As(err, &who):
		m.refused.WithLabelValues(l.cluster.name, "identity").Inc()
	case errors.As(err, &zone):
		m.refused.WithLabelValues(l.cluster.name, "zone").Inc()
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.up, m.left, m.hosts, m.members, m.own} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := m.service
	s.publisher.mu.Lock()
	gauge(m.own, float64(s.publisher.hosts))
	s.publisher.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, c := range s.clusters {
		up, members := 0.0, 0
		if c.up {
			up, members = 1, c.counted.held.members
		}
		gauge(m.up, up, c.name)
		gauge(m.members, float64(members), c.name)
		gauge(m.hosts, float64(len(c.told)), c.name, "true")
		gauge(m.hosts, float64(len(c.refused)), c.name, "false")
		for _, l := range c.links {
			left := 0.0
			if l.live(now) {
				left = l.ends().Sub(now).Seconds()
			}
			gauge(m.left, left, c.name, l.remote.Addr.String())
		}
	}
}
