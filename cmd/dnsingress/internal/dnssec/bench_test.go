// SPDX-License-Identifier: Apache-2.0

package dnssec_test

import (
	"fmt"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/dnssec"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// asker answers one question again and again.
func asker(t testing.TB, z *zone.Zone, name string, rtype uint16, secure bool) func() int {
	t.Helper()
	c := new(client)
	q := &dns.Msg{Question: []dns.Question{{Name: name, Qtype: rtype, Qclass: dns.ClassINET}}}
	wire, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return func() int {
		end, err := c.question.Parse(wire)
		if err != nil {
			t.Fatal(err)
		}
		c.question.Secure = secure
		c.reply.Start(c.buf[:1232], wire, end)
		z.Answer(&c.question, &c.reply)
		return len(c.reply.Bytes())
	}
}

var forms = []struct {
	name, owner string
	rtype       uint16
}{
	{"set of 3", "web.example.org.", dns.TypeAAAA},
	{"8 of 24", "pool.example.org.", dns.TypeAAAA},
	{"no data", "web.example.org.", dns.TypeA},
	{"no name", "no.example.org.", dns.TypeA},
	{"wildcard", "a.wild.example.org.", dns.TypeA},
	{"referral", "x.signed.example.org.", dns.TypeA},
}

func TestSignedAnswersAllocateNothing(t *testing.T) {
	s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}})
	z := change(t, signedZone(t, s, feature), pool("pool.example.org.", 24, 8, 5))
	for _, f := range forms {
		ask := asker(t, z, f.owner, f.rtype, true)
		for range 2000 { // every window
			ask()
		}
		if n := testing.AllocsPerRun(200, func() { ask() }); n != 0 {
			t.Errorf("%s: %v allocations", f.name, n)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	s := newSigner(b, dnssec.Options{Keys: []*dnssec.Key{newKey(b, dns.ECDSAP256SHA256, true)}})
	z := change(b, signedZone(b, s, feature), pool("pool.example.org.", 24, 8, 5))
	for _, f := range forms {
		for _, secure := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/signed=%v", f.name, secure), func(b *testing.B) {
				ask := asker(b, z, f.owner, f.rtype, secure)
				for range 2000 {
					ask()
				}
				b.ReportAllocs()
				for b.Loop() {
					ask()
				}
			})
		}
	}
}

// BenchmarkSign is what an answer costs whose signature is not there yet.
func BenchmarkSign(b *testing.B) {
	for _, algorithm := range []uint8{dns.ECDSAP256SHA256, dns.ED25519} {
		b.Run(dns.AlgorithmToString[algorithm], func(b *testing.B) {
			s := newSigner(b, dnssec.Options{Keys: []*dnssec.Key{newKey(b, algorithm, true)}, Capacity: 1})
			set := zone.Signable("\x01a\x07example\x03org\x00\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01")
			for i := 0; b.Loop(); i++ {
				set[len(set)-1], set[len(set)-2], set[len(set)-3] = byte(i), byte(i>>8), byte(i>>16)
				if s.Signatures(set, false) == "" {
					b.Fatal("not signed")
				}
			}
		})
	}
}
