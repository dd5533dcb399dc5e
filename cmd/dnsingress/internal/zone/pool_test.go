// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func poolZone(t testing.TB, members, most int, rtype uint16) *Zone {
	set := RRset{Type: rtype, TTL: 5, MaxAnswers: most}
	for i := range members {
		line := fmt.Sprintf(". 0 IN AAAA 2001:db8::%x", i+1)
		if rtype == dns.TypeTXT { // records of different lengths
			line = fmt.Sprintf(". 0 IN TXT %q", strings.Repeat("x", i+1))
		}
		set.Records = append(set.Records, records(t, line)...)
	}
	z, err := compileText(t, apex).With(Change{Owner: "pool.example.org.", RRsets: []RRset{set}})
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// TestRotation checks that every answer has the right number of different members, that each member comes
// first as often as the others, and that each is in as many answers.
func TestRotation(t *testing.T) {
	const rounds = 2000
	for _, rtype := range []uint16{dns.TypeAAAA, dns.TypeTXT} {
		for _, c := range []struct{ members, most, want int }{{1, 0, 1}, {1, 8, 1}, {5, 0, 5}, {5, 8, 5}, {12, 8, 8}, {12, 1, 1}} {
			z := poolZone(t, c.members, c.most, rtype)
			first, present := map[string]int{}, map[string]int{}
			for range rounds {
				m := ask(t, z, "pool.example.org.", rtype)
				if len(m.Answer) != c.want {
					t.Fatalf("%v: %d answers", c, len(m.Answer))
				}
				seen := map[string]bool{}
				for i, rr := range m.Answer {
					s := rr.String()
					if seen[s] {
						t.Fatalf("%v: %s twice", c, s)
					}
					seen[s] = true
					present[s]++
					if i == 0 {
						first[s]++
					}
				}
			}
			for _, n := range []struct {
				counts map[string]int
				mean   float64
			}{{first, rounds / float64(c.members)}, {present, rounds * float64(c.want) / float64(c.members)}} {
				if len(n.counts) != c.members {
					t.Errorf("%v: only %d of the members", c, len(n.counts))
				}
				for s, count := range n.counts { // 1 in 10^9 by chance: six standard deviations
					if d := float64(count) - n.mean; d*d > 36*n.mean {
						t.Errorf("%v: %s %d times, expected about %.0f", c, s, count, n.mean)
					}
				}
			}
		}
	}
}

// TestPoolLargerThanMessage: only what one answer can hold must fit.
func TestPoolLargerThanMessage(t *testing.T) {
	z := poolZone(t, 3000, 8, dns.TypeAAAA)
	if m := ask(t, z, "pool.example.org.", dns.TypeAAAA); len(m.Answer) != 8 {
		t.Errorf("%d answers", len(m.Answer))
	}
	set := RRset{Type: dns.TypeAAAA, TTL: 5}
	for i := range 3000 {
		set.Records = append(set.Records, records(t, fmt.Sprintf(". 0 IN AAAA 2001:db8::%x", i+1))...)
	}
	if _, err := z.With(Change{Owner: "pool.example.org.", RRsets: []RRset{set}}); err == nil || !strings.Contains(err.Error(), "does not fit a message") {
		t.Errorf("3000 addresses in one answer: %v", err)
	}
}

// TestTruncation: never part of a set without TC, and never part of it with TC either (RFC 2181 §9).
func TestTruncation(t *testing.T) {
	z := poolZone(t, 60, 0, dns.TypeAAAA)
	q := query(t, "pool.example.org.", dns.TypeAAAA)
	whole := len(q) + 60*28
	for _, c := range []struct{ limit, answers int }{{whole, 60}, {whole - 1, 0}, {512, 0}} {
		m := answerTo(t, z, q, c.limit)
		if len(m.Answer) != c.answers || m.Truncated != (c.answers == 0) {
			t.Errorf("%d octets: %d answers, TC %v", c.limit, len(m.Answer), m.Truncated)
		}
	}
	// What is left of an alias chain stays whole as well.
	z, err := z.With(Change{Owner: "a.example.org.", RRsets: []RRset{{Type: dns.TypeCNAME, TTL: 5, Records: records(t, ". 0 IN CNAME pool.example.org.")}}})
	if err != nil {
		t.Fatal(err)
	}
	if m := answerTo(t, z, query(t, "a.example.org.", dns.TypeAAAA), 512); len(m.Answer) != 1 || !m.Truncated {
		t.Errorf("after an alias: %v", m)
	}
}
