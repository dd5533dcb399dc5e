// SPDX-License-Identifier: Apache-2.0

package digest_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/thin"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

const v1 = "../../../../internal/results/testdata/v1/quickstart/20261121T200000Z"

func open(t testing.TB, dir string) *digest.Run {
	t.Helper()
	run, err := digest.Open(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func system(t testing.TB, run *digest.Run, name string) *digest.System {
	t.Helper()
	cells := run.Cells()
	if len(cells) != 1 {
		t.Fatalf("%d cells, want 1", len(cells))
	}
	i := slices.IndexFunc(cells[0].Systems, func(s digest.System) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no system %s", name)
	}
	return &cells[0].Systems[i]
}

// Every number of the result, counted again from the samples with no histogram, no stream and no code of digest.
func TestAgainstBruteForce(t *testing.T) {
	run := open(t, v1)
	if n := run.Damaged(); n != 0 {
		t.Errorf("the test run is damaged: %v", run.AllWarnings())
	}
	for i := range run.Trials {
		trial := &run.Trials[i]
		var ms []float64
		var failed uint64
		first, last := int64(math.MaxInt64), int64(0)
		err := results.ReadRows(filepath.Join(trial.Dir, results.SamplesFile), func(rows []results.Sample) error {
			for _, s := range rows {
				switch {
				case s.IntendedNs < trial.WindowStartNs || s.IntendedNs >= trial.WindowEndNs:
				case s.OK():
					ms = append(ms, float64(s.TotalNs)/1e6)
				default:
					failed++
					first, last = min(first, s.IntendedNs), max(last, s.IntendedNs+s.TotalNs)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if trial.Failed != failed || trial.Requests != failed+uint64(len(ms)) {
			t.Errorf("%s: %d of %d failed, want %d of %d", trial.ID, trial.Failed, trial.Requests, failed, failed+uint64(len(ms)))
		}
		for _, p := range []float64{50, 90, 99} {
			got, ok := trial.Latency.PercentileNs(p)
			slices.Sort(ms)
			want := ms[int(math.Ceil(p/100*float64(len(ms))))-1]
			if supported := float64(len(ms))*(1-p/100) >= stats.TailSupport; ok != supported && p > 50 {
				t.Errorf("%s: p%v published: %v, want %v", trial.ID, p, ok, supported)
			}
			if math.Abs(float64(got)/1e6-want) > 0.002*want {
				t.Errorf("%s: p%v is %v ms, want %v", trial.ID, p, float64(got)/1e6, want)
			}
		}
		if p := trial.Phases; math.Abs((p.Lag+p.DNS+p.Connect+p.TLS+p.FirstByte+p.Rest)/1e6-stats.Mean(ms)) > 1e-6 {
			t.Errorf("%s: the phases do not add up to the mean of %v ms: %+v", trial.ID, stats.Mean(ms), p)
		}
		if failed == 0 {
			continue
		}
		if o := trial.Outage; o.Failed != failed || o.FirstNs != first || o.LastNs != last {
			t.Errorf("%s: outage %+v, want %d failures from %d to %d", trial.ID, o, failed, first, last)
		}
		requests, failures := 0.0, 0.0
		for i := range trial.Timeline.OK {
			requests += trial.Timeline.OK[i] + trial.Timeline.Failed[i]
			failures += trial.Timeline.Failed[i]
		}
		if uint64(requests) != trial.Requests || uint64(failures) != failed {
			t.Errorf("%s: the timeline holds %v of %v, want %d of %d", trial.ID, failures, requests, failed, trial.Requests)
		}
	}
}

// CPU seconds for 1,000 requests, by hand.
func TestUsage(t *testing.T) {
	run := open(t, v1)
	s := system(t, run, "envoy")
	for _, trial := range s.Steady {
		want := map[string]float64{}
		softirq, busy, all := 0.0, 0.0, 0.0
		err := results.ReadRows(filepath.Join(trial.Dir, results.ResourcesFile), func(rows []results.Resource) error {
			for _, r := range rows {
				if r.Component == results.ComponentHost {
					softirq += float64(r.SoftirqNs)
					busy += float64(r.CPUNs)
					continue
				}
				want[r.Component] += float64(r.CPUNs)
				all += float64(r.CPUNs)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		const requests = 1200
		near := func(got, ns float64) bool { return math.Abs(got-ns/1e9*1000/requests) < 1e-9 }
		for component, ns := range want {
			if !near(trial.Usage.Component[component], ns) {
				t.Errorf("%s: %s %v s, want %v ns for %d requests", trial.ID, component, trial.Usage.Component[component], ns, requests)
			}
		}
		path := want["proxy"] + want["controller"] + want["resolver"] + want["dnsingress"]
		if !near(trial.Usage.Path(), path) || !near(trial.Usage.Softirq, softirq) || !near(trial.Usage.Unattributed, busy-all) {
			t.Errorf("%s: path %v, softirq %v, unattributed %v", trial.ID, trial.Usage.Path(), trial.Usage.Softirq, trial.Usage.Unattributed)
		}
	}
	if got := s.Usage().Path(); math.Abs(got-s.CPU.Median) > 1e-12 {
		t.Errorf("the drawn bar ends at %v, the table says %v", got, s.CPU.Median)
	}
}

func TestCells(t *testing.T) {
	run := open(t, v1)
	cells := run.Cells()
	var got []string
	for _, s := range cells[0].Systems {
		got = append(got, s.Name)
	}
	if want := "direct dnsingress nginx traefik envoy"; strings.Join(got, " ") != want {
		t.Errorf("systems in the order %v, want %s", got, want)
	}
	if s := system(t, run, "traefik"); len(s.Steady) != 3 || s.Recorded != 4 || len(s.Faults) != 1 {
		t.Errorf("traefik: %d of %d steady, %d faults; want 3 of 4 and 1", len(s.Steady), s.Recorded, len(s.Faults))
	}
	if c := cells[0].Compare("dnsingress"); len(c) != 0 {
		t.Errorf("three trials gave tests: %+v", c)
	}

	// Trials at different levels of another factor are never pooled.
	run.Manifest.Factors["connection"] = []string{"new", "keepalive"}
	for i := range run.Trials {
		if i%2 == 1 {
			run.Trials[i].Factors = map[string]string{"connection": "keepalive"}
		}
	}
	cells = run.Cells()
	if len(cells) != 2 || cells[0].Levels != "connection=keepalive" || cells[1].Levels != "connection=new" {
		t.Errorf("cells %+v", cells)
	}
}

// With six trials each there are tests, corrected for their number.
func TestCompare(t *testing.T) {
	run := open(t, v1)
	var more []digest.Trial
	for _, trial := range run.Trials {
		if trial.System == "nginx" || trial.System == "dnsingress" {
			more = append(more, trial, trial)
		}
	}
	run.Trials = more
	cells := run.Cells()
	got := cells[0].Compare("dnsingress")
	if len(got) != 2 || got[1].Quantity != "CPU" || got[1].Delta != 1 || got[1].Adjusted < got[1].P || got[1].Adjusted > 0.05 {
		t.Errorf("comparisons %+v, want nginx's CPU time above that of dnsingress", got)
	}
	if s := cells[0].Systems[0]; s.P50.Interval == nil || len(s.P50.Warnings) == 0 {
		t.Errorf("six trials: interval %v, warnings %v", s.P50.Interval, s.P50.Warnings)
	}
	if got := cells[0].Compare("absent"); got != nil {
		t.Errorf("compared with a system that is not there: %v", got)
	}
}

// copyRun copies the test run, to be changed.
func copyRun(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.CopyFS(dir, os.DirFS(v1)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rewrite puts other samples in the place of a trial's.
func rewrite(t testing.TB, dir, trial string, change func(s *results.Sample) (keep bool)) {
	t.Helper()
	path := filepath.Join(dir, results.TrialsDir, trial, results.SamplesFile)
	var rows []results.Sample
	if err := results.ReadRows(path, func(batch []results.Sample) error {
		for _, s := range batch {
			if change(&s) {
				rows = append(rows, s)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w, err := results.CreateRows[results.Sample](path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(rows...), w.Close()); err != nil {
		t.Fatal(err)
	}
}

func trialOf(t testing.TB, run *digest.Run, id string) *digest.Trial {
	t.Helper()
	for i := range run.Trials {
		if run.Trials[i].ID == id {
			return &run.Trials[i]
		}
	}
	t.Fatalf("no trial %s", id)
	return nil
}

// The accounts of a trial are held against each other, and a contradiction is said.
func TestContradictions(t *testing.T) {
	const id = "000-direct-steady"
	n := 0
	for _, tc := range []struct {
		name   string
		change func(s *results.Sample) bool
		says   []string
	}{
		{"rows are missing", func(s *results.Sample) bool { return s.Seq%3 != 0 }, []string{"the histogram holds 1200 successful requests, the samples", "the generators intended 1200"}},
		{"negative times", func(s *results.Sample) bool {
			if s.Seq == 100 {
				s.TotalNs = -5
			}
			return true
		}, []string{"2 rows with negative times were left out"}},
		{"no sample in the window", func(s *results.Sample) bool { s.IntendedNs, s.SentNs = 1, 2; return true }, []string{"none of the 1300 samples lies in the window"}},
		{"retries", func(s *results.Sample) bool {
			if n++; n == 200 {
				s.Attempt = 1
			}
			return true
		}, []string{"1 attempts were retries"}},
		{"longer than a histogram", func(s *results.Sample) bool {
			if s.Seq == 300 {
				s.TotalNs = math.MaxInt64 / 2
			}
			return true
		}, []string{"2 requests took longer than a histogram holds"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := copyRun(t)
			rewrite(t, dir, id, tc.change)
			trial := trialOf(t, open(t, dir), id)
			all := ""
			for _, w := range trial.Warnings {
				all += w.String() + "\n"
			}
			for _, want := range tc.says {
				if !strings.Contains(all, want) {
					t.Errorf("warnings:\n%swant %q", all, want)
				}
			}
		})
	}
}

// A thinned copy of a run with retries has the run's requests and retries, though most successes are gone.
func TestThinnedRetries(t *testing.T) {
	const id, retries = "000-direct-steady", 30
	dir, small := copyRun(t), filepath.Join(t.TempDir(), "small")
	path := filepath.Join(dir, results.TrialsDir, id, results.SamplesFile)
	window := trialOf(t, open(t, v1), id).WindowStartNs
	var rows []results.Sample
	done := 0
	if err := results.ReadRows(path, func(batch []results.Sample) error {
		for _, s := range batch {
			if done < retries && s.OK() && s.IntendedNs >= window {
				done++
				first := s
				first.Error, first.TotalNs, s.Attempt = results.ErrReset, s.SentNs-s.IntendedNs, 1
				rows = append(rows, first)
			}
			rows = append(rows, s)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w, err := results.CreateRows[results.Sample](path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(rows...), w.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := thin.Copy(t.Context(), dir, small, thin.Rule{Steady: 10, Fault: 1}, false); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, small} {
		trial := trialOf(t, open(t, dir), id)
		if trial.Requests != 1200+retries || trial.Failed != retries || len(trial.Warnings) != 1 || trial.Warnings[0].Damage ||
			!strings.Contains(trial.Warnings[0].Text, "30 attempts were retries") {
			t.Errorf("%s: %d requests, %d failed, warnings %v", filepath.Base(dir), trial.Requests, trial.Failed, trial.Warnings)
		}
	}
}

// Where the histogram is gone the samples serve, and the other way round.
func TestOneOfTwoSources(t *testing.T) {
	want := trialOf(t, open(t, v1), "000-direct-steady")
	for _, missing := range []string{results.HistogramFile, results.SamplesFile} {
		dir := copyRun(t)
		if err := os.Remove(filepath.Join(dir, results.TrialsDir, want.ID, missing)); err != nil {
			t.Fatal(err)
		}
		got := trialOf(t, open(t, dir), want.ID)
		a, _ := got.Latency.PercentileNs(99)
		b, _ := want.Latency.PercentileNs(99)
		if got.Latency.Count() != want.Latency.Count() || a != b || got.Requests != want.Requests {
			t.Errorf("without %s: %d requests, p99 %d; want %d, %d", missing, got.Requests, a, want.Requests, b)
		}
		if len(got.Warnings) == 0 || !got.Warnings[0].Damage {
			t.Errorf("without %s: no damage is reported", missing)
		}
	}
}

// Between machines, the fault's instant is moved to the clients' clocks; on one kernel, no measured offset is believed.
func TestClocks(t *testing.T) {
	const id, offset = "016-direct-fault", int64(700e6)
	dir := copyRun(t)
	run, err := results.OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range run.Manifest.Hosts {
		if h := &run.Manifest.Hosts[i]; h.Name == "worker-2" { // the fault's node
			h.ClockOffsetNs += offset
		}
	}
	if err := run.SaveManifest(); err != nil {
		t.Fatal(err)
	}
	want := trialOf(t, open(t, v1), id)
	if got := trialOf(t, open(t, dir), id); got.Outage != want.Outage || got.ClockBoundNs != 0 {
		t.Errorf("one kernel: outage %+v ± %d, want %+v", got.Outage, got.ClockBoundNs, want.Outage)
	}
	for i := range run.Manifest.Hosts {
		run.Manifest.Hosts[i].BootID = run.Manifest.Hosts[i].Name
	}
	if err := run.SaveManifest(); err != nil {
		t.Fatal(err)
	}
	got := trialOf(t, open(t, dir), id)
	if got.Outage.FirstNs-want.Outage.FirstNs != offset || got.ClockBoundNs != 180_000 {
		t.Errorf("own kernels: moved by %d ± %d, want %d ± 180000", got.Outage.FirstNs-want.Outage.FirstNs, got.ClockBoundNs, offset)
	}
}

// Trials of other programs than the run began with are told of.
func TestResumed(t *testing.T) {
	dir := copyRun(t)
	run, err := results.OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	run.Manifest.Resumed = []results.Resumption{{At: at, Source: run.Manifest.Source}, {At: at.Add(time.Hour), Source: results.Source{Commit: "0123456789abcdef", Dirty: true}}}
	if err := run.SaveManifest(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, w := range open(t, dir).Warnings {
		if strings.Contains(w.Text, "trials from") {
			said = append(said, w.Text)
		}
	}
	want := "trials from 2026-11-23 13:00:00 on are of programs of commit 0123456789ab with changes, those before of commit "
	if len(said) != 1 || !strings.HasPrefix(said[0], want) {
		t.Errorf("%q, want one that begins with %q", said, want)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := digest.Open(ctx, v1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		open(b, v1)
	}
}
