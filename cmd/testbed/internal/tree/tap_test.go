// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"bytes"
	"net/netip"
	"testing"

	dnstap "github.com/dnstap/golang-dnstap"
	framestream "github.com/farsightsec/golang-framestream"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"
	"google.golang.org/protobuf/proto"

	"github.com/dnsingress/dnsingress/internal/results"
)

// tapOf is a frame as dnsingress writes it.
func tapOf(t *testing.T, at uint64, query, reply []byte) []byte {
	t.Helper()
	nsec := uint32(7)
	b, err := proto.Marshal(&dnstap.Dnstap{Type: dnstap.Dnstap_MESSAGE.Enum(), Message: &dnstap.Message{
		Type: dnstap.Message_AUTH_RESPONSE.Enum(), SocketProtocol: dnstap.SocketProtocol_UDP.Enum(),
		QueryAddress: netip.MustParseAddr("fd00::21").AsSlice(), QueryTimeSec: &at, QueryTimeNsec: &nsec,
		QueryMessage: query, ResponseMessage: reply,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadTap(t *testing.T) {
	query := new(dns.Msg).SetQuestion("Backend.APPS.two.", dns.TypeAAAA)
	reply := new(dns.Msg).SetReply(query)
	for _, s := range []string{"backend.apps.two. 10 IN AAAA fd00::1", "backend.apps.two. 10 IN AAAA fd00::2"} {
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		reply.Answer = append(reply.Answer, rr)
	}
	pack := func(m *dns.Msg) []byte {
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var file bytes.Buffer
	w, err := framestream.NewWriter(&file, &framestream.WriterOptions{ContentTypes: [][]byte{dnstap.FSContentType}})
	if err != nil {
		t.Fatal(err)
	}
	for _, frame := range [][]byte{tapOf(t, 1, pack(query), pack(reply)), tapOf(t, 2, []byte("no DNS"), nil), tapOf(t, 3, pack(query), nil)} {
		if _, err := w.WriteFrame(frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := []results.Query{
		{AtNs: 1e9 + 7, Name: "backend.apps.two.", Type: "AAAA", Proto: "udp", Rcode: "NOERROR", Addresses: "fd00::1,fd00::2"},
		{AtNs: 2e9 + 7, Proto: "udp"},
		{AtNs: 3e9 + 7, Name: "backend.apps.two.", Type: "AAAA", Proto: "udp"},
	}
	// A file that is being written may end anywhere: what is whole counts.
	for cut := range file.Len() + 1 {
		var got []results.Query
		if err := ReadTap(bytes.NewReader(file.Bytes()[:cut]), func(a Asked) {
			if a.By != netip.MustParseAddr("fd00::21") {
				t.Errorf("asked by %s", a.By)
			}
			got = append(got, a.Query)
		}); err != nil {
			t.Fatalf("cut to %d of %d bytes: %v", cut, file.Len(), err)
		}
		if d := cmp.Diff(want[:len(got)], got, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
		if cut == file.Len() && len(got) != len(want) {
			t.Fatalf("%d of %d frames", len(got), len(want))
		}
	}
	if err := ReadTap(bytes.NewReader([]byte("This is no frame stream at all, but a text.")), func(Asked) {}); err == nil {
		t.Error("a text is taken for dnstap")
	}
}
