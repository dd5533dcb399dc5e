// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"bytes"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// FuzzReply takes any octets for a server's reply to a question. What is made of them for a client is a well-formed reply to
// that client's spelling of the question, with nothing in it that does not follow from the question.
func FuzzReply(f *testing.F) {
	asked := question{name: "\x03www\x04west\x04test\x00", qtype: dns.TypeAAAA}
	query := asked.query([]mark{{1}})
	query[0], query[1] = 7, 9
	q := new(dns.Msg).SetQuestion("www.west.test.", dns.TypeAAAA)
	q.Id = 7<<8 | 9
	add := func(rcode int, answer, ns, extra string) {
		m := new(dns.Msg).SetRcode(q, rcode)
		for section, text := range map[*[]dns.RR]string{&m.Answer: answer, &m.Ns: ns, &m.Extra: extra} {
			z := dns.NewZoneParser(bytes.NewReader([]byte(text)), ".", "")
			for rr, ok := z.Next(); ok; rr, ok = z.Next() {
				*section = append(*section, rr)
			}
			if err := z.Err(); err != nil {
				f.Fatal(err)
			}
		}
		for _, compress := range []bool{true, false} {
			m.Compress = compress
			b, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	add(dns.RcodeSuccess, "www.west.test. 60 AAAA 2001:db8::1\nwww.west.test. 60 AAAA 2001:db8::2\n", "", "")
	add(dns.RcodeSuccess, "www.west.test. 60 CNAME lb.west.test.\nlb.west.test. 60 CNAME www.west.test.\nlb.west.test. 4294967295 AAAA 2001:db8::1\n", "west.test. 60 NS ns.west.test.\n", "ns.west.test. 60 A 192.0.2.1\n")
	add(dns.RcodeSuccess, "west.test. 60 DNAME east.test.\nwww.west.test. 60 CNAME www.east.test.\nwww.east.test. 60 AAAA 2001:db8::3\n", "", "")
	add(dns.RcodeNameError, "", "west.test. 60 SOA a. b. 1 2 3 4 5\nwest.test. 60 NSEC z.west.test. A RRSIG\n", "")
	add(dns.RcodeSuccess, "", "west.test. 60 NS ns.west.test.\n", "")
	add(dns.RcodeServerFailure, "", "", "")
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := accept(b, query, asked.end())
		if err != nil || m.Truncated {
			return
		}
		life, err := trim(m, "west.test.", time.Hour)
		if err != nil {
			return
		}
		x, err := compile(m)
		if err != nil {
			return // too long for a message, or a record that the library reads and does not write
		}
		if life < 0 || life > time.Hour {
			t.Fatalf("it is held to be true for %v", life)
		}
		client := bytes.ReplaceAll(query, []byte("west"), []byte("WeSt"))
		for _, stale := range []bool{false, true} {
			out := x.reply(client, asked.end(), 10*time.Second, stale)
			var r dns.Msg
			if err := r.Unpack(out); err != nil {
				t.Fatalf("%v\n%x", err, out)
			}
			if !bytes.Equal(out[headerLen:asked.end()], client[headerLen:asked.end()]) || out[0] != 7 || out[1] != 9 || r.Authoritative || r.AuthenticatedData || !r.Response {
				t.Fatalf("%v", &r)
			}
			chain := chainOf(&r)
			for _, rr := range r.Answer {
				if h := rr.Header(); h.Ttl > 3600 || !answers(rr, dns.TypeAAAA, chain) {
					t.Fatalf("%v in\n%v", rr, &r)
				}
			}
			for _, rr := range r.Extra {
				if !dns.IsSubDomain("west.test.", canonical(rr.Header().Name)) {
					t.Fatalf("%v in\n%v", rr, &r)
				}
			}
		}
	})
}
