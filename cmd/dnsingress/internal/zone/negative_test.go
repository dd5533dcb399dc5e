// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"testing"

	"github.com/miekg/dns"
)

// TestNegativeTTLOfName: a name can have its negative answers forgotten earlier than the zone says, and only its own.
func TestNegativeTTLOfName(t *testing.T) {
	z := compileText(t, apex)
	zones := ask(t, z, "nothing.example.org.", dns.TypeAAAA).Ns[0].Header().Ttl
	if zones < 10 {
		t.Fatalf("the zone's own is %d", zones)
	}
	with := func(z *Zone, c Change) *Zone {
		t.Helper()
		next, err := z.With(c)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	address := []RRset{{Type: dns.TypeAAAA, TTL: 5, Records: records(t, ". 0 IN AAAA 2001:db8::1")}}
	z = with(z, Change{Owner: "pool.example.org.", NegativeTTL: 3})
	z = with(z, Change{Owner: "one.example.org.", RRsets: address, NegativeTTL: 4})
	z = with(z, Change{Owner: "long.example.org.", NegativeTTL: zones + 1})
	z = with(z, Change{Owner: "*.wild.example.org.", NegativeTTL: 6})
	z = with(z, Change{Owner: "example.org.", NegativeTTL: 7})
	z = with(z, Change{Owner: "old.example.org.", NegativeTTL: 3})
	z = with(z, Change{Owner: "old.example.org."})
	expect := func(z *Zone) {
		t.Helper()
		for name, want := range map[string]uint32{
			"pool.example.org.": 3, "one.example.org.": 4, "long.example.org.": zones, "x.wild.example.org.": 6, "example.org.": 7,
			"wild.example.org.": zones, "old.example.org.": zones, "gone.example.org.": zones,
		} {
			m := ask(t, z, name, dns.TypeA)
			if len(m.Ns) != 1 || m.Ns[0].Header().Ttl != want || m.Ns[0].Header().Rrtype != dns.TypeSOA {
				t.Errorf("%s: %v, not %d s", name, m.Ns, want)
			}
		}
		if m := ask(t, z, "one.example.org.", dns.TypeAAAA); len(m.Answer) != 1 || m.Answer[0].Header().Ttl != 5 {
			t.Errorf("one.example.org: %v", m)
		}
	}
	expect(z)
	// Names below come and go.
	for _, c := range []Change{
		{Owner: "a.pool.example.org."},
		{Owner: "b.pool.example.org."},
		{Owner: "a.one.example.org.", RRsets: address},
		{Owner: "b.pool.example.org.", Remove: true},
		{Owner: "a.pool.example.org.", Remove: true},
	} {
		z = with(z, c)
		expect(z)
	}
	z = with(z, Change{Owner: "pool.example.org.", Remove: true, NegativeTTL: 3})
	if m := ask(t, z, "pool.example.org.", dns.TypeA); m.Rcode != dns.RcodeNameError || m.Ns[0].Header().Ttl != zones {
		t.Errorf("a name that was removed: %v", m)
	}
}
