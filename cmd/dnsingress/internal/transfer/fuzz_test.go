// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/server"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// fuzzID is that of the query whose replies are made up.
const fuzzID = 0x4711

// framed puts the length before a message, as over TCP.
func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}

// given is what a server sends for a query: the messages of a transfer, framed.
func given(t testing.TB, z *zone.Zone, d *delta, query *dns.Msg) []byte {
	t.Helper()
	wire, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	l, err := survey(wire)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	x := &server.Exchange{Query: wire, Peer: server.Peer{TCP: true}, Limit: maxMessage, Reply: func(m []byte) error {
		out = append(out, framed(m)...)
		return nil
	}}
	a := &reply{request: &request{Exchange: x, msg: wire, end: l.end}, zone: z, delta: d}
	if err := a.write(context.Background()); err != nil {
		t.Fatal(err)
	}
	return out
}

// FuzzReceive gives the client arbitrary streams of messages. Whatever comes, it must end, what it had must stay as
// it was, and a zone that it takes must be one that can be transferred again.
func FuzzReceive(f *testing.F) {
	have := compile(f, small)
	j := &journal{limit: journalSize}
	j.publish(have)
	next, err := have.With(address(f, "a.example.org.", "192.0.2.1"), zone.Change{Owner: "odd.example.org.", Remove: true}, zone.Change{Owner: "e.example.org."})
	if err != nil {
		f.Fatal(err)
	}
	j.publish(next)
	_, d, _ := j.since(have.Serial(), math.MaxInt)
	axfr := new(dns.Msg).SetAxfr("example.org.")
	ixfr := new(dns.Msg).SetIxfr("example.org.", have.Serial(), "ns1.example.org.", "host.example.org.")
	axfr.Id, ixfr.Id = fuzzID, fuzzID
	f.Add(given(f, next, nil, axfr), false)
	f.Add(given(f, next, nil, ixfr), true)
	f.Add(given(f, next, &d, ixfr), true)
	f.Add(given(f, have, nil, ixfr), true)
	for _, c := range replies() {
		query := axfr
		if c.ixfr {
			query = ixfr
		}
		f.Add(c.stream(f, query), c.ixfr)
	}
	before := flat(f, have)
	f.Fuzz(func(t *testing.T, data []byte, incremental bool) {
		data = bytes.Clone(data)
		for at := 0; at+2+headerLen <= len(data); { // else chance would seldom get beyond the header
			copy(data[at+2:], []byte{fuzzID >> 8, fuzzID & 0xFF, 0x84, data[at+5] & 0xF0})
			at += 2 + int(binary.BigEndian.Uint16(data[at:]))
		}
		query, from := axfr, (*zone.Zone)(nil)
		if incremental {
			query, from = ixfr, have
		}
		z, whole, _, err := (&stream{from: bytes.NewReader(data), query: query}).receive("example.org.", from, nil)
		if got := flat(t, have); cmp.Diff(before, got) != "" {
			t.Fatal(cmp.Diff(before, got))
		}
		if err != nil || z == nil {
			return
		}
		if !whole && !newer(z.Serial(), have.Serial()) {
			t.Errorf("a difference led from serial %d to %d", have.Serial(), z.Serial())
		}
		again, _, _, err := (&stream{from: bytes.NewReader(given(t, z, nil, axfr)), query: axfr}).receive("example.org.", nil, nil)
		if err != nil {
			t.Fatalf("the zone cannot be transferred again: %v", err)
		}
		if d := cmp.Diff(flat(t, z), flat(t, again)); d != "" {
			t.Errorf("transferred again it is another: %s", d)
		}
	})
}

// FuzzHandle gives the service arbitrary messages. A reply must be one to the query.
func FuzzHandle(f *testing.F) {
	keys := keysOf(f, "k:hmac-sha256")
	catalog := new(zone.Catalog)
	catalog.Publish(compile(f, small))
	s, err := New(Options{
		Catalog: catalog, Keys: keys, Default: Policy{Allow: grants(f, "::1", "key:k")},
		Secondaries: []Secondary{{Origin: "example.net", Primaries: []Remote{remote(f, "[::1]:9")}}}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range []*dns.Msg{
		new(dns.Msg).SetAxfr("example.org."), new(dns.Msg).SetIxfr("example.org.", 6, ".", "."), new(dns.Msg).SetNotify("example.net."), new(dns.Msg).SetQuestion("ns1.example.org.", dns.TypeA),
	} {
		plain, session, err := client{key: keys["k."]}.prepare(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(plain, true)
		sig, err := readSignature(plain)
		if err != nil || session == nil {
			f.Fatal(err)
		}
		f.Add(sig.stripped(plain), false)
	}
	f.Fuzz(func(t *testing.T, query []byte, tcp bool) {
		if _, err := survey(query); err != nil || query[2]&0x80 != 0 { // the server hands over nothing else
			return
		}
		id, replies := idOf(query), 0
		limit := 512
		if tcp {
			limit = maxMessage
		}
		s.Handle(context.Background(), &server.Exchange{
			Query: query, Peer: server.Peer{Addr: netip.IPv6Loopback(), TCP: tcp}, Limit: limit,
			Answer: func(q []byte, limit int) []byte { return header(q, headerLen, dns.RcodeSuccess) },
			Reply: func(m []byte) error {
				replies++
				if len(m) < headerLen || len(m) > limit || idOf(m) != id || m[2]&0x80 == 0 {
					t.Errorf("reply %x", m)
				}
				return new(dns.Msg).Unpack(m)
			},
		})
		if replies > 1 && !tcp {
			t.Errorf("%d replies over UDP", replies)
		}
	})
}

// FuzzKeys gives the parser of key files arbitrary text. No error may show what is between quotes.
func FuzzKeys(f *testing.F) {
	f.Add("key \"one\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n")
	f.Add("one:hmac-sha384:c2VjcmV0\n# two\n")
	f.Add("key one { secret")
	f.Fuzz(func(t *testing.T, text string) {
		keys := Keys{}
		if err := keys.parse("file", text); err == nil && len(keys) == 0 {
			t.Error("neither keys nor an error")
		}
		for name, k := range keys {
			if k.Name != name || len(k.secret) == 0 || hashOf(k.Algorithm) == nil {
				t.Errorf("key %q: %v", name, k)
			}
		}
	})
}
