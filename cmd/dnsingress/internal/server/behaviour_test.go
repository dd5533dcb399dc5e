// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// behaviours are the queries of RFC 8906 §8 and of the EDNS compliance tests of ISC, and what else a message
// can look like that is unusual, malformed or malicious. want is in the words of describe.
var behaviours = []struct {
	name  string
	query func() []byte
	want  string // over TCP as well, unless overTCP says otherwise
	tcp   string
}{
	{"plain", msg(ask("www.example.org.", dns.TypeAAAA)), "NOERROR aa q=1 an=1", ""},
	{"recursion desired", msg(ask("www.example.org.", dns.TypeAAAA), func(m *dns.Msg) { m.RecursionDesired = true }), "NOERROR aa rd q=1 an=1", ""},
	{"unknown type", msg(ask("www.example.org.", 1000)), "NOERROR aa q=1 ns=1", ""},
	{"type zero", msg(ask("www.example.org.", 0)), "NOERROR aa q=1 ns=1", ""},
	{"missing name", msg(ask("nx.example.org.", dns.TypeA)), "NXDOMAIN aa q=1 ns=1", ""},
	{"outside the zones", msg(ask("example.net.", dns.TypeA)), "REFUSED q=1", ""},
	{"the root", msg(ask(".", dns.TypeNS)), "REFUSED q=1", ""},
	{"class CH", msg(ask("version.bind.", dns.TypeTXT), class(dns.ClassCHAOS)), "REFUSED q=1", ""},
	{"version.bind of type SOA", msg(ask("version.bind.", dns.TypeSOA), class(dns.ClassCHAOS)), "REFUSED q=1", ""},
	{"id.server with EDNS", raw(ednsFor("id.server.", 1232, nil), func(b []byte) []byte { b[12+11+3] = byte(dns.ClassCHAOS); return b }), "REFUSED q=1 edns=0/1232 option=15:0014", ""},
	{"class ANY", msg(ask("www.example.org.", dns.TypeA), class(dns.ClassANY)), "REFUSED q=1", ""},
	{"type ANY", msg(ask("www.example.org.", dns.TypeANY)), "NOERROR aa q=1 an=1", ""},
	{"a TSIG that nobody looks at", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte { b[11] = 1; return append(b, tsig...) }), "NOERROR aa q=1 an=1", ""},
	{"a TSIG that is not last", raw(edns(1232, nil), func(b []byte) []byte {
		b[11] = 2
		return append(append(b[:len(b)-11:len(b)-11], tsig...), b[len(b)-11:]...)
	}), "FORMERR q=1", ""},
	{"a TSIG among the answers", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte { b[7] = 1; return append(b, tsig...) }), "FORMERR q=1", ""},
	{"AXFR", msg(ask("example.org.", dns.TypeAXFR)), "REFUSED q=1", ""},
	{"IXFR", ixfr, "REFUSED q=1", ""},
	{"type OPT", msg(ask("www.example.org.", dns.TypeOPT)), "FORMERR q=1", ""},
	{"type TSIG", msg(ask("www.example.org.", dns.TypeTSIG)), "FORMERR q=1", ""},
	{"type NXNAME", msg(ask("www.example.org.", dns.TypeNXNAME)), "FORMERR q=1", ""},
	{"type MAILB", msg(ask("www.example.org.", dns.TypeMAILB)), "NOTIMP q=1", ""},
	{"CD", msg(ask("www.example.org.", dns.TypeA), func(m *dns.Msg) { m.CheckingDisabled = true }), "NOERROR aa q=1 an=1", ""},
	{"AD", msg(ask("www.example.org.", dns.TypeA), func(m *dns.Msg) { m.AuthenticatedData = true }), "NOERROR aa q=1 an=1", ""},
	{"Z", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte { b[3] |= 0x40; return b }), "NOERROR aa q=1 an=1", ""},
	{"AA, TC, RA and an rcode in the query", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte { b[2] |= 0x06; b[3] |= 0x8F; return b }), "NOERROR aa q=1 an=1", ""},
	{"mixed case", msg(ask("wWw.eXAMPLE.oRG.", dns.TypeAAAA)), "NOERROR aa q=1 an=1", ""},

	{"opcode IQUERY", opcode(1), "NOTIMP opcode=1", ""},
	{"opcode STATUS", opcode(2), "NOTIMP opcode=2", ""},
	{"opcode NOTIFY", opcode(4), "NOTIMP opcode=4", ""},
	{"opcode UPDATE", opcode(5), "NOTIMP opcode=5", ""},
	{"opcode 15", opcode(15), "NOTIMP opcode=15", ""},
	{"opcode 15, header only", raw(opcode(15), func(b []byte) []byte { b = b[:12]; b[5] = 0; return b }), "NOTIMP opcode=15", ""},

	{"no question", raw(msg(new(dns.Msg)), nil), "FORMERR", ""},
	{"two questions", msg(ask("www.example.org.", dns.TypeA), func(m *dns.Msg) {
		m.Question = append(m.Question, dns.Question{Name: "example.org.", Qtype: dns.TypeA, Qclass: dns.ClassINET})
	}), "FORMERR", ""},
	{"65535 questions", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte { b[4], b[5] = 0xFF, 0xFF; return b }), "FORMERR", ""},
	{"a question that is not there", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte { return b[:12] }), "FORMERR", ""},
	{"a name cut short", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte { return b[:20] }), "FORMERR", ""},
	{"a type cut short", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte { return b[:len(b)-3] }), "FORMERR", ""},
	{"a name that points at itself", question("\xc0\x0c"), "FORMERR", ""},
	{"a name that points ahead", question("\x03www\xc0\x20"), "FORMERR", ""},
	{"a label of 64", question("\x40" + strings.Repeat("a", 64) + "\x00"), "FORMERR", ""},
	{"a name of 255 octets", question(strings.Repeat("\x01a", 127) + "\x00"), "REFUSED q=1", ""},
	{"a name of 257 octets", question(strings.Repeat("\x01a", 128) + "\x00"), "FORMERR", ""},
	{"octets behind the message", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte { return append(b, 0) }), "FORMERR q=1", ""},
	{"an additional record that is not there", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte { b[11] = 1; return b }), "FORMERR q=1", ""},
	{"65535 answers that are not there", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte { b[6], b[7] = 0xFF, 0xFF; return b }), "FORMERR q=1", ""},

	{"EDNS", edns(1232, nil), "NOERROR aa q=1 an=1 edns=0/1232", ""},
	{"EDNS with DO", edns(4096, func(o *dns.OPT) { o.SetDo() }), "NOERROR aa q=1 an=1 edns=0/1232 do", ""},
	{"EDNS with a size below 512", edns(0, nil), "NOERROR aa q=1 an=1 edns=0/1232", ""},
	{"EDNS version 1", edns(1232, func(o *dns.OPT) { o.SetVersion(1) }), "BADVERS q=1 edns=0/1232", ""},
	{"EDNS version 100 with an option and DO", edns(1232, func(o *dns.OPT) { o.SetVersion(100); o.SetDo(); o.Option = local(100) }), "BADVERS q=1 edns=0/1232 do", ""},
	{"EDNS with an unknown option", edns(1232, func(o *dns.OPT) { o.Option = local(100) }), "NOERROR aa q=1 an=1 edns=0/1232", ""},
	{"EDNS with unknown flags", edns(1232, func(o *dns.OPT) { o.Hdr.Ttl |= 0x7FFF }), "NOERROR aa q=1 an=1 edns=0/1232", ""},
	{"EDNS with CO alone", edns(1232, func(o *dns.OPT) { o.Hdr.Ttl |= 0x4000 }), "NOERROR aa q=1 an=1 edns=0/1232", ""},
	{"EDNS with CO and DO", edns(1232, func(o *dns.OPT) { o.Hdr.Ttl |= 0xC000 }), "NOERROR aa q=1 an=1 edns=0/1232 do flags=4000", ""},
	{"EDNS with NSID", edns(1232, func(o *dns.OPT) { o.Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}} }), "NOERROR aa q=1 an=1 edns=0/1232", ""},
	{"a client subnet of IPv6", edns(1232, option(dns.EDNS0SUBNET, "00023800 20010db8000001")), "NOERROR aa q=1 an=1 edns=0/1232 option=8:0002380020010db8000001", ""},
	{"a client subnet of IPv4", edns(1232, option(dns.EDNS0SUBNET, "00011500 c00028")), "NOERROR aa q=1 an=1 edns=0/1232 option=8:00011500c00028", ""},
	{"a client subnet of no bits", edns(1232, option(dns.EDNS0SUBNET, "00020000")), "NOERROR aa q=1 an=1 edns=0/1232 option=8:00020000", ""},
	{"a client subnet of no family", edns(1232, option(dns.EDNS0SUBNET, "00000000")), "NOERROR aa q=1 an=1 edns=0/1232 option=8:00000000", ""},
	{"a client subnet of an unknown family", edns(1232, option(dns.EDNS0SUBNET, "00030800 20")), "FORMERR q=1 edns=0/1232", ""},
	{"a client subnet with a scope", edns(1232, option(dns.EDNS0SUBNET, "00010808 c0")), "FORMERR q=1 edns=0/1232", ""},
	{"a client subnet with a bit behind its prefix", edns(1232, option(dns.EDNS0SUBNET, "00011500 c00021")), "FORMERR q=1 edns=0/1232", ""},
	{"a client subnet with an octet too many", edns(1232, option(dns.EDNS0SUBNET, "00011000 c00000")), "FORMERR q=1 edns=0/1232", ""},
	{"a client subnet with an octet too few", edns(1232, option(dns.EDNS0SUBNET, "00011800 c000")), "FORMERR q=1 edns=0/1232", ""},
	{"a client subnet of 33 bits of IPv4", edns(1232, option(dns.EDNS0SUBNET, "00012100 c000020100")), "FORMERR q=1 edns=0/1232", ""},
	{"a client subnet of 129 bits", edns(1232, option(dns.EDNS0SUBNET, "00028100 "+strings.Repeat("00", 17))), "FORMERR q=1 edns=0/1232", ""},
	{"a client subnet cut short", edns(1232, option(dns.EDNS0SUBNET, "000118")), "FORMERR q=1 edns=0/1232", ""},
	{"a client subnet outside the zones", ednsFor("example.net.", 1232, option(dns.EDNS0SUBNET, "00011800 c00002")), "REFUSED q=1 edns=0/1232 option=8:00011800c00002 option=15:0014", ""},
	{"EDNS outside the zones", ednsFor("example.net.", 1232, nil), "REFUSED q=1 edns=0/1232 option=15:0014", ""},
	{"EDNS and AXFR", raw(ednsFor("example.org.", 1232, nil), func(b []byte) []byte { b[12+13+1] = byte(dns.TypeAXFR); return b }), "REFUSED q=1 edns=0/1232 option=15:0012", ""},
	{"EDNS with a client's cookie", edns(1232, cookie("0123456789abcdef")), "NOERROR aa q=1 an=1 edns=0/1232 cookie=0123456789abcdef+16", ""},
	{"EDNS with a stale cookie", edns(1232, cookie("0123456789abcdef"+strings.Repeat("00", 16))), "NOERROR aa q=1 an=1 edns=0/1232 cookie=0123456789abcdef+16", ""},
	{"a cookie of 7 octets", edns(1232, cookie("0123456789abcd")), "FORMERR q=1 edns=0/1232", ""},
	{"a cookie of 9 octets", edns(1232, cookie("0123456789abcdef00")), "FORMERR q=1 edns=0/1232", ""},
	{"a cookie of 41 octets", edns(1232, cookie(strings.Repeat("ab", 41))), "FORMERR q=1 edns=0/1232", ""},
	{"a cookie and no question", raw(edns(1232, cookie("0123456789abcdef")), func(b []byte) []byte {
		b[5] = 0
		return append(b[:12], b[12+len("\x03www\x07example\x03org\x00")+4:]...)
	}), "NOERROR edns=0/1232 cookie=0123456789abcdef+16", ""},
	{"EDNS and no question", raw(edns(1232, nil), func(b []byte) []byte {
		b[5] = 0
		return append(b[:12], b[12+len("\x03www\x07example\x03org\x00")+4:]...)
	}), "FORMERR edns=0/1232", ""},
	{"two OPT records", raw(edns(1232, nil), func(b []byte) []byte { b[11] = 2; return append(b, b[len(b)-11:]...) }), "FORMERR q=1 edns=0/1232", ""},
	{"an OPT with an owner", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte {
		b[11] = 1
		return append(b, "\xc0\x0c\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"...)
	}), "FORMERR q=1", ""},
	{"an OPT among the answers", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte {
		b[7] = 1
		return append(b, "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"...)
	}), "FORMERR q=1", ""},
	{"an option longer than its OPT", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte {
		b[11] = 1
		return append(b, "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x08"...)
	}), "FORMERR q=1 edns=0/1232", ""},
	{"half an option", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte {
		b[11] = 1
		return append(b, "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x02\x00\x0a"...)
	}), "FORMERR q=1 edns=0/1232", ""},
	{"an OPT longer than the message", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte {
		b[11] = 1
		return append(b, "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x40"...)
	}), "FORMERR q=1", ""},
	{
		"TCP keepalive", edns(1232, func(o *dns.OPT) { o.Option = []dns.EDNS0{&dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}} }),
		"NOERROR aa q=1 an=1 edns=0/1232", "NOERROR aa q=1 an=1 edns=0/1232 option=11:0064",
	},

	{"a long answer without EDNS", msg(ask("some.example.org.", dns.TypeAAAA)), "NOERROR aa q=1 an=16", ""},
	{"a longer answer without EDNS", msg(ask("many.example.org.", dns.TypeAAAA)), "NOERROR aa tc q=1", "NOERROR aa q=1 an=100"},
	{"a long answer with EDNS and 512 octets", ednsFor("some.example.org.", 512, nil), "NOERROR aa q=1 an=16 edns=0/1232", ""},
	{
		"a long answer with EDNS, a cookie and 512 octets", ednsFor("some.example.org.", 512, cookie("0123456789abcdef")),
		"NOERROR aa tc q=1 edns=0/1232 cookie=0123456789abcdef+16", "NOERROR aa q=1 an=16 edns=0/1232 cookie=0123456789abcdef+16",
	},
	{"a longer answer with EDNS and 65535 octets", ednsFor("many.example.org.", 65535, nil), "NOERROR aa tc q=1 edns=0/1232", "NOERROR aa q=1 an=100 edns=0/1232"},

	{"a response", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte { b[2] |= 0x80; return b }), "silence", ""},
	{"a response that is malformed", raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte { b[2] |= 0x80; return b[:14] }), "silence", ""},
	{"eleven octets", func() []byte { return make([]byte, 11) }, "silence", ""},
	{"one octet", func() []byte { return []byte{0} }, "silence", ""},
}

