// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// registryMetrics are of the upper side. How much is registered is read at scrape time.
type registryMetrics struct {
	registry *Registry
	updates  *prometheus.CounterVec // zone, result
	ended    *prometheus.CounterVec // zone
	unkept   *prometheus.CounterVec // zone
	leases   *prometheus.Desc
	children *prometheus.Desc
	hosts    *prometheus.Desc
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dnsingress_" + name, Help: help}, labels)
}

func register(r prometheus.Registerer, all ...prometheus.Collector) error {
	if r == nil {
		return nil
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("registering the metrics of registrations: %w", err)
		}
	}
	return nil
}

func newRegistryMetrics(of *Registry, r prometheus.Registerer) (*registryMetrics, error) {
	zone := []string{"zone"}
	m := &registryMetrics{
		registry: of,
		updates:  counters("registration_updates_total", "DNS UPDATEs by result: accepted, or why they were refused.", "zone", "result"),
		ended:    counters("registration_leases_ended_total", "Leases that ended without a renewal.", "zone"),
		unkept:   counters("registration_state_errors_total", "Times that what is registered could not be written to the state directory.", "zone"),
		leases:   prometheus.NewDesc("dnsingress_registration_leases", "Name servers of children; state: leased, or kept though the lease of the last one has ended.", []string{"zone", "state"}, nil),
		children: prometheus.NewDesc("dnsingress_registration_children", "Children that are registered.", zone, nil),
		hosts:    prometheus.NewDesc("dnsingress_registration_nameservers", "Name servers that have registered.", zone, nil),
	}
	return m, register(r, m.updates, m.ended, m.unkept, m)
}

// Describe implements prometheus.Collector.
func (m *registryMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.leases, m.children, m.hosts} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *registryMetrics) Collect(out chan<- prometheus.Metric) {
	m.registry.mu.Lock()
	defer m.registry.mu.Unlock()
	for origin, b := range m.registry.books {
		a, kept := b.accounts(), 0
		for _, claims := range b.children {
			for _, c := range claims {
				if !c.ended.IsZero() {
					kept++
				}
			}
		}
		gauge := func(d *prometheus.Desc, v int, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), append([]string{origin}, labels...)...)
		}
		gauge(m.leases, a.leases-kept, "leased")
		gauge(m.leases, kept, "kept")
		gauge(m.children, a.children)
		gauge(m.hosts, a.hosts)
	}
}

// leafMetrics are of the leaf's side, and of comparisons.
type leafMetrics struct {
	sent      *prometheus.CounterVec // upper, kind, result
	compared  *prometheus.CounterVec // zone, side, result
	renewed   *prometheus.GaugeVec   // upper
	disagrees *prometheus.GaugeVec   // zone, side
}

// Metrics are of registering and of comparing; nil registerer: they are not shown.
type Metrics struct{ leafMetrics }

// NewMetrics makes them, once a process.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "dnsingress_" + name, Help: help}, labels)
	}
	m := &Metrics{leafMetrics{
		sent:      counters("register_messages_total", "Messages to uppers by kind (register, renew, leave) and result (accepted, again: all of it is to be sent, refused, unanswered).", "upper", "kind", "result"),
		compared:  counters("delegation_comparisons_total", "Comparisons of what parent and child say; side: parent (asked from the child) or child (asked from the parent); result: same, other, unanswered.", "zone", "side", "result"),
		renewed:   gauge("register_renewed_timestamp_seconds", "When an upper last took a registration or a renewal.", "upper"),
		disagrees: gauge("delegation_disagrees", "1 while parent and child say different things of the child's name servers.", "zone", "side"),
	}}
	return m, register(r, m.sent, m.compared, m.renewed, m.disagrees)
}
