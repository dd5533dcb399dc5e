// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"testing"

	"github.com/miekg/dns"
)

// TestTTLTooLarge gives records TTLs around 2^31 by each of the ways in.
func TestTTLTooLarge(t *testing.T) {
	for given, want := range map[uint32]uint32{0: 0, 1<<31 - 1: 1<<31 - 1, 1 << 31: 0, 1<<31 + 5: 0, 1<<32 - 1: 0} {
		rr := &dns.TXT{Hdr: dns.RR_Header{Name: "a.", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{"x"}}
		r, err := record(rr, given, make([]byte, 64))
		if err != nil {
			t.Fatal(err)
		}
		if got := be32(r, 6); got != want {
			t.Errorf("record: TTL %d became %d, want %d", given, got, want)
		}
		if got := be32(string(appendRecord(nil, dns.TypeTXT, given, []byte("\x01x"))), 6); got != want {
			t.Errorf("appendRecord: TTL %d became %d, want %d", given, got, want)
		}
	}
}
