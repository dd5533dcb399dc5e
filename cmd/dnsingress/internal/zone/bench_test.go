// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/hugepage"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// benchZone has singles names with one AAAA and a tenth of that with ten, at least 100, as in bench/dns.
func benchZone(b testing.TB, singles int) (*Zone, [][]byte) {
	builder, err := NewBuilder("bench.test.")
	if err != nil {
		b.Fatal(err)
	}
	add := func(rr dns.RR) {
		if err := builder.Add(rr); err != nil {
			b.Fatal(err)
		}
	}
	for _, rr := range records(b, `bench.test. 30 IN SOA ns1.bench.test. host.bench.test. 1 3600 600 86400 5
bench.test. 30 IN NS ns1.bench.test.
ns1.bench.test. 30 IN AAAA 2001:db8::1
*.wild.bench.test. 30 IN AAAA 2001:db8:3::1`) {
		add(rr)
	}
	name := func(i int) string {
		if i < singles {
			return fmt.Sprintf("svc-%07d.ns%03d.bench.test.", i, i%997)
		}
		return fmt.Sprintf("hls-%07d.ns%03d.bench.test.", i-singles, (i-singles)%997)
	}
	host := func(i, addresses int) {
		wire, err := pack(name(i))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := builder.Owner([]byte(wire)); err != nil { // as zonefile does
			b.Fatal(err)
		}
		for k := range addresses {
			builder.AddWire(dns.TypeAAAA, 30, []byte{0x20, 1, 0xd, 0xb8, 0, byte(k), 0, 0, 0, 0, 0, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)})
		}
	}
	for i := range singles {
		host(i, 1)
	}
	for i := range 100 {
		host(singles+i, 10)
	}
	z, err := builder.Zone()
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	queries := make([][]byte, 200_000)
	for i := range queries {
		queries[i] = query(b, name(rng.IntN(singles+100)), dns.TypeAAAA)
	}
	return z, queries
}

func query(t testing.TB, name string, qtype uint16) []byte {
	m := new(dns.Msg).SetQuestion(name, qtype)
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func bench(b *testing.B, z *Zone, queries [][]byte) {
	var catalog Catalog
	catalog.Publish(z)
	var q Question
	var r Reply
	buf := make([]byte, 1232)
	b.ReportAllocs()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin := threadTime(b)
	defer func() { b.ReportMetric(float64(threadTime(b)-begin)/float64(b.N), "cpu-ns/op") }()
	i := 0
	for b.Loop() {
		msg := queries[i]
		if i++; i == len(queries) {
			i = 0
		}
		end, err := q.Parse(msg)
		if err != nil {
			b.Fatal(err)
		}
		e, ok := catalog.Find(&q)
		if !ok {
			b.Fatal("no zone")
		}
		r.Start(buf, msg, end)
		e.Answer(&q, &r)
		if len(r.Bytes()) < headerLen {
			b.Fatal("short")
		}
	}
}

// threadTime is the processor time of this thread in nanoseconds. Beside other work it tells more than the clock.
func threadTime(b *testing.B) int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return t.Nano()
}

func BenchmarkAnswer(b *testing.B) {
	for _, names := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(names+100), func(b *testing.B) {
			z, queries := benchZone(b, names)
			debug.FreeOSMemory() // as serve does
			if octets, err := hugepage.Collapse(); err != nil {
				b.Logf("on small pages: %v", err)
			} else {
				b.Logf("%d MiB on huge pages", octets>>20)
			}
			bench(b, z, queries)
		})
	}
}

// BenchmarkAnswerAhead is Answer for batches, as a UDP worker has them: what their answers need is fetched first.
func BenchmarkAnswerAhead(b *testing.B) {
	z, queries := benchZone(b, 1_000_000)
	debug.FreeOSMemory()
	if _, err := hugepage.Collapse(); err != nil {
		b.Logf("on small pages: %v", err)
	}
	for _, size := range []int{1, 4, 8, 16, 32} {
		b.Run(fmt.Sprint(size), func(b *testing.B) { benchAhead(b, z, queries, size) })
	}
}

func benchAhead(b *testing.B, z *Zone, queries [][]byte, size int) {
	var catalog Catalog
	catalog.Publish(z)
	var q Question
	var r Reply
	var ahead Ahead
	buf := make([]byte, 1232)
	b.ReportAllocs()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin := threadTime(b)
	defer func() { b.ReportMetric(float64(threadTime(b)-begin)/float64(b.N), "cpu-ns/op") }()
	i, left := 0, 0
	for b.Loop() {
		if i == len(queries) {
			i, left = 0, 0
		}
		if left == 0 {
			left = min(size, len(queries)-i)
			if size > 1 {
				for k := range left {
					ahead.Add(&catalog, queries[i+k])
				}
				ahead.Fetch()
			}
		}
		left--
		msg := queries[i]
		i++
		end, err := q.Parse(msg)
		if err != nil {
			b.Fatal(err)
		}
		e, ok := catalog.Find(&q)
		if !ok {
			b.Fatal("no zone")
		}
		r.Start(buf, msg, end)
		e.Answer(&q, &r)
		if len(r.Bytes()) < headerLen {
			b.Fatal("short")
		}
	}
}

func BenchmarkAnswerKinds(b *testing.B) {
	z, _ := benchZone(b, 1000)
	for _, c := range []struct {
		kind, name string
		qtype      uint16
	}{
		{"wildcard", "w17.wild.bench.test.", dns.TypeAAAA},
		{"nodata", "svc-0000007.ns007.bench.test.", dns.TypeA},
		{"nxdomain", "nx17.none.bench.test.", dns.TypeAAAA},
		{"soa", "bench.test.", dns.TypeSOA},
	} {
		b.Run(c.kind, func(b *testing.B) { bench(b, z, [][]byte{query(b, c.name, c.qtype)}) })
	}
}

func BenchmarkWith(b *testing.B) {
	z, _ := benchZone(b, 1_000_000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		owner := fmt.Sprintf("svc-%07d.ns%03d.bench.test.", i%1_000_000, i%1_000_000%997)
		next, err := z.With(Change{Owner: owner, RRsets: []RRset{{Type: dns.TypeA, TTL: 5, Records: []dns.RR{
			&dns.A{Hdr: dns.RR_Header{Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, byte(i)).To4()},
		}}}})
		if err != nil {
			b.Fatal(err)
		}
		z = next
	}
}
