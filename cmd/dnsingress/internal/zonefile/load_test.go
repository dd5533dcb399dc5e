// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/files"
)

// TestTexts reads texts below a SOA and an NS of example.org, and compares all other records, or the errors.
func TestTexts(t *testing.T) {
	const (
		timed   = "$ORIGIN example.org.\n@ 300 IN SOA a. b. 1 2 3 4 5\n@ NS a.\n"
		untimed = "$ORIGIN example.org.\n@ IN SOA a. b. 1 2 3 4 50\n@ NS a.\n"
	)
	for _, c := range []struct{ name, text, want string }{
		{"generate keeps what is quoted", timed + "$TTL 60\n$GENERATE 1-2 h$ TXT \"v=x;all\"\nx A 192.0.2.1\n", "h1 60 TXT \"v=x;all\"|h2 60 TXT \"v=x;all\"|x 60 A 192.0.2.1"},
		{"generate keeps blanks", timed + "$TTL 60\n$GENERATE 1-1 h$ TXT \"a  b\" ; c\n", "h1 60 TXT \"a  b\""},
		{"generate with the last TTL", timed + "b 600 A 192.0.2.1\n$GENERATE 1-1 h$ A 192.0.2.$\n", "b 600 A 192.0.2.1|h1 600 A 192.0.2.1"},
		{"generate with numbers in its data", timed + "$TTL 60\n$GENERATE 1-1 h$ MX 10 m$\n", "h1 60 MX 10 m1.example.org."},
		{"generate with its own TTL", timed + "$TTL 60\n$GENERATE 1-1 h$ IN 5m A 192.0.2.$\n$GENERATE 1-1 i$ 7 IN A 192.0.2.$\n", "h1 300 A 192.0.2.1|i1 7 A 192.0.2.1"},
		{"generate with no TTL", "$GENERATE 1-9 h$.example.org. A 192.0.2.$\n" + timed, "ZONE:1: there is no TTL (hint: $TTL above it is that of all records that state none)"},
		{"generate that the file ends in", timed + "$GENERATE 0-0", "ZONE:4: garbage after $GENERATE range: \"\""},
		{"minimum", untimed + "a A 192.0.2.1\nb 7 A 192.0.2.2\nc A 192.0.2.3\nd ( A 192.0.2.4 )\n", "a 50 A 192.0.2.1|b 7 A 192.0.2.2|c 50 A 192.0.2.3|d 50 A 192.0.2.4"},
		{"minimum without a class", strings.Replace(untimed, "IN SOA", "SOA", 1) + "a A 192.0.2.1\n", "a 50 A 192.0.2.1"},
		{"no TTL", "b.example.org. IN A 192.0.2.1\nc.example.org. A 192.0.2.1\n" + timed, "ZONE:1: there is no TTL (hint: $TTL above it is that of all records that state none)|" +
			"ZONE:2: there is no TTL (hint: $TTL above it is that of all records that state none)"},
		{"TTLs too large", timed + "a 2147483647 A 192.0.2.1\nb 2147483648 A 192.0.2.1\nc 4294967295 TXT b\n", "ZONE:5: b.example.org.: a TTL of 2147483648 exceeds 2147483647 seconds (RFC 2181 §8)|" +
			"ZONE:6: c.example.org.: a TTL of 4294967295 exceeds 2147483647 seconds (RFC 2181 §8)"},
		{
			"origin above a quote that is not closed", strings.TrimPrefix(timed, "$ORIGIN example.org.\n") + "$ORIGIN sub\na TXT \"un\nb A 192.0.2.1\nb CNAME c\nc A 192.0.2.1\n",
			"ZONE:4:6: bad TXT Txt: \" \"|ZONE:6: b.sub.example.org.: CNAME and A at one name (RFC 1034 §3.6.2)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "zone")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, slow := range []bool{false, true} {
				z, _, err := (&loader{slow: slow, read: files.Seen{}}).load(path, "example.org.")
				got := ""
				if err != nil {
					got = strings.NewReplacer(path, "ZONE", "\n", "|").Replace(err.Error())
				} else {
					var lines []string
					for _, line := range strings.Split(outcome(z, nil), "\n") {
						f := strings.SplitN(line, "\t", 5)
						if f[3] != "SOA" && f[3] != "NS" {
							owner, _, _ := strings.Cut(line, " ")
							lines = append(lines, strings.TrimSuffix(owner, ".example.org.")+" "+f[1]+" "+f[3]+" "+f[4])
						}
					}
					got = strings.Join(lines, "|")
				}
				if got != c.want {
					t.Errorf("slow %v: read as\n%s\nwant\n%s", slow, got, c.want)
				}
			}
		})
	}
}

// TestManyIncludes includes more files, one after the other, than a process may have open.
func TestManyIncludes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zone")
	write(t, path, 1, strings.Repeat("$INCLUDE inner\n", 200))
	if err := os.WriteFile(filepath.Join(dir, "inner"), []byte("a.example.org. 300 A 192.0.2.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = 100
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}()
	if _, _, err := Load(path, ""); err != nil {
		t.Error(err)
	}
}
