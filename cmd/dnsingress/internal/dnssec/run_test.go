// SPDX-License-Identifier: Apache-2.0

package dnssec_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/dnssec"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// counters are a signer's metrics.
func counters(t testing.TB, s *dnssec.Signer) map[string]float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(dnssec.Collectors{s})
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				if l.GetName() == "when" {
					name += " " + l.GetValue()
				}
			}
			out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}

const (
	ahead = "dnsingress_dnssec_signatures_total ahead"
	asked = "dnsingress_dnssec_signatures_total asked"
	kept  = "dnsingress_dnssec_kept"
)

// pool is a change that makes a name answered with n addresses, most at a time.
func pool(owner string, n, most int, ttl uint32) zone.Change {
	set := zone.RRset{Type: dns.TypeAAAA, TTL: ttl, MaxAnswers: most}
	a := netip.MustParseAddr("2001:db8:1::1")
	for range n {
		set.Records = append(set.Records, &dns.AAAA{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeAAAA, Class: dns.ClassINET}, AAAA: a.AsSlice()})
		a = a.Next()
	}
	return zone.Change{Owner: owner, RRsets: []zone.RRset{set}}
}

func change(t testing.TB, z *zone.Zone, changes ...zone.Change) *zone.Zone {
	t.Helper()
	next, err := z.With(changes...)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// What is published is signed before it is asked for, what does not change is not signed again, and in time everything
// is made anew.
func TestSignaturesAreMadeAheadAndKeptFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ECDSAP256SHA256, true)}, Validity: 7 * 24 * time.Hour, Now: time.Now})
		catalog := new(zone.Catalog)
		z := change(t, signedZone(t, s, feature), pool("pool.example.org.", 24, 8, 5))
		catalog.Publish(z)
		s.Follow(catalog)
		var wait sync.WaitGroup
		wait.Go(func() { _ = s.Run(ctx) })
		synctest.Wait()

		c, keys := new(client), keysOf(t, z)
		all := func(pools int) (unsigned float64) {
			before := counters(t, s)[asked]
			for _, q := range []struct {
				name  string
				rtype uint16
			}{
				{"example.org.", dns.TypeSOA},
				{"example.org.", dns.TypeDNSKEY},
				{"web.example.org.", dns.TypeAAAA},
				{"www.example.org.", dns.TypeAAAA},
				{"leaf.tree.example.org.", dns.TypeA},
				{"signed.example.org.", dns.TypeDS},
			} {
				m := c.ask(t, catalog.Zone("example.org."), q.name, q.rtype, nil)
				verify(t, m.Answer, keys, time.Now())
			}
			for range pools {
				m := c.ask(t, catalog.Zone("example.org."), "pool.example.org.", dns.TypeAAAA, nil)
				if got := len(m.Answer); got != 9 {
					t.Fatalf("%d records in the answer, want 8 addresses and a signature", got)
				}
				if unsigned := verify(t, m.Answer, keys, time.Now()); unsigned != nil {
					t.Fatalf("unsigned: %v", unsigned)
				}
			}
			return counters(t, s)[asked] - before
		}
		if n := all(100); n != 0 {
			t.Errorf("%v sets were signed when they were asked for, want none", n)
		}

		// One name changes: its own signatures and that of the SOA are new.
		before := counters(t, s)[ahead]
		z = change(t, z, zone.Change{Owner: "new.example.org.", RRsets: []zone.RRset{{Type: dns.TypeTXT, TTL: 60, Records: records(t, "new 60 TXT x")}}})
		catalog.Publish(z)
		synctest.Wait()
		if n := counters(t, s)[ahead] - before; n != 2 {
			t.Errorf("a change of one name cost %v signed sets, want 2", n)
		}
		// One address leaves the pool: of 24 windows, the 8 that it was in, or less. (All keep their 8 addresses.)
		before = counters(t, s)[ahead]
		catalog.Publish(change(t, z, pool("pool.example.org.", 23, 8, 5)))
		synctest.Wait()
		if n := counters(t, s)[ahead] - before; n == 0 || n > 9 {
			t.Errorf("a change of one address cost %v signed sets, want at most 8 and the SOA", n)
		}
		if n := all(100); n != 0 {
			t.Errorf("%v sets were signed when they were asked for, want none", n)
		}

		// Weeks go by.
		for range 40 {
			time.Sleep(12*time.Hour - 7*time.Minute) // at another time since the hourly look each time
			synctest.Wait()
			if n := all(3); n != 0 {
				t.Fatalf("at %v: %v sets were signed when they were asked for, want none", time.Now(), n)
			}
			first := time.Unix(int64(counters(t, s)["dnsingress_dnssec_first_expiry_timestamp_seconds"]), 0)
			if left := time.Until(first); left < 7*24*time.Hour/2 {
				t.Fatalf("a signature is left with %v of 7 days", left)
			}
		}
		// Nothing is kept of what has gone.
		if n := counters(t, s)[kept]; n > 60 {
			t.Errorf("%v sets are kept", n)
		}
		stop()
		wait.Wait()
	})
}

