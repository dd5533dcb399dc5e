// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dnsingress/dnsingress/internal/results"
)

// made DIR SYSTEM=LATENCY... writes a run of six steady trials of each system, 500 requests each, around the latency.
func made(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: made DIR SYSTEM=LATENCY...")
	}
	ts.Check(makeRun(ts.MkAbs(args[0]), 6, args[1:]...))
}

func makeRun(dir string, trials int, systems ...string) error {
	const begin = int64(1_800_000_000_000_000_000)
	root := dir + ".made"
	var names []string
	for _, s := range systems {
		name, _, _ := strings.Cut(s, "=")
		names = append(names, name)
	}
	run, err := results.CreateRun(root, results.Manifest{
		Experiment: filepath.Base(dir), RunID: "20261122T000000Z", Substrate: "twin", Seed: 1, Factors: map[string][]string{"system": names},
		Finished: time.Unix(0, begin+int64(time.Hour)).UTC(), Source: results.Source{Commit: strings.Repeat("a", 40)},
	}, []byte("version: 1\n"))
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(uint64(len(dir)), 7))
	for i := range trials * len(systems) {
		name, latency, _ := strings.Cut(systems[i%len(systems)], "=")
		around, err := time.ParseDuration(latency)
		if err != nil {
			return err
		}
		t := results.Trial{
			SchemaVersion: results.SchemaVersion, ID: fmt.Sprintf("%03d-%s-steady", i, name), Index: i, System: name, Kind: results.KindSteady,
			Factors: map[string]string{"system": name}, WindowStartNs: begin, WindowEndNs: begin + 5e9,
			Generators: map[string]results.Generator{"client-1": {Requests: 500, ElapsedNs: 5e9}},
		}
		if err := makeTrial(filepath.Join(run.Dir, results.TrialsDir, t.ID), t, around, rng); err != nil {
			return err
		}
	}
	return cmp.Or(os.Rename(run.Dir, dir), os.RemoveAll(root))
}

func makeTrial(dir string, t results.Trial, around time.Duration, rng *rand.Rand) error {
	h := hdrhistogram.New(1, int64(10*time.Minute), 3)
	err := os.MkdirAll(dir, 0o755)
	rows, e := results.CreateRows[results.Sample](filepath.Join(dir, results.SamplesFile))
	if err := cmp.Or(err, e); err != nil {
		return err
	}
	drift := 1 + 0.02*rng.Float64()
	for seq := range 500 {
		at := t.WindowStartNs + int64(seq)*1e7
		total := int64(float64(around) * drift * (1 + 0.2*rng.Float64()))
		if err := cmp.Or(h.RecordValue(total), rows.Write(results.Sample{Client: "client-1", Seq: uint64(seq), IntendedNs: at, SentNs: at, FirstByteNs: total / 2, TotalNs: total, Status: 200})); err != nil {
			return err
		}
	}
	used, e := results.CreateRows[results.Resource](filepath.Join(dir, results.ResourcesFile))
	if e != nil {
		return e
	}
	return cmp.Or(
		rows.Close(),
		used.Write(
			results.Resource{Node: "worker-1", Component: results.ComponentProxy, StartNs: t.WindowStartNs, EndNs: t.WindowEndNs, CPUNs: int64(2e8 * drift)},
			results.Resource{Node: "worker-1", Component: results.ComponentHost, StartNs: t.WindowStartNs, EndNs: t.WindowEndNs, CPUNs: 1e9, TotalNs: 1e10},
		),
		used.Close(),
		results.WriteHistogram(filepath.Join(dir, results.HistogramFile), h),
		results.WriteJSON(filepath.Join(dir, results.TrialFile), t),
		results.WriteJSON(filepath.Join(dir, results.VerdictFile), results.Verdict{Valid: true, Reasons: []string{}}),
	)
}
