// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLoad reads any text as a zone file. Every text is either a zone or has errors with a place, and is
// read to its end in bounded time.
func FuzzLoad(f *testing.F) {
	for _, text := range []string{
		"example.org. 300 IN SOA a. b. 1 2 3 4 5\nexample.org. 300 IN NS a.\n",
		"$ORIGIN example.org.\n$TTL 1h\n@ SOA a b ( 1 2\n3 4 5 ) ; c\n NS a\n$GENERATE 1-3 h$ A 192.0.2.$\nx TXT \"un\nclosed\ny A 192.0.2.1\n",
		"$INCLUDE zone\n", "$INCLUDE nowhere x.\n", "$ORIGIN a..b\n@ A 1\n", "$TTL x\n", "(((\n", "\"", "\\", "a (", "@ CH A 1.2.3.4\n",
		"a. 1 SOA a. b. 1 2 3 4 5\nb. 1 A 1.2.3.4\na. 1 CNAME b.\n*.a. 1 TYPE65280 \\# 1 00\n",
		"$GENERATE 0-65535/3 ${0,3,d} 300 A 10.0.$.1\n", "$GENERATE 1-2\n$GENERATE a-b c A 1.2.3.4\n",
	} {
		f.Add(text)
	}
	dir := f.TempDir()
	path := filepath.Join(dir, "zone")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToUpper(text), "$INCLUDE") && strings.ContainsAny(text, "/") {
			t.Skip("would read files of the machine")
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		z, files, err := Load(path, "")
		if _, ok := files[path]; !ok {
			t.Fatalf("read %v", files)
		}
		many := Errors(nil)
		switch {
		case err == nil && (z == nil || z.Len() == 0):
			t.Fatalf("neither an error nor a zone: %v", z)
		case err == nil:
			for range z.All() { // panics on what cannot be read back
			}
		case !errors.As(err, &many) || len(many) == 0:
			t.Fatalf("error without a place: %v", err)
		}
	})
}