// tsig is a TSIG record that no key has signed.
const tsig = "\x03key\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x1b\x09hmac-sha1\x00\x00\x00\x00\x00\x00\x00\x01\x2c\x00\x00\x00\x00\x00\x00\x00\x00"

func TestBehaviour(t *testing.T) {
	s := start(t, Config{TLS: newPair(t).config()})
	for _, network := range []string{"udp", "tcp", "tls"} {
		to := s.Addrs()[0]
		if network == "tls" {
			to = s.TLSAddrs()[0]
		}
		c := dial(t, network, to)
		for i, b := range behaviours {
			t.Run(network+"/"+b.name, func(t *testing.T) {
				want := b.want
				if network != "udp" && b.tcp != "" {
					want = b.tcp
				}
				query := b.query()
				if len(query) >= 2 {
					binary.BigEndian.PutUint16(query, uint16(i+1))
				}
				send(t, c, query)
				if want == "silence" { // the reply to what is sent next must be the next that comes
					next := pack(t, ask("www.example.org.", dns.TypeA))
					binary.BigEndian.PutUint16(next, 0xFFFF)
					send(t, c, next)
					if got := receive(t, c); binary.BigEndian.Uint16(got) != 0xFFFF {
						t.Fatalf("got a reply: % x", got)
					}
					return
				}
				got := receive(t, c)
				if !bytes.Equal(got[:2], query[:2]) {
					t.Errorf("ID % x for % x", got[:2], query[:2])
				}
				if d := describe(t, got); d != want {
					t.Errorf("got  %s\nwant %s", d, want)
				}
			})
		}
	}
}

