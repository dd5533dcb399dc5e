// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"testing"

	"github.com/miekg/dns"
)

// TestWildcardRFC4592 is the example of RFC 4592 §2.2.1.
func TestWildcardRFC4592(t *testing.T) {
	runCases(t, `example. 3600 IN SOA ns.example. host.example. 1 3600 600 86400 3600
example. 3600 IN NS ns.example.com.
example. 3600 IN NS ns.example.net.
*.example. 3600 IN TXT "this is a wildcard"
*.example. 3600 IN MX 10 host1.example.
sub.*.example. 3600 IN TXT "this is not a wildcard"
host1.example. 3600 IN A 192.0.2.1
_ssh._tcp.host1.example. 3600 IN SRV 0 0 22 host1.example.
_ssh._tcp.host2.example. 3600 IN SRV 0 0 22 host1.example.
subdel.example. 3600 IN NS ns.example.com.
subdel.example. 3600 IN NS ns.example.net.
`, []Case{
		{Qname: "host3.example.", Qtype: dns.TypeMX, Answer: []string{"host3.example. 3600 IN MX 10 host1.example."}, Extra: []string{"host1.example. 3600 IN A 192.0.2.1"}},
		{Qname: "host3.example.", Qtype: dns.TypeA, Ns: []string{exampleDenial}},
		{Qname: "foo.bar.example.", Qtype: dns.TypeTXT, Answer: []string{`foo.bar.example. 3600 IN TXT "this is a wildcard"`}},
		{Qname: "host1.example.", Qtype: dns.TypeMX, Ns: []string{exampleDenial}},
		{Qname: "sub.*.example.", Qtype: dns.TypeMX, Ns: []string{exampleDenial}},
		{Qname: "_telnet._tcp.host1.example.", Qtype: dns.TypeSRV, Rcode: dns.RcodeNameError, Ns: []string{exampleDenial}},
		{Qname: "host.subdel.example.", Qtype: dns.TypeA, NotAA: true, Ns: []string{"subdel.example. 3600 IN NS ns.example.com.", "subdel.example. 3600 IN NS ns.example.net."}},
		{Qname: "ghost.*.example.", Qtype: dns.TypeMX, Rcode: dns.RcodeNameError, Ns: []string{exampleDenial}},
		{Qname: "*.example.", Qtype: dns.TypeTXT, Answer: []string{`*.example. 3600 IN TXT "this is a wildcard"`}},
	})
}

const exampleDenial = "example. 3600 IN SOA ns.example. host.example. 1 3600 600 86400 3600"

func TestWildcardCNAME(t *testing.T) {
	runCases(t, apex+`*.w.example.org. 300 IN CNAME www.example.org.
www.example.org. 300 IN A 192.0.2.1
*.loop.example.org. 300 IN CNAME a.loop.example.org.
*.out.example.org. 300 IN CNAME www.example.net.
`, []Case{
		{Qname: "a.w.example.org.", Qtype: dns.TypeA, Answer: []string{"a.w.example.org. 300 IN CNAME www.example.org.", "www.example.org. 300 IN A 192.0.2.1"}},
		{Qname: "a.b.w.example.org.", Qtype: dns.TypeCNAME, Answer: []string{"a.b.w.example.org. 300 IN CNAME www.example.org."}},
		{Qname: "a.w.example.org.", Qtype: dns.TypeTXT, Answer: []string{"a.w.example.org. 300 IN CNAME www.example.org."}, Ns: []string{denial}},
		{Qname: "b.loop.example.org.", Qtype: dns.TypeA, Answer: []string{"b.loop.example.org. 300 IN CNAME a.loop.example.org.", "a.loop.example.org. 300 IN CNAME a.loop.example.org."}},
		{Qname: "a.out.example.org.", Qtype: dns.TypeA, Answer: []string{"a.out.example.org. 300 IN CNAME www.example.net."}},
	})
}
