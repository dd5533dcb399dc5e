// SPDX-License-Identifier: Apache-2.0

package server

import (
	"strconv"
	"sync"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// collector sums the workers' tallies when it is scraped. Names and labels are CoreDNS's, with another prefix.
type collector struct {
	catalog *zone.Catalog
	panics  *panics
	tcp     *connections

	mu      sync.Mutex
	tallies []source
	feeds   []*feed
}

// source is a tally and what its queries came over.
type source struct {
	*tally
	proto string
}

func (c *collector) add(proto string) *tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := newTally()
	c.tallies = append(c.tallies, source{t, proto})
	return t
}

// follow has feeds counted.
func (c *collector) follow(feeds []*feed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.feeds = feeds
}

const prefix = "dnsingress_"

var (
	descRequests   = prometheus.NewDesc(prefix+"dns_requests_total", "Queries by zone, protocol, address family (1 is IPv4, 2 is IPv6) and type.", []string{"zone", "proto", "family", "type"}, nil)
	descDO         = prometheus.NewDesc(prefix+"dns_do_requests_total", "Queries with the DO bit.", []string{"zone", "proto", "family"}, nil)
	descResponses  = prometheus.NewDesc(prefix+"dns_responses_total", "Replies by zone and response code.", []string{"zone", "proto", "rcode"}, nil)
	descDuration   = prometheus.NewDesc(prefix+"dns_request_duration_seconds", "From the receipt of a query, or of the batch that it came in, until the replies were handed to the system.", []string{"proto"}, nil)
	descAsked      = prometheus.NewDesc(prefix+"dns_request_size_bytes", "Sizes of queries.", []string{"proto"}, nil)
	descReplied    = prometheus.NewDesc(prefix+"dns_response_size_bytes", "Sizes of replies.", []string{"proto"}, nil)
	descIgnored    = prometheus.NewDesc(prefix+"dns_ignored_total", "Messages that get no reply: shorter than a header, replies themselves, or left by what they were handed to.", []string{"proto", "reason"}, nil)
	descUnsent     = prometheus.NewDesc(prefix+"dns_unsent_total", "Replies that the system refused to send.", []string{"proto"}, nil)
	descLimited    = prometheus.NewDesc(prefix+"dns_rate_limited_total", "Replies beyond the rate of their client's network: left out, or sent empty with TC to make it ask over TCP.", []string{"proto", "action"}, nil)
	descSampled    = prometheus.NewDesc(prefix+"dns_samples_total", "Queries copied to the query log or to dnstap.", []string{"to"}, nil)
	descLost       = prometheus.NewDesc(prefix+"dns_samples_lost_total", "Queries meant for the query log or for dnstap that were left out, because it was away, too slow or at its bound.", []string{"to"}, nil)
	descPanics     = prometheus.NewDesc(prefix+"panics_total", "Panics caught while answering; each was a SERVFAIL.", nil, nil)
	descSerial     = prometheus.NewDesc(prefix+"dns_zone_serial", "Serial of the zone's SOA.", []string{"zone"}, nil)
	descNames      = prometheus.NewDesc(prefix+"dns_zone_names", "Names in the zone.", []string{"zone"}, nil)
	descOpen       = prometheus.NewDesc(prefix+"dns_tcp_connections", "Open TCP connections.", nil, nil)
	descHeld       = prometheus.NewDesc(prefix+"dns_tcp_buffer_bytes", "What the buffers of TCP connections hold, of those beyond the first half kilobyte of each.", nil, nil)
	descAccepted   = prometheus.NewDesc(prefix+"dns_tcp_accepted_total", "TCP connections accepted, those with TLS among them.", nil, nil)
	descClosed     = prometheus.NewDesc(prefix+"dns_tcp_closed_total", "TCP connections closed because of a limit: the one that was idle longest for another, a new one of a client with too many, one whose buffers there is no room for.", []string{"limit"}, nil)
	descHandshakes = prometheus.NewDesc(prefix+"dns_tls_handshakes_failed_total", "TLS connections that broke before the first query.", nil, nil)
)

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descRequests, descDO, descResponses, descDuration, descAsked, descReplied, descIgnored, descUnsent, descLimited, descSampled, descLost,
		descPanics, descSerial, descNames, descOpen, descHeld, descAccepted, descClosed, descHandshakes,
	} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n, labels...)
	}
	for _, proto := range []string{"udp", "tcp", "tls"} {
		sum := c.sum(proto)
		// After the sum, for what has been counted has a slot by then. "" is for queries outside every zone.
		origins := append([]string{""}, c.catalog.Origins()...)
		for slot, z := range sum.zones {
			z.collect(counter, origins[slot], proto)
		}
		for _, h := range []struct {
			d *prometheus.Desc
			histogram
		}{{descDuration, sum.duration}, {descAsked, sum.asked}, {descReplied, sum.replied}} {
			count, buckets := h.cumulative()
			ch <- prometheus.MustNewConstHistogram(h.d, count, h.sum, buckets, proto)
		}
		counter(descUnsent, sum.failed, proto)
		for v := slipped; v < verdicts; v++ {
			counter(descLimited, sum.limited[v], proto, v.String())
		}
		for why := tooShort; why < reasonsEnd; why++ {
			counter(descIgnored, sum.ignored[why], proto, why.String())
		}
	}
	c.mu.Lock()
	feeds := c.feeds
	c.mu.Unlock()
	for _, f := range feeds {
		counter(descSampled, f.taken.Load(), f.name)
		counter(descLost, f.lost.Load(), f.name)
	}
	counter(descPanics, c.panics.count.Load())
	for _, z := range c.catalog.Zones() {
		gauge(descSerial, float64(z.Serial()), z.Origin())
		gauge(descNames, float64(z.Len()), z.Origin())
	}
	n := c.tcp.numbers()
	gauge(descOpen, float64(n.open))
	gauge(descHeld, float64(n.held))
	counter(descAccepted, n.accepted)
	counter(descClosed, n.evicted, "connections")
	counter(descClosed, n.perClient, "client")
	counter(descClosed, n.memory, "memory")
	counter(descHandshakes, n.handshakes)
}

