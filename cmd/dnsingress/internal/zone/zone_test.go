// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// records parses master-file text.
func records(t testing.TB, text string) []dns.RR {
	t.Helper()
	p := dns.NewZoneParser(strings.NewReader(text), "", "")
	var rrs []dns.RR
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		rrs = append(rrs, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return rrs
}

// compileText makes a zone of master-file text that has its SOA first.
func compileText(t testing.TB, text string) *Zone {
	t.Helper()
	rrs := records(t, text)
	z, err := New(rrs[0].Header().Name, rrs)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// dump gives everything in a zone but its serial as sorted text.
func dump(z *Zone) []string {
	var out []string
	for owner, sets := range z.All() {
		if len(sets) == 0 {
			out = append(out, owner+" exists")
		}
		for _, s := range sets {
			for _, rr := range s.Records {
				if soa, ok := rr.(*dns.SOA); ok {
					soa.Serial = 0
				}
				out = append(out, fmt.Sprintf("%v max=%d", rr, s.MaxAnswers))
			}
		}
	}
	slices.Sort(out)
	return out
}

const small = `example.org. 300 IN SOA ns1.example.org. host.example.org. 7 3600 600 86400 60
example.org. 300 IN NS ns1.example.org.
ns1.example.org. 300 IN AAAA 2001:db8::1
`

func TestWithReplacesAndRemoves(t *testing.T) {
	z := compileText(t, small)
	pool := func(name string, n int) Change {
		s := RRset{Type: dns.TypeAAAA, TTL: 5, MaxAnswers: 8}
		for i := range n {
			s.Records = append(s.Records, records(t, fmt.Sprintf(". 0 IN AAAA 2001:db8:1::%x", i+1))...)
		}
		return Change{Owner: name, RRsets: []RRset{s}}
	}
	with := func(z *Zone, changes ...Change) *Zone {
		t.Helper()
		next, err := z.With(changes...)
		if err != nil {
			t.Fatal(err)
		}
		if next.Serial() != z.Serial()+1 {
			t.Fatalf("serial %d after %d", next.Serial(), z.Serial())
		}
		return next
	}
	z2 := with(z, pool("a.b.example.org.", 2), pool("C.example.org.", 1))
	if z2.Len() != 4 {
		t.Errorf("Len %d, want 4", z2.Len())
	}
	z3 := with(z2, Change{Owner: "a.b.example.org."}, Change{Owner: "c.example.org.", Remove: true})
	want := append(dump(z), "a.b.example.org. exists")
	slices.Sort(want)
	if diff := cmp.Diff(want, dump(z3)); diff != "" {
		t.Error(diff)
	}
	z4 := with(z3, Change{Owner: "a.b.example.org.", Remove: true}, Change{Owner: "never.was.example.org.", Remove: true})
	if diff := cmp.Diff(dump(z), dump(z4)); diff != "" {
		t.Error(diff)
	}
	if z4.find("\x01b\x07example\x03org\x00") != "" {
		t.Error("an empty non-terminal outlives the names below it")
	}
	if z2.Len() != 4 || len(dump(z2)) != 6 {
		t.Error("a change altered the zone it began from")
	}
}

func TestApexKeepsSOAAndNS(t *testing.T) {
	z := compileText(t, small)
	z, err := z.With(Change{Owner: "example.org.", RRsets: []RRset{{Type: dns.TypeAAAA, TTL: 5, Records: records(t, ". 0 IN AAAA 2001:db8::9")}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(dump(z)) != 4 {
		t.Errorf("got %q", dump(z))
	}
	if z, err = z.With(Change{Owner: "example.org.", Remove: true}); err != nil || len(dump(z)) != 3 {
		t.Errorf("got %v, %v", dump(z), err)
	}
}

func TestSerialFollowsRFC1982(t *testing.T) {
	z := compileText(t, strings.Replace(small, " 7 ", " 4294967295 ", 1))
	z, err := z.With()
	if err != nil || z.Serial() != 0 {
		t.Errorf("after the last serial: %d, %v", z.Serial(), err)
	}
	soa := records(t, "example.org. 300 IN SOA ns1.example.org. host.example.org. 1000 3600 600 86400 60")
	z, err = z.With(Change{Owner: "example.org.", RRsets: []RRset{{Type: dns.TypeSOA, TTL: 300, Records: soa}}})
	if err != nil || z.Serial() != 1000 {
		t.Errorf("a SOA with a higher serial gave %d, %v", z.Serial(), err)
	}
}

func TestNewRejects(t *testing.T) {
	var types strings.Builder
	for i := range 256 {
		fmt.Fprintf(&types, "a.example.org. 1 IN TYPE%d \\# 1 00\n", 65280+i-i/255*1000)
	}
	for _, c := range []struct{ add, want string }{
		{"a.example.org. 1 IN CNAME b.example.org.\na.example.org. 1 IN A 192.0.2.1", "CNAME and A at one name"},
		{"a.example.org. 1 IN CNAME b.example.org.\na.example.org. 1 IN CNAME c.example.org.", "more than one CNAME"},
		{"a.example.org. 1 IN DNAME b.example.org.\na.example.org. 1 IN DNAME c.example.org.", "more than one DNAME"},
		{"a.example.org. 1 IN DNAME b.example.org.\na.example.org. 1 IN NS c.example.org.", "NS and DNAME at one name"},
		{"example.org. 1 IN CNAME b.example.org.", "CNAME at the origin"},
		{"a.example.net. 1 IN A 192.0.2.1", "outside the zone"},
		{"a.example.org. 1 CH A 192.0.2.1", "class CH is not IN"},
		{"a.example.org. 1 IN SOA a. b. 1 2 3 4 5", "SOA below the origin"},
		{"example.org. 1 IN SOA a. b. 1 2 3 4 5", "more than one SOA"},
		{types.String(), "256 types at one name"},
	} {
		_, err := New("example.org.", records(t, small+c.add))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.add, err, c.want)
		}
	}
	if _, err := New("example.org.", records(t, "a.example.org. 1 IN A 192.0.2.1")); err == nil || !strings.Contains(err.Error(), "no SOA") {
		t.Errorf("without a SOA: %v", err)
	}
}

// TestUpdatesEqualRebuild makes random changes and compares each result with a zone built from nothing.
func TestUpdatesEqualRebuild(t *testing.T) {
	for seed := range uint64(3) {
		for _, weak := range []bool{false, true} {
			rng := rand.New(rand.NewPCG(seed, 1))
			z := compileText(t, small)
			truth := map[string]int{} // owner → number of A records; 0: exists without data
			base := dump(z)
			for range 150 {
				changes := []Change{}
				for range 1 + rng.IntN(4) {
					labels := make([]string, 1+rng.IntN(3))
					for i := range labels {
						labels[i] = fmt.Sprint("n", rng.IntN(12))
					}
					owner := strings.Join(labels, ".") + ".example.org."
					c := Change{Owner: owner}
					switch n := rng.IntN(5); {
					case n < 2:
						c.Remove = true
						delete(truth, owner)
					default:
						truth[owner] = n - 2
						if n > 2 {
							c.RRsets = []RRset{{Type: dns.TypeA, TTL: 9, Records: addresses(t, n-2)}}
						}
					}
					changes = append(changes, c)
				}
				before, was := z, dump(z)
				e := newEditor(z)
				if weak { // all labels collide
					e.hash = func(string) uint64 { return 42 }
				}
				for _, c := range changes {
					if err := e.change(c); err != nil {
						t.Fatal(err)
					}
				}
				var err error
				if z, err = e.finish(z.serial + 1); err != nil {
					t.Fatal(err)
				}
				want := slices.Clone(base)
				for owner, n := range truth {
					if n == 0 {
						want = append(want, owner+" exists")
					}
					for i := range n {
						want = append(want, fmt.Sprintf("%s\t9\tIN\tA\t192.0.2.%d max=0", owner, i+1))
					}
				}
				slices.Sort(want)
				if diff := cmp.Diff(want, dump(z)); diff != "" {
					t.Fatalf("seed %d: %s", seed, diff)
				}
				if z.Len() != len(truth)+2 {
					t.Fatalf("seed %d: Len %d, want %d", seed, z.Len(), len(truth)+2)
				}
				if diff := cmp.Diff(was, dump(before)); diff != "" {
					t.Fatalf("seed %d: the old zone changed: %s", seed, diff)
				}
				if !weak {
					for owner := range maps.Keys(truth) {
						wire, _ := pack(owner)
						if z.find(wire) == "" {
							t.Fatalf("seed %d: %s cannot be found", seed, owner)
						}
					}
				}
			}
		}
	}
}

func addresses(t testing.TB, n int) []dns.RR {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, ". 0 IN A 192.0.2.%d\n", i+1)
	}
	return records(t, text.String())
}
