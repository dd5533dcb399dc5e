// SPDX-License-Identifier: Apache-2.0

package query

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/internal/results"
)

// Queries share connections, replies come in any order, and a connection that ends takes with it what is under way alone.
func TestStreams(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepted int
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted++
			if accepted == 1 { // reads one query, then ends
				_, _ = (&dns.Conn{Conn: c}).ReadMsg()
				c.Close()
				continue
			}
			go func() { // answers pairs, the second query first
				d := &dns.Conn{Conn: c}
				defer c.Close()
				for {
					a, err := d.ReadMsg()
					if err != nil {
						return
					}
					b, err := d.ReadMsg()
					if err != nil {
						return
					}
					for _, q := range []*dns.Msg{b, a} {
						if _, err := d.Write(reply(q, func(*dns.Msg) {})); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	s := NewStreams(Config{Client: "c", Servers: []netip.AddrPort{addr}, Network: "tcp", Book: book(t, InOrder, "a.test"), Timeout: time.Minute, Sockets: 1})
	var mu sync.Mutex
	var samples []results.Sample
	note := func(s *results.Sample, _ bool, _ error) { mu.Lock(); defer mu.Unlock(); samples = append(samples, *s) }
	s.Do(0, 0, time.Now(), note)
	if samples[0].Error != results.ErrDNSOther {
		t.Errorf("the connection ended: %+v", samples[0])
	}
	samples = nil
	var all sync.WaitGroup
	for seq := range uint64(100) {
		all.Go(func() { s.Do(0, seq, time.Now(), note) })
	}
	all.Wait()
	s.Close()
	l.Close()
	<-served
	reused := 0
	for _, r := range samples {
		if !r.OK() || r.DNSNs <= 0 {
			t.Errorf("%+v", r)
		}
		if r.Reused {
			reused++
		}
	}
	if len(samples) != 100 || accepted != 2 || reused != 99 {
		t.Errorf("%d samples, %d connections, %d on one that stood", len(samples), accepted, reused)
	}
}