// A publication does not wait for signatures, and while they are being made answers are signed at once.
func TestNobodyWaitsForSignatures(t *testing.T) {
	s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}})
	catalog := new(zone.Catalog)
	s.Follow(catalog)
	z := signedZone(t, s, feature)
	catalog.Publish(z) // nobody runs: no signature is there
	m := new(client).ask(t, z, "web.example.org.", dns.TypeAAAA, nil)
	if unsigned := verify(t, m.Answer, keysOf(t, z), time.Now()); len(m.Answer) != 4 || unsigned != nil {
		t.Errorf("unsigned: %v in\n%v", unsigned, m)
	}
	if n := counters(t, s)[asked]; n != 1 {
		t.Errorf("%v sets signed, want 1", n)
	}
}

// Of the names that do not exist only so many are remembered.
func TestRandomNamesFillNoMemory(t *testing.T) {
	s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}, Capacity: 64})
	z := signedZone(t, s, feature)
	c, keys := new(client), keysOf(t, z)
	for i := range 1000 {
		m := c.ask(t, z, fmt.Sprintf("no%d.example.org.", i), dns.TypeA, nil)
		if unsigned := verify(t, m.Ns, keys, time.Now()); unsigned != nil {
			t.Fatalf("unsigned: %v", unsigned)
		}
		c.ask(t, z, fmt.Sprintf("no%d.wild.example.org.", i), dns.TypeA, nil)
	}
	got := counters(t, s)
	if got[kept] != 1 || got[asked] != 2001 { // the SOA lasts
		t.Errorf("%v sets are kept, %v were signed; want 1 and 2001", got[kept], got[asked])
	}
}

// Large sets that a wildcard makes are not remembered, for copies of them could fill the memory.
func TestLargeExpansionsAreNotRemembered(t *testing.T) {
	s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}})
	z := change(t, signedZone(t, s, feature), pool("*.large.example.org.", 100, 0, 5), pool("*.small.example.org.", 10, 0, 5))
	for name, want := range map[string]float64{"a.large.example.org.": 3, "a.small.example.org.": 1} {
		before := counters(t, s)[asked]
		for range 3 {
			m := new(client).ask(t, z, name, dns.TypeAAAA, nil)
			if unsigned := verify(t, m.Answer, keysOf(t, z), time.Now()); unsigned != nil || m.Truncated {
				t.Fatalf("unsigned: %v", unsigned)
			}
		}
		if n := counters(t, s)[asked] - before; n != want {
			t.Errorf("%s: %v signatures for 3 questions, want %v", name, n, want)
		}
	}
}

// Signatures that a clock that was ahead has made are not served once it is set back.
func TestNoSignatureFromTheFuture(t *testing.T) {
	right := time.Now().Round(0)
	now := right.Add(90 * 24 * time.Hour)
	s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}, Now: func() time.Time { return now }})
	z := signedZone(t, s, feature)
	for range 2 {
		for name, rtype := range map[string]uint16{"web.example.org.": dns.TypeAAAA, "no.example.org.": dns.TypeA} { // one lasts
			m := new(client).ask(t, z, name, rtype, nil)
			if unsigned := verify(t, append(m.Answer, m.Ns...), keysOf(t, z), now); unsigned != nil {
				t.Errorf("unsigned: %v", unsigned)
			}
		}
		now = right
		s.Tick()
	}
}

