// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/dnsingress/dnsingress/internal/results"
)

const someSamples = "../../../../internal/results/testdata/v1/quickstart/20261121T200000Z/trials/016-direct-fault/samples.parquet"

// Columns hold what rows hold, over several row groups.
func TestBlocksAgainstRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), results.SamplesFile)
	w, err := results.CreateRows[results.Sample](path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	classes := []string{"", "", "", results.ErrTimeout, results.ErrReset, results.ErrDNSTimeout}
	var want []results.Sample
	for i := range 150_000 {
		s := results.Sample{
			Client: fmt.Sprintf("client-%d", i/50_000), Attempt: int32(rng.IntN(2)), IntendedNs: rng.Int64(), SentNs: rng.Int64(), DNSNs: rng.Int64(),
			ConnectNs: rng.Int64(), TLSNs: rng.Int64(), FirstByteNs: rng.Int64(), TotalNs: -rng.Int64(), Error: classes[rng.IntN(len(classes))],
		}
		if err := w.Write(s); err != nil {
			t.Fatal(err)
		}
		want = append(want, s)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	n, blocks := 0, 0
	_, err = readBlocks(path, func(b *block) error {
		blocks++
		for i := range b.rows {
			got := results.Sample{
				Client: b.client.at(i), Attempt: int32(b.attempt[i]), IntendedNs: b.intended[i], SentNs: b.sent[i], DNSNs: b.dns[i],
				ConnectNs: b.connect[i], TLSNs: b.tls[i], FirstByteNs: b.first[i], TotalNs: b.total[i], Error: b.class.at(i),
			}
			if got != want[n] {
				t.Fatalf("row %d: %+v, want %+v", n, got, want[n])
			}
			n++
		}
		return nil
	})
	if err != nil || n != len(want) || blocks < 2 {
		t.Errorf("%d rows in %d blocks, want %d in several (%v)", n, blocks, len(want), err)
	}
}

// Files that hold other columns than samples do are refused by name.
func TestBlocksOfOtherColumns(t *testing.T) {
	type lacking struct {
		IntendedNs int64 `parquet:"intended_ns"`
	}
	type other struct {
		IntendedNs string `parquet:"intended_ns"`
	}
	for name, write := range map[string]func(path string) error{
		"total_ns":    func(path string) error { return parquet.WriteFile(path, []lacking{{1}}) },
		"intended_ns": func(path string) error { return parquet.WriteFile(path, []other{{"1"}}) },
	} {
		path := filepath.Join(t.TempDir(), results.SamplesFile)
		if err := write(path); err != nil {
			t.Fatal(err)
		}
		_, err := readBlocks(path, func(*block) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "column "+name+" is missing or of another type") {
			t.Errorf("error %v, want one that names %s", err, name)
		}
	}
}

// Whatever bytes a damaged file holds, reading it ends with an error or without one, and never otherwise.
func FuzzReadBlocks(f *testing.F) {
	whole, err := os.ReadFile(someSamples)
	if err != nil {
		f.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(2, 2))
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	for range 30 {
		torn := append([]byte{}, whole...)
		for range 1 + rng.IntN(8) {
			torn[rng.IntN(len(torn))] = byte(rng.Uint32())
		}
		f.Add(torn)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), results.SamplesFile)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		_, _ = readBlocks(path, func(b *block) error {
			for i := range b.rows {
				_, _ = b.client.at(i), b.class.at(i)
			}
			return nil
		})
	})
}

func BenchmarkReadBlocks(b *testing.B) {
	rows := 0
	for b.Loop() {
		rows = 0
		if _, err := readBlocks(someSamples, func(bl *block) error { rows += bl.rows; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows), "rows/op")
}