// sum adds up the tallies of a protocol.
func (c *collector) sum(proto string) *tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := newTally()
	for _, t := range c.tallies {
		if t.proto == proto {
			sum.merge(t.tally)
		}
	}
	return sum
}

func (t *tally) merge(o *tally) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(t.zones) < len(o.zones) {
		t.zones = append(t.zones, &zoneTally{})
	}
	for i, z := range o.zones {
		t.zones[i].merge(z)
	}
	for i, n := range o.ignored {
		t.ignored[i] += n
	}
	t.failed += o.failed
	for i, n := range o.limited {
		t.limited[i] += n
	}
	t.duration.merge(&o.duration)
	t.asked.merge(&o.asked)
	t.replied.merge(&o.replied)
}

func (z *zoneTally) merge(o *zoneTally) {
	for f := range families {
		for i, n := range o.requests[f] {
			z.requests[f][i] += n
		}
		z.dnssec[f] += o.dnssec[f]
	}
	for i, n := range o.responses {
		z.responses[i] += n
	}
}

func (z *zoneTally) collect(counter func(*prometheus.Desc, uint64, ...string), origin, proto string) {
	for f := range families {
		for i, n := range z.requests[f] {
			if n > 0 {
				counter(descRequests, n, origin, proto, f.String(), typeName(i))
			}
		}
		if n := z.dnssec[f]; n > 0 {
			counter(descDO, n, origin, proto, f.String())
		}
	}
	for rcode, n := range z.responses {
		if n > 0 {
			counter(descResponses, n, origin, proto, rcodeName(rcode))
		}
	}
}

func rcodeName(rcode int) string {
	if rcode == dns.RcodeBadVers { // miekg/dns calls 16 by its name in TSIG
		return "BADVERS"
	}
	if name, ok := dns.RcodeToString[rcode]; ok {
		return name
	}
	return strconv.Itoa(rcode)
}

func (h *histogram) cumulative() (count uint64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(h.bounds))
	for i, bound := range h.bounds {
		count += h.counts[i]
		buckets[bound] = count
	}
	return count + h.counts[len(h.bounds)], buckets
}
