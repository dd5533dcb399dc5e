// SPDX-License-Identifier: Apache-2.0

package record

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// sets reads lines of NAME TYPE DATA, where a record may have GEO, SET and WEIGHT before its data as [GEO SET WEIGHT].
func sets(t testing.TB, text string) []model.RecordSet {
	t.Helper()
	var out []model.RecordSet
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		f := strings.SplitN(strings.TrimLeft(line, " ")+" ", " ", 3)
		rtype, ok := dns.StringToType[f[1]]
		if !ok {
			t.Fatalf("no type in %q", line)
		}
		r := model.Record{Data: strings.TrimSpace(f[2])}
		if options, data, ok := strings.Cut(strings.TrimSpace(f[2]), "] "); ok && strings.HasPrefix(options, "[") {
			var weight uint32
			if n, err := fmt.Sscanf(options[1:], "%s %s %d", &r.Geo, &r.Set, &weight); n == 3 && err == nil {
				r.Weight = &weight
			}
			r.Geo, r.Set = strings.TrimPrefix(r.Geo, "-"), strings.TrimPrefix(r.Set, "-")
			r.Data = data
		}
		if name, ok := strings.CutPrefix(r.Data, "follow "); ok {
			r.Data, r.Follow = "", name
		}
		out = append(out, model.RecordSet{Name: f[0], Type: rtype, Records: []model.Record{r}})
	}
	return out
}

// lines is the inverse of sets.
func lines(sets []model.RecordSet) string {
	var b strings.Builder
	for _, s := range sets {
		for _, r := range s.Records {
			options := ""
			if r.Geo != "" || r.Set != "" || r.Weight != nil {
				weight := "-"
				if r.Weight != nil {
					weight = fmt.Sprint(*r.Weight)
				}
				dash := func(s string) string {
					if s == "" {
						return "-"
					}
					return s
				}
				options = fmt.Sprintf("[%s %s %s] ", dash(r.Geo), dash(r.Set), weight)
			}
			data := r.Data
			if r.Follow != "" {
				data = "follow " + r.Follow
			}
			fmt.Fprintf(&b, "%s %s %s%s\n", s.Name, dns.Type(s.Type), options, data)
		}
	}
	return b.String()
}

