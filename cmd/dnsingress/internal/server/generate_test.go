// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

func parse(t *testing.T, text string) *zone.Zone {
	t.Helper()
	p := dns.NewZoneParser(strings.NewReader(text), "", "")
	var rrs []dns.RR
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		rrs = append(rrs, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	z, err := zone.New("example.org.", rrs)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// pools are changes as a cluster makes them: names come, go, have other members, or none. Of their sets one has every
// member in its answers and the other a part.
func pools(rng *rand.Rand) []zone.Change {
	var changes []zone.Change
	for range 1 + rng.IntN(12) {
		c := zone.Change{Owner: fmt.Sprintf("pool-%d.s%d.example.org.", rng.IntN(8), rng.IntN(2))}
		switch rng.IntN(6) {
		case 0:
			c.Remove = true
		case 1: // no member
		default:
			six := zone.RRset{Type: dns.TypeAAAA, TTL: uint32(1 + rng.IntN(3))}
			four := zone.RRset{Type: dns.TypeA, TTL: 5, MaxAnswers: 2}
			for i := range 1 + rng.IntN(20) {
				six.Records = append(six.Records, &dns.AAAA{Hdr: dns.RR_Header{Name: c.Owner, Rrtype: dns.TypeAAAA, Class: dns.ClassINET}, AAAA: netip.AddrFrom16([16]byte{0x20, 0x01, 0x0D, 0xB8, 14: byte(rng.IntN(9)), 15: byte(i)}).AsSlice()})
				four.Records = append(four.Records, &dns.A{Hdr: dns.RR_Header{Name: c.Owner, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: netip.AddrFrom4([4]byte{192, 0, byte(rng.IntN(9)), byte(i)}).AsSlice()})
			}
			c.RRsets = []zone.RRset{six, four}
		}
		changes = append(changes, c)
	}
	return changes
}

// everything makes a zone with what can meet in one, and the names to ask for. It keeps to what all peers load.
func everything(rng *rand.Rand) (text string, names []string) {
	var b strings.Builder
	b.WriteString("$ORIGIN example.org.\n$TTL 300\n@ SOA ns1 host 7 3600 600 86400 60\n@ NS ns1\n@ NS ns.example.net.\n@ MX 10 m\nns1 A 192.0.2.1\nns1 AAAA 2001:db8::1\n")
	labels := []string{"a", "b", "c", "d", "*", "M", "x-y"}
	name := func() string {
		parts := make([]string, 1+rng.IntN(3))
		for i := range parts {
			parts[i] = labels[rng.IntN(len(labels))]
		}
		return strings.Join(parts, ".")
	}
	seen := map[string]bool{"": true, "ns1": true}
	var renamed []string // Knot DNS takes no data below these
	for range 60 {
		n := name()
		key := strings.ToLower(n)
		if seen[key] || slices.ContainsFunc(renamed, func(r string) bool { return strings.HasSuffix(key, "."+r) }) {
			continue
		}
		seen[key] = true
		add := func(format string, a ...any) { fmt.Fprintf(&b, "%s %s\n", n, fmt.Sprintf(format, a...)) }
		switch kind := rng.IntN(12); {
		case kind < 2:
			target := name()
			if rng.IntN(4) == 0 {
				target = "out.example.net."
			}
			add("CNAME %s", target)
		case kind == 2 && !strings.Contains(n, "*") && !slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(s string) bool { return strings.HasSuffix(s, "."+key) }):
			renamed = append(renamed, key)
			target := name()
			for strings.HasSuffix("."+strings.ToLower(target), "."+key) {
				target = name() // below itself it makes names without end, and each server stops elsewhere
			}
			add("DNAME %s", target)
			add("TXT \"beside a DNAME\"")
		case kind < 5 && !strings.Contains(n, "*"):
			add("NS ns.%s", n)
			add("NS ns.example.net.")
			fmt.Fprintf(&b, "ns.%s A 192.0.2.%d\nns.%s AAAA 2001:db8::%d\n", n, 2+rng.IntN(200), n, rng.IntN(200))
			seen["ns."+key] = true
			if rng.IntN(2) == 0 {
				add("DS 12345 13 2 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF")
			}
		case kind == 5:
			add("MX 10 %s", name())
			add("SRV 1 2 53 %s", name())
		case kind == 6:
			add("TYPE65280 \\# 4 01020304")
			add("TXT \"one\" \"two\"")
			add("CAA 0 issue \"ca.example.net\"")
			add("NAPTR 1 2 \"u\" \"E2U+sip\" \"!^.*$!sip:a@example.org!\" .")
		case kind == 7:
			add("HTTPS 1 . alpn=h2 ipv6hint=2001:db8::7")
			add("TLSA 3 1 1 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF")
			add("PTR %s", name())
		default:
			for range 1 + rng.IntN(3) {
				add("A 192.0.2.%d", rng.IntN(250))
			}
			add("AAAA 2001:db8::%d", rng.IntN(250))
		}
	}
	ask := map[string]bool{"example.org.": true}
	for n := range seen {
		full := n + ".example.org."
		for off, end := 0, n == ""; !end; off, end = dns.NextLabel(full, off) {
			if strings.HasSuffix(full[off:], ".example.org.") {
				ask[full[off:]] = true
				ask["nx."+full[off:]] = true
				ask["b.nx."+full[off:]] = true
				ask["*."+full[off:]] = true
			}
		}
	}
	for n := range ask {
		names = append(names, n)
	}
	slices.Sort(names)
	return b.String(), names
}
