// SPDX-License-Identifier: Apache-2.0

package live_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/live"
	"github.com/dnsingress/dnsingress/internal/results"
)

const v1 = "../../../../internal/results/testdata/v1/quickstart/20261121T200000Z"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// begun is a run whose first trials are finished and which has no end.
func begun(t *testing.T, trials ...string) *results.Run {
	t.Helper()
	whole, err := results.OpenRun(v1)
	must(t, err)
	m := whole.Manifest
	m.Finished = time.Time{}
	run, err := results.CreateRun(t.TempDir(), m, []byte("version: 1\n"))
	must(t, err)
	for _, id := range trials {
		must(t, os.CopyFS(filepath.Join(run.Dir, results.TrialsDir, id), os.DirFS(filepath.Join(v1, results.TrialsDir, id))))
	}
	return run
}

// A run is followed as testbed writes it: a trial appears, has phases, gets its verdict, another follows, the run ends.
func TestFollow(t *testing.T) {
	run := begun(t, "000-direct-steady")
	const next = "016-direct-fault"
	trial := filepath.Join(run.Dir, results.TrialsDir, next)
	states := make(chan live.State)
	done := make(chan error, 1)
	go func() {
		done <- live.Follow(t.Context(), run.Dir, func(s live.State) error { states <- s; return nil })
	}()
	// until takes states until one is as wanted; more than one may come of one change. It returns the fresh trials of all.
	until := func(what string, ok func(live.State) bool) (fresh []string) {
		t.Helper()
		for {
			select {
			case s := <-states:
				for i := range s.Fresh {
					fresh = append(fresh, s.Fresh[i].ID)
				}
				if ok(s) {
					return fresh
				}
			case err := <-done:
				t.Fatalf("awaiting %s: following ended: %v", what, err)
			case <-time.After(time.Minute):
				t.Fatalf("awaiting %s: nothing for a minute", what)
			}
		}
	}
	if fresh := until("the first trial", func(s live.State) bool { return len(s.Run.Trials) == 1 && s.Running == "" }); !slices.Equal(fresh, []string{"000-direct-steady"}) {
		t.Errorf("fresh at first: %v", fresh)
	}

	// All but the verdict: the trial goes on, and its phase is told.
	must(t, os.CopyFS(trial+".made", os.DirFS(filepath.Join(v1, results.TrialsDir, next))))
	must(t, errors.Join(os.Rename(filepath.Join(trial+".made", results.VerdictFile), filepath.Join(run.Dir, "kept")), os.Rename(trial+".made", trial)))
	if fresh := until("the next trial", func(s live.State) bool { return s.Running == next && s.Phase == "pod-sigkill" }); len(fresh) > 0 {
		t.Errorf("%v came without a verdict", fresh)
	}
	events, err := results.OpenEvents(filepath.Join(trial, results.EventsFile))
	must(t, err)
	must(t, errors.Join(events.Add(results.Event{Kind: results.EventPhase, Name: "collect"}), events.Close()))
	until("its next phase", func(s live.State) bool { return s.Phase == "collect" })

	must(t, os.Rename(filepath.Join(run.Dir, "kept"), filepath.Join(trial, results.VerdictFile)))
	if fresh := until("its verdict", func(s live.State) bool { return len(s.Run.Trials) == 2 }); !slices.Equal(fresh, []string{next}) {
		t.Errorf("fresh: %v, want the new one alone", fresh)
	}
	run.Manifest.Finished = time.Now()
	must(t, run.SaveManifest())
	until("the end", func(s live.State) bool { return s.Finished })
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(time.Minute):
		t.Error("following did not end with the run")
	}
}

func TestFollowUntilInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if err := live.Follow(ctx, begun(t).Dir, func(live.State) error { cancel(); return nil }); err != nil {
		t.Errorf("interrupted: %v", err)
	}
	stop := errors.New("stop")
	if err := live.Follow(t.Context(), begun(t).Dir, func(live.State) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("what the watcher says comes back as %v", err)
	}
}

func TestNewest(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"20260101T000000Z", "20270101T000000Z", "20280101T000000Z"} {
		must(t, os.Mkdir(filepath.Join(dir, id), 0o755))
		if id < "2028" { // the last is no run
			must(t, os.WriteFile(filepath.Join(dir, id, results.ManifestFile), fmt.Appendf(nil, `{"schema_version": %d}`, results.SchemaVersion), 0o644))
		}
	}
	got, err := live.Newest(dir)
	must(t, err)
	if want := filepath.Join(dir, "20270101T000000Z"); got != want {
		t.Errorf("newest is %s, want %s", got, want)
	}
	if same, err := live.Newest(got); same != got || err != nil {
		t.Errorf("a run is followed as %s (%v)", same, err)
	}
	if _, err := live.Newest(t.TempDir()); !errors.Is(err, results.ErrNoRun) {
		t.Errorf("an empty directory: %v", err)
	}
}
