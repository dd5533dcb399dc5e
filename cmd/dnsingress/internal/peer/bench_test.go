// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

// manyHosts are pools of ten members each.
func manyHosts(n int) map[string]*model.Share {
	all := make(map[string]*model.Share, n)
	for i := range n {
		s := &model.Share{Host: fmt.Sprintf("h%d.apps.test.", i), TTL: 5}
		for k := range 10 {
			a := netip.AddrFrom16([16]byte{0: 0xfd, 10: byte(i >> 16), 11: byte(i >> 8), 12: byte(i), 15: byte(k)})
			s.Members = append(s.Members, model.SharedMember{Address: a, In: true, Reason: "ready", Weight: 1, Location: "GEO-EU/CH/zone-a/node-7", Pod: fmt.Sprintf("h%d-7d8f6c5b4-x%d", i, k)})
		}
		all[s.Host] = s
	}
	return all
}

func newBenchPublisher(tb testing.TB) *publisher {
	tb.Helper()
	return &publisher{
		origin: "far." + testZone, apex: apex{cluster: "far", identity: "far-id", lease: testLease}, publish: config.Hosts{"*"}, catalog: new(zone.Catalog),
		log: slog.New(slog.DiscardHandler), shards: map[string]int{},
	}
}

// BenchmarkWhole makes and reads a zone of 100,000 members.
func BenchmarkWhole(b *testing.B) {
	shares := manyHosts(10_000)
	for b.Loop() {
		p := newBenchPublisher(b)
		if err := p.change(shares); err != nil {
			b.Fatal(err)
		}
		if _, all, err := read(p.zone, nil, p.origin); err != nil || len(all) != len(shares) {
			b.Fatal(len(all), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/member")
}

// BenchmarkChange has one member of 100,000 turn, and reads the difference.
func BenchmarkChange(b *testing.B) {
	p := newBenchPublisher(b)
	if err := p.change(manyHosts(10_000)); err != nil {
		b.Fatal(err)
	}
	one := manyHosts(1)["h0.apps.test."]
	for b.Loop() {
		before := p.zone
		one.Members[3].In = !one.Members[3].In
		if err := p.change(map[string]*model.Share{one.Host: one}); err != nil {
			b.Fatal(err)
		}
		if _, changed, err := read(p.zone, before, p.origin); err != nil || len(changed) != 1 {
			b.Fatal(len(changed), err)
		}
	}
}
