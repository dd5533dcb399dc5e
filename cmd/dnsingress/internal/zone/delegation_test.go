// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestDelegation(t *testing.T) {
	ns := []string{"sub.example.org. 300 IN NS ns.sub.example.org.", "sub.example.org. 300 IN NS ns.other.example.org.", "sub.example.org. 300 IN NS ns.example.net."}
	glue := []string{"ns.sub.example.org. 300 IN A 192.0.2.53", "ns.sub.example.org. 300 IN AAAA 2001:db8::53", "ns.other.example.org. 300 IN A 192.0.2.54"}
	runCases(t, apex+strings.Join(ns, "\n")+"\n"+strings.Join(glue, "\n")+`
sub.example.org. 300 IN DS 12345 13 2 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF
sub.example.org. 300 IN TXT "occluded"
www.sub.example.org. 300 IN A 192.0.2.66
other.example.org. 300 IN NS ns.other.example.org.
plain.example.org. 300 IN NS ns.example.net.
deep.below.plain.example.org. 300 IN NS ns.example.com.
`, []Case{
		{Qname: "sub.example.org.", Qtype: dns.TypeNS, NotAA: true, Ns: ns, Extra: glue},
		{Qname: "sub.example.org.", Qtype: dns.TypeTXT, NotAA: true, Ns: ns, Extra: glue},
		{Qname: "www.sub.example.org.", Qtype: dns.TypeA, NotAA: true, Ns: ns, Extra: glue},
		{Qname: "ns.sub.example.org.", Qtype: dns.TypeA, NotAA: true, Ns: ns, Extra: glue},
		{Qname: "nx.nx.sub.example.org.", Qtype: dns.TypeANY, NotAA: true, Ns: ns, Extra: glue},
		// DS is the parent's: RFC 4035 §3.1.4.1.
		{Qname: "sub.example.org.", Qtype: dns.TypeDS, Answer: []string{"sub.example.org. 300 IN DS 12345 13 2 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF"}},
		{Qname: "plain.example.org.", Qtype: dns.TypeDS, Ns: []string{denial}},
		{Qname: "www.sub.example.org.", Qtype: dns.TypeDS, NotAA: true, Ns: ns, Extra: glue},
		// The upper of two cuts counts.
		{Qname: "a.deep.below.plain.example.org.", Qtype: dns.TypeA, NotAA: true, Ns: []string{"plain.example.org. 300 IN NS ns.example.net."}},
		{Qname: "nx.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []string{denial}},
	})
}

// TestGlueInAnyCase: names are equal in whatever case, RFC 4343, in zone files as in questions.
func TestGlueInAnyCase(t *testing.T) {
	runCases(t, apex+"Sub.Example.ORG. 300 IN NS NS.sub.EXAMPLE.org.\nns.SUB.example.org. 300 IN AAAA 2001:db8::53\nA.example.org. 300 IN CNAME B.Example.org.\nb.example.ORG. 300 IN A 192.0.2.1\n", []Case{
		{Qname: "www.sub.example.org.", Qtype: dns.TypeA, NotAA: true, Ns: []string{"sub.example.org. 300 IN NS NS.sub.example.org."}, Extra: []string{"NS.sub.example.org. 300 IN AAAA 2001:db8::53"}},
		{Qname: "a.example.org.", Qtype: dns.TypeA, Answer: []string{"a.example.org. 300 IN CNAME B.example.org.", "B.example.org. 300 IN A 192.0.2.1"}},
	})
}

// TestGlueOrTruncation: all addresses of name servers below the cut, or TC, RFC 9471 §3.1; those of others may
// stay out.
func TestGlueOrTruncation(t *testing.T) {
	build := func(under string) *Zone {
		var b strings.Builder
		b.WriteString(apex)
		for i := range 13 {
			host := fmt.Sprintf("ns%d.%s.example.org.", i, under)
			fmt.Fprintf(&b, "sub.example.org. 300 IN NS %s\n%s 300 IN A 192.0.2.%d\n%s 300 IN AAAA 2001:db8::%d\n", host, host, i, host, i)
		}
		return compileText(t, b.String())
	}
	query := query(t, "www.sub.example.org.", dns.TypeA)
	for _, c := range []struct {
		under     string
		limit     int
		truncated bool
	}{{"sub", 512, true}, {"sub", 1232, false}, {"servers", 512, false}} {
		m := answerTo(t, build(c.under), query, c.limit)
		if m.Truncated != c.truncated || len(m.Ns) != 13 {
			t.Errorf("%v: TC %v with %d name servers and %d addresses", c, m.Truncated, len(m.Ns), len(m.Extra))
		}
		if !c.truncated && c.under == "sub" && len(m.Extra) != 26 {
			t.Errorf("%v: %d addresses", c, len(m.Extra))
		}
	}
	if m := answerTo(t, build("sub"), query, 100); !m.Truncated || len(m.Ns)+len(m.Extra) > 0 {
		t.Errorf("where nothing fits: %v", m)
	}
}
