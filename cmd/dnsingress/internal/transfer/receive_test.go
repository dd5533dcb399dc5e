// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// received is a reply of one message to AXFR, or to IXFR since 7, and the error that it must end with; "": it is
// taken.
type received struct {
	what, reply, want string
	ixfr              bool
}

// replies are what a primary can say, wrong in every way.
func replies() []received {
	s := func(serial int) string {
		return fmt.Sprintf("example.org. 300 IN SOA ns1.example.org. host.example.org. %d 3600 600 86400 60\n", serial)
	}
	return []received{
		{what: "whole", reply: s(8) + "example.org. 300 IN NS ns1.example.org.\n" + s(8)},
		{what: "whole in answer to IXFR", ixfr: true, reply: s(8) + "example.org. 300 IN NS ns1.example.org.\n" + s(8)},
		{what: "nothing new", ixfr: true, reply: s(7)},
		{what: "no SOA first", reply: "example.org. 300 IN NS ns1.example.org.\n", want: "first record is no SOA"},
		{what: "nothing", reply: "", want: "without records"},
		{what: "ends early", reply: s(8) + "example.org. 300 IN NS ns1.example.org.\n", want: "closed in the middle"},
		{what: "ends with another serial", reply: s(8) + "example.org. 300 IN NS ns1.example.org.\n" + s(9), want: "ends with 9"},
		{what: "goes on", reply: s(8) + s(8) + "example.org. 300 IN NS ns1.example.org.\n", want: "behind the last SOA"},
		{what: "another zone", reply: strings.ReplaceAll(s(8), "example.org. 300", "example.net. 300"), want: "a SOA of example.net."},
		{what: "nonsense", reply: s(8) + "a.example.org. 300 IN CNAME b.example.org.\na.example.org. 300 IN CNAME c.example.org.\n" + s(8), want: "more than one CNAME"},
		{what: "difference", ixfr: true, reply: s(8) + s(7) + "ns1.example.org. 300 IN AAAA 2001:db8::1\n" + s(8) + "ns1.example.org. 300 IN AAAA 2001:db8::2\n" + s(8)},
		{what: "two differences", ixfr: true, reply: s(9) + s(7) + s(8) + "x.example.org. 5 IN A 192.0.2.1\n" + s(8) + "x.example.org. 5 IN A 192.0.2.1\n" + s(9) + s(9)},
		{what: "removes what is not there", ixfr: true, reply: s(8) + s(7) + "ns1.example.org. 300 IN AAAA 2001:db8::7\n" + s(8) + s(8), want: "not there"},
		{what: "adds what is there", ixfr: true, reply: s(8) + s(7) + s(8) + "ns1.example.org. 300 IN AAAA 2001:db8::1\n" + s(8), want: "which is there"},
		{what: "breaks the chain", ixfr: true, reply: s(9) + s(7) + s(8) + s(7) + s(9) + s(9), want: "comes one from 7"},
		{what: "goes back", ixfr: true, reply: s(9) + s(7) + s(6) + s(9), want: "from serial 7 to 6"},
		{what: "makes an alias of a host", ixfr: true, reply: s(8) + s(7) + s(8) + "ns1.example.org. 300 IN CNAME a.example.org.\n" + s(8), want: "CNAME and AAAA"},
	}
}

// stream makes the reply to a query, framed.
func (c received) stream(t testing.TB, query *dns.Msg) []byte {
	t.Helper()
	m := new(dns.Msg).SetReply(query)
	m.Answer = records(t, c.reply)
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return framed(wire)
}

func TestReplies(t *testing.T) {
	have := compile(t, small)
	for _, c := range replies() {
		t.Run(c.what, func(t *testing.T) {
			query, from := new(dns.Msg).SetAxfr("example.org."), (*zone.Zone)(nil)
			if c.ixfr {
				query, from = new(dns.Msg).SetIxfr("example.org.", 7, ".", "."), have
			}
			z, _, _, err := (&stream{from: bytes.NewReader(c.stream(t, query)), query: query}).receive("example.org.", from, nil)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %q; zone %v", err, c.want, z)
			}
		})
	}
}
