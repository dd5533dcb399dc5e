// SPDX-License-Identifier: Apache-2.0

package results_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// The run in testdata/v1 is made up: the numbers come from the laws below and a seed, no machine was measured.
// It is shaped as a quickstart run is (five systems, three steady trials and one fault each, one trial that is
// not valid), with the failures that each system's way of steering gives. It is committed and never
// generated again once a release can read it: later readers must read these very bytes.

const (
	perClient = 50               // requests a second on each of two clients
	warmup    = time.Second      // before the window
	window    = 12 * time.Second // measured
	faultAt   = 4 * time.Second  // after the window's start
)

// law is how a made-up system behaves.
type law struct {
	name      string
	connect   float64 // ms, median
	firstByte float64 // ms, median
	spread    float64 // sigma of the lognormal
	tail      float64 // chance of a slow request
	cpu       map[string]float64
	// fails gives the error of a request that is sent t seconds after the fault, or "".
	fails func(r *rand.Rand, t float64) string
}

func laws() []law {
	share := func(p, until float64, class string) func(*rand.Rand, float64) string {
		return func(r *rand.Rand, t float64) string {
			if t < until && r.Float64() < p {
				return class
			}
			return ""
		}
	}
	return []law{
		{"direct", 0.25, 0.9, 0.22, 0.004, map[string]float64{}, share(1./3, math.Inf(1), results.ErrConnectRefused)},
		{
			"dnsingress", 0.25, 0.92, 0.22, 0.005,
			map[string]float64{results.ComponentDNSIngress: 0.11, results.ComponentResolver: 0.16},
			func(r *rand.Rand, t float64) string { // clients leave as their cached answers end
				if t < 5 && r.Float64() < (1-t/5)/3 {
					return results.ErrConnectRefused
				}
				return ""
			},
		},
		{"nginx", 0.28, 1.5, 0.25, 0.006, map[string]float64{results.ComponentProxy: 0.62, results.ComponentController: 0.05, results.ComponentResolver: 0.05}, share(0.05, 1.1, results.ErrStatus)},
		{"traefik", 0.28, 1.9, 0.3, 0.010, map[string]float64{results.ComponentProxy: 1.15, results.ComponentResolver: 0.05}, share(0.3, 1.6, results.ErrStatus)},
		{"envoy", 0.28, 1.65, 0.27, 0.007, map[string]float64{results.ComponentProxy: 0.78, results.ComponentController: 0.21, results.ComponentResolver: 0.05}, share(0.3, 0.8, results.ErrStatus)},
	}
}

