// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"slices"
	"testing"

	"github.com/miekg/dns"
)

func TestCatalogLongestMatch(t *testing.T) {
	var c Catalog
	find := func(name string, qtype uint16) string {
		var q Question
		if _, err := q.Parse(query(t, name, qtype)); err != nil {
			t.Fatal(err)
		}
		if e, ok := c.Find(&q); ok {
			return e.Origin()
		}
		return ""
	}
	if got := find("example.org.", dns.TypeA); got != "" {
		t.Errorf("an empty catalog answers from %s", got)
	}
	for _, origin := range []string{"org.", "example.org.", "deep.er.example.org.", "ample.org."} {
		c.Publish(compileText(t, origin+" 300 IN SOA a. b. 1 2 3 4 5"))
	}
	for _, w := range []struct {
		name  string
		qtype uint16
		want  string
	}{
		{"www.example.org.", dns.TypeA, "example.org."},
		{"EXAMPLE.org.", dns.TypeA, "example.org."},
		{"xample.org.", dns.TypeA, "org."},
		{"a.deep.er.example.org.", dns.TypeA, "deep.er.example.org."},
		{"er.example.org.", dns.TypeA, "example.org."},
		{"org.", dns.TypeA, "org."},
		{".", dns.TypeNS, ""},
		{"example.net.", dns.TypeA, ""},
		// A DS at an origin is for the zone above.
		{"example.org.", dns.TypeDS, "org."},
		{"deep.er.example.org.", dns.TypeDS, "example.org."},
		{"org.", dns.TypeDS, "org."},
	} {
		if got := find(w.name, w.qtype); got != w.want {
			t.Errorf("%s %s from %q, want %q", w.name, dns.Type(w.qtype), got, w.want)
		}
	}
	c.Publish(compileText(t, ". 300 IN SOA a. b. 1 2 3 4 5"))
	if got := find("example.net.", dns.TypeA); got != "." {
		t.Errorf("with a root zone: %q", got)
	}
	before := c.Zones()
	c.Withdraw("Example.org")
	c.Withdraw("never.was.")
	if got := find("www.example.org.", dns.TypeA); got != "org." || c.Zone("example.org.") != nil {
		t.Errorf("after a withdrawal: %q", got)
	}
	c.Publish(compileText(t, "example.org. 300 IN SOA a. b. 2 2 3 4 5"))
	after := c.Zones()
	for i := range before {
		if before[i].Slot != after[i].Slot || before[i].Origin() != after[i].Origin() {
			t.Errorf("slot %d of %s became %d of %s", before[i].Slot, before[i].Origin(), after[i].Slot, after[i].Origin())
		}
	}
	if got := c.Origins(); !slices.Equal(got, []string{"org.", "example.org.", "deep.er.example.org.", "ample.org.", "."}) {
		t.Errorf("origins %q", got)
	}
	if got := c.Zone("EXAMPLE.ORG"); got == nil || got.Serial() != 2 {
		t.Errorf("zone %v", got)
	}
}
