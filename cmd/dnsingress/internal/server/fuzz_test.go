// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// fuzzZone has one of everything that an answer can be made of.
func fuzzZone(t testing.TB) *zone.Zone {
	var b strings.Builder
	b.WriteString(`example.org. 300 IN SOA ns1.example.org. host.example.org. 7 3600 600 86400 60
example.org. 300 IN NS ns1.example.org.
example.org. 300 IN NS ns.example.net.
example.org. 300 IN MX 10 mail.example.org.
ns1.example.org. 300 IN AAAA 2001:db8::1
www.example.org. 300 IN CNAME some.example.org.
a.b.c.example.org. 300 IN TXT "deep"
*.w.example.org. 300 IN A 192.0.2.1
*.c.w.example.org. 300 IN CNAME a.w.example.org.
l1.example.org. 300 IN CNAME l2.example.org.
l2.example.org. 300 IN CNAME l1.example.org.
d.example.org. 300 IN DNAME w.example.org.
e.example.org. 300 IN DNAME a.e.example.org.
f.example.org. 300 IN CNAME x.y.sub.example.org.
sub.example.org. 300 IN NS ns.sub.example.org.
sub.example.org. 300 IN NS ns1.example.org.
sub.example.org. 300 IN DS 12345 13 2 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF
ns.sub.example.org. 300 IN AAAA 2001:db8::53
srv.example.org. 300 IN SRV 1 2 53 ns1.example.org.
`)
	for i := range 60 {
		fmt.Fprintf(&b, "some.example.org. 300 IN AAAA 2001:db8::%x\nlong.example.org. 300 IN TXT %q\nmany.example.org. 300 IN PTR host%d.many.example.org.\n", i+1, strings.Repeat("x", i), i)
	}
	z, err := compile(t, b.String()).With(
		options(t, "geo.example.org.", dns.TypeCNAME, false, []string{"IE", "GEO-OC", "*"}, []string{"x.c.w.example.org.", "opt.example.org.", "www.example.net."}),
		options(t, "opt.example.org.", dns.TypeAAAA, true, []string{"", "", "IE"}, []string{"2001:db8::1", "2001:db8::2", "2001:db8::3"}),
		options(t, "dopt.example.org.", dns.TypeDNAME, false, []string{"", ""}, []string{"w.example.org.", "dopt.example.net."}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// FuzzRespond gives any message to a responder over UDP and TCP. A query always gets a reply, and one that
// other software can read, that has the query's ID and question, and is no longer than it may be.
func FuzzRespond(f *testing.F) {
	for _, b := range behaviours {
		f.Add(b.query())
	}
	for _, name := range []string{"a.w", "x.c.w", "l1", "a.d", "a.b.e", "f", "x.sub", "sub", "many", "long", "srv", "b.c", "nx", "example", "geo", "opt", "a.dopt"} {
		for _, qtype := range []uint16{dns.TypeAAAA, dns.TypePTR, dns.TypeTXT, dns.TypeDS, dns.TypeANY, dns.TypeMX} {
			f.Add(msg(ask(name+".example.org.", qtype))())
		}
	}
	for _, name := range []string{"geo", "opt", "a.dopt"} {
		f.Add(ednsFor(name+".example.org.", 1232, option(dns.EDNS0SUBNET, "0001 18 00 c00002"))())
	}
	catalog := new(zone.Catalog)
	catalog.Publish(fuzzZone(f))
	r := NewResponder(catalog)
	r.names = Names{ID: "ns1", Version: "1.0"}
	table, err := zone.NewLocations(map[netip.Prefix]string{netip.MustParsePrefix("192.0.2.0/24"): "GEO-EU/IE", netip.MustParsePrefix("2001:db8::/32"): "GEO-OC/AU"})
	if err != nil {
		f.Fatal(err)
	}
	where := new(atomic.Pointer[zone.Locations])
	where.Store(table)
	r.Locate(where)
	buf := make([]byte, maxMessage)
	f.Fuzz(func(t *testing.T, query []byte) {
		for _, tcp := range []bool{false, true} {
			limit := ednsUDP
			if tcp {
				limit = maxMessage
			}
			was := bytes.Clone(query)
			reply := r.Respond(buf[:limit], query, Peer{Addr: netip.IPv6Loopback(), TCP: tcp})
			if !bytes.Equal(was, query) {
				t.Fatal("the query was written to")
			}
			if silent := len(query) < headerLen || query[2]&0x80 != 0; silent != (reply == nil) {
				t.Fatalf("reply % x", reply)
			}
			if reply == nil {
				continue
			}
			if len(reply) > limit || !tcp && !r.opt.present && len(reply) > plainUDP {
				t.Fatalf("reply of %d octets", len(reply))
			}
			if !bytes.Equal(reply[:2], query[:2]) || reply[2]&0x80 == 0 || reply[2]&0x79 != query[2]&0x79 {
				t.Fatalf("header % x for % x", reply[:headerLen], query[:headerLen])
			}
			var m dns.Msg
			if err := m.Unpack(reply); err != nil {
				t.Fatalf("reading the reply: %v\n% x", err, reply)
			}
			if o := m.IsEdns0(); o != nil {
				for _, option := range o.Option {
					chosen := func(rr dns.RR) bool {
						owner := dns.CanonicalName(rr.Header().Name)
						return owner == "geo.example.org." || owner == "opt.example.org."
					}
					if e, ok := option.(*dns.EDNS0_SUBNET); ok && e.SourceScope != 0 && !slices.ContainsFunc(m.Answer, chosen) && !m.Truncated {
						t.Fatalf("scope %d, but nothing here depends on the client", e.SourceScope)
					}
				}
			}
			asked := len(m.Question) > 0
			if !tcp && asked { // what a client over its rate gets is short and has the same question
				slip := r.truncated(make([]byte, ednsUDP), query, Peer{Addr: netip.IPv6Loopback()})
				if err := m.Unpack(slip); err != nil || !m.Truncated || len(m.Answer) > 0 || len(slip) > limit {
					t.Fatalf("truncated % x: %v", slip, err)
				}
			}
			var q zone.Question
			if end, err := q.Parse(query); asked && (err != nil || !bytes.Equal(query[headerLen:end], reply[headerLen:end])) {
				t.Fatalf("question of % x in % x", query, reply)
			}
		}
	})
}