func TestCheck(t *testing.T) {
	origins := []string{"apps.test."}
	for _, c := range []struct {
		name     string
		hosts    string
		given    string
		want     string
		problems []string // how each begins
	}{
		{name: "every type of external-dns", given: `
w.apps.test. A 192.0.2.1
w.apps.test. AAAA 2001:DB8::1
w.apps.test. TXT "v=spf1; -all" "two"
w.apps.test. MX 10 mail.example.org.
_x._tcp.apps.test. SRV 0 50 80 w.apps.test.
w.apps.test. NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.apps.test.
sub.apps.test. NS ns.example.org.
1.apps.test. PTR w.apps.test.
c.apps.test. CNAME w.example.org.
d.apps.test. DNAME example.org.`, want: `
w.apps.test. A 192.0.2.1
w.apps.test. AAAA 2001:db8::1
w.apps.test. TXT "v=spf1; -all" "two"
w.apps.test. MX 10 mail.example.org.
_x._tcp.apps.test. SRV 0 50 80 w.apps.test.
w.apps.test. NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.apps.test.
sub.apps.test. NS ns.example.org.
1.apps.test. PTR w.apps.test.
c.apps.test. CNAME w.example.org.
d.apps.test. DNAME example.org.`},
		{name: "sets of one name and type are one, without doubles", given: `
w.apps.test. A 192.0.2.1
w.apps.test. TXT x
w.apps.test. A 192.0.2.2
w.apps.test. A 192.0.2.1`, want: `
w.apps.test. A 192.0.2.1
w.apps.test. A 192.0.2.2
w.apps.test. TXT x`},
		{
			name: "wrong family", given: "w.apps.test. A 2001:db8::1\nw.apps.test. AAAA 192.0.2.1\nw.apps.test. A 192.0.2.7\nw.apps.test. A 192.0.2.300\nw.apps.test. AAAA fe80::1%eth0",
			want: "w.apps.test. A 192.0.2.7", problems: []string{
				"WrongFamily: w.apps.test. A: 2001:db8::1 is an IPv6 address (hint: recordType AAAA)", `InvalidRecord: w.apps.test. A: "192.0.2.300" is no IP address`,
				"WrongFamily: w.apps.test. AAAA: 192.0.2.1 is an IPv4 address (hint: recordType A)", `InvalidRecord: w.apps.test. AAAA: "fe80::1%eth0" is no IP address`,
			},
		},
		{
			name: "a CNAME beside other data of the object", given: "w.apps.test. CNAME x.test.\nw.apps.test. TXT x\nv.apps.test. CNAME x.test.",
			want: "w.apps.test. TXT x\nv.apps.test. CNAME x.test.", problems: []string{"CNAMEConflict: w.apps.test.: a CNAME is not published beside other data, here TXT"},
		},
		{
			name: "a CNAME at a host of the pool", hosts: "w.apps.test.", given: "w.apps.test. CNAME x.test.\nw.apps.test. TXT x",
			want: "w.apps.test. TXT x", problems: []string{"CNAMEConflict: w.apps.test.: a CNAME is not published beside other data, here TXT, addresses"},
		},
		{
			name: "addresses at a host of the pool", hosts: "w.apps.test.", given: "w.apps.test. A 192.0.2.1\nw.apps.test. TXT x",
			want: "w.apps.test. TXT x", problems: []string{"InvalidRecord: w.apps.test. A: the addresses of that name are the pool's members"},
		},
		{name: "a CNAME at the apex", given: "apps.test. CNAME x.test.\napps.test. TXT x", want: "apps.test. TXT x", problems: []string{"ApexCNAME: apps.test. CNAME: "}},
		{
			name: "several CNAMEs in one option", given: "w.apps.test. CNAME a.test.\nw.apps.test. CNAME b.test.\nv.apps.test. CNAME a.test.",
			want: "v.apps.test. CNAME a.test.", problems: []string{"InvalidRecord: w.apps.test. CNAME: an answer holds one such record, and here are 2"},
		},
		{
			name: "a choice of CNAMEs", given: "w.apps.test. CNAME [IE a 120] a.test.\nw.apps.test. CNAME [* b 60] b.test.",
			want: "w.apps.test. CNAME [IE a 120] a.test.\nw.apps.test. CNAME [* b 60] b.test.",
		},
		{
			name: "geo codes", given: "w.apps.test. A [aus a 1] 192.0.2.1\nw.apps.test. A [GEO-EU b 1] 192.0.2.2\nw.apps.test. A [Atlantis c 1] 192.0.2.3\nw.apps.test. A [default d 1] 192.0.2.4",
			want:     "w.apps.test. A [AU a 1] 192.0.2.1\nw.apps.test. A [GEO-EU b 1] 192.0.2.2\nw.apps.test. A [* d 1] 192.0.2.4",
			problems: []string{"UnknownGeo: w.apps.test. A: "},
		},
		{
			name: "the server's own types", given: "apps.test. NS ns.evil.test.\napps.test. SOA a. b. 1 1 1 1 1\nw.apps.test. RRSIG x\nw.apps.test. ANY x\nw.apps.test. TXT x",
			want: "w.apps.test. TXT x", problems: []string{"ReservedType: apps.test. NS: ", "ReservedType: apps.test. SOA: ", "ReservedType: w.apps.test. RRSIG: ", "ReservedType: w.apps.test. ANY: "},
		},
		{
			name: "unreadable data", given: "w.apps.test. MX mail\nw.apps.test. SRV 1 2 w.apps.test.\nw.apps.test. TXT \nw.apps.test. CAA 0 issue \"x\"",
			want: "w.apps.test. CAA 0 issue \"x\"", problems: []string{`InvalidRecord: w.apps.test. MX: "mail" is no data`, `InvalidRecord: w.apps.test. SRV: `, `InvalidRecord: w.apps.test. TXT: there are no data`},
		},
		{
			name: "pointing to itself", given: "w.apps.test. CNAME W.apps.test.\nv.apps.test. A follow v.apps.test\nu.apps.test. A follow Lb.Example.org",
			want: "u.apps.test. A follow lb.example.org.", problems: []string{"Loop: w.apps.test. CNAME: it points to itself", "Loop: v.apps.test. A: it follows itself"},
		},
		{name: "following what has no addresses", given: "w.apps.test. TXT follow x.test\nw.apps.test. A follow a..b", problems: []string{"InvalidRecord: w.apps.test. TXT: only addresses", "InvalidName: w.apps.test. A: "}},
		{
			name: "names", hosts: "ok.apps.test. a..apps.test. a.*.apps.test. *.apps.test. Upper.apps.test. relative " + strings.Repeat("a", 64) + ".apps.test. sp\u00fc.apps.test. ok.apps.test.",
			given: "*.w.apps.test. NS ns.test.\n*.w.apps.test. DNAME x.test.\n*.w.apps.test. TXT x", want: "*.w.apps.test. TXT x", problems: []string{
				`InvalidName: "a..apps.test."`, `InvalidName: "a.*.apps.test." has an asterisk`, `InvalidName: "Upper.apps.test." is not in canonical form`, `InvalidName: "relative" is not`,
				`InvalidName: "aaaa`, `InvalidName: "spü.apps.test." has characters`, "InvalidRecord: *.w.apps.test. NS: a delegation is no pattern", "InvalidRecord: *.w.apps.test. DNAME: a redirection is no pattern",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &model.Pool{Hosts: strings.Fields(c.hosts), Records: sets(t, c.given)}
			hosts, got, problems := Check(p, origins)
			if diff := cmp.Diff(strings.TrimSpace(c.want), strings.TrimSpace(lines(got))); diff != "" {
				t.Errorf("records:\n%s", diff)
			}
			for i := range max(len(problems), len(c.problems)) {
				switch {
				case i >= len(problems):
					t.Errorf("missing: %s", c.problems[i])
				case i >= len(c.problems):
					t.Errorf("unexpected: %v", problems[i])
				case !strings.HasPrefix(problems[i].Reason+": "+problems[i].Message, c.problems[i]):
					t.Errorf("%v, want %s", problems[i], c.problems[i])
				}
			}
			if c.name == "names" && strings.Join(hosts, " ") != "ok.apps.test. *.apps.test." {
				t.Errorf("hosts %v", hosts)
			}
		})
	}
}

