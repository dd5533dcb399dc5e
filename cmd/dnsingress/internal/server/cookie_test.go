// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

// TestCookie checks the examples of RFC 9018 appendix A.
func TestCookie(t *testing.T) {
	for _, c := range []struct {
		secret, client, from string
		now                  uint32
		want                 string
	}{
		{"e5e973e5a6b2a43f48e7dc849e37bfcf", "2464c4abcf10c957", "198.51.100.100", 1559731985, "010000005cf79f111f8130c3eee29480"},
		{"445536bcd2513298075a5d379663c962", "22681ab97d52c298", "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961, "010000005cf7c609a6bb79d16625507a"},
	} {
		var secret [16]byte
		hex.Decode(secret[:], []byte(c.secret))
		client, _ := hex.DecodeString(c.client)
		got := cookiesFrom(secret).appendAt(nil, client, netip.MustParseAddr(c.from), c.now)
		if hex.EncodeToString(got) != c.client+c.want {
			t.Errorf("from %s: got %x, want %s", c.from, got, c.client+c.want)
		}
	}
}
