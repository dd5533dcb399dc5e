// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/files"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// FuzzLoad reads any text as a zone file. Every text is either a zone or has errors with a place, and is
// read to its end in bounded time; and it is the same zone, or has the same errors, without the quick way.
func FuzzLoad(f *testing.F) {
	for _, text := range []string{
		"example.org. 300 IN SOA a. b. 1 2 3 4 5\nexample.org. 300 IN NS a.\n",
		"$ORIGIN example.org.\n$TTL 1h\n@ SOA a b ( 1 2\n3 4 5 ) ; c\n NS a\n$GENERATE 1-3 h$ A 192.0.2.$\nx TXT \"un\nclosed\ny A 192.0.2.1\n",
		"$INCLUDE zone\n", "$INCLUDE nowhere x.\n", "$ORIGIN a..b\n@ A 1\n", "$TTL x\n", "(((\n", "\"", "\\", "a (", "@ CH A 1.2.3.4\n",
		"a. 1 SOA a. b. 1 2 3 4 5\nb. 1 A 1.2.3.4\na. 1 CNAME b.\n*.a. 1 TYPE65280 \\# 1 00\n",
		soa + "600 IN A 192.0.2.1\n$GENERATE 1-2 h$ TXT \"v=x;all  b\" ; c\n$GENERATE 1-2 i$ IN MX 10 h$\n$TTL 5m\n$GENERATE 1-2 j$ ( TXT \"a  b\" c;d\n )\nx A 192.0.2.2\n",
		"$ORIGIN example.org.\n@ IN SOA a. b. 1 2 3 4 5\n@ NS a.\n 9 A 192.0.2.1\n@ AAAA ::1\n", "example.org. SOA a. b. 1 2 3 4 5\nb.example.org. IN A 1.2.3.4\n",
		"@ 4294967295 SOA a. b. 1 2 3 4 5\n", soa + "a 2147483648 A 1.2.3.4\n", "$TTL 9w\n" + soa + "$ORIGIN sub\na TXT \"un\nb A 1.2.3.4\nb CNAME c\n",
		"$GENERATE 0-655/3 ${0,3,d} 300 A 10.0.$.1\n", "$GENERATE 1-2\n$GENERATE a-b c A 1.2.3.4\n",
		common, strings.ReplaceAll(common, "\n", "\r\n"), strings.ToLower(common),
	} {
		f.Add(text)
	}
	dir := f.TempDir()
	path := filepath.Join(dir, "zone")
	many := regexp.MustCompile(`(?i)\$GENERATE[^\n]*\d{4}`)
	f.Fuzz(func(t *testing.T, text string) {
		if many.MatchString(text) {
			t.Skip("thousands of records of one kind only take time")
		}
		if strings.Contains(strings.ToUpper(text), "$INCLUDE") && strings.ContainsAny(text, "/") {
			t.Skip("would read files of the machine")
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		z, seen, err := Load(path, "")
		if _, ok := seen[path]; !ok {
			t.Fatalf("read %v", seen)
		}
		slow, _, errSlow := (&loader{slow: true, read: files.Seen{}}).load(path, "")
		if a, b := outcome(z, err), outcome(slow, errSlow); a != b {
			t.Fatalf("read as\n%s\nand slowly as\n%s", a, b)
		}
		if err == nil {
			if whole, timed := whole(t, path, text); whole != nil {
				show := outcome
				if !timed {
					show = untimed
				}
				if a, b := show(z, nil), show(whole, nil); a != b {
					t.Fatalf("read as\n%s\nand at once as\n%s", a, b)
				}
			}
		}
		all := Errors(nil)
		switch {
		case err == nil && (z == nil || z.Len() == 0):
			t.Fatalf("neither an error nor a zone: %v", z)
		case err == nil:
			for range z.All() { // panics on what cannot be read back
			}
		case !errors.As(err, &all) || len(all) == 0:
			t.Fatalf("error without a place: %v", err)
		}
	})
}

const soa = "$ORIGIN example.org.\n@ 300 IN SOA a. b. 1 2 3 4 5\n@ NS a.\n"

// common has every kind of line that is read the quick way, and what is next to it.
const common = `$ORIGIN Example.ORG.
$TTL 1h
@	IN SOA ns1 host ( 7
	3600 600 86400 60 ) ; serial and times
	NS ns1 ; no owner
	600 IN NS ns.other.net.
	IN 60 MX 10 mail
@ MX 0 .
ns1 A 192.0.2.1
NS1 AAAA 2001:DB8::1;next to it
	AAAA ::ffff:192.0.2.1
a.b.c 0 A 192.0.2.2
a.b.c 2147483647 A 192.0.2.3
*.w CNAME www.Example.org.
_s._tcp SRV 0 5 5060 ns1
ptr PTR @
t TXT "one" "" "two; (three)"
t TXT plain "q"
t TXT "esc\"aped"
p A ( 192.0.2.4 )
$ORIGIN sub
x A 192.0.2.5
y.example.org. A 192.0.2.6
`

// outcome is a zone, or what is wrong with it, to be compared.
func outcome(z *zone.Zone, err error) string {
	if err != nil {
		return err.Error()
	}
	var lines []string
	for owner, sets := range z.All() {
		for _, s := range sets {
			for _, rr := range s.Records {
				lines = append(lines, owner+" "+rr.String())
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int { // records of one owner stay in their order
		x, _, _ := strings.Cut(a, " ")
		y, _, _ := strings.Cut(b, " ")
		return strings.Compare(x, y)
	})
	return strings.Join(lines, "\n")
}

// untimed is an outcome whatever the TTLs.
func untimed(z *zone.Zone, err error) string {
	return regexp.MustCompile(`(?m)^(\S+ \S+\t)\d+`).ReplaceAllString(outcome(z, err), "${1}0")
}

// whole reads a file by the parser alone, where it can: not where this package goes beyond it. The TTLs are as timed
// says to be compared or not.
func whole(t *testing.T, path, text string) (z *zone.Zone, timed bool) {
	p := dns.NewZoneParser(strings.NewReader(text), "", path)
	p.SetDefaultTTL(unstated)
	timed = !strings.Contains(strings.ToUpper(text), "$GENERATE")
	var rrs []dns.RR
	origin := ""
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		h := rr.Header()
		if h.Name == "" {
			return nil, false
		}
		if h.Rrtype == dns.TypeSOA && origin == "" {
			origin = h.Name
		}
		if h.Ttl == unstated { // the minimum of the SOA
			h.Ttl, timed = 0, false
		}
		rrs = append(rrs, rr)
	}
	if p.Err() != nil || origin == "" {
		return nil, false
	}
	z, err := zone.New(origin, rrs)
	if err != nil {
		t.Fatalf("wrong for the parser alone: %v", err)
	}
	return z, timed
}

// TestQuickLinesAreQuick checks that the lines meant to be read the quick way are.
func TestQuickLinesAreQuick(t *testing.T) {
	b, err := zone.NewBuilder("example.org.")
	if err != nil {
		t.Fatal(err)
	}
	l := &loader{builder: b, read: files.Seen{}}
	s := &source{origin: "example.org.", usual: usual{60, true, true}}
	l.line.origin, l.line.below = s.origin, appendPacked(nil, s.origin)
	for line, want := range map[string]bool{
		"a 30 IN AAAA 2001:db8::1": true, "a IN 30 A 192.0.2.1": true, "a a 192.0.2.1 ; c": true, "\tNS b.": true, "": true, " ": true, "; c": true,
		"@ MX 10 mail": true, "_s SRV 1 2 3 @": true, `t TXT "x" "y;("`: true, "p PTR a.b": true, "c CNAME d\r": true,
		"a A 192.0.2.300": false, "a A ::1": false, "a AAAA 192.0.2.1": false, "a AAAA fe80::1%eth0": false, "a A 192.0.2.1 x": false, "a A": false,
		"a CH A 192.0.2.1": false, "a 1h A 192.0.2.1": false, `t TXT "x`: false, `t TXT "x"y`: false, "t TXT x": false, `a\.b A 192.0.2.1`: false,
		"a ( A 192.0.2.1": false, "$TTL 5": false, "a..b A 192.0.2.1": false, "a.other. A 192.0.2.1": false, "a MX 65536 b": false,
		strings.Repeat("a", 64) + " A 192.0.2.1": false, strings.Repeat("a.", 127) + " A 192.0.2.1": false, "a 2147483648 A 192.0.2.1": false,
	} {
		l.owner.set("a.example.org.")
		if got := l.common(s, []byte(line)); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}
