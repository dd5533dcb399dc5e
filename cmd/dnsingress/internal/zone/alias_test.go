// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestCNAME(t *testing.T) {
	runCases(t, apex+`a.example.org. 300 IN CNAME b.example.org.
b.example.org. 200 IN CNAME www.example.org.
www.example.org. 100 IN A 192.0.2.1
dangling.example.org. 300 IN CNAME nx.example.org.
out.example.org. 300 IN CNAME www.example.net.
self.example.org. 300 IN CNAME self.example.org.
l1.example.org. 300 IN CNAME l2.example.org.
l2.example.org. 300 IN CNAME L1.example.org.
down.example.org. 300 IN CNAME www.sub.example.org.
sub.example.org. 300 IN NS ns.sub.example.org.
ns.sub.example.org. 300 IN A 192.0.2.53
apex.example.org. 300 IN CNAME example.org.
`, []Case{
		{Qname: "a.example.org.", Qtype: dns.TypeA, Answer: []string{"a.example.org. 300 IN CNAME b.example.org.", "b.example.org. 200 IN CNAME www.example.org.", "www.example.org. 100 IN A 192.0.2.1"}},
		{Qname: "a.example.org.", Qtype: dns.TypeCNAME, Answer: []string{"a.example.org. 300 IN CNAME b.example.org."}},
		// RFC 2308 §2.2, RFC 6604 §3: the rcode is that of the last name.
		{Qname: "a.example.org.", Qtype: dns.TypeAAAA, Answer: []string{"a.example.org. 300 IN CNAME b.example.org.", "b.example.org. 200 IN CNAME www.example.org."}, Ns: []string{denial}},
		{Qname: "dangling.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Answer: []string{"dangling.example.org. 300 IN CNAME nx.example.org."}, Ns: []string{denial}},
		{Qname: "out.example.org.", Qtype: dns.TypeA, Answer: []string{"out.example.org. 300 IN CNAME www.example.net."}},
		{Qname: "self.example.org.", Qtype: dns.TypeA, Answer: []string{"self.example.org. 300 IN CNAME self.example.org."}},
		{Qname: "l1.example.org.", Qtype: dns.TypeA, Answer: []string{"l1.example.org. 300 IN CNAME l2.example.org.", "l2.example.org. 300 IN CNAME l1.example.org."}},
		{Qname: "down.example.org.", Qtype: dns.TypeA, Answer: []string{"down.example.org. 300 IN CNAME www.sub.example.org."}, Ns: []string{"sub.example.org. 300 IN NS ns.sub.example.org."}, Extra: []string{"ns.sub.example.org. 300 IN A 192.0.2.53"}},
		{Qname: "apex.example.org.", Qtype: dns.TypeSOA, Answer: []string{"apex.example.org. 300 IN CNAME example.org.", soa}},
		{Qname: "below.a.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Ns: []string{denial}},
	})
}

// TestLongChain checks that a chain ends at maxChain.
func TestLongChain(t *testing.T) {
	var text strings.Builder
	text.WriteString(apex)
	for i := range 100 {
		fmt.Fprintf(&text, "c%d.example.org. 300 IN CNAME c%d.example.org.\n", i, i+1)
	}
	if m := ask(t, compileText(t, text.String()), "c0.example.org.", dns.TypeA); len(m.Answer) != maxChain+1 || m.Rcode != dns.RcodeSuccess {
		t.Errorf("%d records, %s", len(m.Answer), dns.RcodeToString[m.Rcode])
	}
}

func TestDNAME(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 60)+".", 3) // 183 octets
	runCases(t, apex+`d.example.org. 300 IN DNAME t.example.org.
d.example.org. 300 IN TXT "beside"
occluded.d.example.org. 300 IN A 192.0.2.66
www.t.example.org. 300 IN A 192.0.2.1
out.example.org. 300 IN DNAME example.net.
l1.example.org. 300 IN DNAME l2.example.org.
l2.example.org. 300 IN DNAME l1.example.org.
long.example.org. 300 IN DNAME `+strings.Repeat("y", 60)+`.example.org.
`, []Case{
		{Qname: "www.d.example.org.", Qtype: dns.TypeA, Answer: []string{"d.example.org. 300 IN DNAME t.example.org.", "www.d.example.org. 300 IN CNAME www.t.example.org.", "www.t.example.org. 300 IN A 192.0.2.1"}},
		{Qname: "occluded.d.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeNameError, Answer: []string{"d.example.org. 300 IN DNAME t.example.org.", "occluded.d.example.org. 300 IN CNAME occluded.t.example.org."}, Ns: []string{denial}},
		{Qname: "www.d.example.org.", Qtype: dns.TypeCNAME, Answer: []string{"d.example.org. 300 IN DNAME t.example.org.", "www.d.example.org. 300 IN CNAME www.t.example.org."}},
		{Qname: "d.example.org.", Qtype: dns.TypeTXT, Answer: []string{`d.example.org. 300 IN TXT "beside"`}},
		{Qname: "d.example.org.", Qtype: dns.TypeDNAME, Answer: []string{"d.example.org. 300 IN DNAME t.example.org."}},
		{Qname: "d.example.org.", Qtype: dns.TypeA, Ns: []string{denial}},
		{Qname: "a.b.out.example.org.", Qtype: dns.TypeA, Answer: []string{"out.example.org. 300 IN DNAME example.net.", "a.b.out.example.org. 300 IN CNAME a.b.example.net."}},
		{Qname: "a.l1.example.org.", Qtype: dns.TypeA, Answer: []string{
			"l1.example.org. 300 IN DNAME l2.example.org.", "a.l1.example.org. 300 IN CNAME a.l2.example.org.",
			"l2.example.org. 300 IN DNAME l1.example.org.", "a.l2.example.org. 300 IN CNAME a.l1.example.org.",
		}},
		// RFC 6672 §2.2: the name that would be made is too long.
		{Qname: long + "long.example.org.", Qtype: dns.TypeA, Rcode: dns.RcodeYXDomain, Answer: []string{"long.example.org. 300 IN DNAME " + strings.Repeat("y", 60) + ".example.org."}},
	})
}
