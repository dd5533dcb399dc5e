// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// give hands a record to a patch and tells whether that took it.
func give(t *testing.T, p *Patch, r Record, add bool) bool {
	t.Helper()
	if !p.Owner([]byte(strings.ToUpper(r.Owner))) {
		t.Fatalf("%q is not in the zone", r.Owner)
	}
	if add {
		return p.Add(r.Type(), be32(r.Data, 4), []byte(r.Data[10:]))
	}
	return p.Remove(r.Type(), []byte(r.Data[10:]))
}

// patchWith ends a patch with a SOA.
func patchWith(p *Patch, soa Record) (*Zone, error) {
	return p.Zone(be32(soa.Data, 4), []byte(soa.Data[10:]), nil)
}

// TestPatch plays differences back that With has made, also two in one go.
func TestPatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	here := compileText(t, small)
	there := here
	p := here.Patch()
	for round := range 40 {
		var changes []Change
		for range 1 + rng.IntN(1+round*5) {
			c := Change{Owner: fmt.Sprintf("n%d.example.org.", rng.IntN(200)), Remove: rng.IntN(4) == 0}
			for i := range 1 + rng.IntN(3) {
				if c.Remove {
					break
				}
				set := RRset{Type: []uint16{dns.TypeA, dns.TypeTXT, dns.TypeMX}[i], TTL: uint32(rng.IntN(3))}
				for range 1 + rng.IntN(4) {
					h := dns.RR_Header{Rrtype: set.Type, Class: dns.ClassINET}
					set.Records = append(set.Records, []dns.RR{
						&dns.A{Hdr: h, A: netip.AddrFrom4([4]byte{192, 0, 2, byte(rng.IntN(9))}).AsSlice()},
						&dns.TXT{Hdr: h, Txt: []string{fmt.Sprint(rng.IntN(9))}},
						&dns.MX{Hdr: h, Mx: fmt.Sprintf("m%d.example.net.", rng.IntN(9))},
					}[i])
				}
				c.RRsets = append(c.RRsets, set)
			}
			changes = append(changes, c)
		}
		next, err := there.With(changes...)
		if err != nil {
			t.Fatal(err)
		}
		removed, added := next.Diff(there)
		for _, r := range removed {
			if !give(t, p, r, false) {
				t.Fatalf("%s was not there", text(t, r))
			}
		}
		for _, r := range added {
			if !give(t, p, r, true) {
				t.Fatalf("%s was there", text(t, r))
			}
		}
		there = next
		if round%3 == 0 {
			continue // the next difference comes on top
		}
		before := flat(t, here)
		patched, err := patchWith(p, there.SOA())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(flat(t, there), flat(t, patched)); d != "" || patched.Serial() != there.Serial() || patched.Len() != there.Len() {
			t.Fatalf("round %d: serial %d, %d names, want %d and %d: %s", round, patched.Serial(), patched.Len(), there.Serial(), there.Len(), d)
		}
		if d := cmp.Diff(before, flat(t, here)); d != "" {
			t.Fatalf("the zone that was patched has changed: %s", d)
		}
		here = patched
		p = here.Patch()
	}
}

// TestPatchRefuses what does not fit, names being equal in whatever case.
func TestPatchRefuses(t *testing.T) {
	z := compileText(t, `example.org. 9 IN SOA ns. host. 7 1 1 1 1
example.org. 9 IN NS ns1.example.org.
a.example.org. 9 IN MX 1 Mail.example.org.
a.example.org. 9 IN NAPTR 1 1 "" "" "" Other.example.org.
`)
	record := func(line string) Record {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, dns.Len(rr)+256)
		n, err := dns.PackRR(rr, b, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		wire, err := pack(rr.Header().Name)
		if err != nil {
			t.Fatal(err)
		}
		return Record{wire, string(b[len(wire):n])}
	}
	p := z.Patch()
	for _, c := range []struct {
		line      string
		add, want bool
	}{
		{"a.example.org. 9 IN MX 1 mail.example.org.", true, false},
		{"a.example.org. 9 IN MX 2 mail.example.org.", false, false},
		{"a.example.org. 5 IN MX 1 mail.EXAMPLE.org.", false, true},
		{"a.example.org. 5 IN MX 1 mail.EXAMPLE.org.", false, false},
		{`a.example.org. 9 IN NAPTR 1 1 "" "" "" other.example.ORG.`, true, false},
		{`a.example.org. 9 IN NAPTR 1 1 "" "" "" other.example.ORG.`, false, true},
		{"new.example.org. 9 IN A 192.0.2.1", false, false},
		{"new.example.org. 9 IN A 192.0.2.1", true, true},
		{"new.example.org. 9 IN A 192.0.2.1", true, false},
		{"new.example.org. 9 IN CNAME a.example.org.", true, true},
	} {
		if got := give(t, p, record(c.line), c.add); got != c.want {
			t.Errorf("%s, add %v: %v", c.line, c.add, got)
		}
	}
	if p.Owner([]byte("\x01a\x07example\x03net\x00")) || p.Owner([]byte("\x08xexample\x03org\x00")) {
		t.Error("a name outside the zone is taken")
	}
	if _, err := patchWith(p, z.SOA()); err == nil || !strings.Contains(err.Error(), `changing "new.example.org.": CNAME and A at one name`) {
		t.Error(err)
	}
	if d := cmp.Diff(3, len(flat(t, z))); d != "" {
		t.Error(d)
	}
}
