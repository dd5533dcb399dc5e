// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/journal"
)

// killEnv makes of the test's program one that enters faults in a journal until it is killed.
const killEnv = "DNSINGRESS_TEST_JOURNAL"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		for {
			e, err := journal.New(dir).Begin(journal.Entry{Kind: journal.Fault, What: "link-down", Nodes: []string{"worker-1"}})
			if err != nil {
				os.Exit(1)
			}
			if _, err := os.Stdout.WriteString(e.ID + "\n"); err != nil {
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

func TestEntriesComeAndGo(t *testing.T) {
	j := journal.New(filepath.Join(t.TempDir(), "standing"))
	if left, err := j.Standing(); err != nil || len(left) > 0 {
		t.Fatalf("a journal without a directory has %v, %v", left, err)
	}
	since := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	late, err := j.Begin(journal.Entry{Kind: journal.Trial, What: "003-nginx", Since: since.Add(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	early, err := j.Begin(journal.Entry{Kind: journal.Fault, What: "node-power-cut", Nodes: []string{"worker-2"}, Since: since, Detail: []byte(`{"a":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := j.Standing()
	if err != nil {
		t.Fatal(err)
	}
	early.Detail, got[0].Detail = nil, nil // the same but for spaces
	if diff := cmp.Diff([]journal.Entry{early, late}, got); diff != "" {
		t.Errorf("standing (-want +got):\n%s", diff)
	}
	if s := early.String(); !strings.HasPrefix(s, "fault node-power-cut on worker-2, since 2026-11-2") {
		t.Errorf("an entry describes itself as %q", s)
	}
	for range 2 { // the second time it is gone
		if err := j.End(early.ID); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ = j.Standing(); len(got) != 1 || got[0].ID != late.ID {
		t.Errorf("standing after the end of one: %v", got)
	}
}

// Entries that begin at the same instant are several.
func TestEntriesAtOnce(t *testing.T) {
	j := journal.New(t.TempDir())
	now := time.Now()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := j.Begin(journal.Entry{Kind: journal.Fault, What: "x", Since: now}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, err := j.Standing(); err != nil || len(got) != 20 {
		t.Errorf("%d entries, %v", len(got), err)
	}
}

// Whatever a killed writer had been told was entered is there, and a torn file is no obstacle.
func TestKilledWriter(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	buf := make([]byte, 4096)
	for strings.Count(told.String(), "\n") < 10 {
		n, err := out.Read(buf)
		told.Write(buf[:n])
		if err != nil {
			t.Fatalf("the writer ended: %v", err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := os.WriteFile(filepath.Join(dir, "fault-7.json"), []byte(`{"id": "fau`), 0o644); err != nil {
		t.Fatal(err)
	}
	standing, err := journal.New(dir).Standing()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]journal.Entry{}
	for _, e := range standing {
		have[e.ID] = e
	}
	for id := range strings.Lines(told.String()) {
		if e, ok := have[strings.TrimSpace(id)]; strings.HasSuffix(id, "\n") && (!ok || e.What != "link-down") {
			t.Errorf("%q is not in the journal: %v", id, e)
		}
	}
	if e := have["fault-7"]; e.Kind != journal.Fault || !strings.Contains(e.What, "had not begun") {
		t.Errorf("a torn entry is read as %+v", e)
	}
}
