// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// note is a source that writes its text; fail makes its build stop half-way.
type note struct {
	text   string
	fail   error
	builds atomic.Int32
}

func (n *note) Name() string                                { return "note" }
func (n *note) Key(context.Context, *Store) (string, error) { return n.text, nil }
func (n *note) Place(key string) string                     { return "notes/" + key }

func (n *note) Build(_ context.Context, _ *Store, dst string) error {
	n.builds.Add(1)
	return errors.Join(os.WriteFile(dst, []byte(n.text), 0o644), n.fail)
}

func testStore(t *testing.T) *Store {
	t.Helper()
	repo, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.TempDir(), repo)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGetBuildsOnceForAKey(t *testing.T) {
	s, n := testStore(t), &note{text: "a"}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			item, err := s.Get(t.Context(), n)
			if err != nil {
				t.Error(err)
			}
			if text, err := os.ReadFile(item.Path); err != nil || string(text) != "a" {
				t.Errorf("result %q, error %v", text, err)
			}
		})
	}
	wg.Wait()
	if got := n.builds.Load(); got != 1 {
		t.Errorf("built %d times", got)
	}
	// Another store on the same directory, as in the next run.
	other := &Store{Dir: s.Dir, Repo: s.Repo, Arch: s.Arch, keys: map[Source]string{}}
	if _, err := other.Get(t.Context(), n); err != nil || n.builds.Load() != 1 {
		t.Errorf("built again: %d times, error %v", n.builds.Load(), err)
	}
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	s, n := testStore(t), &note{text: "a", fail: errors.New("disk full")}
	var reports []Progress
	s.Report = func(p Progress) { reports = append(reports, p) }
	if _, err := s.Get(t.Context(), n); err == nil || !strings.Contains(err.Error(), "building note: disk full") {
		t.Errorf("error %v", err)
	}
	if len(reports) != 2 || !reports[1].Done || reports[1].Err == nil {
		t.Errorf("reports %+v", reports)
	}
	if left, err := os.ReadDir(filepath.Join(s.Dir, "notes")); err != nil || len(left) != 0 {
		t.Errorf("left %v, error %v", left, err)
	}
	n.fail = nil
	if item, err := s.Get(t.Context(), n); err != nil || !item.Cached {
		t.Errorf("after the failure: %+v, error %v", item, err)
	}
}

func TestWhatAKilledBuildLeftGoes(t *testing.T) {
	s, n := testStore(t), &note{text: "a"}
	left := filepath.Join(s.Dir, "notes", ".building-note")
	if err := os.MkdirAll(filepath.Join(left, "result"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", left, err)
	}
}

func TestGetWaitsForTheLockOnlyAsLongAsTheContext(t *testing.T) {
	s, n := testStore(t), &note{text: "a"}
	unlock, err := lockFile(t.Context(), filepath.Join(s.Dir, "locks", "note"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, n); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestChoose(t *testing.T) {
	catalog := Catalog()
	got, err := Choose(catalog, []string{"image/pause", "kubernetes"})
	if err != nil || len(got) != 2 || got[0].Name() != "kubernetes" {
		t.Errorf("%v, error %v", got, err)
	}
	if _, err := Choose(catalog, []string{"image/pause", "foo", "bar"}); err == nil || !strings.Contains(err.Error(), "has no foo, bar (hint: it has kubernetes") {
		t.Errorf("error %v", err)
	}
	var names []string
	for _, src := range catalog {
		names = append(names, src.Name())
	}
	if slices.Sort(names); len(slices.Compact(names)) != len(catalog) {
		t.Errorf("names are there twice: %v", names)
	}
}
