// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// Case is one question and the whole answer to it. Sections are master-file lines in any order.
type Case struct {
	Qname string
	Qtype uint16
	Rcode int
	// NotAA marks a referral: the answer is not authoritative.
	NotAA  bool
	Answer []string
	Ns     []string
	Extra  []string
}

// runCases asks one zone.
func runCases(t *testing.T, zoneText string, cases []Case) {
	t.Helper()
	z := compileText(t, zoneText)
	for _, c := range cases {
		t.Run(c.Qname+" "+dns.TypeToString[c.Qtype], func(t *testing.T) {
			m := ask(t, z, c.Qname, c.Qtype)
			if m.Rcode != c.Rcode {
				t.Errorf("rcode %s, want %s", dns.RcodeToString[m.Rcode], dns.RcodeToString[c.Rcode])
			}
			if m.Authoritative == c.NotAA {
				t.Errorf("AA %v", m.Authoritative)
			}
			if m.Truncated {
				t.Error("truncated")
			}
			for _, s := range []struct {
				name string
				want []string
				have []dns.RR
			}{{"answer", c.Answer, m.Answer}, {"authority", c.Ns, m.Ns}, {"additional", c.Extra, m.Extra}} {
				var want, have []string
				for _, line := range s.want {
					want = append(want, records(t, line)[0].String())
				}
				for _, rr := range s.have {
					have = append(have, rr.String())
				}
				slices.Sort(want)
				slices.Sort(have)
				if diff := cmp.Diff(want, have); diff != "" {
					t.Errorf("%s: %s", s.name, diff)
				}
			}
		})
	}
}

// soa is the zone's SOA record and denial what a negative answer has of it: RFC 2308 §3.
const (
	soa    = "example.org. 300 IN SOA ns1.example.org. host.example.org. 7 3600 600 86400 60\n"
	apex   = soa + "example.org. 300 IN NS ns1.example.org.\nns1.example.org. 300 IN AAAA 2001:db8::1\n"
	denial = "example.org. 60 IN SOA ns1.example.org. host.example.org. 7 3600 600 86400 60"
)

func TestExact(t *testing.T) {
	runCases(t, apex+`www.example.org. 300 IN A 192.0.2.1
www.example.org. 300 IN A 192.0.2.2
www.example.org. 300 IN TXT "a" "b c"
*.example.org. 300 IN A 192.0.2.99
`, []Case{
		{Qname: "www.example.org.", Qtype: dns.TypeA, Answer: []string{"www.example.org. 300 IN A 192.0.2.1", "www.example.org. 300 IN A 192.0.2.2"}},
		{Qname: "WWW.Example.ORG.", Qtype: dns.TypeTXT, Answer: []string{`WWW.Example.ORG. 300 IN TXT "a" "b c"`}},
		{Qname: "www.example.org.", Qtype: dns.TypeAAAA, Ns: []string{denial}},
		{Qname: "example.org.", Qtype: dns.TypeSOA, Answer: []string{soa}},
		{Qname: "example.org.", Qtype: dns.TypeNS, Answer: []string{"example.org. 300 IN NS ns1.example.org."}, Extra: []string{"ns1.example.org. 300 IN AAAA 2001:db8::1"}},
		{Qname: "example.org.", Qtype: dns.TypeA, Ns: []string{denial}},
	})
}

