// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNodePackages(t *testing.T) {
	if names, err := NodePackages("../../../.."); err != nil || len(names) < 10 {
		t.Errorf("the repository's packages: %q, %v", names, err)
	}
	for content, want := range map[string]string{
		"packages: []":           "has no list",
		"other: [a]":             "has no list",
		"packages: [\"a; rm\"]":  "is no name of a Debian package",
		"packages: [--option]":   "is no name of a Debian package",
		"packages: {a: b}":       "cannot unmarshal",
		"packages: [ok, \"\"]":   "is no name of a Debian package",
		"packages: [../escape,]": "is no name of a Debian package",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "ansible/group_vars/all.yml")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := NodePackages(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", content, err, want)
		}
	}
}
