// SPDX-License-Identifier: Apache-2.0

package export_test

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/export"
	"github.com/dnsingress/dnsingress/internal/results"
)

const v1 = "../../../../internal/results/testdata/v1/quickstart/20261121T200000Z"

func open(t *testing.T, dir string) *digest.Run {
	t.Helper()
	run, err := digest.Open(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func names() (out []string) {
	for _, t := range export.Tables() {
		out = append(out, t.Name)
	}
	return out
}

// table reads an exported Parquet file: its rows by name of column, as text.
func table(t *testing.T, path string) []map[string]string {
	t.Helper()
	f, closer, err := results.OpenParquet(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	r := parquet.NewReader(f)
	defer r.Close()
	var out []map[string]string
	rows := make([]parquet.Row, 1)
	for {
		n, err := r.ReadRows(rows)
		if n == 0 {
			if len(out) != int(f.NumRows()) {
				t.Fatalf("%s: %d rows of %d: %v", path, len(out), f.NumRows(), err)
			}
			return out
		}
		row := map[string]string{}
		for _, v := range rows[0] {
			row[strings.Join(f.Schema().Columns()[v.Column()], ".")] = v.String()
		}
		out = append(out, row)
	}
}

// Both formats hold the same, and what the digest of the run says.
func TestBothFormats(t *testing.T) {
	run := open(t, v1)
	dirs := map[string]string{export.Parquet: t.TempDir(), export.CSV: t.TempDir()}
	counts := map[string]int64{}
	for format, dir := range dirs {
		outcomes, err := export.Write(t.Context(), []*digest.Run{run}, names(), format, dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(outcomes) != len(names()) {
			t.Fatalf("%d tables, want %d", len(outcomes), len(names()))
		}
		for _, o := range outcomes {
			counts[o.Table] = o.Rows
		}
	}
	for _, name := range names() {
		rows := table(t, filepath.Join(dirs[export.Parquet], name+".parquet"))
		f, err := os.Open(filepath.Join(dirs[export.CSV], name+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		records, err := csv.NewReader(f).ReadAll()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(rows)) != counts[name] || len(records) != len(rows)+1 || len(rows) == 0 {
			t.Fatalf("%s: %d rows in Parquet, %d records in CSV, %d said", name, len(rows), len(records), counts[name])
		}
		if len(records[0]) != len(rows[0]) {
			t.Errorf("%s: %d columns in CSV, %d in Parquet", name, len(records[0]), len(rows[0]))
		}
		for i, row := range rows {
			for j, column := range records[0] {
				want, ok := row[column]
				if !ok {
					t.Fatalf("%s: column %s is not in Parquet", name, column)
				}
				if got := records[i+1][j]; got != want {
					t.Fatalf("%s, row %d, %s: CSV %q, Parquet %q", name, i, column, got, want)
				}
			}
		}
	}

	p99 := map[string]string{}
	for _, row := range table(t, filepath.Join(dirs[export.Parquet], "quantities.parquet")) {
		if row["quantity"] == "p99" && row["fault"] == "" {
			p99[row["trial"]] = row["value"]
		}
	}
	samples, requests := map[string]uint64{}, map[string]uint64{}
	for _, row := range table(t, filepath.Join(dirs[export.Parquet], "samples.parquet")) {
		if row["in_window"] == "true" {
			samples[row["trial"]]++
		}
	}
	for _, x := range run.Trials {
		requests[x.ID] = x.Requests
		if x.Kind != results.KindSteady || !x.Used() {
			continue
		}
		ns, _ := x.Latency.PercentileNs(99)
		if want := fmt.Sprint(float64(ns) / 1e6); p99[x.ID] != want {
			t.Errorf("p99 of %s is %s, want %s", x.ID, p99[x.ID], want)
		}
	}
	for id, n := range requests {
		if samples[id] != n {
			t.Errorf("%s has %d samples in the window, want %d", id, samples[id], n)
		}
	}
	trials := table(t, filepath.Join(dirs[export.Parquet], "trials.parquet"))
	if x := trials[10]; x["valid"] != "false" || !strings.Contains(x["reasons"], "lagged") || x["system"] != "traefik" {
		t.Errorf("the trial that is not valid: %v", x)
	}
}

// A file that is torn costs its rows, and is named; the rest is exported.
func TestDamage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.CopyFS(dir, os.DirFS(v1)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"samples.parquet", "resources.parquet"} {
		if err := os.Truncate(filepath.Join(dir, "trials/016-direct-fault", name), 700); err != nil {
			t.Fatal(err)
		}
	}
	out := t.TempDir()
	outcomes, err := export.Write(t.Context(), []*digest.Run{open(t, dir)}, names(), export.Parquet, out)
	if err == nil || strings.Count(err.Error(), "016-direct-fault") != 2 {
		t.Errorf("the damage is told as %v", err)
	}
	if len(outcomes) != len(names()) {
		t.Errorf("%d tables were written, want all %d", len(outcomes), len(names()))
	}
	seen := map[string]bool{}
	for _, row := range table(t, filepath.Join(out, "samples.parquet")) {
		seen[row["trial"]] = true
	}
	if seen["016-direct-fault"] || len(seen) != 20 {
		t.Errorf("samples of %d trials, want the 20 that are whole", len(seen))
	}
}
