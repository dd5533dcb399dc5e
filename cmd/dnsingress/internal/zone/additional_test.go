// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

const additionalZone = `example.org. 300 IN SOA ns1.example.org. host.example.org. 7 3600 600 86400 60
example.org. 300 IN NS ns1.example.org.
example.org. 300 IN NS ns.example.net.
example.org. 300 IN MX 10 mail.example.org.
example.org. 300 IN MX 20 MAIL.example.org.
example.org. 300 IN MX 30 mail.example.org.
example.org. 300 IN MX 40 none.example.org.
ns1.example.org. 300 IN A 192.0.2.1
ns1.example.org. 300 IN AAAA 2001:db8::1
mail.example.org. 300 IN AAAA 2001:db8::25
_dns._udp.example.org. 300 IN SRV 1 2 53 ns1.example.org.
alias.example.org. 300 IN CNAME _dns._udp.example.org.
*.w.example.org. 300 IN MX 1 x.w.example.org.
away.example.org. 300 IN MX 1 host.sub.example.org.
away.example.org. 300 IN MX 2 sub.example.org.
away.example.org. 300 IN MX 3 a.d.example.org.
away.example.org. 300 IN MX 4 d.example.org.
sub.example.org. 300 IN NS host.sub.example.org.
host.sub.example.org. 300 IN A 192.0.2.99
sub.example.org. 300 IN A 192.0.2.98
d.example.org. 300 IN DNAME example.net.
d.example.org. 300 IN A 192.0.2.97
a.d.example.org. 300 IN A 192.0.2.96
`

// TestAdditional checks which addresses come with an answer that names hosts: those of the zone's own names, each once.
func TestAdditional(t *testing.T) {
	z := compileText(t, additionalZone)
	for _, c := range []struct {
		name  string
		qtype uint16
		want  []string
	}{
		{"example.org.", dns.TypeNS, []string{"ns1.example.org. A 192.0.2.1", "ns1.example.org. AAAA 2001:db8::1"}},
		{"example.org.", dns.TypeMX, []string{"mail.example.org. AAAA 2001:db8::25"}},
		{"example.org.", dns.TypeSOA, nil},
		{"_dns._udp.example.org.", dns.TypeSRV, []string{"ns1.example.org. A 192.0.2.1", "ns1.example.org. AAAA 2001:db8::1"}},
		{"alias.example.org.", dns.TypeSRV, []string{"ns1.example.org. A 192.0.2.1", "ns1.example.org. AAAA 2001:db8::1"}},
		{"ns1.example.org.", dns.TypeA, nil},
		{"y.w.example.org.", dns.TypeMX, nil},
		{"away.example.org.", dns.TypeMX, []string{"d.example.org. A 192.0.2.97"}},
	} {
		var got []string
		for _, rr := range ask(t, z, c.name, c.qtype).Extra {
			f := strings.Fields(rr.String())
			got = append(got, strings.Join([]string{strings.ToLower(f[0]), f[3], f[4]}, " ")) // any of the answer's spellings may come first
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s %s: %s", c.name, dns.Type(c.qtype), diff)
		}
	}
}

// TestAdditionalBelowTheOriginsDNAME: no name below is the zone's own.
func TestAdditionalBelowTheOriginsDNAME(t *testing.T) {
	z := compileText(t, soa+"example.org. 300 IN DNAME example.net.\nexample.org. 300 IN MX 1 mail.example.org.\nexample.org. 300 IN MX 2 example.org.\nexample.org. 300 IN A 192.0.2.1\nmail.example.org. 300 IN A 192.0.2.25\n")
	extra := ask(t, z, "example.org.", dns.TypeMX).Extra
	if len(extra) != 1 || extra[0].Header().Name != "example.org." {
		t.Errorf("got %v, want the address of the origin alone", extra)
	}
}

// TestAdditionalNeverTruncates gives an answer every size that it can have: it is whole and without TC as soon as it
// fits alone, and addresses come only whole sets at a time.
func TestAdditionalNeverTruncates(t *testing.T) {
	var b strings.Builder
	b.WriteString(additionalZone)
	for i := range 12 {
		fmt.Fprintf(&b, "many.example.org. 300 IN SRV 1 1 %d host%d.example.org.\n", i, i)
		for k := range 3 {
			fmt.Fprintf(&b, "host%d.example.org. 300 IN AAAA 2001:db8::%x:%x\n", i, i, k)
		}
	}
	z := compileText(t, b.String())
	query, err := new(dns.Msg).SetQuestion("many.example.org.", dns.TypeSRV).Pack()
	if err != nil {
		t.Fatal(err)
	}
	before, whole := 0, false
	for size := 64; size < 2048; size++ {
		m := answerTo(t, z, query, size)
		switch {
		case m.Truncated == (len(m.Answer) == 12):
			t.Fatalf("%d octets: TC %v with %d answers", size, m.Truncated, len(m.Answer))
		case m.Truncated && whole:
			t.Fatalf("%d octets: truncated again", size)
		case len(m.Extra)%3 != 0 || len(m.Extra) < before:
			t.Fatalf("%d octets: %d addresses after %d", size, len(m.Extra), before)
		}
		whole, before = !m.Truncated, len(m.Extra)
	}
	if before != 36 {
		t.Errorf("%d addresses in the end", before)
	}
}
