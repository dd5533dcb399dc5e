// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// BenchmarkReceive takes in differences of 100 names that have one address each, as a secondary does.
func BenchmarkReceive(b *testing.B) {
	for _, names := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(names), func(b *testing.B) {
			var text strings.Builder
			text.WriteString("example.org. 300 IN SOA ns1.example.org. host.example.org. 7 3600 600 86400 60\nexample.org. 300 IN NS ns1.example.org.\n")
			for i := range names {
				fmt.Fprintf(&text, "svc-%07d.ns%03d.example.org. 30 IN AAAA 2001:db8::%x\n", i, i%100, i&0xffff)
			}
			z := compile(b, text.String())
			var changes []zone.Change
			for i := range 100 {
				i *= names / 100
				a := netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)})
				changes = append(changes, zone.Change{Owner: fmt.Sprintf("svc-%07d.ns%03d.example.org.", i, i%100), RRsets: []zone.RRset{{
					Type: dns.TypeAAAA, TTL: 30, Records: []dns.RR{&dns.AAAA{Hdr: dns.RR_Header{Rrtype: dns.TypeAAAA, Class: dns.ClassINET}, AAAA: a.AsSlice()}},
				}}})
			}
			next, err := z.With(changes...)
			if err != nil {
				b.Fatal(err)
			}
			d := delta{from: z.SOA()}
			d.removed, d.added = next.Diff(z)
			query := new(dns.Msg).SetIxfr("example.org.", z.Serial(), ".", ".")
			reply := given(b, next, &d, query)
			s := &stream{query: query}
			b.ReportAllocs()
			for b.Loop() {
				s.from = bytes.NewReader(reply)
				if _, whole, _, err := s.receive("example.org.", z, nil); err != nil || whole {
					b.Fatal(whole, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/name")
		})
	}
}
