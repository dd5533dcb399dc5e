// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// flat gives every record of a zone but its SOA as sorted text.
func flat(t *testing.T, z *Zone) []string {
	t.Helper()
	var out []string
	for r := range z.Records() {
		out = append(out, text(t, r))
	}
	slices.Sort(out)
	return out
}

func text(t *testing.T, r Record) string {
	t.Helper()
	rr, err := r.RR()
	if err != nil {
		t.Fatal(err)
	}
	return rr.String()
}

// TestDiff changes zones at random and plays the difference back, for zones that share and that do not.
func TestDiff(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	z := compileText(t, small)
	for round := range 30 {
		var changes []Change
		for range 1 + rng.IntN(1+round*20) {
			c := Change{Owner: fmt.Sprintf("n%d.example.org.", rng.IntN(3000))}
			switch rng.IntN(5) {
			case 0:
				c.Remove = true
			case 1: // exists without data
			default:
				set := RRset{Type: dns.TypeAAAA, TTL: uint32(rng.IntN(3)), MaxAnswers: rng.IntN(3)}
				for i := range 1 + rng.IntN(12) {
					address := netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i + rng.IntN(3))})
					set.Records = append(set.Records, &dns.AAAA{Hdr: dns.RR_Header{Rrtype: dns.TypeAAAA, Class: dns.ClassINET}, AAAA: address.AsSlice()})
				}
				c.RRsets = append(c.RRsets, set)
			}
			changes = append(changes, c)
		}
		next, err := z.With(changes...)
		if err != nil {
			t.Fatal(err)
		}
		before := z
		if round%20 == 19 { // one that shares nothing
			apart, err := NewBuilder("example.org.")
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range append(slices.Collect(z.Records()), z.SOA()) {
				rr, err := r.RR()
				if err != nil {
					t.Fatal(err)
				}
				if err := apart.Add(rr); err != nil {
					t.Fatal(err)
				}
			}
			if before, err = apart.Zone(); err != nil {
				t.Fatal(err)
			}
		}
		removed, added := next.Diff(before)
		state := map[string]bool{}
		for _, line := range flat(t, z) {
			state[line] = true
		}
		for _, r := range removed {
			if line := text(t, r); !state[line] {
				t.Fatalf("round %d removes %s, which was not there", round, line)
			} else {
				delete(state, line)
			}
		}
		for _, r := range added {
			if line := text(t, r); state[line] {
				t.Fatalf("round %d adds %s, which is there", round, line)
			} else {
				state[line] = true
			}
		}
		var got []string
		for line := range state {
			got = append(got, line)
		}
		slices.Sort(got)
		if d := cmp.Diff(flat(t, next), got); d != "" {
			t.Fatalf("round %d: %s", round, d)
		}
		z = next
	}
}

// BenchmarkDiff has one name of a million change.
func BenchmarkDiff(b *testing.B) {
	z, _ := benchZone(b, 1_000_000)
	record := records(b, ". IN A 192.0.2.1")
	next, err := z.With(Change{Owner: "svc-0000005.ns005.bench.test.", RRsets: []RRset{{Type: dns.TypeA, Records: record}}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		next.Diff(z)
	}
}

func TestPlaceholder(t *testing.T) {
	z, err := compileText(t, small).With(Change{Owner: "empty.example.org."})
	if err != nil {
		t.Fatal(err)
	}
	want := "empty.example.org.\t0\tCLASS1\tTYPE65281\t\\# 0 "
	if got := flat(t, z); !slices.Contains(got, want) {
		t.Errorf("no %q in %q", want, got)
	}
}

func TestUnavailable(t *testing.T) {
	z, err := Unavailable("example.org")
	if err != nil {
		t.Fatal(err)
	}
	catalog := new(Catalog)
	catalog.Publish(z)
	var q Question
	var r Reply
	query := new(dns.Msg).SetQuestion("a.example.org.", dns.TypeA)
	wire, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	end, err := q.Parse(wire)
	if err != nil {
		t.Fatal(err)
	}
	r.Start(make([]byte, 512), wire, end)
	found, ok := catalog.Find(&q)
	if !ok {
		t.Fatal("not in the catalog")
	}
	found.Answer(&q, &r)
	if r.Rcode != dns.RcodeServerFailure || r.Authoritative {
		t.Errorf("rcode %d, AA %v", r.Rcode, r.Authoritative)
	}
}

func TestFollow(t *testing.T) {
	catalog := new(Catalog)
	var got []string
	serial := func(z *Zone) int64 {
		if z == nil {
			return -1
		}
		return int64(z.Serial())
	}
	catalog.Follow(func(before, after *Zone) { got = append(got, fmt.Sprint(serial(before), " ", serial(after))) })
	z := compileText(t, small)
	catalog.Publish(z)
	next, err := z.With(Change{Owner: "a.example.org."})
	if err != nil {
		t.Fatal(err)
	}
	catalog.Publish(next)
	catalog.Withdraw("example.org")
	if d := cmp.Diff([]string{"-1 7", "7 8", "8 -1"}, got); d != "" {
		t.Error(d)
	}
}
