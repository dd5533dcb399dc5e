// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// TestTruth changes a zone 100 times a second under a constant load of queries and checks every answer against what the
// zone was while the query was on its way. Each change is of one name and moves it to its next generation, which is in all
// of its addresses, so an answer that is wrong, stale, lacks an address, or mixes two generations is seen as such.
// TRUTH is how long each case takes (default 2s; make truth: 10m).
func TestTruth(t *testing.T) {
	long := 2 * time.Second
	if text := os.Getenv("TRUTH"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatalf("TRUTH: %v", err)
		}
	}
	for _, c := range []struct {
		name  string
		names int
		state func(generation uint32) state
	}{
		{"one pool", 1, func(uint32) state { return state{exists: true, members: 10} }},
		{"hundreds that come, go and change size", 400, func(g uint32) state {
			switch g % 8 {
			case 3:
				return state{}
			case 5:
				return state{exists: true}
			case 6:
				return state{exists: true, members: 12, most: 5}
			default:
				return state{exists: true, members: 1 + int(g*7)%12}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) { truth(t, c.names, c.state, long) })
	}
}

// state is what a name is in one generation: absent, without data, or with members, of which an answer holds so many.
type state struct {
	exists        bool
	members, most int
}

// told is how far one name has come: to which generation at least, and at most.
type told struct{ least, most atomic.Uint32 }

func truth(t *testing.T, names int, states func(uint32) state, long time.Duration) {
	const rate, clients, pace = 100, 4, 2 * time.Millisecond
	z := compile(t, "example.org. 300 IN SOA ns1.example.org. host.example.org. 7 3600 600 86400 60\nexample.org. 300 IN NS ns1.example.net.\n")
	catalog := new(zone.Catalog)
	name := func(i int) string { return fmt.Sprintf("pool-%d.x%d.example.org.", i, i%7) }
	address := func(i int, generation uint32, member int) netip.Addr {
		a := [16]byte{0x20, 0x01, 0x0D, 0xB8}
		binary.BigEndian.PutUint32(a[4:], uint32(i))
		binary.BigEndian.PutUint32(a[8:], generation)
		binary.BigEndian.PutUint32(a[12:], uint32(member))
		return netip.AddrFrom16(a)
	}
	change := func(i int, generation uint32) zone.Change {
		c := zone.Change{Owner: name(i)}
		s := states(generation)
		if c.Remove = !s.exists; s.members == 0 {
			return c
		}
		set := zone.RRset{Type: dns.TypeAAAA, TTL: 5, MaxAnswers: s.most}
		for m := range s.members {
			set.Records = append(set.Records, &dns.AAAA{
				Hdr:  dns.RR_Header{Name: c.Owner, Rrtype: dns.TypeAAAA, Class: dns.ClassINET},
				AAAA: address(i, generation, m).AsSlice(),
			})
		}
		c.RRsets = []zone.RRset{set}
		return c
	}
	known := make([]told, names)
	var all []zone.Change
	for i := range known {
		known[i].least.Store(1)
		known[i].most.Store(1)
		all = append(all, change(i, 1))
	}
	z, err := z.With(all...)
	if err != nil {
		t.Fatal(err)
	}
	catalog.Publish(z)
	s := start(t, Config{Listen: []string{"[::1]:0"}, Catalog: catalog})

	end := time.Now().Add(long)
	var work sync.WaitGroup
	var changes, queries, negative atomic.Int64
	work.Go(func() {
		rng := rand.New(rand.NewPCG(1, 2))
		tick := time.NewTicker(time.Second / rate)
		defer tick.Stop()
		for begin := time.Now(); time.Now().Before(end); <-tick.C {
			for due := int64(time.Since(begin) * rate / time.Second); changes.Load() < due; changes.Add(1) {
				i := rng.IntN(names)
				next := known[i].most.Add(1) // from here on an answer may be of it
				var err error
				if z, err = z.With(change(i, next)); err != nil {
					t.Error(err)
					return
				}
				catalog.Publish(z)
				known[i].least.Store(next) // from here on it must be
			}
		}
	})
	for c := range clients {
		work.Go(func() {
			conn, err := net.Dial("udp", s.Addrs()[0].String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			rng := rand.New(rand.NewPCG(3, uint64(c)))
			tick := time.NewTicker(pace)
			defer tick.Stop()
			buf := make([]byte, maxMessage)
			for ; time.Now().Before(end); <-tick.C {
				i := rng.IntN(names)
				least := known[i].least.Load()
				reply, err := exchange(conn, buf, name(i))
				if err != nil {
					t.Errorf("%s: no answer: %v", name(i), err)
					return
				}
				most := known[i].most.Load()
				queries.Add(1)
				if len(reply.Answer) == 0 {
					negative.Add(1)
				}
				if err := lie(reply, i, least, most, states, address); err != nil {
					t.Errorf("%s: %v\n%v", name(i), err, reply)
					return
				}
			}
		})
	}
	work.Wait()
	if changes.Load() == 0 || queries.Load() == 0 {
		t.Error("nothing was tested")
	}
	t.Logf("%d changes, %d answers, %d of them negative, in %v", changes.Load(), queries.Load(), negative.Load(), long)
}

// exchange asks for the AAAA records of a name.
func exchange(conn net.Conn, buf []byte, name string) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(name, dns.TypeAAAA)
	wire, err := q.Pack()
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	n, err := conn.Read(buf)
	if err != nil {
		return nil, err
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(buf[:n]); err != nil {
		return nil, err
	}
	if reply.Id != q.Id || len(reply.Question) != 1 || reply.Question[0] != q.Question[0] {
		return nil, errors.New("a reply to another query")
	}
	return reply, nil
}

// lie tells what is wrong with a reply about name i, which had a generation from least to most.
func lie(reply *dns.Msg, i int, least, most uint32, states func(uint32) state, address func(int, uint32, int) netip.Addr) error {
	if !reply.Authoritative || reply.Truncated {
		return errors.New("not authoritative, or truncated")
	}
	if len(reply.Answer) == 0 {
		for g := least; g <= most; g++ {
			s := states(g)
			if !s.exists && reply.Rcode == dns.RcodeNameError || s.exists && s.members == 0 && reply.Rcode == dns.RcodeSuccess {
				return nil
			}
		}
		return fmt.Errorf("%s without an answer in generations %d to %d", dns.RcodeToString[reply.Rcode], least, most)
	}
	if reply.Rcode != dns.RcodeSuccess {
		return errors.New("an error with an answer")
	}
	generation := uint32(0)
	seen := map[netip.Addr]bool{}
	for _, rr := range reply.Answer {
		record, ok := rr.(*dns.AAAA)
		if !ok || !strings.EqualFold(record.Hdr.Name, reply.Question[0].Name) || record.Hdr.Ttl != 5 {
			return fmt.Errorf("record %v does not belong", rr)
		}
		a := netip.AddrFrom16([16]byte(record.AAAA))
		b := a.As16()
		g, m := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
		switch {
		case generation == 0:
			generation = g
		case g != generation:
			return fmt.Errorf("generations %d and %d mixed", generation, g)
		}
		if seen[a] || int(m) >= states(g).members || a != address(i, g, int(m)) {
			return fmt.Errorf("address %s is another name's, or given twice", a)
		}
		seen[a] = true
	}
	if generation < least || generation > most {
		return fmt.Errorf("generation %d, not %d to %d", generation, least, most)
	}
	want := states(generation).members
	if n := states(generation).most; n != 0 {
		want = min(want, n)
	}
	if len(seen) != want {
		return fmt.Errorf("%d addresses of %d", len(seen), want)
	}
	return nil
}
