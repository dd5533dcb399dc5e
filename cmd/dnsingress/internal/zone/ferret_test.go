// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// ask answers one question from a zone as a message without EDNS and returns it parsed.
func ask(t testing.TB, z *Zone, qname string, qtype uint16) *dns.Msg {
	t.Helper()
	query, err := (&dns.Msg{MsgHdr: dns.MsgHdr{Id: 4711}, Question: []dns.Question{{Name: qname, Qtype: qtype, Qclass: dns.ClassINET}}}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	return answerTo(t, z, query, maxMessage)
}

func answerTo(t testing.TB, z *Zone, query []byte, limit int) *dns.Msg {
	t.Helper()
	var q Question
	end, err := q.Parse(query)
	if err != nil {
		t.Fatal(err)
	}
	var r Reply
	r.Start(make([]byte, limit), query, end)
	z.Answer(&q, &r)
	var m dns.Msg
	if err := m.Unpack(r.Bytes()); err != nil {
		t.Fatalf("reply does not parse: %v\n% x", err, r.Bytes())
	}
	return &m
}

// TestFerret asks every case of testdata/ferret. See the README there for what they are.
func TestFerret(t *testing.T) {
	f, err := os.Open("testdata/ferret/cases.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	cases, failed := 0, 0
	for lines.Scan() {
		var c struct {
			ID, Zone, Qname, Qtype, Tag string
			Response                    []string
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases++
		zone := compileText(t, c.Zone)
		got := ask(t, zone, c.Qname, dns.StringToType[c.Qtype])
		if diff := compareFerret(t, zone.Origin(), got, c.Response); diff != "" {
			if failed++; failed <= 20 {
				t.Errorf("case %s (%s): %s %s\n%s\n%s", c.ID, c.Tag, c.Qname, c.Qtype, c.Zone, diff)
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if cases != 5051 || failed > 0 {
		t.Errorf("%d of %d cases fail, want 0 of 5051", failed, cases)
	}
}

// compareFerret applies the rules of testdata/ferret/README.md.
func compareFerret(t *testing.T, origin string, got *dns.Msg, response []string) string {
	t.Helper()
	want := map[string][]string{}
	part := "head"
	var rcode string
	var aa bool
	for _, line := range response {
		switch {
		case strings.HasPrefix(line, "rcode "):
			rcode = strings.TrimPrefix(line, "rcode ")
		case strings.HasPrefix(line, "flags "):
			aa = slices.Contains(strings.Fields(line), "AA")
		case strings.HasPrefix(line, ";"):
			part = line[1:]
		case part == "ANSWER" || part == "AUTHORITY" || part == "ADDITIONAL":
			want[part] = append(want[part], records(t, line)[0].String())
		}
	}
	text := func(rrs []dns.RR) []string {
		var out []string
		for _, rr := range rrs {
			out = append(out, rr.String())
		}
		slices.Sort(out)
		return out
	}
	have := map[string][]string{"ANSWER": text(got.Answer), "AUTHORITY": text(got.Ns), "ADDITIONAL": text(got.Extra)}
	if got.Authoritative && len(got.Answer) > 0 { // minimal responses
		missing := func(part string, allowed func(string) bool) {
			for _, w := range want[part] {
				if !slices.Contains(have[part], w) && allowed(w) {
					have[part] = append(have[part], w)
				}
			}
		}
		missing("AUTHORITY", func(rr string) bool { return strings.HasPrefix(rr, origin+"\t") && strings.Contains(rr, "\tNS\t") })
		missing("ADDITIONAL", func(string) bool { return true })
	}
	for _, m := range []map[string][]string{want, have} {
		for _, rrs := range m {
			slices.Sort(rrs)
		}
	}
	head := func(rcode string, aa bool) string { return fmt.Sprintf("%s aa=%v", rcode, aa) }
	diff := cmp.Diff(head(rcode, aa), head(dns.RcodeToString[got.Rcode], got.Authoritative))
	for _, part := range []string{"ANSWER", "AUTHORITY", "ADDITIONAL"} {
		if d := cmp.Diff(want[part], have[part]); d != "" && len(want[part])+len(have[part]) > 0 {
			diff += part + ": " + d
		}
	}
	return diff
}