// writeRun makes a run under root and returns its directory.
func writeRun(root string, seed uint64) (string, error) {
	started := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	names := []string{}
	for _, l := range laws() {
		names = append(names, l.name)
	}
	hosts := []results.Host{}
	for _, n := range []struct{ name, group string }{
		{"control-1", "control"},
		{"worker-1", "worker"},
		{"worker-2", "worker"},
		{"worker-3", "worker"},
		{"client-1", "client"},
		{"client-2", "client"},
	} {
		hosts = append(hosts, results.Host{
			Name: n.name, Groups: []string{n.group}, Kernel: "6.1.0-32-amd64", CPU: "made up", CPUs: 2, Memory: 8 << 30,
			BootID: "5d9b7a52-0000-4000-8000-000000000001", ClockOffsetNs: 12_000, ClockRTTNs: 180_000,
		})
	}
	run, err := results.CreateRun(root, results.Manifest{
		Experiment: "quickstart", RunID: started.Format("20060102T150405Z"),
		Question:   "What do clients see of each ingress, at rest and when a backend pod is killed?",
		Hypothesis: "A DNS ingress costs less CPU a request than a proxy, and shows clients a fault for up to its TTL.",
		Substrate:  "twin", Started: started, Finished: started.Add(7 * time.Minute), Seed: seed,
		Factors: map[string][]string{"system": names, "connection": {"new"}},
		Source:  results.Source{Commit: "0000000000000000000000000000000000000000"},
		Versions: map[string]string{
			"kubernetes": "v1.35.4", "nginx": "1.22.1", "traefik": "3.6.2", "envoy": "1.36.2", "unbound": "1.17.1",
		},
		Settings: map[string]string{
			"dnsingress.ttl": "5s", "heartbeat": "short", "backend.replicas": "3", "proxies.reached-by": "one name, static addresses of the workers",
		},
		Differences: map[string]string{"envoy": "This run is made up by a test and measures nothing."},
		Hosts:       hosts,
	}, []byte("# made up by a test of package results\nversion: 1\nname: quickstart\n"))
	if err != nil {
		return "", err
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	type cell struct {
		law
		kind  string
		valid bool
	}
	var cells []cell
	for _, l := range laws() {
		for range 3 {
			cells = append(cells, cell{l, results.KindSteady, true})
		}
	}
	cells = append(cells, cell{laws()[3], results.KindSteady, false})
	rng.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
	for _, l := range laws() {
		cells = append(cells, cell{l, results.KindFault, true})
	}
	for i, c := range cells {
		if err := writeTrial(run, i, c.law, c.kind, c.valid, started.Add(time.Duration(i)*20*time.Second), rng); err != nil {
			return "", err
		}
	}
	return run.Dir, nil
}

func writeTrial(run *results.Run, index int, l law, kind string, valid bool, started time.Time, rng *rand.Rand) (err error) {
	begin := started.Add(2 * time.Second)
	trial := results.Trial{
		SchemaVersion: results.SchemaVersion, ID: fmt.Sprintf("%03d-%s-%s", index, l.name, kind), Index: index, System: l.name, Kind: kind,
		Factors: map[string]string{"system": l.name, "connection": "new"}, Rate: 2 * perClient,
		StartedUnixNs: started.UnixNano(), WindowStartNs: begin.UnixNano(), WindowEndNs: begin.Add(window).UnixNano(),
		FinishedUnixNs: begin.Add(window + time.Second).UnixNano(), Generators: map[string]results.Generator{},
	}
	if kind == results.KindFault {
		trial.Fault = &results.Fault{
			Kind: "pod-sigkill", Node: "worker-2", Target: "bench/backend-7c9d5-x2x4q",
			BeginNs: begin.Add(faultAt).UnixNano(), EndNs: begin.Add(window).UnixNano(),
		}
	}
	dir := filepath.Join(run.Dir, results.TrialsDir, trial.ID)
	if err := os.MkdirAll(filepath.Join(dir, results.LogsDir), 0o755); err != nil {
		return err
	}
	samples, err := results.CreateRows[results.Sample](filepath.Join(dir, results.SamplesFile))
	if err != nil {
		return err
	}
	hist := stats.NewLatency()
	drift := 1 + 0.03*rng.NormFloat64() // trials differ more than chance within one does
	for _, client := range []string{"client-1", "client-2"} {
		for seq := range uint64((warmup + window).Seconds() * perClient) {
			s := l.sample(rng, trial, client, seq, begin.Add(-warmup), drift)
			if s.OK() && s.IntendedNs >= trial.WindowStartNs {
				if err := hist.Record(s.TotalNs, 1); err != nil {
					return err
				}
			}
			if err := samples.Write(s); err != nil {
				return err
			}
		}
		lag := int64(210_000)
		if !valid {
			lag = 14_600_000
		}
		trial.Generators[client] = results.Generator{
			Requests: uint64(window.Seconds() * perClient), Late: 3, LagP50Ns: 38_000, LagP99Ns: lag, LagMaxNs: 3 * lag,
			CPUNs: int64(0.11 * float64(window)), ElapsedNs: int64(window),
		}
	}
	if err := samples.Close(); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, results.HistogramFile))
	if err != nil {
		return err
	}
	if err := hist.WriteLog(f, trial.WindowStartNs/1e6, trial.WindowEndNs/1e6); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := l.writeResources(filepath.Join(dir, results.ResourcesFile), trial, rng); err != nil {
		return err
	}
	if err := writeEvents(filepath.Join(dir, results.EventsFile), trial); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, results.LogsDir, "loadgen-client-1.log"), []byte("made up by a test of package results\n"), 0o644); err != nil {
		return err
	}
	if err := results.WriteJSON(filepath.Join(dir, results.TrialFile), trial); err != nil {
		return err
	}
	verdict := results.Verdict{Valid: valid, Reasons: []string{}}
	if !valid {
		verdict.Reasons = append(verdict.Reasons, "generator on client-1 lagged: p99 of actual minus intended send is 14.6 ms, more than 5 ms")
	}
	return results.WriteJSON(filepath.Join(dir, results.VerdictFile), verdict)
}

// micro rounds milliseconds to whole microseconds in nanoseconds: what the file does not need it does not hold.
func micro(ms float64) int64 { return int64(ms*1000) * 1000 }

func (l law) sample(rng *rand.Rand, trial results.Trial, client string, seq uint64, first time.Time, drift float64) results.Sample {
	logn := func(median float64) float64 { return drift * median * math.Exp(l.spread*rng.NormFloat64()) }
	intended := first.Add(time.Duration(seq) * time.Second / perClient).UnixNano()
	lag := micro(0.02 + 0.03*rng.ExpFloat64())
	s := results.Sample{
		Client: client, User: int32(seq % 25), Seq: seq, IntendedNs: intended, SentNs: intended + lag,
		ConnectNs: micro(logn(l.connect)), Status: 200, Bytes: 1024,
		DNSCached: l.name == "direct" || rng.Float64() < 0.9,
		Peer:      fmt.Sprintf("[fd6e:7369:0:1%d::2]:80", 1+rng.IntN(3)),
	}
	if !s.DNSCached {
		s.DNSNs = micro(logn(0.35))
	}
	first4 := logn(l.firstByte)
	if rng.Float64() < l.tail*2 {
		first4 += 3 + 6*rng.ExpFloat64()
	}
	s.FirstByteNs = micro(first4)
	if f := trial.Fault; f != nil && intended >= f.BeginNs {
		s.Error = l.fails(rng, float64(intended-f.BeginNs)/1e9)
	}
	switch s.Error {
	case results.ErrConnectRefused:
		s.Status, s.Bytes, s.FirstByteNs = 0, 0, 0
		s.TotalNs = lag + s.DNSNs + s.ConnectNs
	case results.ErrStatus:
		s.Status, s.Bytes = 502, 150
		fallthrough
	default:
		s.TotalNs = lag + s.DNSNs + s.ConnectNs + s.FirstByteNs + micro(0.05)
	}
	return s
}

