// SPDX-License-Identifier: Apache-2.0

package dnssec_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/dnssec"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// What a transfer carries of a signed zone is a zone that is signed as RFC 4035 §2 wants it, pools and names without data
// included: every set by every key that must, and all names in one circle of NSEC records.
func TestTransfersCarryASignedZone(t *testing.T) {
	s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ECDSAP256SHA256, true), newKey(t, dns.ECDSAP256SHA256, false)}})
	z := change(t, signedZone(t, s, feature), pool("pool.example.org.", 24, 8, 5), zone.Change{Owner: "empty.example.org."},
		optional(t, "options.example.org.", 2, 1, []string{"IE", "*"}, 1, 3), optional(t, "alias.example.org.", 0, 0, nil, 1, 3))
	keys := keysOf(t, z)
	byOwner := map[string][]dns.RR{}
	soa, err := z.SOA().RR()
	if err != nil {
		t.Fatal(err)
	}
	byOwner["example.org."] = []dns.RR{soa}
	for r := range z.SignedRecords() {
		rr, err := r.RR()
		if err != nil {
			t.Fatal(err)
		}
		owner := dns.CanonicalName(rr.Header().Name)
		byOwner[owner] = append(byOwner[owner], rr)
	}
	next := map[string]*dns.NSEC{}
	for owner, rrs := range byOwner {
		glue := slices.Contains([]string{"ns.signed.example.org.", "ns.plain.example.org."}, owner)
		for _, n := range verify(t, rrs, keys, time.Now()) {
			if delegation := n.rtype == dns.TypeNS && owner != "example.org."; !glue && !delegation {
				t.Errorf("%s %s is not signed", n.owner, dns.Type(n.rtype))
			}
		}
		var types []uint16
		for _, rr := range rrs {
			if n, ok := rr.(*dns.NSEC); ok {
				next[owner] = n
			}
			if t := rr.Header().Rrtype; !slices.Contains(types, t) {
				types = append(types, t)
			}
		}
		slices.Sort(types)
		if n := next[owner]; glue != (n == nil) {
			t.Errorf("%s has the NSEC %v", owner, n)
		} else if n != nil && !slices.Equal(n.TypeBitMap, types) {
			t.Errorf("%v, but there is %v", n, types)
		}
	}
	seen, at := 0, "example.org."
	for range len(next) {
		n := next[at]
		if n == nil {
			t.Fatalf("the circle breaks at %s after %d of %d names", at, seen, len(next))
		}
		seen++
		if at = dns.CanonicalName(n.NextDomain); at == "example.org." {
			break
		}
		if before(at, n.Hdr.Name) {
			t.Errorf("%s comes after %s", at, n.Hdr.Name)
		}
	}
	if seen != len(next) || at != "example.org." {
		t.Errorf("the circle has %d of %d names and ends at %s", seen, len(next), at)
	}
	if n := len(byOwner["pool.example.org."]); n != 24+1+2 {
		t.Errorf("%d records at the pool, want all members, a signature, and NSEC with its own", n)
	}
	if n := len(byOwner["options.example.org."]); n != 4+1+2 {
		t.Errorf("%d records at the name with options, want those of all", n)
	}
	if n := len(byOwner["alias.example.org."]); n != 1+1+2 {
		t.Errorf("%d records at the alias, want one CNAME", n)
	}
}

// before tells whether a name comes before another in canonical order.
func before(a, b string) bool {
	labels := func(s string) []string {
		l := dns.SplitDomainName(strings.ToLower(s))
		slices.Reverse(l)
		return l
	}
	return slices.Compare(labels(a), labels(b)) < 0
}
