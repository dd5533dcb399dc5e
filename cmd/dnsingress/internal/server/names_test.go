// SPDX-License-Identifier: Apache-2.0

package server

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestNames asks a server for what it calls itself.
func TestNames(t *testing.T) {
	s := start(t, Config{Names: Names{ID: "ns1-b", Version: strings.Repeat("v", 255)}})
	for _, network := range []string{"udp", "tcp"} {
		c := dial(t, network, s.Addrs()[0])
		for _, q := range []struct {
			name  string
			qtype uint16
			want  string
		}{
			{"id.server.", dns.TypeTXT, "ns1-b"},
			{"HostName.Bind.", dns.TypeTXT, "ns1-b"},
			{"id.server.", dns.TypeANY, "ns1-b"},
			{"id.server.", dns.TypeSOA, ""},
			{"version.bind.", dns.TypeTXT, strings.Repeat("v", 255)},
			{"version.server.", dns.TypeTXT, strings.Repeat("v", 255)},
		} {
			m := ask(q.name, q.qtype)
			m.Question[0].Qclass = dns.ClassCHAOS
			send(t, c, pack(t, m))
			r := unpack(t, receive(t, c))
			got := ""
			if len(r.Answer) == 1 {
				txt := r.Answer[0].(*dns.TXT)
				got = strings.Join(txt.Txt, "")
				if txt.Hdr.Class != dns.ClassCHAOS || txt.Hdr.Name != q.name || txt.Hdr.Ttl != 0 {
					t.Errorf("%s: %v", q.name, txt)
				}
			}
			if got != q.want || r.Rcode != dns.RcodeSuccess || !r.Authoritative {
				t.Errorf("%s %s: %v", q.name, dns.Type(q.qtype), r)
			}
		}
		m := ask("authors.bind.", dns.TypeTXT)
		m.Question[0].Qclass = dns.ClassCHAOS
		send(t, c, pack(t, m))
		if got := describe(t, receive(t, c)); got != "REFUSED q=1" {
			t.Error(got)
		}
		send(t, c, edns(1232, option(dns.EDNS0NSID, ""))())
		if got := describe(t, receive(t, c)); got != "NOERROR aa q=1 an=1 edns=0/1232 option=3:6e73312d62" {
			t.Error(got)
		}
	}
}

// TestOptionsHaveTheirRoom asks for every option at once where the answer alone would fit, and checks the size.
func TestOptionsHaveTheirRoom(t *testing.T) {
	s := start(t, Config{Names: Names{ID: strings.Repeat("n", nsidMost)}})
	m := ask("some.example.org.", dns.TypeAAAA)
	m.SetEdns0(512, false)
	o := m.IsEdns0()
	for code, data := range map[uint16]string{dns.EDNS0NSID: "", dns.EDNS0COOKIE: "0123456789abcdef", dns.EDNS0SUBNET: "0002800020010db8000000000000000000000001"} {
		one := new(dns.OPT)
		option(code, data)(one)
		o.Option = append(o.Option, one.Option...)
	}
	for network, want := range map[string]string{"udp": "tc", "tcp": "an=16"} {
		c := dial(t, network, s.Addrs()[0])
		send(t, c, pack(t, m))
		reply := receive(t, c)
		if got := describe(t, reply); !strings.Contains(got, want) || network == "udp" && len(reply) > 512 {
			t.Errorf("%s: %d octets, %s", network, len(reply), got)
		}
		if n := len(unpack(t, reply).IsEdns0().Option); n != 3 {
			t.Errorf("%s: %d options", network, n)
		}
	}
}

func TestNamesThatAreTooLong(t *testing.T) {
	for _, n := range []Names{{ID: strings.Repeat("n", nsidMost+1)}, {Version: strings.Repeat("v", 256)}} {
		if err := New(Config{Listen: []string{"[::1]:0"}, Names: n}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "exceeds") {
			t.Error(err)
		}
	}
}
