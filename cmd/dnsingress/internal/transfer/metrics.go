// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are told of transfers; the serials are the server's to tell.
type metrics struct {
	out       *prometheus.CounterVec // zone, kind, result
	in        *prometheus.CounterVec // zone, kind, result
	notifies  *prometheus.CounterVec // zone, direction, result
	tsig      *prometheus.CounterVec // error
	refreshed *prometheus.GaugeVec   // zone
	expired   *prometheus.GaugeVec   // zone
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dnsingress_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "dnsingress_" + name, Help: help}, []string{"zone"})
	}
	m := &metrics{
		out:       counter("transfers_out_total", "Transfers to secondaries by kind (axfr, ixfr, current: nothing new) and result (done, refused, broken).", "zone", "kind", "result"),
		in:        counter("transfers_in_total", "Looks at primaries by kind (soa, axfr, ixfr) and result (done, failed).", "zone", "kind", "result"),
		notifies:  counter("transfer_notifies_total", "NOTIFY messages by direction (in, out) and result (accepted, refused, unanswered).", "zone", "direction", "result"),
		tsig:      counter("transfer_tsig_errors_total", "Queries whose TSIG does not hold, by error.", "error"),
		refreshed: gauge("secondary_refreshed_timestamp_seconds", "When a primary last confirmed what this secondary has."),
		expired:   gauge("secondary_expired", "1 where a secondary has nothing that it may serve."),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.out, m.in, m.notifies, m.tsig, m.refreshed, m.expired} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering the transfer metrics: %w", err)
		}
	}
	return m, nil
}
