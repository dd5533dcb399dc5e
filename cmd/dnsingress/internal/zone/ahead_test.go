// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"
)

// TestAhead looks ahead for names that there are and that there are not, in a large zone and in a small one, and for what
// is no question.
func TestAhead(t *testing.T) {
	large, queries := benchZone(t, aheadNames)
	small := compileText(t, apex)
	var catalog Catalog
	if catalog.Worthwhile() {
		t.Error("it pays in an empty catalog")
	}
	catalog.Publish(small)
	if catalog.Worthwhile() {
		t.Error("it pays in a small zone")
	}
	catalog.Publish(large)
	if !catalog.Worthwhile() {
		t.Error("it does not pay in a large zone")
	}
	var a Ahead
	var q Question
	found := 0
	for from := 0; from+AheadMost < 20_000; from += AheadMost {
		for _, msg := range queries[from : from+AheadMost] {
			a.Add(&catalog, msg)
		}
		if a.n != AheadMost {
			t.Fatalf("%d of %d taken", a.n, AheadMost)
		}
		a.Add(&catalog, queries[0]) // there is no room
		a.Fetch()
		for i, msg := range queries[from : from+AheadMost] {
			if _, err := q.Parse(msg); err != nil {
				t.Fatal(err)
			}
			want := large.find(view(q.name.bytes()))
			if a.steps[i].node == want {
				found++
			}
		}
	}
	if found < 18_000 { // the rest have a tag of another before them
		t.Errorf("%d of 20,000 found", found)
	}
	for name, taken := range map[string]int{"nx.bench.test.": 1, "bench.test.": 1, "www.example.org.": 0, "www.example.com.": 0} {
		if a.Add(&catalog, query(t, name, dns.TypeA)); a.n != taken {
			t.Errorf("%s: %d taken, want %d", name, a.n, taken)
		}
		a.Fetch()
	}
	msg := query(t, "svc-0000001.ns001.bench.test.", dns.TypeA)
	for cut := range len(msg) {
		if a.Add(&catalog, msg[:cut]); a.n != 0 {
			t.Fatalf("took %d octets of a question", cut)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		for i := range AheadMost {
			a.Add(&catalog, queries[i])
		}
		a.Fetch()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	catalog.Withdraw("bench.test.")
	if catalog.Worthwhile() {
		t.Error("it pays when the large zone has gone")
	}
	if a.Add(&catalog, msg); a.n != 0 {
		t.Error(fmt.Sprint("took ", a.n))
	}
}
