// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/hex"
	"net"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// TestScope asks on behalf of networks for a name whose answer depends on the client's: the scope says on how many bits,
// all of such a network get the same, and who wants to be told apart from nobody is told that the scope is 0.
func TestScope(t *testing.T) {
	set := zone.RRset{Type: dns.TypeAAAA, TTL: 5, MaxAnswers: 1, Select: zone.Selection{Kind: zone.Sticky, Bits4: 24, Bits6: 56}}
	for i := range 50 {
		set.Records = append(set.Records, &dns.AAAA{Hdr: dns.RR_Header{Rrtype: dns.TypeAAAA, Class: dns.ClassINET}, AAAA: net.IP{0x20, 1, 0xd, 0xb8, 15: byte(i + 1)}})
	}
	z, err := exampleZone(t).With(zone.Change{Owner: "pool.example.org.", RRsets: []zone.RRset{set}})
	if err != nil {
		t.Fatal(err)
	}
	catalog := new(zone.Catalog)
	catalog.Publish(z)
	s := start(t, Config{Catalog: catalog})
	c := dial(t, "udp", s.Addrs()[0])
	answer := func(name, subnet string) (address string, scope uint8) {
		t.Helper()
		send(t, c, ednsFor(name, 1232, option(dns.EDNS0SUBNET, subnet))())
		m := unpack(t, receive(t, c))
		e := m.IsEdns0().Option[0].(*dns.EDNS0_SUBNET)
		asked, _ := hex.DecodeString(strings.ReplaceAll(subnet, " ", ""))
		if e.Family != uint16(asked[1]) || e.SourceNetmask != asked[2] {
			t.Errorf("%s came back as %v", subnet, e)
		}
		return m.Answer[0].(*dns.AAAA).AAAA.String(), e.SourceScope
	}
	differ := map[string]bool{}
	for i, q := range []struct {
		subnet string
		scope  uint8
		same   string // gets the same address
	}{
		{"00012000 c0000201", 24, "00011800 c00002"},
		{"00012000 cb007101", 24, "00012000 cb0071ff"},
		{"00028000 20010db8000001000000000000000001", 56, "00023800 20010db8000001"},
		{"00024000 20010db8000002ff", 56, "00028000 20010db80000020000000000000000ff"},
		{"00010000", 0, "00020000"},
	} {
		address, scope := answer("pool.example.org.", q.subnet)
		other, _ := answer("pool.example.org.", q.same)
		if scope != q.scope || other != address {
			t.Errorf("%d: scope %d, %s and %s", i, scope, address, other)
		}
		differ[address] = true
		if _, scope := answer("www.example.org.", q.subnet); scope != 0 {
			t.Errorf("%d: scope %d of an answer that is the same for all", i, scope)
		}
	}
	if len(differ) < 3 {
		t.Errorf("all of them got the same: %v", differ)
	}
}
