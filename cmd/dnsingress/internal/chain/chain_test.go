// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// text prints sets a record a line: NAME TTL TYPE DATA, and what tells options apart.
func text(sets []model.RecordSet) string {
	var b strings.Builder
	for _, s := range sets {
		for _, r := range s.Records {
			ttl := "-"
			if s.TTL != nil {
				ttl = fmt.Sprint(*s.TTL)
			}
			fmt.Fprintf(&b, "%s %s %s %s", s.Name, ttl, dns.TypeToString[s.Type], r.Data)
			if r.Follow != "" {
				fmt.Fprintf(&b, "addresses of %s", r.Follow)
			}
			if r.Geo != "" {
				fmt.Fprintf(&b, " geo=%s", r.Geo)
			}
			if r.Weight != nil {
				fmt.Fprintf(&b, " weight=%d", *r.Weight)
			}
			if r.Set != "" {
				fmt.Fprintf(&b, " set=%s", r.Set)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// parse reads what text prints.
func parse(t testing.TB, lines string) []model.RecordSet {
	t.Helper()
	tab := table{}
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		set := model.RecordSet{Name: f[0], Type: dns.StringToType[f[2]]}
		var ttl uint32
		if _, err := fmt.Sscan(f[1], &ttl); err == nil {
			set.TTL = &ttl
		}
		r := model.Record{Data: f[3]}
		rest := f[4:]
		if r.Data == "addresses" {
			r.Data, r.Follow, rest = "", f[5], f[6:]
		}
		for _, p := range rest {
			k, v, _ := strings.Cut(p, "=")
			switch k {
			case "geo":
				r.Geo = v
			case "set":
				r.Set = v
			case "weight":
				var w uint32
				if _, err := fmt.Sscan(v, &w); err != nil {
					t.Fatal(err)
				}
				r.Weight = &w
			default:
				t.Fatalf("what is %q in %q?", p, line)
			}
		}
		tab.add(set, r)
	}
	return tab.sorted()
}

func compare(t *testing.T, got []model.RecordSet, want string) {
	t.Helper()
	if diff := cmp.Diff(text(parse(t, want)), text(got)); diff != "" {
		t.Errorf("records (- want, + got):\n%s", diff)
	}
}

func addresses(all ...string) (out []netip.Addr) {
	for _, a := range all {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// TestDocument reproduces the record lists of Kuadrant's DNSRecordStructure document.
func TestDocument(t *testing.T) {
	agnostic := Listener{
		Host: "www.example.com.", Name: "lb-1ab1", AliasTTL: 300, AddressTTL: 60,
		Gateways: []Gateway{
			{Code: "1bc1", Geo: "*", Label: "default", Weight: 100, Addresses: addresses("192.22.2.1")},
			{Code: "unused", Geo: "*", Label: "default", Weight: 100, Hosts: []string{"aws.lb.com."}},
		},
	}
	specific := Listener{
		Host: "shop.example.com.", Name: "lb-a1b2", AliasTTL: 300, AddressTTL: 120,
		Gateways: []Gateway{
			{Code: "ab1", Geo: "IE", Label: "ie", Default: true, Weight: 100, Addresses: addresses("192.22.2.1", "192.22.2.5")},
			{Code: "unused", Geo: "IE", Label: "ie", Default: true, Weight: 100, Hosts: []string{"aws.lb.com."}},
			{Code: "ab2", Geo: "AU", Label: "aus", Weight: 100, Addresses: addresses("192.22.2.3")},
			{Code: "ab3", Geo: "AU", Label: "aus", Weight: 100, Addresses: addresses("192.22.2.4")},
		},
	}
	wildcard := agnostic
	wildcard.Host = "*.example.com."
	for _, c := range []struct {
		name                string
		listener            Listener
		published, answered string
	}{
		{"geo agnostic", agnostic, `
www.example.com. 300 CNAME lb-1ab1.www.example.com.
lb-1ab1.www.example.com. 300 CNAME default.lb-1ab1.www.example.com. geo=* set=default
default.lb-1ab1.www.example.com. 300 CNAME 1bc1.lb-1ab1.www.example.com. weight=100 set=1bc1.lb-1ab1.www.example.com
default.lb-1ab1.www.example.com. 300 CNAME aws.lb.com. weight=100 set=aws.lb.com
1bc1.lb-1ab1.www.example.com. 60 A 192.22.2.1
`, `
www.example.com. 60 A 192.22.2.1 weight=100 set=1bc1.lb-1ab1.www.example.com
www.example.com. 60 A addresses of aws.lb.com. weight=100 set=aws.lb.com
www.example.com. 300 AAAA addresses of aws.lb.com.
`},
		{"geo specific", specific, `
shop.example.com. 300 CNAME lb-a1b2.shop.example.com.
lb-a1b2.shop.example.com. 300 CNAME ie.lb-a1b2.shop.example.com. geo=* set=default
lb-a1b2.shop.example.com. 300 CNAME aus.lb-a1b2.shop.example.com. geo=AU set=AUS
lb-a1b2.shop.example.com. 300 CNAME ie.lb-a1b2.shop.example.com. geo=IE set=IE
ie.lb-a1b2.shop.example.com. 300 CNAME ab1.lb-a1b2.shop.example.com. weight=100 set=ab1.lb-a1b2.shop.example.com
ie.lb-a1b2.shop.example.com. 300 CNAME aws.lb.com. weight=100 set=aws.lb.com
aus.lb-a1b2.shop.example.com. 300 CNAME ab2.lb-a1b2.shop.example.com. weight=100 set=ab2.lb-a1b2.shop.example.com
aus.lb-a1b2.shop.example.com. 300 CNAME ab3.lb-a1b2.shop.example.com. weight=100 set=ab3.lb-a1b2.shop.example.com
ab1.lb-a1b2.shop.example.com. 120 A 192.22.2.1
ab1.lb-a1b2.shop.example.com. 120 A 192.22.2.5
ab2.lb-a1b2.shop.example.com. 120 A 192.22.2.3
ab3.lb-a1b2.shop.example.com. 120 A 192.22.2.4
`, `
shop.example.com. 120 A 192.22.2.1 geo=* weight=100 set=ab1.lb-a1b2.shop.example.com
shop.example.com. 120 A 192.22.2.5 geo=* weight=100 set=ab1.lb-a1b2.shop.example.com
shop.example.com. 120 A addresses of aws.lb.com. geo=* weight=100 set=aws.lb.com
shop.example.com. 120 A 192.22.2.3 geo=AU weight=100 set=ab2.lb-a1b2.shop.example.com
shop.example.com. 120 A 192.22.2.4 geo=AU weight=100 set=ab3.lb-a1b2.shop.example.com
shop.example.com. 120 A 192.22.2.1 geo=IE weight=100 set=ab1.lb-a1b2.shop.example.com
shop.example.com. 120 A 192.22.2.5 geo=IE weight=100 set=ab1.lb-a1b2.shop.example.com
shop.example.com. 120 A addresses of aws.lb.com. geo=IE weight=100 set=aws.lb.com
shop.example.com. 300 AAAA addresses of aws.lb.com. geo=* set=aws.lb.com
shop.example.com. 300 AAAA addresses of aws.lb.com. geo=IE set=aws.lb.com
`},
		{"apex", Listener{
			Host: "example.com.", Name: "klb", Apex: true, AliasTTL: 300, AddressTTL: 60,
			Gateways: []Gateway{
				{Code: "a", Geo: "IE", Label: "ie", Weight: 100, Addresses: addresses("81.17.241.20", "2001:db8::20")},
				{Code: "b", Geo: "AU", Label: "au", Weight: 100, Hosts: []string{"aws.lb.com."}},
			},
		}, `
example.com. 60 A 81.17.241.20
example.com. 60 AAAA 2001:db8::20
`, `
example.com. 60 A 81.17.241.20
example.com. 60 AAAA 2001:db8::20
`},
		{"apex without an address", Listener{
			Host: "example.com.", Name: "klb", Apex: true, AliasTTL: 300, AddressTTL: 60,
			Gateways: []Gateway{{Code: "b", Geo: "AU", Label: "au", Weight: 100, Hosts: []string{"aws.lb.com."}}},
		}, `
example.com. 60 A addresses of aws.lb.com.
example.com. 60 AAAA addresses of aws.lb.com.
`, `
example.com. 60 A addresses of aws.lb.com.
example.com. 60 AAAA addresses of aws.lb.com.
`},
		{"wildcard", wildcard, `
*.example.com. 300 CNAME lb-1ab1.example.com.
lb-1ab1.example.com. 300 CNAME default.lb-1ab1.example.com. geo=* set=default
default.lb-1ab1.example.com. 300 CNAME 1bc1.lb-1ab1.example.com. weight=100 set=1bc1.lb-1ab1.example.com
default.lb-1ab1.example.com. 300 CNAME aws.lb.com. weight=100 set=aws.lb.com
1bc1.lb-1ab1.example.com. 60 A 192.22.2.1
`, `
*.example.com. 60 A 192.22.2.1 weight=100 set=1bc1.lb-1ab1.example.com
*.example.com. 60 A addresses of aws.lb.com. weight=100 set=aws.lb.com
*.example.com. 300 AAAA addresses of aws.lb.com.
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			sets := c.listener.Balanced()
			compare(t, sets, c.published)
			compare(t, Collapse(sets, Base(c.listener.Host)), c.answered)
			if d := Dangling(sets, Base(c.listener.Host)); len(d) > 0 {
				t.Errorf("dangling: %v", d)
			}
		})
	}
}

func TestSimple(t *testing.T) {
	l := Listener{Host: "www.example.com.", AliasTTL: 300, AddressTTL: 60}
	for _, c := range []struct {
		gateways []Gateway
		want     string
	}{
		{nil, ""},
		{[]Gateway{{Addresses: addresses("2001:db8::1", "192.0.2.1")}, {Addresses: addresses("192.0.2.1")}}, `
www.example.com. 60 A 192.0.2.1
www.example.com. 60 AAAA 2001:db8::1`},
		{[]Gateway{{Hosts: []string{"lb.example.net."}}}, `www.example.com. 300 CNAME lb.example.net.`},
		{[]Gateway{{Hosts: []string{"a.example.net.", "b.example.net."}}}, `
www.example.com. 300 CNAME a.example.net. set=a.example.net
www.example.com. 300 CNAME b.example.net. set=b.example.net`},
		{[]Gateway{{Addresses: addresses("192.0.2.1"), Hosts: []string{"lb.example.net."}}}, `
www.example.com. 60 A 192.0.2.1
www.example.com. 60 A addresses of lb.example.net.
www.example.com. 60 AAAA addresses of lb.example.net.`},
	} {
		l.Gateways = c.gateways
		compare(t, l.Simple(), c.want)
	}
}

// TestCode has a sum that Kuadrant's own tests have, and names of its example records.
func TestCode(t *testing.T) {
	if got := Code("9c8f876c-4ddc-44a3-9842-460f97e6c037"); got != "32ah7x" {
		t.Error(got)
	}
	if got := Code("fbf71c44-6b37-4962-ace6-801912e769be"); got != "2q5hyv" {
		t.Error(got)
	}
	if got := GatewayCode("TestNamespace", "TestName"); got != "a8xcra" {
		t.Error(got)
	}
}
