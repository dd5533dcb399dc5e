// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/openloop"
	"github.com/dnsingress/dnsingress/internal/results"
)

// Every query of a plan is sent once, to each server its share, and noted once, whatever becomes of it.
func TestFlowNotesEveryQueryOnce(t *testing.T) {
	var asked [2]atomic.Int32
	var servers []netip.AddrPort
	for i := range asked {
		addr, _ := serve(t, func(q *dns.Msg) [][]byte {
			if n := asked[i].Add(1); n%10 == 0 {
				return nil // dropped
			}
			r := reply(q, func(*dns.Msg) {})
			return [][]byte{r, r} // twice: the second belongs to nobody
		})
		servers = append(servers, addr)
	}
	f, err := NewFlow(Config{Client: "c", Servers: servers, Network: "udp", Book: book(t, InOrder, "a.test", "b.test"), Timeout: 2 * time.Second, Sockets: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 { // a flow runs again
		for i := range asked {
			asked[i].Store(0)
		}
		const n = 800
		edges, dropped := "", 0
		p := plan(4000, 200*time.Millisecond)
		p.Window = 50 * time.Millisecond
		p.Open, p.Close = func() { edges += "open " }, func() { edges += "close" }
		p.Drop = func(openloop.Hit) { dropped++ }
		seen := make([]int, n)
		silent, judged := 0, 0
		f.Config.Judge = func(r Reply) {
			judged++
			if r.Received.Before(r.Sent) {
				t.Errorf("received %v before it was sent", r.Sent.Sub(r.Received))
			}
		}
		if err := f.Run(t.Context(), p, func(s *results.Sample, last bool, _ error) {
			seen[s.Seq]++
			if s.Error == results.ErrDNSTimeout {
				silent++
			} else if !s.OK() {
				t.Errorf("%+v", *s)
			}
			if want := p.Start.UnixNano() + int64(s.Seq+1)*250_000; !last || s.IntendedNs != want || s.SentNs < s.IntendedNs || s.User != int32(s.Seq/2%2) {
				t.Errorf("%+v; due at %d", *s, want)
			}
		}); err != nil {
			t.Fatal(err)
		}
		total := 0
		for seq, times := range seen {
			if total += times; times > 1 {
				t.Errorf("query %d is noted %d times", seq, times)
			}
		}
		if edges != "open close" || dropped != 0 || total < n-1 || judged != total || int(asked[0].Load()+asked[1].Load()) != total || asked[0].Load()-asked[1].Load() > 1 {
			t.Errorf("edges %q, %d dropped, %d noted, %d judged, %d and %d asked", edges, dropped, total, judged, asked[0].Load(), asked[1].Load())
		}
		if silent < n/10-5 {
			t.Errorf("%d queries got no reply, want %d", silent, n/10)
		}
	}
}

// What the bound on queries under way does not allow is dropped, and said so.
func TestFlowDrops(t *testing.T) {
	addr, _ := serve(t, func(*dns.Msg) [][]byte { return nil })
	f, err := NewFlow(Config{Client: "c", Servers: []netip.AddrPort{addr}, Network: "udp", Book: book(t, InOrder, "a.test"), Timeout: 300 * time.Millisecond, Sockets: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dropped, noted := 0, 0
	p := plan(1000, 100*time.Millisecond)
	p.MaxInFlight = 10
	p.Drop = func(openloop.Hit) { dropped++ }
	if err := f.Run(t.Context(), p, func(*results.Sample, bool, error) { noted++ }); err != nil {
		t.Fatal(err)
	}
	if noted != 10 || dropped < 85 {
		t.Errorf("%d noted, %d dropped", noted, dropped)
	}
}

func TestFlowEndsEarly(t *testing.T) {
	addr, queries := serve(t, func(q *dns.Msg) [][]byte { return [][]byte{reply(q, func(*dns.Msg) {})} })
	f, err := NewFlow(Config{Client: "c", Servers: []netip.AddrPort{addr}, Network: "udp", Book: book(t, InOrder, "a.test"), Timeout: time.Minute, Sockets: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	noted := 0
	err = f.Run(ctx, plan(1000, time.Hour), func(*results.Sample, bool, error) {
		if noted++; noted == 20 {
			cancel(enough)
		}
	})
	if !errors.Is(err, enough) || int32(noted) != queries.Load() {
		t.Errorf("%v, %d noted, %d asked", err, noted, queries.Load())
	}
}
