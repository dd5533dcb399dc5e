// SPDX-License-Identifier: Apache-2.0

// Command analyze (bench/analyze) writes a run of as many samples as asked, to see how long `analyze` and others take over
// it: one fault trial and steady trials of two systems, all of one length, whose latencies follow a lognormal law with
// a tail. The samples are drawn from a seed: no machine was measured.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

func main() {
	root := flag.String("out", "build/analyze", "directory that the run is made in")
	samples := flag.Int("samples", 1_000_000, "samples in all")
	flag.Parse()
	if err := write(*root, *samples); err != nil {
		fmt.Fprintln(os.Stderr, "bench/analyze:", err)
		os.Exit(1)
	}
}

const trials = 4 // each system is seen once at rest and once around a fault

func write(root string, samples int) error {
	started := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	run, err := results.CreateRun(root, results.Manifest{
		Experiment: "speed", RunID: fmt.Sprintf("%dsamples", samples), Substrate: "sim", Started: started, Seed: 1,
		Question: "How long does analyze take?", Factors: map[string][]string{"system": {"dnsingress", "nginx"}, "fault": {"none", "pod-slow"}},
	}, []byte("# made by bench/analyze\n"))
	if err != nil {
		return err
	}
	for i := range trials {
		if err := writeTrial(run, i, samples/trials, started.Add(time.Duration(i)*time.Hour)); err != nil {
			return err
		}
	}
	fmt.Println(run.Dir)
	return nil
}

func writeTrial(run *results.Run, index, n int, begin time.Time) (err error) {
	const window = 10 * time.Minute
	system, kind := []string{"dnsingress", "nginx"}[index%2], results.KindSteady
	t := results.Trial{
		SchemaVersion: 1, Index: index, System: system, Factors: map[string]string{"system": system, "fault": "none"},
		Rate: float64(n) / window.Seconds(), WindowStartNs: begin.UnixNano(), WindowEndNs: begin.Add(window).UnixNano(),
		Generators: map[string]results.Generator{},
	}
	if index >= 2 {
		kind = results.KindFault
		t.Factors["fault"] = "pod-slow"
		t.Fault = &results.Fault{Kind: "pod-slow", Node: "worker-1", Target: "bench/backend-0", BeginNs: begin.Add(3 * time.Minute).UnixNano(), EndNs: begin.Add(7 * time.Minute).UnixNano()}
	}
	t.Kind, t.ID = kind, fmt.Sprintf("%03d-%s-%s", index, system, kind)
	dir := filepath.Join(run.Dir, results.TrialsDir, t.ID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	w, err := results.CreateRows[results.Sample](filepath.Join(dir, results.SamplesFile))
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(7, uint64(index)))
	hist := stats.NewLatency()
	backends := make([]string, 10)
	for i := range backends {
		backends[i] = fmt.Sprintf("backend-%d", i)
	}
	batch := make([]results.Sample, 0, 1<<14)
	step := float64(window) / float64(n)
	for i := range n {
		client := i % 2
		s := results.Sample{
			Client: []string{"client-1", "client-2"}[client], User: int32(i % 400), Seq: uint64(i / 2), IntendedNs: t.WindowStartNs + int64(float64(i)*step),
			Status: 200, Bytes: 1024, Backend: backends[rng.IntN(len(backends))], Peer: "[fd00::1]:8080", Protocol: "http/1.1", Reused: i%10 != 0,
		}
		s.SentNs = s.IntendedNs + int64(20_000*rng.ExpFloat64())
		if !s.Reused {
			s.DNSNs, s.ConnectNs, s.Connects = int64(300_000*rng.ExpFloat64()), int64(200_000*rng.ExpFloat64()), 1
		}
		s.FirstByteNs = int64(900_000 * math.Exp(0.3*rng.NormFloat64()))
		if rng.IntN(200) == 0 {
			s.FirstByteNs += int64(20e6 * rng.ExpFloat64())
		}
		s.TotalNs = s.SentNs - s.IntendedNs + s.DNSNs + s.ConnectNs + s.FirstByteNs + 40_000
		if f := t.Fault; f != nil && s.IntendedNs > f.BeginNs && s.IntendedNs < f.BeginNs+5e9 && rng.IntN(10) == 0 {
			s.Error, s.Backend, s.Status = results.ErrTimeout, "", 0
		} else if err := hist.Record(s.TotalNs, 1); err != nil {
			return err
		}
		if batch = append(batch, s); len(batch) == cap(batch) || i == n-1 {
			if err := w.Write(batch...); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	t.Generators["client-1"] = results.Generator{Requests: uint64((n + 1) / 2), ElapsedNs: int64(window)}
	t.Generators["client-2"] = results.Generator{Requests: uint64(n / 2), ElapsedNs: int64(window)}
	f, err := os.Create(filepath.Join(dir, results.HistogramFile))
	if err != nil {
		return err
	}
	err = errors.Join(hist.WriteLog(f, begin.UnixMilli(), begin.Add(window).UnixMilli()), f.Close(), w.Close())
	r, e := results.CreateRows[results.Resource](filepath.Join(dir, results.ResourcesFile))
	if e != nil {
		return errors.Join(err, e)
	}
	return errors.Join(
		err,
		r.Write(
			results.Resource{Node: "worker-1", Component: results.ComponentProxy, Unit: "p", StartNs: t.WindowStartNs, EndNs: t.WindowEndNs, CPUNs: int64(n) * 100_000 * int64(1+index%2), RSSBytes: 80 << 20},
			results.Resource{Node: "worker-1", Component: results.ComponentHost, Unit: "h", StartNs: t.WindowStartNs, EndNs: t.WindowEndNs, CPUNs: int64(n) * 400_000, SoftirqNs: int64(n) * 20_000},
		),
		r.Close(),
		results.WriteJSON(filepath.Join(dir, results.TrialFile), t),
		results.WriteJSON(filepath.Join(dir, results.VerdictFile), results.Verdict{Valid: true, Reasons: []string{}}),
	)
}
