// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/internal/results"
)

func TestStaleness(t *testing.T) {
	const s = int64(1e9)
	const gone, stays = "fd00::1", "fd00::2"
	m := newStaleness(gone, 110*s, 100*s, 200*s, func(name string) bool { return name != "." })
	try := func(user int32, at int64, peer string) results.Sample {
		return results.Sample{User: user, IntendedNs: at * s, SentNs: at*s + 5e6, Peer: peer}
	}
	asked := try(2, 150, stays)
	asked.DNSNs, asked.DNSQueries = 3e6, 1
	cached := try(2, 151, stays)
	cached.DNSNs, cached.DNSCached = 1e3, true
	if err := m.samples([]results.Sample{
		try(1, 105, gone), // before the removal: no mistake
		try(1, 112, gone), try(1, 119, gone), try(1, 120, stays),
		try(2, 111, gone), asked, cached,
		try(3, 130, stays), // never met it
		try(4, 250, gone),  // after the window
	}); err != nil {
		t.Fatal(err)
	}
	if err := m.lookups([]results.Sample{
		{Request: results.LookupCold, IntendedNs: 50 * s, TotalNs: 8e6},
		{Request: results.LookupJoined, IntendedNs: 50*s + 1, TotalNs: 9e6},
		{Request: results.LookupWarm, IntendedNs: 51 * s, TotalNs: 1e6},
		{Request: results.LookupWarm, IntendedNs: 51 * s, TotalNs: 3e6},
		{Request: results.LookupCold, IntendedNs: 60 * s, TotalNs: 12e6},
		{Request: results.LookupCold, IntendedNs: 70 * s, TotalNs: 5e9, Error: "timeout"},
	}); err != nil {
		t.Fatal(err)
	}
	if err := m.asks([]results.Query{
		{AtNs: 49 * s, Level: "root", Name: "."}, // when the resolver started
		{AtNs: 50*s + 1e5, Level: "root", Name: "."},
		{AtNs: 50*s + 1e6, Level: "root"},
		{AtNs: 50*s + 2e6, Level: "leaf", Addresses: gone + "," + stays},
		{AtNs: 60*s + 2e6, Level: "leaf"},
		{AtNs: 109 * s, Level: "leaf", Addresses: gone + "," + stays},
		{AtNs: 110*s + 1e8, Level: "leaf", Addresses: stays + "," + gone},
		{AtNs: 120 * s, Level: "leaf", Addresses: stays},
		{AtNs: 130 * s, Level: "root"},
		{AtNs: 200 * s, Level: "root"},
	}); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"last_try_s": 9.005, "last_try_median_s": 1.005, "tries_of_the_removed_requests": 3, "leaf_gave_it_s": 0.1,
		"cold_ms": 10, "warm_ms": 2, "lookup_ms": 3,
		"window_priming_queries": 0, "cold_priming_queries": 0.5,
		"cold_root_queries": 0.5, "cold_upper_queries": 0, "cold_leaf_queries": 1,
		"window_root_queries": 1, "window_upper_queries": 0, "window_leaf_queries": 3,
	}
	if d := cmp.Diff(want, m.measures([]string{"root", "upper", "leaf"})); d != "" {
		t.Error(d)
	}
	steady := newStaleness("", 0, 100*s, 200*s, nil)
	if got := steady.measures(nil); len(got) != 1 {
		t.Errorf("nothing was removed, asked or resolved, and yet: %v", got)
	}
}

// TestLookups takes the archive of a client node apart, as tar(1) makes it.
func TestLookups(t *testing.T) {
	rows := []results.Sample{
		{Seq: 1, IntendedNs: 25e6, TotalNs: 30e6}, // came back before the first did
		{Seq: 0, IntendedNs: 0, TotalNs: 60e6},
		{Seq: 2, IntendedNs: 75e6, TotalNs: 1e6},
	}
	dir := t.TempDir()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, name := range []string{"./007-x/0/" + results.SamplesFile, "./007-x/0/generator.json", "./007-x/1/" + results.SamplesFile} {
		file := filepath.Join(dir, "rows")
		out, err := results.CreateRows[results.Sample](file)
		if err != nil {
			t.Fatal(err)
		}
		if err := out.Write(rows...); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := unpackSamples(archive.Bytes(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, results.LookupsFile)
	if err := writeLookups(to, files["007-x"]); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := results.ReadRows(to, func(rows []results.Sample) error {
		for _, r := range rows {
			got = append(got, r.Request)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{"joined", "cold", "warm", "joined", "cold", "warm"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := unpackSamples(archive.Bytes()[:700], t.TempDir()); err == nil {
		t.Error("an archive that was cut short is taken for whole")
	}
}
