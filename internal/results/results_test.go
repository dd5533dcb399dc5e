// SPDX-License-Identifier: Apache-2.0

package results_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"

	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

var update = flag.Bool("update", false, "write testdata anew")

// v1 is a complete run of version 1.
const v1 = "testdata/v1/quickstart/20261121T200000Z"

// Every later reader must read what version 1 wrote, and find in it what was put there.
func TestReadV1(t *testing.T) {
	run, err := results.OpenRun(v1)
	if err != nil {
		t.Fatal(err)
	}
	if m := run.Manifest; m.SchemaVersion != 1 || m.Seed != 20261121 || m.Substrate != "twin" || len(m.Hosts) != 6 || m.Thinning != "" {
		t.Errorf("manifest: %+v", m)
	}
	trials, err := run.Trials()
	if err != nil {
		t.Fatal(err)
	}
	steady, faults, invalid := map[string]int{}, map[string]int{}, 0
	for i, trial := range trials {
		if trial.Trial.Index != i {
			t.Errorf("trial %d has index %d", i, trial.Trial.Index)
		}
		switch {
		case !trial.Verdict.Valid:
			invalid++
			if len(trial.Verdict.Reasons) == 0 {
				t.Errorf("%s: not valid, for no reason", trial.Trial.ID)
			}
		case trial.Trial.Kind == results.KindFault:
			faults[trial.Trial.System]++
		default:
			steady[trial.Trial.System]++
		}
		checkTrial(t, trial)
	}
	for _, system := range run.Manifest.Factors["system"] {
		if steady[system] != 3 || faults[system] != 1 {
			t.Errorf("%s: %d steady and %d fault trials, want 3 and 1", system, steady[system], faults[system])
		}
	}
	if invalid != 1 {
		t.Errorf("%d invalid trials, want 1", invalid)
	}
}

