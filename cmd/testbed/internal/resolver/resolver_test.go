// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"net/netip"
	"strings"
	"testing"
)

const repository = "../../../.."

// TestFormsDiffer holds each form to what its name says: of one program, each has a configuration of its own, and all are told
// the one root.
func TestFormsDiffer(t *testing.T) {
	root := netip.MustParseAddr("fd00::53:1")
	for _, r := range Resolvers() {
		seen := map[string]string{}
		for _, b := range Behaviours() {
			f := Form{r, b}
			files, err := f.Files(repository, root)
			if err != nil {
				t.Fatal(err)
			}
			if r == None {
				if len(files) > 0 {
					t.Errorf("none needs %d files", len(files))
				}
				continue
			}
			if len(files) != 4 || !strings.Contains(files[Dir+"/root.hints"], "ns.root. 3600000 AAAA fd00::53:1") {
				t.Errorf("%s: files %v", f, files)
			}
			run := files[Dir+"/run"]
			for path, text := range files {
				if strings.HasSuffix(path, ".conf") {
					if other := seen[text]; other != "" {
						t.Errorf("%s has the configuration of %s", f, other)
					}
					seen[text] = f.String()
					if !strings.Contains(text, Dir+"/root.hints") {
						t.Errorf("%s does not read the root's address", f)
					}
					if !strings.Contains(run, path) && !strings.Contains(run, "--config-dir="+Dir) {
						t.Errorf("%s: nobody reads %s", f, path)
					}
				}
			}
		}
	}
}

func TestNames(t *testing.T) {
	for form, want := range map[Form]string{{"knot", Prefetch}: "knot-prefetch", {None, Compliant}: "none"} {
		if form.String() != want {
			t.Errorf("%#v is called %s", form, form)
		}
	}
	if d := (Form{"bind", MinTTL}).Difference(); !strings.Contains(d, "90 s") {
		t.Errorf("BIND's minimum: %q", d)
	}
	if _, err := (Form{"unbound", Compliant}).Files(t.TempDir(), netip.IPv6Loopback()); err == nil || !strings.Contains(err.Error(), "rendering the configuration of unbound-compliant: open") {
		t.Errorf("without templates: %v", err)
	}
}
