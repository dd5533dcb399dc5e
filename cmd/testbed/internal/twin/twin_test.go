// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The base is another one when, and only when, something that goes into it is.
func TestBaseKey(t *testing.T) {
	key := func(packages ...string) string { return BaseBuild{Packages: packages}.Key() }
	if key("a", "b") != key("b", "a", "b") {
		t.Error("order and repetition of packages make another base")
	}
	if key("a", "b") == key("a") || key("ab") == key("a", "b") {
		t.Error("other packages make the same base")
	}
}

func TestStateFile(t *testing.T) {
	f := &stateFile{path: filepath.Join(t.TempDir(), "deeper/state.json")}
	if _, ok, err := f.read(); ok || err != nil {
		t.Fatalf("a state that nobody wrote: %v, %v", ok, err)
	}
	for _, name := range []string{"a", "b", "a"} {
		if err := f.update(func(s *State) error { s.add(name); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	s, ok, err := f.read()
	if err != nil || !ok || strings.Join(s.Nodes, " ") != "a b" {
		t.Errorf("read %+v, %v, %v", s, ok, err)
	}
	if files, _ := os.ReadDir(filepath.Dir(f.path)); len(files) != 1 {
		t.Errorf("left beside it: %v", files)
	}
}

func TestOverlayOptionsEscape(t *testing.T) {
	got := overlayOptions("/c/base,1", "/s:t")
	if want := `lowerdir=/c/base\,1,upperdir=/s\:t/upper,workdir=/s\:t/work`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSpace(t *testing.T) {
	if err := checkSpace(filepath.Join(t.TempDir(), "not/made/yet"), 1); err != nil {
		t.Error(err)
	}
	if err := checkSpace(t.TempDir(), 1<<62); err == nil || !strings.Contains(err.Error(), "GB are needed (hint: ") {
		t.Errorf("error %v", err)
	}
}
