// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"flag"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

var update = flag.Bool("update", false, "write the tables of docs/steering.md anew")

const document = "../../docs/steering.md"

// tabulated compares what a test has measured with the table of that name in the document. The numbers are the same on
// every machine of an architecture; others round in other places.
func tabulated(t *testing.T, name, table string) {
	t.Helper()
	t.Log("\n" + table)
	whole, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(whole), "<!-- "+name+" -->\n")
	old, after, closed := strings.Cut(rest, "<!-- end -->")
	switch {
	case !ok || !closed:
		t.Fatalf("%s has no place for the table %q", document, name)
	case old == table || runtime.GOARCH != "amd64":
	case *update:
		if err := os.WriteFile(document, []byte(before+"<!-- "+name+" -->\n"+table+"<!-- end -->"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table %q of %s is not what was measured (hint: go test ./internal/steer -run Stability -update)", name, document)
	}
}

// TestDocs reads every example of the document.
func TestDocs(t *testing.T) {
	whole, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(whole), "```yaml\n")[1:]
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "```")
		p := Defaults()
		f := strictyaml.Decode("example", []byte(text), &p)
		if err := f.Err(); err != nil {
			t.Errorf("%v in:\n%s", err, text)
			continue
		}
		if problems := p.Check([]string{"usage", "latency", "errors", "capacity", "health"}); problems != nil {
			t.Errorf("%v in:\n%s", problems, text)
		}
	}
	if len(blocks) < 10 {
		t.Errorf("only %d examples found", len(blocks))
	}
}
