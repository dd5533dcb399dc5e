// SPDX-License-Identifier: Apache-2.0

package server

import (
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// TestScrapeWhileAZoneComes publishes a zone, and counts a query for it, in the middle of a scrape.
func TestScrapeWhileAZoneComes(t *testing.T) {
	catalog := new(zone.Catalog)
	s := New(Config{Catalog: catalog})
	tcp := s.collector.add("tcp")
	metrics := make(chan prometheus.Metric)
	go func() {
		defer close(metrics)
		defer func() {
			if cause := recover(); cause != nil {
				t.Errorf("the scrape panicked: %v", cause)
			}
		}()
		s.collector.Collect(metrics)
	}()
	<-metrics // UDP comes first: TCP has not been read yet
	catalog.Publish(exampleZone(t))
	tcp.add([]event{{outcome: outcome{qtype: dns.TypeA}}}, 0)
	asked := 0
	for m := range metrics {
		if m.Desc() == descRequests {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("%d counts of queries", asked)
	}
}
