// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/internal/results"
)

func TestMergeSamples(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, rows ...results.Sample) string {
		path := filepath.Join(dir, name)
		w, err := results.CreateRows[results.Sample](path)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(rows...); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one := []results.Sample{
		{Client: "one", IntendedNs: 99, DNSQueries: 1, Error: results.ErrReset}, // warm-up
		{Client: "one", Seq: 1, IntendedNs: 100, DNSQueries: 2},
		{Client: "one", Seq: 2, IntendedNs: 150, Error: results.ErrReset},
		{Client: "one", Seq: 2, Attempt: 1, IntendedNs: 150},
	}
	two := []results.Sample{
		{Client: "two", IntendedNs: 199, Status: 200},
		{Client: "two", Seq: 1, IntendedNs: 200, Error: results.ErrTimeout}, // after the window
	}
	merged := filepath.Join(dir, "merged")
	o, err := mergeSamples(merged, []string{write("1", one...), write("2", two...)}, 100, 200)
	if err != nil {
		t.Fatal(err)
	}
	if o.requests != 3 || o.failed != 1 || o.lookups != 2 {
		t.Errorf("counted %d requests, %d failed, %d lookups, want 3, 1 and 2", o.requests, o.failed, o.lookups)
	}
	var got []results.Sample
	if err := results.ReadRows(merged, func(rows []results.Sample) error { got = append(got, rows...); return nil }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(append(one, two...), got); d != "" {
		t.Error(d)
	}
	if _, err := mergeSamples(merged+"2", []string{filepath.Join(dir, "none")}, 0, 1); err == nil {
		t.Error("no error for a file that is not there")
	}
}

func TestMergeHistograms(t *testing.T) {
	dir := t.TempDir()
	whole := hdrhistogram.New(1, 1e12, 3)
	write := func(name string, start int64, values ...int64) string {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		h := hdrhistogram.New(1, 1e12, 3)
		h.SetStartTimeMs(start)
		h.SetEndTimeMs(start + 1000)
		for _, v := range values {
			if err := h.RecordValue(v); err != nil {
				t.Fatal(err)
			}
			if err := whole.RecordValue(v); err != nil {
				t.Fatal(err)
			}
		}
		w := hdrhistogram.NewHistogramLogWriter(f)
		if err := w.OutputLogFormatVersion(); err != nil {
			t.Fatal(err)
		}
		if err := w.OutputIntervalHistogram(h); err != nil {
			t.Fatal(err)
		}
		return path
	}
	merged := filepath.Join(dir, "merged")
	paths := []string{write("1", 1_700_000_000_000, 1000, 2_000_000), write("2", 1_700_000_000_500, 5_000_000, 7, 900_000_000)}
	sum, err := mergeHistograms(merged, paths)
	if err != nil {
		t.Fatal(err)
	}
	again, err := readHistogram(merged)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []*hdrhistogram.Histogram{sum, again} {
		if !h.Equals(whole) {
			t.Errorf("merged %v, want %v", h.Distribution(), whole.Distribution())
		}
	}
	if again.StartTimeMs() != 1_700_000_000_000 || again.EndTimeMs() != 1_700_000_001_500 {
		t.Errorf("merged interval %d to %d", again.StartTimeMs(), again.EndTimeMs())
	}
	if err := os.WriteFile(merged, []byte("#[Histogram log format version 1.3]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readHistogram(merged); err == nil || !strings.Contains(err.Error(), "no interval") {
		t.Errorf("an empty log: %v", err)
	}
}

func TestParseHost(t *testing.T) {
	got, err := parseHost("6.1.0\nARM Cortex-A76\n4\n8129040\n0b00\n")
	want := results.Host{Kernel: "6.1.0", CPU: "ARM Cortex-A76", CPUs: 4, Memory: 8129040 << 10, BootID: "0b00"}
	if err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "a\nb\nc\nd\ne", "a\nb\n1\nd\ne", "a\nb\n1\n2"} {
		if _, err := parseHost(bad); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
	if out, err := (here{}).Shell(t.Context(), "here", hostScript, nil); err != nil {
		t.Error(err)
	} else if h, err := parseHost(string(out)); err != nil || h.CPUs < 1 || h.Memory == 0 {
		t.Errorf("this machine: %+v, %v", h, err)
	}
}

func TestSplitImage(t *testing.T) {
	for in, want := range map[string][2]string{
		"testbed.local/nginx:1.22.1": {"nginx", "1.22.1"}, "host:5000/a/b:2": {"b", "2"}, "plain": {"plain", ""},
	} {
		if name, tag := splitImage(in); name != want[0] || tag != want[1] {
			t.Errorf("%s: %q %q", in, name, tag)
		}
	}
}
