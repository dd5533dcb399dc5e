// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

func TestEndpointData(t *testing.T) {
	for _, c := range []struct{ rtype, target, data, hint string }{
		{"A", "192.0.2.1", "192.0.2.1", ""},
		{"A", "192.0.2.1.", "", "192.0.2.1"},
		{"A", "2001:db8::1", "", "recordType AAAA"},
		{"A", "lb.example.org", "", "recordType CNAME"},
		{"A", "192.0.2.256", "", "recordType CNAME"},
		{"A", "", "", ""},
		{"A", "a b", "", "such as 192.0.2.1"},
		{"AAAA", "2001:DB8:0::1", "2001:db8::1", ""},
		{"AAAA", "192.0.2.1", "", "recordType A"},
		{"AAAA", "::ffff:192.0.2.1", "", "such as 2001:db8::1"},
		{"AAAA", "fe80::1%eth0", "", "such as 2001:db8::1"},
		{"CNAME", "lb.Example.org", "lb.example.org.", ""},
		{"CNAME", "lb.example.org.", "lb.example.org.", ""},
		{"CNAME", "192.0.2.1", "", "recordType A"},
		{"CNAME", "2001:db8::1", "", "recordType AAAA"},
		{"CNAME", "*.example.org", "", "letters"},
		{"CNAME", "a..b", "", "letters"},
		{"DNAME", "example.net", "example.net.", ""},
		{"DNAME", "example.net.", "example.net.", ""},
		{"NS", "ns1.example.org", "ns1.example.org.", ""},
		{"NS", "ns1.example.org.", "", "ns1.example.org"},
		{"NS", "192.0.2.53", "", "the name of a host"},
		{"PTR", "host.example.org", "host.example.org.", ""},
		{"PTR", "host.example.org.", "", "host.example.org"},
		{"PTR", "192.0.2.1", "", "the name of a host"},
		{"PTR", "_http._tcp.example.org", "_http._tcp.example.org.", ""},
		{"PTR", `My\032Printer._ipp._tcp.example.org`, `my\032printer._ipp._tcp.example.org.`, ""},
		{"MX", "10 mail.example.org", "10 mail.example.org.", ""},
		{"MX", " 10   mail.example.org. ", "10 mail.example.org.", ""},
		{"MX", "0 .", "0 .", ""},
		{"MX", "mail.example.org", "", "10 mail.example.org"},
		{"MX", "70000 mail.example.org", "", "0 to 65535"},
		{"MX", "10 192.0.2.1", "", "the name of a host"},
		{"SRV", "10 5 5060 sip.example.org.", "10 5 5060 sip.example.org.", ""},
		{"SRV", "10 5 5060 sip.example.org", "", "10 5 5060 sip.example.org."},
		{"SRV", "10 5 -1 sip.example.org.", "", "0 to 65535"},
		{"SRV", "0 0 0 .", "0 0 0 .", ""},
		{"SRV", "10 5 sip.example.org.", "", "10 5 5060 sip.example.org."},
		{"NAPTR", `100 10 "s" "SIP+D2U" "" _sip._udp.Example.org.`, `100 10 "s" "SIP+D2U" "" _sip._udp.example.org.`, ""},
		{"NAPTR", `100 10 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .`, `100 10 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .`, ""},
		{"NAPTR", `100 10 "s" "SIP+D2U" "" _sip._udp.example.org`, "", `100 10 "s" "SIP+D2U" "" _sip._udp.example.org.`},
		{"NAPTR", `100 "s" .`, "", `100 10 "s"`},
		{"TXT", "v=spf1 -all", `"v=spf1 -all"`, ""},
		{"TXT", `"one" "two words"`, `"one" "two words"`, ""},
		{"TXT", `say "x" \ end.`, `"say \"x\" \\ end."`, ""},
		{"TXT", "", `""`, ""},
		{"TXT", "zwölf\n", `"zw\195\182lf\010"`, ""},
		{"TXT", strings.Repeat("a", 300), `"` + strings.Repeat("a", 255) + `" "` + strings.Repeat("a", 45) + `"`, ""},
		{"TXT", strings.Repeat("a", 70000), "", "at most 60000"},
	} {
		data, bad := endpointData(dns.StringToType[c.rtype], c.target)
		switch {
		case bad == nil && c.data == "":
			t.Errorf("%s %q is taken as %q", c.rtype, c.target, data)
		case bad != nil && (c.data != "" || !strings.Contains(bad.hint, c.hint)):
			t.Errorf("%s %.80q: %v; want the hint %q", c.rtype, c.target, bad, c.hint)
		case data != c.data:
			t.Errorf("%s %q is %q, want %q", c.rtype, c.target, data, c.data)
		}
	}
}

// FuzzEndpointData says that what is taken can be published, and means the same when it is read again.
func FuzzEndpointData(f *testing.F) {
	types := strings.Split(endpointTypes, ", ")
	for i, target := range []string{
		"192.0.2.1", "2001:db8::1", "lb.example.org", "v=spf1 -all", "10 5 5060 sip.example.org.", "ns1.example.org", `My\032Printer._ipp._tcp.example.org`,
		"10 mail.example.org", `100 10 "u" "E2U+sip" "!^.*$!sip:info@example.com!" .`, "example.net.",
	} {
		f.Add(uint8(i), target)
	}
	f.Add(uint8(3), `"a" "b`)
	f.Add(uint8(8), "1 1 ( ) ; .")
	f.Fuzz(func(t *testing.T, kind uint8, target string) {
		rtype := dns.StringToType[types[int(kind)%len(types)]]
		data, bad := endpointData(rtype, target)
		if bad != nil {
			if data != "" || bad.text == "" || bad.reason == "" {
				t.Fatalf("%q is %q and %+v", target, data, bad)
			}
			return
		}
		rr, err := record.Parse("a.test.", rtype, 60, data)
		if err != nil {
			t.Fatalf("%q became %q: %v", target, data, err)
		}
		wire := make([]byte, 65535)
		if _, err := dns.PackRR(rr, wire, 0, nil, false); err != nil {
			t.Fatalf("%q became %q: %v", target, data, err)
		}
		if rtype == dns.TypeTXT {
			return // its quoted form is read as such, not as text
		}
		again := data
		if rtype == dns.TypeNS || rtype == dns.TypePTR {
			again = strings.TrimSuffix(data, ".")
		}
		if twice, bad := endpointData(rtype, again); bad != nil || twice != data {
			t.Fatalf("%q became %q, which became %q: %v", target, data, twice, bad)
		}
	})
}
