// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// BenchmarkRespond is everything that a query costs a UDP worker but the system calls: header, question, EDNS,
// answer, counters. cpu-ns/op is processor time, which beside other work tells more than the clock.
func BenchmarkRespond(b *testing.B) {
	for _, c := range []struct {
		name string
		msg  func() []byte
	}{
		{"plain", msg(ask("www.example.org.", dns.TypeAAAA))},
		{"nodata", msg(ask("ns1.example.org.", dns.TypeA))},
		{"edns", edns(1232, nil)},
		{"cookie", edns(1232, cookie("0123456789abcdef"))},
	} {
		b.Run(c.name, func(b *testing.B) {
			catalog := new(zone.Catalog)
			catalog.Publish(exampleZone(b))
			g := &guard{Responder: NewResponder(catalog), panics: &panics{}}
			t := newTally()
			query, buf := c.msg(), make([]byte, ednsUDP)
			var events [batch]event
			from := netip.IPv6Loopback()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			b.ReportAllocs()
			g.now = uint32(time.Now().Unix())
			begin, n := threadTime(b), 0
			for b.Loop() {
				reply, seen := g.respond(buf, query, Peer{Addr: from}, false)
				events[n] = event{outcome: seen, family: familyOf(from), asked: len(query), replied: len(reply)}
				if n++; n == batch {
					g.now = uint32(time.Now().Unix()) // as a worker does
					t.add(events[:], time.Microsecond)
					n = 0
				}
			}
			b.ReportMetric(float64(threadTime(b)-begin)/float64(b.N), "cpu-ns/op")
		})
	}
}

func threadTime(b *testing.B) int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return t.Nano()
}

// TestRespondAllocatesNothing checks what the benchmark measures.
func TestRespondAllocatesNothing(t *testing.T) {
	catalog := new(zone.Catalog)
	catalog.Publish(fuzzZone(t))
	g := &guard{Responder: NewResponder(catalog), panics: &panics{}}
	tally, events := newTally(), make([]event, 1)
	buf := make([]byte, maxMessage)
	for _, name := range []string{"some", "www", "nx", "a.w", "x.c.w", "a.b.c", "b.c", "x.sub", "many", strings.Repeat("long-label.", 12) + "w", strings.Repeat("long-label.", 12) + "c.w", strings.Repeat("long-label.", 12) + "d", strings.Repeat("long-label.", 12) + "sub"} {
		for _, query := range [][]byte{msg(ask(name+".example.org.", dns.TypeAAAA))(), ednsFor(name+".example.org.", 1232, cookie("0123456789abcdef"))()} {
			n := testing.AllocsPerRun(100, func() {
				reply, seen := g.respond(buf, query, Peer{Addr: netip.IPv6Loopback()}, false)
				events[0] = event{outcome: seen, asked: len(query), replied: len(reply)}
				tally.add(events, time.Microsecond)
			})
			if n > 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	}
}