func TestManyTargets(t *testing.T) {
	for _, c := range []struct {
		targets, kept int
		problems      int
	}{{MostTargets, MostTargets, 0}, {1000, 1000, 1}, {5000, 2000, 2}} {
		var text strings.Builder
		for i := range c.targets {
			fmt.Fprintf(&text, "w.apps.test. AAAA 2001:db8::%x\n", i+1)
		}
		_, got, problems := Check(&model.Pool{Records: sets(t, text.String())}, nil)
		if len(got) != 1 || len(got[0].Records) != c.kept || len(problems) != c.problems {
			t.Errorf("%d targets: %d sets, problems %v", c.targets, len(got), problems)
		}
		for _, p := range problems {
			if p.Reason != TooManyTargets || !strings.Contains(p.Message, "hint: ") {
				t.Errorf("problem %v", p)
			}
		}
	}
}

func TestTheLeastTTLCounts(t *testing.T) {
	ttl := func(n uint32) *uint32 { return &n }
	a := sets(t, "w.apps.test. A 192.0.2.1\nw.apps.test. A 192.0.2.2\nv.apps.test. A 192.0.2.1")
	a[0].TTL, a[1].TTL, a[2].TTL = ttl(60), ttl(30), ttl(1<<31)
	_, got, problems := Check(&model.Pool{Records: a}, nil)
	if len(got) != 2 || *got[0].TTL != 30 || got[1].TTL != nil {
		t.Errorf("sets %+v", got)
	}
	if len(problems) != 1 || problems[0].Reason != InvalidTTL {
		t.Errorf("problems %v", problems)
	}
}

// What is given stays as it was, whatever is read of it.
func TestCheckChangesNothingOfThePool(t *testing.T) {
	given := sets(t, "w.apps.test. A [aus x 1] 192.0.2.1\nw.apps.test. A [- y 1] 192.0.2.2")
	before := lines(given)
	Check(&model.Pool{Records: given}, nil)
	if after := lines(given); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`0 0 80 w.test.`, `"a;b" c`, `\# 2 00ff`, `1 . alpn="h2" port="443" ipv6hint="2001:db8::1"`, "x\n. 0 IN A 1.2.3.4", "$INCLUDE x", "( a", "10 10 \"s\" \"\" \"\" ."} {
		for _, t := range []uint16{dns.TypeA, dns.TypeSRV, dns.TypeTXT, dns.TypeHTTPS, dns.TypeNAPTR, 65280} {
			f.Add(seed, t)
		}
	}
	buf := make([]byte, 1<<17)
	f.Fuzz(func(t *testing.T, data string, rtype uint16) {
		rr, err := Parse("w.test.", rtype, 5, data)
		if err != nil {
			return
		}
		if h := rr.Header(); h.Rrtype != rtype || h.Name != "w.test." || h.Ttl != 5 {
			t.Fatalf("%q became %v", data, rr)
		}
		_, _ = dns.PackRR(rr, buf, 0, nil, false)
	})
}