// checkTrial holds one trial's files against each other.
func checkTrial(t *testing.T, trial results.TrialDir) {
	t.Helper()
	requests, successes, warm := uint64(0), int64(0), 0
	err := results.ReadRows(filepath.Join(trial.Dir, results.SamplesFile), func(rows []results.Sample) error {
		for _, s := range rows {
			if s.IntendedNs < trial.Trial.WindowStartNs {
				warm++
				continue
			}
			requests++
			if s.OK() {
				successes++
			}
			if sum := s.DNSNs + s.ConnectNs + s.TLSNs + s.FirstByteNs; s.TotalNs < sum || s.SentNs < s.IntendedNs {
				t.Errorf("%s: phases of %d ns in a total of %d ns", trial.Trial.ID, sum, s.TotalNs)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	intended := uint64(0)
	for _, g := range trial.Trial.Generators {
		intended += g.Requests
	}
	if requests != intended || warm == 0 {
		t.Errorf("%s: %d requests in the window and %d before, generators say %d", trial.Trial.ID, requests, warm, intended)
	}
	f, err := os.Open(filepath.Join(trial.Dir, results.HistogramFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hist, err := stats.ReadLatency(f)
	if err != nil {
		t.Fatal(err)
	}
	if hist.Count() != successes {
		t.Errorf("%s: histogram of %d, %d successes", trial.Trial.ID, hist.Count(), successes)
	}
	hosts := 0
	err = results.ReadRows(filepath.Join(trial.Dir, results.ResourcesFile), func(rows []results.Resource) error {
		for _, r := range rows {
			if r.Component == results.ComponentHost {
				hosts++
			}
		}
		return nil
	})
	if err != nil || hosts != 1 {
		t.Errorf("%s: %d host rows, want 1 a kernel (%v)", trial.Trial.ID, hosts, err)
	}
	events, err := results.ReadEvents(filepath.Join(trial.Dir, results.EventsFile))
	if err != nil || len(events) < 2 {
		t.Errorf("%s: %d events (%v)", trial.Trial.ID, len(events), err)
	}
}

// What is written today reads back as written, over several row groups.
func TestRowsRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), results.SamplesFile)
	w, err := results.CreateRows[results.Sample](path)
	if err != nil {
		t.Fatal(err)
	}
	const n = 150_000
	want := func(i int) results.Sample {
		s := results.Sample{Client: "client-1", User: int32(i % 7), Seq: uint64(i), IntendedNs: 1e18 + int64(i), TotalNs: int64(i), Status: 200, Peer: "[::1]:80"}
		if i%11 == 0 {
			s.Error, s.Status = results.ErrTimeout, 0
		}
		return s
	}
	for i := range n {
		if err := w.Write(want(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := 0
	if err := results.ReadRows(path, func(rows []results.Sample) error {
		for _, s := range rows {
			if s != want(got) {
				t.Fatalf("row %d: %+v", got, s)
			}
			got++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got != n {
		t.Errorf("%d rows, want %d", got, n)
	}
}

// What is whole but compressed otherwise is refused for that reason, with what to do.
func TestReadRowsOfOtherCompressions(t *testing.T) {
	for name, codec := range map[string]compress.Codec{"SNAPPY": &parquet.Snappy, "GZIP": &parquet.Gzip} {
		path := filepath.Join(t.TempDir(), results.SamplesFile)
		if err := parquet.WriteFile(path, []results.Sample{{Client: "client-1", TotalNs: 1}}, parquet.Compression(codec)); err != nil {
			t.Fatal(err)
		}
		err := results.ReadRows(path, func([]results.Sample) error { return nil })
		if err == nil || !strings.Contains(err.Error(), path+": column client is compressed with "+name) || !strings.Contains(err.Error(), "compression='zstd'") || strings.Contains(err.Error(), "truncated") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestReadRowsOfADamagedFile(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join(v1, results.TrialsDir, "020-envoy-fault", results.SamplesFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"truncated":       whole[:len(whole)/2],
		"no footer":       whole[:len(whole)-8],
		"empty":           nil,
		"footer of 4 GiB": append(append([]byte{}, whole[:len(whole)-8]...), 0xff, 0xff, 0xff, 0xff, 'P', 'A', 'R', '1'),
		"no parquet":      []byte(strings.Repeat("not a file of samples ", 40)),
		"body torn":       append(append([]byte{}, whole[:4]...), append(bytes.Repeat([]byte{0xff}, len(whole)/2-4), whole[len(whole)/2:]...)...),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), results.SamplesFile)
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
			err := results.ReadRows(path, func([]results.Sample) error { return nil })
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one that names the file", err)
			}
		})
	}
}

func TestOpenRunRefuses(t *testing.T) {
	write := func(manifest string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, results.ManifestFile), []byte(manifest), 0o644); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, tc := range []struct {
		name, dir string
		is        error
		says      string
	}{
		{"no directory", filepath.Join(t.TempDir(), "absent"), results.ErrNoRun, "hint"},
		{"no manifest", t.TempDir(), results.ErrNoRun, "manifest.json"},
		{"newer", write(`{"schema_version": 99}`), results.ErrSchema, "version 99, this program reads 1 to 1"},
		{"no version", write(`{}`), results.ErrSchema, "version 0"},
		{"no JSON", write(`{"schema_version": 1,`), nil, "parsing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := results.OpenRun(tc.dir)
			if err == nil || tc.is != nil && !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want %v with %q", err, tc.is, tc.says)
			}
		})
	}
}

// Fields that a reader does not know are ignored.
func TestUnknownFieldsAreIgnored(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, results.ManifestFile), []byte(`{"schema_version": 1, "run_id": "x", "moon_phase": "full"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	run, err := results.OpenRun(dir)
	if err != nil || run.Manifest.RunID != "x" {
		t.Errorf("got %+v, %v", run, err)
	}
}

// A trial without a verdict was interrupted; a trial that cannot be read does not hide the others.
func TestTrialsOfAnInterruptedRun(t *testing.T) {
	root := t.TempDir()
	run, err := results.CreateRun(root, results.Manifest{Experiment: "e", RunID: "r"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	trial := func(id, content string) {
		dir := filepath.Join(run.Dir, results.TrialsDir, id)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, results.TrialFile), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	trial("000-direct-steady", `{"id": "000-direct-steady", "index": 0}`)
	trial("001-direct-steady", `{"id": "001-dir`)
	trials, err := run.Trials()
	if err == nil || !strings.Contains(err.Error(), "001-direct-steady") {
		t.Errorf("error %v, want one that names the broken trial", err)
	}
	if len(trials) != 1 || trials[0].Verdict.Valid || !strings.Contains(strings.Join(trials[0].Verdict.Reasons, ""), "interrupted") {
		t.Errorf("trials %+v, want the first, as interrupted", trials)
	}
}

// A file that cannot be put in its place leaves nothing beside it.
func TestWriteJSONLeavesNothingHalfMade(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, results.TrialFile)
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := results.WriteJSON(path, 1); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names the file", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v is left (%v), want the directory alone", entries, err)
	}
}

func TestEventsRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), results.EventsFile)
	if got, err := results.ReadEvents(path); got != nil || err != nil {
		t.Errorf("a missing log gave %v, %v", got, err)
	}
	want := []results.Event{
		{UnixNs: 1, Kind: results.EventPhase, Name: "deploy"},
		{UnixNs: 2, Kind: results.EventFault, Name: "pod-sigkill", Node: "worker-2", Target: "bench/x", Detail: map[string]string{"pid": "7"}},
	}
	for _, e := range want { // opened anew each time, as programs do that come and go
		log, err := results.OpenEvents(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(log.Add(e), log.Close()); err != nil {
			t.Fatal(err)
		}
	}
	got, err := results.ReadEvents(path)
	if err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("%v\n%s", err, cmp.Diff(want, got))
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"unix_ns": 3, "ki`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	got, err = results.ReadEvents(path)
	if len(got) != 2 || err == nil || !strings.Contains(err.Error(), ":3:") {
		t.Errorf("a torn last line gave %d events and %v, want 2 and an error with its line", len(got), err)
	}
}

func TestAccuracyRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), results.AccuracySecondsFile)
	if none, err := results.ReadAccuracy(path); err != nil || none != nil {
		t.Errorf("of no file %v, %v", none, err)
	}
	want := []results.Accuracy{{UnixNs: 1e9, Answers: 5, Right: 2, Stale: 1, Missing: 1, Wrong: 1}, {UnixNs: 2e9, Answers: 1, Right: 1}}
	if err := results.WriteAccuracy(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := results.ReadAccuracy(path)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Error(err, d)
	}
}

// The JSON names are the contract: they may grow, and none may change.
func TestNamesOfV1(t *testing.T) {
	for _, name := range []string{results.ManifestFile, filepath.Join(results.TrialsDir, "016-direct-fault", results.TrialFile)} {
		b, err := os.ReadFile(filepath.Join(v1, name))
		if err != nil {
			t.Fatal(err)
		}
		var v any = &results.Manifest{}
		if filepath.Base(name) == results.TrialFile {
			v = &results.Trial{}
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		if err := dec.Decode(v); err != nil {
			t.Errorf("%s: a field of version 1 has no home any more: %v", name, err)
		}
	}
}
