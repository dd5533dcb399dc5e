// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/internal/results"
)

// A run that goes on says since when and with which programs, and is otherwise described as it was.
func TestResumedRunIsDescribed(t *testing.T) {
	first := results.Manifest{Experiment: "e", RunID: "r", Source: results.Source{Commit: "0123", Dirty: true}, Settings: map[string]string{"a": "b"}}
	run, err := results.CreateRun(t.TempDir(), first, nil)
	if err != nil {
		t.Fatal(err)
	}
	repo := "../../../.."
	for range 2 {
		again, err := results.OpenRun(run.Dir)
		if err != nil {
			t.Fatal(err)
		}
		begun := ""
		p := describePhase{&Runner{Resume: again, Repo: repo, Begun: func(dir string) error { begun = dir; return nil }}}
		if err := p.Run(t.Context()); err != nil || begun != run.Dir {
			t.Fatalf("begun %q: %v", begun, err)
		}
	}
	got, err := results.OpenRun(run.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Manifest.Resumed); n != 2 {
		t.Fatalf("resumed %d times, want 2", n)
	}
	for _, r := range got.Manifest.Resumed {
		if want := Source(t.Context(), repo).Commit; r.Source.Commit != want || r.At.IsZero() { // what else is in the tree may change meanwhile
			t.Errorf("resumed %+v, want with commit %s", r, want)
		}
	}
	got.Manifest.Resumed = nil
	if d := cmp.Diff(run.Manifest, got.Manifest); d != "" {
		t.Error(d)
	}
}