// A pool's TTL can change without new signatures, and is never above what they are for.
func TestTTLChangesNeedNoSignature(t *testing.T) {
	s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ECDSAP256SHA256, true)}, AddressTTL: 300})
	z := signedZone(t, s, feature)
	c, keys := new(client), keysOf(t, z)
	var first *dns.RRSIG
	for _, ttl := range []uint32{5, 1, 60, 0, 300} {
		z = change(t, z, pool("pool.example.org.", 3, 0, ttl))
		m := c.ask(t, z, "pool.example.org.", dns.TypeAAAA, nil)
		verify(t, m.Answer, keys, time.Now())
		sig := m.Answer[3].(*dns.RRSIG)
		if first == nil {
			first = sig
		}
		if sig.OrigTtl != 300 || sig.Hdr.Ttl != ttl || sig.Signature != first.Signature {
			t.Errorf("with a TTL of %d: %v", ttl, sig)
		}
	}
	if n := counters(t, s)[asked]; n != 1 {
		t.Errorf("%v sets signed, want 1", n)
	}
	z = change(t, z, pool("pool.example.org.", 3, 0, 3600))
	m := c.ask(t, z, "pool.example.org.", dns.TypeAAAA, nil)
	verify(t, m.Answer, keys, time.Now())
}

// Every choice of every kind is signed, and for the random ones there are few.
func TestChoicesAreSigned(t *testing.T) {
	for _, kind := range []zone.Kind{zone.Window, zone.All, zone.Random, zone.Weighted, zone.Rotate, zone.Sticky, zone.Near, zone.TwoChoices, zone.Subsetting} {
		t.Run(kind.String(), func(t *testing.T) {
			s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}})
			p := pool("pool.example.org.", 40, 4, 5)
			p.RRsets[0].Select.Kind = kind
			for i := range 40 {
				p.RRsets[0].Weights = append(p.RRsets[0].Weights, uint32(i))
				p.RRsets[0].Locations = append(p.RRsets[0].Locations, fmt.Sprintf("zone-%d", i%3))
			}
			z := change(t, signedZone(t, s, feature), p)
			c, keys := new(client), keysOf(t, z)
			members := map[string]bool{}
			for i := range 2000 {
				m := c.ask(t, z, "pool.example.org.", dns.TypeAAAA, func(q *zone.Question) {
					q.Client = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i % 16)}).As16()
				})
				if i < 50 {
					if unsigned := verify(t, m.Answer, keys, time.Now()); unsigned != nil || m.Rcode != 0 {
						t.Fatalf("unsigned: %v in\n%v", unsigned, m)
					}
				}
				for _, rr := range m.Answer {
					if a, ok := rr.(*dns.AAAA); ok {
						members[a.AAAA.String()] = true
					}
				}
			}
			if n := counters(t, s)[asked]; n > 81 {
				t.Errorf("%v signatures for one pool", n)
			}
			if len(members) < 35 && kind != zone.Sticky && kind != zone.Near && kind != zone.Subsetting {
				t.Errorf("only %d of 40 members are ever in a signed answer", len(members))
			}
		})
	}
}

// Every member of a pool is about as often in signed answers as in plain ones.
func TestSignedWindowsAreEven(t *testing.T) {
	s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}})
	for _, size := range []int{5, 9, 24, 64, 300} {
		const most = 8
		z := change(t, signedZone(t, s, feature), pool("pool.example.org.", size, min(most, size-1), 5))
		c, seen := new(client), map[string]int{}
		rounds := 100 * size / most
		for range rounds {
			for _, rr := range c.ask(t, z, "pool.example.org.", dns.TypeAAAA, nil).Answer {
				if a, ok := rr.(*dns.AAAA); ok {
					seen[a.AAAA.String()]++
				}
			}
		}
		want := float64(rounds*min(most, size-1)) / float64(size)
		for address, n := range seen {
			if f := float64(n) / want; f < 0.5 || f > 1.6 {
				t.Errorf("of %d: %s is %.2f times as often as it should", size, address, f)
			}
		}
		if len(seen) != size {
			t.Errorf("of %d members %d are ever in a signed answer", size, len(seen))
		}
	}
}
