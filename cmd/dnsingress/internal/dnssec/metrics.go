// SPDX-License-Identifier: Apache-2.0

package dnssec

import "github.com/prometheus/client_golang/prometheus"

// Collectors are the metrics of several signers, for one registration.
type Collectors []*Signer

var (
	descSignatures = prometheus.NewDesc("dnsingress_dnssec_signatures_total",
		"Sets signed, by when: ahead of the questions, or for a question.", []string{"zone", "when"}, nil)
	descFailures = prometheus.NewDesc("dnsingress_dnssec_failures_total", "Sets that could not be signed.", []string{"zone"}, nil)
	descKept     = prometheus.NewDesc("dnsingress_dnssec_kept", "Sets of the zone whose signatures are held.", []string{"zone"}, nil)
	descExpiry   = prometheus.NewDesc("dnsingress_dnssec_first_expiry_timestamp_seconds",
		"When the first of the zone's own signatures expires, as of the last look at all; 0: there was none yet.", []string{"zone"}, nil)
)

// Describe is prometheus.Collector's.
func (Collectors) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSignatures, descFailures, descKept, descExpiry} {
		ch <- d
	}
}

// Collect is prometheus.Collector's.
func (c Collectors) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c {
		s.collect(ch)
	}
}

func (s *Signer) collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{s.origin}, labels...)...)
	}
	counter(descSignatures, s.count.ahead.Load(), "ahead")
	counter(descSignatures, s.count.asked.Load(), "asked")
	counter(descFailures, s.count.failed.Load())
	ch <- prometheus.MustNewConstMetric(descKept, prometheus.GaugeValue, float64(s.kept.len()), s.origin)
	ch <- prometheus.MustNewConstMetric(descExpiry, prometheus.GaugeValue, float64(s.count.oldest.Load()), s.origin)
}