// TestQuestionIsRepeated checks that the question comes back octet by octet, in the case that it was asked in.
func TestQuestionIsRepeated(t *testing.T) {
	query := pack(t, ask("wWw.ExAmPlE.oRg.", dns.TypeAAAA))
	catalog := new(zone.Catalog)
	catalog.Publish(exampleZone(t))
	r := NewResponder(catalog)
	reply := r.Respond(make([]byte, ednsUDP), query, Peer{})
	if !bytes.Equal(reply[12:len(query)], query[12:]) {
		t.Errorf("question % x\nbecame   % x", query[12:], reply[12:len(query)])
	}
	if m := unpack(t, reply); m.Answer[0].Header().Name != "wWw.ExAmPlE.oRg." {
		t.Errorf("owner %s", m.Answer[0].Header().Name)
	}
}

// describe gives a reply in few words: rcode, flags that are set, counts that are not zero, EDNS.
func describe(t testing.TB, wire []byte) string {
	t.Helper()
	m := unpack(t, wire)
	var words []string
	add := func(set bool, format string, a ...any) {
		if set {
			words = append(words, fmt.Sprintf(format, a...))
		}
	}
	o := m.IsEdns0()
	rcode := m.Rcode
	if o != nil {
		rcode = rcode&0xF | o.ExtendedRcode()&^0xF
	}
	add(true, "%s", rcodeName(rcode))
	add(!m.Response, "not-a-response")
	add(m.Opcode != 0, "opcode=%d", m.Opcode)
	add(m.Authoritative, "aa")
	add(m.Truncated, "tc")
	add(m.RecursionDesired, "rd")
	add(m.RecursionAvailable, "ra")
	add(m.Zero, "z")
	add(m.AuthenticatedData, "ad")
	add(m.CheckingDisabled, "cd")
	add(len(m.Question) > 0, "q=%d", len(m.Question))
	add(len(m.Answer) > 0, "an=%d", len(m.Answer))
	add(len(m.Ns) > 0, "ns=%d", len(m.Ns))
	extra := slices.DeleteFunc(slices.Clone(m.Extra), func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
	add(len(extra) > 0, "ar=%d", len(extra))
	if o == nil {
		return strings.Join(words, " ")
	}
	add(true, "edns=%d/%d", o.Version(), o.UDPSize())
	add(o.Do(), "do")
	add(o.Hdr.Ttl&0x7FFF != 0, "flags=%x", o.Hdr.Ttl&0x7FFF)
	at := wire[bytes.LastIndex(wire, []byte{0, 0, 41, 0x04, 0xd0})+11:]
	for len(at) > 0 {
		code, size := binary.BigEndian.Uint16(at), binary.BigEndian.Uint16(at[2:])
		data := at[4 : 4+size]
		at = at[4+size:]
		if code == dns.EDNS0COOKIE {
			add(true, "cookie=%x+%d", data[:8], len(data)-8)
			continue
		}
		add(true, "option=%d:%x", code, data)
	}
	return strings.Join(words, " ")
}

func msg(m *dns.Msg, edit ...func(*dns.Msg)) func() []byte {
	return func() []byte {
		for _, e := range edit {
			e(m)
		}
		wire, err := m.Pack()
		if err != nil {
			panic(err)
		}
		return wire
	}
}

func raw(from func() []byte, edit func([]byte) []byte) func() []byte {
	return func() []byte {
		if edit == nil {
			return from()
		}
		return edit(slices.Clone(from()))
	}
}

func class(c uint16) func(*dns.Msg) { return func(m *dns.Msg) { m.Question[0].Qclass = c } }

func opcode(n byte) func() []byte {
	return raw(msg(ask("www.example.org.", dns.TypeA)), func(b []byte) []byte { b[2] = n << 3; return b })
}

func ixfr() []byte { return msg(new(dns.Msg).SetIxfr("example.org.", 1, "a.", "b."))() }

// question makes a query whose name has the given octets.
func question(name string) func() []byte {
	return func() []byte {
		b := append([]byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, name...)
		return append(b, 0, 1, 0, 1)
	}
}

func ednsFor(name string, size uint16, edit func(*dns.OPT)) func() []byte {
	return func() []byte {
		qtype := dns.TypeAAAA
		m := ask(name, qtype)
		m.SetEdns0(size, false)
		if edit != nil {
			edit(m.IsEdns0())
		}
		return msg(m)()
	}
}

func edns(size uint16, edit func(*dns.OPT)) func() []byte {
	return ednsFor("www.example.org.", size, edit)
}

func local(code uint16) []dns.EDNS0 {
	return []dns.EDNS0{&dns.EDNS0_LOCAL{Code: code, Data: []byte("unknown")}}
}

// option gives one option with data in hexadecimal.
func option(code uint16, data string) func(*dns.OPT) {
	return func(o *dns.OPT) {
		b, err := hex.DecodeString(strings.ReplaceAll(data, " ", ""))
		if err != nil {
			panic(err)
		}
		o.Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: code, Data: b}}
	}
}

func cookie(hex string) func(*dns.OPT) {
	return func(o *dns.OPT) {
		o.Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex}}
	}
}
