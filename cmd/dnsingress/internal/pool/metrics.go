// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// metrics of the control loop. What lives in the engine's state is read at scrape time.
type metrics struct {
	engine      *Engine
	decisions   *prometheus.CounterVec
	early       *prometheus.CounterVec
	programming *prometheus.HistogramVec
	publishing  *prometheus.HistogramVec
	step        prometheus.Histogram
	ttl         *prometheus.Desc
	weight      *prometheus.Desc
	members     *prometheus.Desc
	failOpen    *prometheus.Desc
	age         *prometheus.Desc
	serial      *prometheus.Desc
	names       *prometheus.Desc
}

func newMetrics(e *Engine, r prometheus.Registerer) (*metrics, error) {
	pool := []string{"kind", "namespace", "name", "part"}
	m := &metrics{
		engine: e,
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dnsingress_pool_decisions_total", Help: "Changes of a member to another state or reason.",
		}, []string{"state", "reason"}),
		programming: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dnsingress_kubernetes_dns_programming_duration_seconds", Help: "Time from a change in the cluster, of pods as the endpoint slice controller notes it, until it is answered; by the kind of object that publishes it.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 20),
		}, []string{"kind"}),
		publishing: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dnsingress_publish_duration_seconds", Help: "Time from the watch event of a change until it is answered; by the kind of object that publishes it.",
			Buckets: prometheus.ExponentialBuckets(0.00001, 2, 20),
		}, []string{"kind"}),
		early: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dnsingress_pods_gone_early_total", Help: "Pods that were gone while answers with their addresses may still have been held; terminated: they had begun to terminate.",
		}, []string{"terminated"}),
		step: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dnsingress_pool_evaluation_duration_seconds", Help: "Time to decide on all pools that have news, and to publish what changed.",
			Buckets: prometheus.ExponentialBuckets(0.00001, 2, 20),
		}),
		ttl:      prometheus.NewDesc("dnsingress_pool_ttl_seconds", "TTL of a pool's answers, by the rule that set it.", append(pool, "rule"), nil),
		weight:   prometheus.NewDesc("dnsingress_pool_weight", "Least and greatest weight of a pool's members, beside that of equal ones.", append(pool, "bound"), nil),
		members:  prometheus.NewDesc("dnsingress_pool_members", "Members of a pool by state and reason.", append(pool, "state", "reason"), nil),
		failOpen: prometheus.NewDesc("dnsingress_pool_fail_open", "1 while too few members satisfy the policy, so that all ready ones are answered with; of pools that have a policy.", pool, nil),
		age:      prometheus.NewDesc("dnsingress_signal_age_seconds", "Age of the values that a pool is steered by; +Inf: there were none yet.", append(pool, "signal"), nil),
		serial:   prometheus.NewDesc("dnsingress_zone_serial", "Serial of the zone's SOA.", []string{"zone"}, nil),
		names:    prometheus.NewDesc("dnsingress_zone_names", "Names in the zone that are published for objects.", []string{"zone"}, nil),
	}
	for _, c := range []prometheus.Collector{m.decisions, m.early, m.programming, m.publishing, m.step, m} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

// programmed observes how long the updates took, each change in the cluster once.
func (m *metrics) programmed(e *Engine, updates []model.Update, now time.Time) {
	for _, u := range updates {
		if !u.Received.IsZero() {
			m.publishing.WithLabelValues(u.Ref.Kind).Observe(now.Sub(u.Received).Seconds())
		}
		s := e.pools[u.Ref]
		if s == nil {
			continue
		}
		if u.Triggered.After(s.triggered) {
			// What happened before this process heard of anything says nothing of how quick it is.
			if u.Triggered.After(e.synced) {
				m.programming.WithLabelValues(u.Ref.Kind).Observe(now.Sub(u.Triggered).Seconds())
			}
			s.triggered = u.Triggered
		}
	}
}

func stateOf(v steer.Verdict) string {
	if v.In {
		return "in"
	}
	return "out"
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.members, m.failOpen, m.ttl, m.weight, m.age, m.serial, m.names} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	e := m.engine
	e.mu.RLock()
	defer e.mu.RUnlock()
	now := time.Now()
	for _, z := range e.zones {
		out <- prometheus.MustNewConstMetric(m.serial, prometheus.GaugeValue, float64(z.zone.Serial()), z.origin)
		out <- prometheus.MustNewConstMetric(m.names, prometheus.GaugeValue, float64(len(z.answers)), z.origin)
	}
	var counted []moves
	for ref, s := range e.pools {
		if len(s.Hosts) == 0 || ref.Kind == peers {
			continue // it has no members that anything could be told of
		}
		of := labelsOf(ref)
		counted = counted[:0]
		for i := range s.decision.Members {
			counted = count(counted, &s.decision.Members[i])
		}
		for _, c := range counted {
			out <- of.gauge(m.members, float64(c.members), "reason", string(c.reason), "state", c.state)
		}
		out <- of.gauge(m.ttl, s.decision.TTL.Seconds(), "rule", s.decision.TTLRule)
		if s.Policy == nil {
			continue
		}
		failOpen := 0.0
		if s.decision.FailOpen {
			failOpen = 1
		}
		out <- of.gauge(m.failOpen, failOpen)
		least, greatest := s.weights()
		for bound, weight := range map[string]float64{"least": least, "greatest": greatest} {
			out <- prometheus.MustNewConstMetric(m.weight, prometheus.GaugeValue, weight, ref.Kind, ref.Namespace, ref.Name, ref.Part, bound)
		}
		for i, q := range s.queries {
			out <- of.gauge(m.age, age(e.queries[q], now), "signal", s.Policy.Signals[i].Name)
		}
	}
}

// weights are the least and the greatest of those in the answer, of which equal ones would have 1.
func (s *state) weights() (least, greatest float64) {
	in := 0
	for _, v := range s.decision.Members {
		if !v.In {
			continue
		}
		if in++; in == 1 {
			least, greatest = v.Weight, v.Weight
		}
		least, greatest = min(least, v.Weight), max(greatest, v.Weight)
	}
	return least * float64(in), greatest * float64(in)
}
