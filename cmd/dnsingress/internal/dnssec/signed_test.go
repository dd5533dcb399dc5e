// SPDX-License-Identifier: Apache-2.0

package dnssec_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/dnssec"
	"github.com/miekg/dns"
)

// Signing a zone looks at every name, but unpacks none.
func TestSigningALargeZoneCostsLittle(t *testing.T) {
	var lines strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&lines, "host%d 300 A 192.0.2.1\n", i)
	}
	z := plainZone(t, feature+lines.String())
	s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}})
	n := testing.AllocsPerRun(1, func() {
		if _, err := s.Sign(z); err != nil {
			t.Fatal(err)
		}
	})
	if n > 500 {
		t.Errorf("%v allocations, want less than one a name", n)
	}
}

// What has been signed already is refused, wherever that shows.
func TestSignedZonesAreNotSigned(t *testing.T) {
	s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}})
	for _, c := range []struct{ line, want string }{
		{"@ 300 NSEC3PARAM 1 0 0 -", "has NSEC3PARAM at example.org.: it is signed already"},
		{"web 300 NSEC www AAAA", "has NSEC at web.example.org.: it is signed already"},
	} {
		if _, err := s.Sign(plainZone(t, feature+c.line+"\n")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.line, err, c.want)
		}
	}
}
