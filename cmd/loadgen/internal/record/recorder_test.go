// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"io/fs"
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
	r, err := New(dir, begin, noFail(t))
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
	b, err := os.ReadFile(filepath.Join(dir, GeneratorFile))
	if err != nil || !strings.Contains(string(b), fmt.Sprintf(`"window_start_unix_ns": %d`, begin.UnixNano())) || !strings.Contains(string(b), `"requests": 10000`) {
		t.Errorf("%s: %s, %v", GeneratorFile, b, err)
	}
}

func TestCounts(t *testing.T) {
	begin := time.Now()
	r, err := New("", begin, noFail(t))
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
		r, err := New(t.TempDir(), begin, noFail(t))
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

// The generator's account is not written beside files that are torn.
func TestNoAccountOfTornFiles(t *testing.T) {
	dir := t.TempDir()
	r, err := New(dir, time.Now(), noFail(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, results.HistogramFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Close(true, time.Second); err == nil || !strings.Contains(err.Error(), results.HistogramFile) {
		t.Errorf("error %v, want one that names %s", err, results.HistogramFile)
	}
	if _, err := os.Stat(filepath.Join(dir, GeneratorFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there: %v", GeneratorFile, err)
	}
}

func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	r, err := New(dir, time.Now(), noFail(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Close(false, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := New(dir, time.Now(), noFail(t)); err == nil || !strings.Contains(err.Error(), "hint") {
		t.Errorf("a directory with samples: error %v", err)
	}
	if _, err := New(filepath.Join(dir, results.SamplesFile), time.Now(), noFail(t)); err == nil {
		t.Error("a file as a directory gave no error")
	}
}