func (l law) writeResources(path string, trial results.Trial, rng *rand.Rand) error {
	w, err := results.CreateRows[results.Resource](path)
	if err != nil {
		return err
	}
	requests := trial.Rate * window.Seconds()
	row := func(node, component, unit string, perThousand float64) results.Resource {
		return results.Resource{
			Node: node, Component: component, Unit: unit, StartNs: trial.WindowStartNs, EndNs: trial.WindowEndNs,
			CPUNs: int64(perThousand * (1 + 0.05*rng.NormFloat64()) * requests / 1000 * 1e9), RSSBytes: 40 << 20, RxBytes: 1 << 20, TxBytes: 1 << 20,
		}
	}
	var rows []results.Resource
	for _, c := range []string{results.ComponentProxy, results.ComponentController, results.ComponentDNSIngress, results.ComponentResolver} {
		total, ok := l.cpu[c]
		if !ok {
			continue
		}
		for _, n := range []string{"1", "2", "3"} {
			rows = append(rows, row("worker-"+n, c, "bench/"+l.name+"-"+c+"-"+n+"/main", total/3))
		}
	}
	for _, n := range []string{"1", "2", "3"} {
		rows = append(rows, row("worker-"+n, results.ComponentBackend, "bench/backend-"+n+"/backend", 0.12))
		rows = append(rows, row("worker-"+n, results.ComponentNodeAgent, "kubelet.service", 0.3))
	}
	rows = append(rows,
		row("client-1", results.ComponentGenerator, "loadgen", 0.45), row("client-2", results.ComponentGenerator, "loadgen", 0.45),
		row("control-1", results.ComponentPrometheus, "prometheus.service", 0.22),
		row("control-1", results.ComponentControlPlane, "kube-apiserver.service", 1.1),
	)
	host := row("control-1", results.ComponentHost, "5d9b7a52-0000-4000-8000-000000000001", 0)
	for _, r := range rows {
		host.CPUNs += r.CPUNs
	}
	host.SoftirqNs = int64(0.34 * requests / 1000 * 1e9 * (1 + 0.05*rng.NormFloat64()))
	host.CPUNs += host.SoftirqNs + int64(2*requests/1000*1e8)
	host.TotalNs = 2 * int64(window)
	rows = append(rows, host)
	if err := w.Write(rows...); err != nil {
		return err
	}
	return w.Close()
}

func writeEvents(path string, trial results.Trial) error {
	log, err := results.OpenEvents(path)
	if err != nil {
		return err
	}
	events := []results.Event{{UnixNs: trial.StartedUnixNs, Kind: results.EventPhase, Name: "deploy"}, {UnixNs: trial.WindowStartNs, Kind: results.EventPhase, Name: "window"}}
	if f := trial.Fault; f != nil {
		events = append(events, results.Event{UnixNs: f.BeginNs, Kind: results.EventFault, Name: f.Kind, Node: f.Node, Target: f.Target, Detail: map[string]string{"edge": "begin"}})
		if trial.System == "dnsingress" {
			events = append(events, results.Event{UnixNs: f.BeginNs + 180e6, Kind: results.EventPool, Name: "member-out", Target: f.Target, Detail: map[string]string{"reason": "not ready"}})
		}
		events = append(events, results.Event{UnixNs: f.EndNs, Kind: results.EventFault, Name: f.Kind, Node: f.Node, Target: f.Target, Detail: map[string]string{"edge": "end"}})
	}
	for _, e := range events {
		if err := log.Add(e); err != nil {
			return err
		}
	}
	return log.Close()
}

// TestGenerateV1 writes testdata/v1 anew with -update; without it, it shows that the generator still runs.
func TestGenerateV1(t *testing.T) {
	root := t.TempDir()
	if _, err := writeRun(root, 20261121); err != nil {
		t.Fatal(err)
	}
	if !*update {
		return
	}
	if err := os.RemoveAll(filepath.Join("testdata", "v1")); err != nil {
		t.Fatal(err)
	}
	if _, err := writeRun(filepath.Join("testdata", "v1"), 20261121); err != nil {
		t.Fatal(err)
	}
}
