// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the reference in docs/experiments/format.md anew")

// The documentation's reference is what the fields' comments say, and every field has a comment.
func TestReference(t *testing.T) {
	keys, err := Keys()
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) < 80 {
		t.Errorf("only %d keys", len(keys))
	}
	var b strings.Builder
	b.WriteString("| key | | |\n|---|---|---|\n")
	for _, k := range keys {
		if k.Text == "" {
			t.Errorf("%s has no comment", k.Path)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.Path, k.Type, strings.ReplaceAll(k.Text, "|", `\|`))
	}
	const path, begin, end = "../../../../docs/experiments/format.md", "<!-- keys -->\n", "<!-- /keys -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, found := strings.Cut(rest, end)
	if !ok || !found {
		t.Fatalf("%s has no place for the keys", path)
	}
	want := before + begin + b.String() + end + after
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the comments say (run with -update)", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The schema knows every key that Parse knows, and what is there is described.
func TestSchema(t *testing.T) {
	text, err := Schema(factored)
	if err != nil {
		t.Fatal(err)
	}
	var root struct {
		Properties map[string]struct {
			Description string
			Properties  map[string]json.RawMessage
			Items       struct{ Enum []string }
		}
		AdditionalProperties bool
		Required             []string
	}
	root.AdditionalProperties = true
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	if root.AdditionalProperties || len(root.Required) != 6 {
		t.Errorf("looser than it is to be: required %v", root.Required)
	}
	for _, f := range AllFactors() {
		if root.Properties["factors"].Properties[f.String()] == nil {
			t.Errorf("factor %s is not in it", f)
		}
	}
	if got := strings.Join(root.Properties["systems"].Items.Enum, " "); got != "direct dnsingress nginx" {
		t.Errorf("systems: %s", got)
	}
	for key, p := range root.Properties {
		if p.Description == "" {
			t.Errorf("%s has no description", key)
		}
	}
}
