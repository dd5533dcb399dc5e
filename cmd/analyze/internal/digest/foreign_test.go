// SPDX-License-Identifier: Apache-2.0

package digest_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/results"
)

const foreign = "000-direct-steady"

// samples returns a trial's rows.
func samples(t testing.TB, dir string) (rows []results.Sample) {
	t.Helper()
	if err := results.ReadRows(filepath.Join(dir, results.TrialsDir, foreign, results.SamplesFile), func(batch []results.Sample) error {
		rows = append(rows, batch...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return rows
}

// replaceRows writes rows of another shape in the place of a trial's samples, in row groups of a size.
func replaceRows[T any](t testing.TB, dir string, rows []T, group int64) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, results.TrialsDir, foreign, results.SamplesFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := parquet.NewGenericWriter[T](f, parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(group))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func said(trial *digest.Trial) string {
	var b strings.Builder
	for _, w := range trial.Warnings {
		fmt.Fprintf(&b, "%s\n", w.Text)
	}
	return b.String()
}

// pandas is how pandas writes samples back once a column had a NaN: nullable, times as floating point.
type pandas struct {
	Client     *string  `parquet:"client,optional,dict"`
	Attempt    *int64   `parquet:"attempt,optional"`
	IntendedNs int64    `parquet:"intended_ns"`
	SentNs     *float64 `parquet:"sent_ns,optional"`
	DNSNs      *float64 `parquet:"dns_ns,optional"`
	ConnectNs  int32    `parquet:"connect_ns,dict"`
	TLSNs      *int64   `parquet:"tls_ns,optional,dict"`
	FirstByte  float64  `parquet:"first_byte_ns"`
	TotalNs    *float64 `parquet:"total_ns,optional"`
	Error      *string  `parquet:"error,optional,dict"`
}

// What another program wrote back is read, number by number as if it were ours; what is no number is left out and said.
func TestColumnsOfOtherPrograms(t *testing.T) {
	dir := copyRun(t)
	want := trialOf(t, open(t, dir), foreign)
	float := func(v int64) *float64 { f := float64(v); return &f }
	var rows []pandas
	n := 0
	for _, s := range samples(t, dir) {
		attempt, client := int64(s.Attempt), s.Client
		r := pandas{
			Client: &client, Attempt: &attempt, IntendedNs: s.IntendedNs, SentNs: float(s.SentNs - s.SentNs%1024), DNSNs: float(s.DNSNs), ConnectNs: int32(s.ConnectNs),
			TLSNs: &s.TLSNs, FirstByte: float64(s.FirstByteNs), TotalNs: float(s.TotalNs),
		}
		if s.Error != "" {
			r.Error = &s.Error
		}
		if s.IntendedNs >= want.WindowStartNs && s.SentNs > s.IntendedNs+2048 {
			switch n++; n {
			case 10, 20:
				r.TotalNs = nil
			case 30:
				r.TotalNs = float(0)
				*r.TotalNs = math.NaN()
			case 40, 50:
				r.DNSNs = nil
			}
		}
		if r.SentNs != nil && int64(*r.SentNs) < s.IntendedNs { // a double holds an instant to 256 ns
			r.SentNs = float(s.IntendedNs + 2048)
		}
		rows = append(rows, r)
	}
	for _, group := range []int64{100, 1 << 20} {
		replaceRows(t, dir, rows, group)
		got := trialOf(t, open(t, dir), foreign)
		for _, want := range []string{"3 rows without a number for their time (NaN or null) were left out", "2 requests lack the time of a phase"} {
			if !strings.Contains(said(got), want) {
				t.Errorf("row groups of %d: warnings\n%swant %q", group, said(got), want)
			}
		}
		if got.Phases.Requests != want.Requests-want.Failed-5 || math.Abs(got.Phases.FirstByte-want.Phases.FirstByte) > 0.01*want.Phases.FirstByte {
			t.Errorf("row groups of %d: phases %+v, want about %+v", group, got.Phases, want.Phases)
		}
	}
}

// A row group of millions of rows is read in blocks, and its numbers are those of small ones.
func TestRowGroupsOfAnySize(t *testing.T) {
	dir := copyRun(t)
	want := trialOf(t, open(t, dir), foreign)
	var rows []results.Sample
	for range 200 {
		rows = append(rows, samples(t, dir)...)
		if len(rows) > 200_000 {
			break
		}
	}
	times := uint64(len(rows) / len(samples(t, dir)))
	if err := os.Remove(filepath.Join(dir, results.TrialsDir, foreign, results.HistogramFile)); err != nil {
		t.Fatal(err)
	}
	for _, group := range []int64{7_777, 1 << 30} {
		replaceRows(t, dir, rows, group)
		got := trialOf(t, open(t, dir), foreign)
		if got.Requests != times*want.Requests || got.Phases.Requests != times*want.Phases.Requests || math.Abs(got.Phases.Connect-want.Phases.Connect) > 1e-6*want.Phases.Connect {
			t.Errorf("row groups of %d: %d requests, phases %+v; want %d times %d, %+v", group, got.Requests, got.Phases, times, want.Requests, want.Phases)
		}
	}
}

// Without a column that phases need the rest is counted; without one that says when or how long, nothing is, and it is named.
func TestMissingColumns(t *testing.T) {
	type fewer struct {
		Client     string `parquet:"client,dict"`
		Attempt    string `parquet:"attempt,dict"` // no number
		IntendedNs int64  `parquet:"intended_ns"`
		SentNs     int64  `parquet:"sent_ns"`
		TotalNs    int64  `parquet:"total_ns"`
		Error      string `parquet:"error,dict"`
	}
	dir := copyRun(t)
	want := trialOf(t, open(t, dir), foreign)
	var rows []fewer
	for _, s := range samples(t, dir) {
		rows = append(rows, fewer{s.Client, "0", s.IntendedNs, s.SentNs, s.TotalNs, s.Error})
	}
	replaceRows(t, dir, rows, 1000)
	run := open(t, dir)
	got := trialOf(t, run, foreign)
	if says := "its samples have no column dns_ns, connect_ns, tls_ns, first_byte_ns, attempt, or none of numbers"; !strings.Contains(said(got), says) || run.Damaged() != 1 {
		t.Errorf("warnings\n%swant %q alone", said(got), says)
	}
	a, _ := got.Latency.PercentileNs(99)
	b, _ := want.Latency.PercentileNs(99)
	if got.Requests != want.Requests || got.Failed != want.Failed || a != b || got.Phases.Requests != 0 {
		t.Errorf("%d requests, %d failed, p99 %d, phases %+v; want %d, %d, %d and none", got.Requests, got.Failed, a, got.Phases, want.Requests, want.Failed, b)
	}
	type none struct {
		IntendedNs int64 `parquet:"intended_ns"`
	}
	replaceRows(t, dir, []none{{1}}, 10)
	if got := said(trialOf(t, open(t, dir), foreign)); !strings.Contains(got, "column total_ns is missing or of another type") {
		t.Errorf("warnings\n%s", got)
	}
}

// editTrial changes a trial's trial.json.
func editTrial(t testing.TB, dir, trial string, change func(map[string]any)) {
	t.Helper()
	path := filepath.Join(dir, results.TrialsDir, trial, results.TrialFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v := map[string]any{}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	change(v)
	if err := results.WriteJSON(path, v); err != nil {
		t.Fatal(err)
	}
}

// A trial of a later schema is left out and the others are used; trials of unequal length are, and it is said.
func TestMixedTrials(t *testing.T) {
	dir := copyRun(t)
	editTrial(t, dir, foreign, func(v map[string]any) { v["schema_version"] = 2 })
	editTrial(t, dir, "001-nginx-steady", func(v map[string]any) {
		v["window_end_unix_ns"] = int64(v["window_end_unix_ns"].(float64)) - 6e9
	})
	run := open(t, dir)
	if got := trialOf(t, run, foreign); got.Used() || !strings.Contains(said(got), "left out: its schema version is 2, this program reads 1 to 1") {
		t.Errorf("used %v, warnings\n%s", got.Used(), said(got))
	}
	all := fmt.Sprint(run.Warnings)
	if want := "steady trials are of unequal length, 6 to 12 s: each still counts as one"; !strings.Contains(all, want) {
		t.Errorf("warnings %s, want %q", all, want)
	}
	if s := system(t, run, "direct"); len(s.Steady) != 2 || s.Recorded != 3 {
		t.Errorf("%d of %d steady trials are used, want 2 of 3", len(s.Steady), s.Recorded)
	}
}

// Which pod answered when, and what happened, is kept by trial.
func TestHeatAndEvents(t *testing.T) {
	dir := copyRun(t)
	const id = "016-direct-fault"
	n := 0
	rewrite(t, dir, id, func(s *results.Sample) bool {
		if s.OK() {
			n++
			s.Backend = fmt.Sprintf("backend-%d", n%4)
		}
		return true
	})
	log, err := results.OpenEvents(filepath.Join(dir, results.TrialsDir, id, results.EventsFile))
	if err != nil {
		t.Fatal(err)
	}
	before := trialOf(t, open(t, v1), id)
	if err := log.Add(results.Event{UnixNs: before.Fault.BeginNs + 1_500_000_000, Kind: results.EventPool, Name: "unready"}); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	got := trialOf(t, open(t, dir), id)
	if got.Heat == nil || len(got.Heat.Pods) != 4 {
		t.Fatalf("heat %+v, want four pods", got.Heat)
	}
	sum := 0.0
	for _, total := range got.Heat.Totals() {
		sum += total
		if total < 100 {
			t.Errorf("a pod answered %v", total)
		}
	}
	if uint64(sum) != got.Requests-got.Failed {
		t.Errorf("pods answered %v of %d", sum, got.Requests-got.Failed)
	}
	if !slices.ContainsFunc(got.Events, func(e digest.Event) bool { return e.Name == "unready" && e.AtNs == 1_500_000_000 }) {
		t.Errorf("events %+v", got.Events)
	}
	for _, name := range []string{"p50", "p99", "failed", "answered", "gini", "jain", "outage"} {
		q, ok := digest.QuantityOf(name)
		if !ok {
			t.Fatalf("no quantity %s", name)
		}
		if _, ok := q.Of(got); !ok {
			t.Errorf("the trial has no %s", name)
		}
	}
	gini, _ := digest.QuantityOf("gini")
	if v, _ := gini.Of(got); v > 0.02 {
		t.Errorf("Gini %v of pods that answered in turn", v)
	}
}
