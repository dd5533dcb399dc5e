// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/internal/results"
)

func noFail(t *testing.T) func(error) { return func(err error) { t.Error(err) } }

// sample is a request due at, sent lag later, that took total from then on.
func sample(at time.Time, lag, total time.Duration) *results.Sample {
	return &results.Sample{
		Client: "c", IntendedNs: at.UnixNano(), SentNs: at.Add(lag).UnixNano(), TotalNs: int64(total),
		ConnectNs: int64(total / 4), FirstByteNs: int64(total / 2), Status: 200, Peer: "::1", Bytes: 10,
	}
}

// What is read back from the files is what the summary says, and it is exact to three digits.
func TestFilesHoldWhatWasAdded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	begin := time.Unix(1_800_000_000, 0)
	r, err := New(Options{Dir: dir, Begin: begin, Fail: noFail(t)})
	if err != nil {
		t.Fatal(err)
	}
	const warm, n = 50, 10000
	rng := rand.New(rand.NewPCG(1, 2))
	var want []results.Sample
	var totals []int64
	for i := range warm + n {
		at := begin.Add(time.Duration(i-warm) * time.Millisecond)
		total := time.Duration(rng.ExpFloat64() * float64(10*time.Millisecond))
		s := sample(at, 10*time.Microsecond, total)
		s.Seq = uint64(i)
		want = append(want, *s)
		if i >= warm {
			totals = append(totals, int64(total))
		}
	}
	r.Open()
	var wg sync.WaitGroup
	for part := range slices.Chunk(want, 1000) {
		wg.Go(func() {
			for i := range part {
				r.Add(&part[i], true, nil)
			}
		})
	}
	wg.Wait()
	r.Shut()
	s, err := r.Close(true, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}

	var got []results.Sample
	if err := results.ReadRows(filepath.Join(dir, results.SamplesFile), func(rows []results.Sample) error {
		got = append(got, rows...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b results.Sample) int { return int(a.Seq) - int(b.Seq) })
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("samples.parquet (-added +read):\n%s", d)
	}

	f, err := os.Open(filepath.Join(dir, results.HistogramFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	log := hdrhistogram.NewHistogramLogReader(f)
	h, err := log.NextIntervalHistogram()
	if err != nil || h.TotalCount() != n {
		t.Fatalf("histogram.hlog: %v, %v; want %d values", h, err, n)
	}
	slices.Sort(totals)
	for _, p := range []struct {
		q   float64
		got int64
	}{{50, s.Latency.Total.P50}, {90, s.Latency.Total.P90}, {99, s.Latency.Total.P99}, {99.9, s.Latency.Total.P999}, {100, s.Latency.Total.Max}} {
		exact := totals[max(0, int(p.q/100*n+0.5)-1)]
		if diff := float64(p.got-exact) / float64(exact); diff < -0.001 || diff > 0.001 {
			t.Errorf("p%g is %d, sorted samples say %d (%.3f %%)", p.q, p.got, exact, 100*diff)
		}
		if v := h.ValueAtPercentile(p.q); p.q < 100 && v != p.got {
			t.Errorf("p%g is %d in the log, %d in the summary", p.q, v, p.got)
		}
	}
	if s.Requests != n || s.Warmup != warm || s.Succeeded != n || s.Attempts != n || s.Bytes != 10*n || s.Peers["::1"] != n || s.Statuses[200] != n {
		t.Errorf("%+v", s)
	}
	if s.Rate.Intended != 1000 || s.WindowStartNs != begin.UnixNano() || s.WindowEndNs != begin.Add(10*time.Second).UnixNano() {
		t.Errorf("%+v", s)
	}
	tagged, err := results.ReadHistograms(filepath.Join(dir, results.PhasesFile))
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]Percentiles{"connect": s.Latency.Connect, "first_byte": s.Latency.FirstByte, "lag": s.Lag, "dns": {}} {
		if h := tagged[tag]; h == nil || percentiles(h) != want {
			t.Errorf("%s: %s is %+v, want %+v", results.PhasesFile, tag, h, want)
		}
	}
}

