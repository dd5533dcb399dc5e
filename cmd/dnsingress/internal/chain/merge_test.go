// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name      string
		parts     []string
		want      string
		conflicts []string
	}{
		{name: "clusters of one host", parts: []string{`
www.test. 300 CNAME klb.www.test.
klb.www.test. 300 CNAME ie.klb.www.test. geo=IE set=IE
klb.www.test. 300 CNAME ie.klb.www.test. geo=* set=default
ie.klb.www.test. 60 CNAME c1.klb.www.test. weight=120 set=c1
c1.klb.www.test. 60 A 192.0.2.1`, `
www.test. 300 CNAME klb.www.test.
klb.www.test. 300 CNAME ie.klb.www.test. geo=IE set=IE
ie.klb.www.test. 30 CNAME c2.klb.www.test. weight=60 set=c2
c2.klb.www.test. 60 A 192.0.2.2`}, want: `
www.test. 300 CNAME klb.www.test.
klb.www.test. 300 CNAME ie.klb.www.test. geo=IE set=IE
klb.www.test. 300 CNAME ie.klb.www.test. geo=* set=default
ie.klb.www.test. 30 CNAME c1.klb.www.test. weight=120 set=c1
ie.klb.www.test. 30 CNAME c2.klb.www.test. weight=60 set=c2
c1.klb.www.test. 60 A 192.0.2.1
c2.klb.www.test. 60 A 192.0.2.2`},
		{name: "addresses side by side", parts: []string{"a.test. 60 A 192.0.2.1", "a.test. 90 A 192.0.2.2", "a.test. 60 AAAA 2001:db8::1"}, want: `
a.test. 60 A 192.0.2.1
a.test. 60 A 192.0.2.2
a.test. 60 AAAA 2001:db8::1`},
		{
			name: "two defaults", parts: []string{"klb.test. 300 CNAME ie.klb.test. geo=* set=default", "klb.test. 300 CNAME us.klb.test. geo=* set=default"},
			want: "klb.test. 300 CNAME ie.klb.test. geo=* set=default", conflicts: []string{"1 klb.test. CNAME us.klb.test. beside CNAME"},
		},
		{
			name: "CNAME beside other data", parts: []string{"a.test. 60 A 192.0.2.1\nb.test. 60 CNAME x.test.", "a.test. 60 CNAME y.test.\nb.test. 60 TXT x"},
			want: "a.test. 60 A 192.0.2.1\nb.test. 60 CNAME x.test.", conflicts: []string{"1 a.test. CNAME y.test. beside A", "1 b.test. TXT x beside CNAME"},
		},
		{
			name: "another weight", parts: []string{"a.test. 60 A 192.0.2.1 weight=1 set=x", "a.test. 60 A 192.0.2.1 weight=2 set=x\na.test. 60 A 192.0.2.2 weight=2 set=y"},
			want: "a.test. 60 A 192.0.2.1 weight=1 set=x\na.test. 60 A 192.0.2.2 weight=2 set=y", conflicts: []string{"1 a.test. A 192.0.2.1 beside A"},
		},
		{
			name: "within one part", parts: []string{"a.test. 60 CNAME x.test.\na.test. 60 CNAME y.test."},
			want: "a.test. 60 CNAME x.test.", conflicts: []string{"0 a.test. CNAME y.test. beside CNAME"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var parts [][]model.RecordSet
			for _, p := range c.parts {
				parts = append(parts, parse(t, p))
			}
			sets, conflicts := Merge(parts...)
			compare(t, sets, c.want)
			var got []string
			for _, x := range conflicts {
				got = append(got, fmt.Sprintf("%d %s %s %s beside %s", x.Part, x.Name, dns.TypeToString[x.Type], x.Record.Data, dns.TypeToString[x.Beside]))
			}
			if !slices.Equal(got, c.conflicts) {
				t.Errorf("conflicts %q, want %q", got, c.conflicts)
			}
		})
	}
}

func TestUnloop(t *testing.T) {
	for _, c := range []struct {
		name, sets, want string
		loops            [][]string
	}{
		{name: "none", sets: "a. 1 CNAME b.\nb. 1 A 192.0.2.1", want: "a. 1 CNAME b.\nb. 1 A 192.0.2.1"},
		{name: "itself", sets: "a. 1 CNAME a.\nb. 1 CNAME a.", want: "b. 1 CNAME a.", loops: [][]string{{"a."}}},
		{name: "one option of two", sets: `
a. 1 CNAME b. weight=1 set=b
a. 1 CNAME c. weight=1 set=c
b. 1 CNAME a.
c. 1 A 192.0.2.1`, want: `
a. 1 CNAME c. weight=1 set=c
c. 1 A 192.0.2.1`, loops: [][]string{{"a.", "b."}}},
		{name: "two circles", sets: `
b. 1 CNAME c.
c. 1 CNAME a.
a. 1 CNAME b.
y. 1 CNAME z.
z. 1 CNAME y.
in. 1 CNAME a.
ok. 1 TXT x`, want: `
in. 1 CNAME a.
ok. 1 TXT x`, loops: [][]string{{"a.", "b.", "c."}, {"y.", "z."}}},
		{name: "the same way down twice is no circle", sets: `
a. 1 CNAME b. set=1
a. 1 CNAME c. set=2
b. 1 CNAME d.
c. 1 CNAME d.
d. 1 A 192.0.2.1`, want: `
a. 1 CNAME b. set=1
a. 1 CNAME c. set=2
b. 1 CNAME d.
c. 1 CNAME d.
d. 1 A 192.0.2.1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 10 { // maps have no order
				sets, loops := Unloop(parse(t, c.sets))
				compare(t, sets, c.want)
				if diff := cmp.Diff(c.loops, loops); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// TestLongCircle is deeper than any stack would like.
func TestLongCircle(t *testing.T) {
	const n = 50_000
	var sets []model.RecordSet
	for i := range n {
		sets = append(sets, model.RecordSet{Name: fmt.Sprintf("n%d.", i), Type: dns.TypeCNAME, Records: []model.Record{{Data: fmt.Sprintf("n%d.", (i+1)%n)}}})
	}
	kept, loops := Unloop(sets)
	if len(kept) != 0 || len(loops) != 1 || len(loops[0]) != n {
		t.Errorf("%d records left, %d circles", len(kept), len(loops))
	}
}
