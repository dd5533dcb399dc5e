// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

const (
	benchPools   = 10_000
	benchMembers = 10
)

// benchPool is the i-th of many pools; each has a port, and thus a SRV record.
func benchPool(i int) *model.Pool {
	p := &model.Pool{
		Ref: model.Ref{Kind: "Service", Namespace: fmt.Sprintf("team-%d", i%100), Name: fmt.Sprintf("service-%d", i)}, Hosts: []string{fmt.Sprintf("s%d.apps.test.", i)},
		Ports: []model.Port{{Name: "http", Protocol: "tcp"}}, Created: time.Unix(int64(i), 0),
	}
	for m := range benchMembers {
		p.Members = append(p.Members, model.Member{
			Address: netip.AddrFrom16([16]byte{0: 0xfd, 10: byte(i >> 16), 11: byte(i >> 8), 12: byte(i), 15: byte(m + 1)}),
			Pod:     fmt.Sprintf("service-%d-%d", i, m), Ready: true, Serving: true, Ports: []uint16{8080},
		})
	}
	return p
}

func benchUpdates(now time.Time) []model.Update {
	updates := make([]model.Update, benchPools)
	for i := range updates {
		p := benchPool(i)
		updates[i] = model.Update{Ref: p.Ref, Pool: p, Received: now}
	}
	return updates
}

// BenchmarkOneOfManyPools is what it costs that a member of one pool out of 10,000 comes or goes: to decide, to change
// the zone and to publish it.
func BenchmarkOneOfManyPools(b *testing.B) {
	e := newBench(b)
	e.do(mail{updates: benchUpdates(e.now)})
	e.do(mail{synced: true})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := benchPool(i % benchPools)
		p.Members = p.Members[i/benchPools%2:]
		p.Members[len(p.Members)-1].Ready = i/benchPools%2 == 1
		e.do(mail{updates: []model.Update{{Ref: p.Ref, Pool: p, Received: e.now}}})
	}
}

// BenchmarkGoingLive is the start with 10,000 pools of 10 members, all in one step as a source gives them; heap is what
// the engine and its zones keep, the model's own values among it.
func BenchmarkGoingLive(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		e := newBench(b)
		before := heap()
		updates := benchUpdates(e.now)
		model := heap() - before
		b.StartTimer()
		e.do(mail{updates: updates})
		e.do(mail{synced: true})
		b.StopTimer()
		b.ReportMetric(float64(model)/(1<<20), "model-MiB")
		b.ReportMetric(float64(heap()-before)/(1<<20), "heap-MiB")
		if e.options.Catalog.Zone("apps.test.").Len() < 2*benchPools {
			b.Fatal("not all is published")
		}
		runtime.KeepAlive(updates)
		b.StartTimer()
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkScrape is one scrape of the metrics of 10,000 pools, but for their encoding.
func BenchmarkScrape(b *testing.B) {
	e := newBench(b)
	e.do(mail{updates: benchUpdates(e.now)})
	e.do(mail{synced: true})
	registry := prometheus.NewRegistry()
	registry.MustRegister(e.metrics)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
