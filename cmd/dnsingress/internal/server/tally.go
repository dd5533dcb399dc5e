// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	rcodeFormErr  = dns.RcodeFormatError
	rcodeServFail = dns.RcodeServerFailure
	rcodes        = 24 // and what EDNS adds: BADVERS is 16, BADCOOKIE 23
)

// family is the address family of a client.
type family int

const (
	ipv4 family = iota
	ipv6
	families
)

func (f family) String() string { return [...]string{"1", "2"}[f] } // as CoreDNS numbers them

func familyOf(a netip.Addr) family {
	if a.Is4() || a.Is4In6() {
		return ipv4
	}
	return ipv6
}

// event is one query for the counters.
type event struct {
	outcome
	family         family
	verdict        verdict
	asked, replied int // octets
}

// tally is the counters of one worker. It is added to once a batch, after the replies have left, so its lock
// is nearly always free; a scrape takes it for a copy.
type tally struct {
	mu       sync.Mutex
	zones    []*zoneTally // by slot + 1; the first is of queries for no zone
	ignored  [reasonsEnd]uint64
	failed   uint64 // replies that could not be sent
	limited  [verdicts]uint64
	duration histogram
	asked    histogram
	replied  histogram
}

type zoneTally struct {
	requests  [families][types]uint64
	dnssec    [families]uint64 // with the DO bit
	responses [rcodes]uint64
}

func newTally() *tally {
	return &tally{duration: newHistogram(durations), asked: newHistogram(sizes), replied: newHistogram(sizes)}
}

func (t *tally) add(events []event, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	replies := uint64(0)
	for i := range events {
		e := &events[i]
		if e.ignored != answered {
			if e.ignored < reasonsEnd {
				t.ignored[e.ignored]++
			}
			continue
		}
		for len(t.zones) <= e.slot+1 {
			t.zones = append(t.zones, &zoneTally{})
		}
		z := t.zones[e.slot+1]
		z.requests[e.family][typeIndex(e.qtype)]++
		if e.do {
			z.dnssec[e.family]++
		}
		t.limited[e.verdict]++
		if e.verdict == dropped {
			continue
		}
		z.responses[e.rcode%rcodes]++
		t.asked.observe(float64(e.asked), 1)
		t.replied.observe(float64(e.replied), 1)
		replies++
	}
	t.duration.observe(took.Seconds(), replies)
}

func (t *tally) unsent() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed++
}

// histogram has counts by upper bound, one more for what exceeds all.
type histogram struct {
	bounds []float64
	counts []uint64
	sum    float64
}

// Upper bounds: in seconds from a microsecond on, for most answers take less than ten; in octets.
var (
	durations = []float64{1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 16e-3, 32e-3, 64e-3}
	sizes     = []float64{32, 64, 100, 200, 300, 400, 511, 1023, 1232, 2047, 4095, 8291, 16000, 32000, 48000, 64000}
)

func newHistogram(bounds []float64) histogram {
	return histogram{bounds: bounds, counts: make([]uint64, len(bounds)+1)}
}

// observe counts n values v.
func (h *histogram) observe(v float64, n uint64) {
	i := 0
	for i < len(h.bounds) && v > h.bounds[i] {
		i++
	}
	h.counts[i] += n
	h.sum += v * float64(n)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.sum += o.sum
}

// named are the types with a count of their own, as in CoreDNS; all others are one.
var named = [...]uint16{
	dns.TypeAAAA, dns.TypeA, dns.TypeCNAME, dns.TypeDNSKEY, dns.TypeDS, dns.TypeMX, dns.TypeNSEC3, dns.TypeNSEC,
	dns.TypeNS, dns.TypePTR, dns.TypeRRSIG, dns.TypeSOA, dns.TypeSRV, dns.TypeTXT, dns.TypeHTTPS, dns.TypeSVCB,
	dns.TypeNAPTR, dns.TypeCAA, dns.TypeDNAME, dns.TypeIXFR, dns.TypeAXFR, dns.TypeANY,
}

const types = len(named) + 1

func typeIndex(qtype uint16) int {
	for i, t := range named {
		if t == qtype {
			return i
		}
	}
	return len(named)
}

func typeName(i int) string {
	if i == len(named) {
		return "other"
	}
	return dns.TypeToString[named[i]]
}