// TestNegativeTTL checks that the lower of the SOA's TTL and its MINIMUM counts.
func TestNegativeTTL(t *testing.T) {
	runCases(t, "example.org. 30 IN SOA a. b. 1 2 3 4 3600\n", []Case{
		{Qname: "nx.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []string{"example.org. 30 IN SOA a. b. 1 2 3 4 3600"}},
	})
	runCases(t, "example.org. 3600 IN SOA a.b. a.b. 1 2 3 4 30\n", []Case{
		{Qname: "example.org.", Qtype: dns.TypeA, Ns: []string{"example.org. 30 IN SOA a.b. a.b. 1 2 3 4 30"}},
	})
}

// TestEmptyNonTerminal: a name with names below it exists, RFC 4592 §2.2.2, RFC 8020 §2.
func TestEmptyNonTerminal(t *testing.T) {
	runCases(t, apex+"a.b.c.example.org. 300 IN A 192.0.2.1\n*.example.org. 300 IN A 192.0.2.99\n*.x.y.example.org. 300 IN A 192.0.2.98\n", []Case{
		{Qname: "b.c.example.org.", Qtype: dns.TypeA, Ns: []string{denial}},
		{Qname: "c.example.org.", Qtype: dns.TypeA, Ns: []string{denial}},
		{Qname: "y.example.org.", Qtype: dns.TypeANY, Ns: []string{denial}},
		{Qname: "x.y.example.org.", Qtype: dns.TypeA, Ns: []string{denial}},
		// The closest encloser is c.example.org, which has no wildcard.
		{Qname: "z.c.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []string{denial}},
		{Qname: "z.b.c.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []string{denial}},
		{Qname: "z.a.b.c.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []string{denial}},
		{Qname: "z.example.org.", Qtype: dns.TypeA, Answer: []string{"z.example.org. 300 IN A 192.0.2.99"}},
	})
}

// TestUnknownTypes: RFC 3597.
func TestUnknownTypes(t *testing.T) {
	runCases(t, apex+"odd.example.org. 300 IN TYPE65280 \\# 4 01020304\nodd.example.org. 300 IN TYPE65280 \\# 0\n", []Case{
		{Qname: "odd.example.org.", Qtype: 65280, Answer: []string{"odd.example.org. 300 IN TYPE65280 \\# 4 01020304", "odd.example.org. 300 IN TYPE65280 \\# 0"}},
		{Qname: "odd.example.org.", Qtype: 65281, Ns: []string{denial}},
	})
}

// TestAny: one set is enough, RFC 8482 §4.1.
func TestAny(t *testing.T) {
	runCases(t, apex+"www.example.org. 300 IN TXT \"t\"\nwww.example.org. 300 IN A 192.0.2.1\nalias.example.org. 300 IN CNAME www.example.org.\n*.wild.example.org. 300 IN TXT \"w\"\n", []Case{
		{Qname: "www.example.org.", Qtype: dns.TypeANY, Answer: []string{"www.example.org. 300 IN A 192.0.2.1"}},
		{Qname: "alias.example.org.", Qtype: dns.TypeANY, Answer: []string{"alias.example.org. 300 IN CNAME www.example.org."}},
		{Qname: "a.wild.example.org.", Qtype: dns.TypeANY, Answer: []string{`a.wild.example.org. 300 IN TXT "w"`}},
		{Qname: "nx.example.org.", Qtype: dns.TypeANY, Rcode: dns.RcodeNameError, Ns: []string{denial}},
	})
}

// TestManyTypes asks for every kind of data once.
func TestManyTypes(t *testing.T) {
	lines := `t.example.org. 300 IN A 192.0.2.1
t.example.org. 300 IN AAAA 2001:db8::1
t.example.org. 300 IN MX 10 mail.example.org.
t.example.org. 300 IN PTR host.example.net.
t.example.org. 300 IN SRV 1 2 53 ns1.example.org.
t.example.org. 300 IN NAPTR 100 10 "S" "SIP+D2U" "" _sip._udp.example.org.
t.example.org. 300 IN CAA 0 issue "ca.example.net"
t.example.org. 300 IN HTTPS 1 . alpn="h2" ipv6hint="2001:db8::1"
t.example.org. 300 IN SVCB 16 foo.example.org. port="53"
t.example.org. 300 IN TLSA 3 1 1 0123456789abcdef
t.example.org. 300 IN SSHFP 4 2 0123456789ABCDEF
t.example.org. 300 IN LOC 51 30 12.748 N 00 07 39.611 W 0.00m 0.00m 0.00m 0.00m
t.example.org. 300 IN HINFO "cpu" "os"
t.example.org. 300 IN RP box.example.org. txt.example.org.
t.example.org. 300 IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==
t.example.org. 300 IN URI 10 1 "https://example.org/"`
	var cases []Case
	for _, line := range strings.Split(lines, "\n") {
		c := Case{Qname: "t.example.org.", Qtype: records(t, line)[0].Header().Rrtype, Answer: []string{line}}
		if c.Qtype == dns.TypeSRV {
			c.Extra = []string{"ns1.example.org. 300 IN AAAA 2001:db8::1"}
		}
		cases = append(cases, c)
	}
	runCases(t, apex+lines, cases)
}

// TestNameWithoutData: a pool that is empty is no missing name.
func TestNameWithoutData(t *testing.T) {
	z, err := compileText(t, apex+"*.example.org. 300 IN A 192.0.2.99\n").With(Change{Owner: "pool.example.org."})
	if err != nil {
		t.Fatal(err)
	}
	if m := ask(t, z, "pool.example.org.", dns.TypeA); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 0 || len(m.Ns) != 1 {
		t.Errorf("got %v", m)
	}
	if m := ask(t, z, "below.pool.example.org.", dns.TypeA); m.Rcode != dns.RcodeNameError {
		t.Errorf("below it: %v", m)
	}
}