// Thinning leaves out samples and nothing else.
func TestThin(t *testing.T) {
	dir := t.TempDir()
	begin := time.Now()
	r, err := New(Options{Dir: dir, Begin: begin, Thin: 10, Fail: noFail(t)})
	if err != nil {
		t.Fatal(err)
	}
	r.Open()
	for i := range 1000 {
		s := sample(begin.Add(time.Duration(i)*time.Millisecond), 0, time.Millisecond)
		s.Seq = uint64(i)
		if i%100 == 5 {
			s.Error = results.ErrReset
		}
		r.Add(s, true, nil)
	}
	r.Shut()
	s, err := r.Close(true, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	kept, failed := 0, 0
	if err := results.ReadRows(filepath.Join(dir, results.SamplesFile), func(rows []results.Sample) error {
		for _, s := range rows {
			if kept++; !s.OK() {
				failed++
			} else if s.Seq%10 != 0 {
				t.Errorf("kept %d", s.Seq)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if kept != 110 || failed != 10 || s.Requests != 1000 || s.Latency.Total.Count != 990 || !strings.Contains(s.Thinning, "seq 10 divides") {
		t.Errorf("%d kept, %d failed of them; %+v", kept, failed, s)
	}
}

// A generator that was late, or had no CPU time left, says that its figures are not to be used.
func TestVerdict(t *testing.T) {
	tests := []struct {
		name   string
		s      Summary
		reason string
	}{
		{"good", Summary{Generator: results.Generator{LagP99Ns: 1e6}, CPUShare: 0.5, CPUs: 1}, ""},
		{"late", Summary{Generator: results.Generator{LagP99Ns: 11e6}, CPUs: 1}, "p99 of its send lag is 11ms, bound 10ms"},
		{"busy", Summary{CPUShare: 0.71, CPUs: 2}, "71 % of its 2 CPUs, bound 70 %"},
	}
	for _, tt := range tests {
		tt.s.Judge(Bounds{LagP99: 10 * time.Millisecond, CPU: 0.7})
		if v := tt.s.Verdict; v.Valid != (tt.reason == "") || !strings.Contains(strings.Join(v.Reasons, "\n"), tt.reason) {
			t.Errorf("%s: %+v", tt.name, v)
		}
		if tt.s.Judge(Bounds{}); !tt.s.Verdict.Valid {
			t.Errorf("%s: with no bounds: %+v", tt.name, tt.s.Verdict)
		}
	}
}

// What came between two looks is told exactly, and looks at several generators are added exactly.
func TestProgress(t *testing.T) {
	begin := time.Now()
	r, err := New(Options{Begin: begin, Fail: noFail(t)})
	if err != nil {
		t.Fatal(err)
	}
	r.Add(sample(begin, 0, time.Millisecond), true, nil)
	first := r.Progress()
	failed := sample(begin, 2*time.Millisecond, time.Second)
	failed.Error = results.ErrReset
	r.Add(failed, true, nil)
	r.Add(sample(begin, 0, time.Second), true, nil)
	second := r.Progress()
	d := second.Since(&first)
	if d.Requests != 2 || d.Failed() != 1 || d.Late != 1 || d.Total.TotalCount() != 1 || d.Total.Min() < 999e6 || first.Total.TotalCount() != 1 {
		t.Errorf("%+v", d)
	}
	all := NewProgress()
	all.Merge(&first)
	all.Merge(&d)
	if d := cmp.Diff(second.Total.Export(), all.Total.Export()); d != "" || all.Requests != 3 || all.Errors[results.ErrReset] != 1 {
		t.Errorf("%+v %s", all, d)
	}
}

func TestCounts(t *testing.T) {
	begin := time.Now()
	r, err := New(Options{Dir: "", Begin: begin, Fail: noFail(t)})
	if err != nil {
		t.Fatal(err)
	}
	r.Open()
	add := func(class string, attempt int32, lag time.Duration, last bool) {
		s := sample(begin.Add(time.Millisecond), lag, 5*time.Millisecond)
		s.Error, s.Attempt = class, attempt
		if class == results.ErrDropped {
			s.SentNs = 0
		}
		r.Add(s, last, errors.New("because "+class))
	}
	add("", 0, 0, true)
	add(results.ErrReset, 0, 2*time.Millisecond, false) // late, then retried with success
	add("", 1, 3*time.Millisecond, true)
	add(results.ErrTimeout, 0, time.Millisecond, true) // not late: exactly 1 ms
	add(results.ErrDropped, 0, 0, true)
	r.Shut()
	s, err := r.Close(true, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if s.Requests != 4 || s.Attempts != 4 || s.Succeeded != 2 || s.Dropped != 1 || s.Late != 1 {
		t.Errorf("%+v", s)
	}
	if d := cmp.Diff(map[string]uint64{"reset": 1, "timeout": 1, "dropped": 1}, s.Errors); d != "" {
		t.Error(d)
	}
	if s.Lag.Count != 3 || s.Latency.Total.Count != 2 || s.Latency.DNS.Count != 0 || s.Latency.Connect.Count != 2 {
		t.Errorf("%+v", s.Latency)
	}
	if s.Causes["reset"] != "because reset" {
		t.Errorf("%v", s.Causes)
	}
	// Over a window of microseconds the share of a CPU may be anything: another warning may stand beside.
	if !strings.Contains(strings.Join(s.Warnings, "\n"), "dropped 1") {
		t.Errorf("%v", s.Warnings)
	}
}

// A run that ends early has the window that passed; one that ends in its warm-up has none.
func TestInterrupted(t *testing.T) {
	for _, early := range []bool{false, true} {
		begin := time.Now()
		if early {
			begin = begin.Add(time.Hour)
		}
		r, err := New(Options{Dir: t.TempDir(), Begin: begin, Fail: noFail(t)})
		if err != nil {
			t.Fatal(err)
		}
		if !early {
			r.Open()
		}
		r.Shut()
		s, err := r.Close(false, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if w := time.Duration(s.WindowEndNs - s.WindowStartNs); !s.Interrupted || w < 0 || w > time.Minute || early && (w != 0 || s.ElapsedNs != 0 || s.CPUNs != 0) {
			t.Errorf("window %v, %+v", w, s.Generator)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	r, err := New(Options{Dir: dir, Begin: time.Now(), Fail: noFail(t)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Close(false, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Dir: dir, Begin: time.Now(), Fail: noFail(t)}); err == nil || !strings.Contains(err.Error(), "hint") {
		t.Errorf("a directory with samples: error %v", err)
	}
	if _, err := New(Options{Dir: filepath.Join(dir, results.SamplesFile), Begin: time.Now(), Fail: noFail(t)}); err == nil {
		t.Error("a file as a directory gave no error")
	}
}
