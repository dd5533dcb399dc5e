// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOptions reads comments that say whom records are for, and compares sets, options among them, or the errors.
func TestOptions(t *testing.T) {
	const head = "$ORIGIN example.org.\n$TTL 60\n@ 300 IN SOA a. b. 1 2 3 4 5 ; serial 1\n@ NS a. ; the only one\n"
	for _, c := range []struct{ name, text, want string }{
		{
			"geo, weights and sets", "www A 192.0.2.1 ; geo IE, weight 100, set dublin\nwww A 192.0.2.2 ; geo IE, weight 100, set dublin\nwww A 192.0.2.3 ; geo aus, policy near\n" +
				"www 30 A 192.0.2.4 ; geo *\nwww AAAA 2001:db8::1\nb CNAME www ; weight 3\nb CNAME www.example.net. ; weight 0, set \"a, b\"\n",
			`b CNAME 60 {1 3  } www.example.org. {1 0  a, b} www.example.net.|www A 30 {1 1 AU } 192.0.2.3 {2 100 IE dublin} 192.0.2.1 192.0.2.2 {1 1 * } 192.0.2.4|www AAAA 60 2001:db8::1`,
		},
		{"one option is none", "www A 192.0.2.1 ; geo IE\n", "www A 60 192.0.2.1"},
		{"for people", "www A 192.0.2.1 ; the web server, weight 3\nwww A 192.0.2.2 ; geolocation\nwww A 192.0.2.3 ;\n", "www A 60 192.0.2.1 192.0.2.2 192.0.2.3"},
		{"mistakes", "www A 192.0.2.1 ; geo XX, weight -1\nwww A 192.0.2.2 ; geo IE, wait 3\n", `ZONE:5: www.example.org.: geo code "XX" is unknown (hint: a country as IE or IRL, a subdivision as US-CA, a continent as GEO-EU, or * for everybody else)|` +
			`ZONE:5: weight "-1" (hint: a number from 0 to 4294967295)|ZONE:6: www.example.org.: "wait" says nothing of whom a record is for (hint: ; geo IE, weight 100, set a)`},
		{"half of them", "www A 192.0.2.1 ; geo IE\nwww A 192.0.2.2\n", "ZONE:5: www.example.org.: A records that say whom they are for beside others that do not"},
		{"CNAME and other data", "www CNAME a ; weight 1\nwww CNAME b ; weight 2\nwww TXT a\n", "ZONE:6: www.example.org.: CNAME and TXT at one name (RFC 1034 §3.6.2)"},
		{"two CNAMEs in one", "www CNAME a ; set x\nwww CNAME b ; set x\n", "ZONE:6: www.example.org.: more than one CNAME (RFC 2181 §10.1)"},
		{"outside", "www.example.net. A 192.0.2.1 ; geo IE\nwww A 192.0.2.1 ; geo IE\n", "ZONE:5: www.example.net. A is outside the zone example.org."},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "zone")
			if err := os.WriteFile(path, []byte(head+c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			z, _, err := LoadOptions(path, "")
			var lines []string
			if err != nil {
				lines = strings.Split(strings.ReplaceAll(err.Error(), path, "ZONE"), "\n")
			} else {
				if z.Serial() != 1 {
					t.Errorf("serial %d", z.Serial())
				}
				for owner, sets := range z.All() {
					for _, s := range sets {
						if owner == "example.org." {
							continue
						}
						line := fmt.Sprint(strings.TrimSuffix(owner, ".example.org."), " ", strings.TrimPrefix(s.Records[0].Header().String(), owner+"\t"))
						line = strings.Join([]string{strings.Fields(line)[0], strings.Fields(line)[3], strings.Fields(line)[1]}, " ")
						left := s.Records
						data := func(n int) {
							for _, rr := range left[:n] {
								line += " " + strings.TrimPrefix(rr.String(), rr.Header().String())
							}
							left = left[n:]
						}
						for _, g := range s.Groups {
							line += " " + fmt.Sprint(g)
							data(g.Records)
						}
						data(len(left))
						lines = append(lines, line)
					}
				}
				slices.Sort(lines)
			}
			if diff := cmp.Diff(strings.Split(c.want, "|"), lines); diff != "" {
				t.Error(diff)
			}
		})
	}
	// Without being asked to, comments are for people.
	path := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(path, []byte(head+"www A 192.0.2.1 ; geo IE\nwww A 192.0.2.2 ; geo XX\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	z, _, err := Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	if sets, _ := z.RRsets("www.example.org."); len(sets) != 1 || len(sets[0].Records) != 2 || sets[0].Groups != nil {
		t.Errorf("%+v", sets)
	}
}
