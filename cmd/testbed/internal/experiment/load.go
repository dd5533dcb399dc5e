// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/system"
	"github.com/dnsingress/dnsingress/internal/results"
)

// sampleDir is where the load generator writes on a client node; beside others it has a directory below.
func (t *trial) sampleDir() string {
	if t.inRound() {
		return samplesDir + "/" + t.out.ID
	}
	return samplesDir
}

const samplesDir = "/run/testbed/samples"

// load starts the generators at one instant and does, at the instants that follow from it, what
// belongs into the window: counters at its edges and the fault.
func (t *trial) load(ctx context.Context) error {
	s := t.Scenario
	start := time.Now().Add(lead)
	open := start.Add(s.Load.Warmup)
	shut := open.Add(t.cell.Trials.Window)
	t.out.WindowStartNs, t.out.WindowEndNs = open.UnixNano(), shut.UnixNano()
	t.facts.window = window{open.UnixNano(), shut.UnixNano()}
	t.event(results.Event{UnixNs: start.UnixNano(), Kind: results.EventPhase, Name: "warm-up"})
	t.event(results.Event{UnixNs: open.UnixNano(), Kind: results.EventPhase, Name: "window"})

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all group
	for _, n := range t.clients() {
		t.facts.clients = append(t.facts.clients, n.Name)
		all.do(func() error {
			err := t.generate(ctx, n.Name, start, shut)
			if err != nil {
				cancel() // without load there is nothing to wait for
			}
			return err
		})
	}
	all.do(func() error { return t.count(ctx, open, shut) })
	if t.fault != nil {
		all.do(func() error {
			t.facts.fault = t.breakIt(ctx, open)
			return nil
		})
		if len(t.aimed.Members) > 0 {
			all.do(func() (err error) {
				t.answers, err = t.watchAnswers(ctx, shut)
				return err
			})
		}
		for _, cluster := range t.Inventory.Clusters() {
			all.do(func() error {
				events, err := watchPool(ctx, t.Nodes, cluster.Group(inventory.Control)[0].Name, shut)
				if err != nil {
					t.Log.Debug("watching the pool", "trial", t.out.ID, "error", err)
				}
				for _, e := range events {
					t.event(e)
				}
				return nil
			})
		}
	}
	return all.wait()
}

// writing bounds what a generator may take after the window for the last answers and its files.
const writing = time.Minute

// generate runs the load generator on a client node until it ends.
func (t *trial) generate(ctx context.Context, node string, start, shut time.Time) error {
	s := t.Scenario
	ctx, cancel := context.WithDeadlineCause(ctx, shut.Add(s.Load.Timeout+writing), fmt.Errorf("the load generator runs on %s after its window", writing))
	defer cancel()
	target := t.target()
	args := []string{
		loadgenPath, "http", target.URL,
		"--rate", strconv.FormatFloat(s.Load.Rate/float64(len(t.clients())), 'g', -1, 64),
		"--duration", t.cell.Trials.Window.String(), "--warmup", (s.Load.Warmup - t.delay).String(),
		"--connection", s.Load.Connection, "--clients", strconv.Itoa(s.Load.Users), "--timeout", s.Load.Timeout.String(),
		"--seed", strconv.FormatUint(s.Seed+uint64(t.out.Index), 10), "--start-at", strconv.FormatInt(start.Add(t.delay).UnixNano(), 10),
		"--family", "ipv6", "--client", node, "--out", t.sampleDir(), "-q", "-o", "json",
		"--max-lag", "0", "--max-cpu", "0", // the scenario's rules judge
	}
	if len(target.Addresses) > 0 {
		args = append(args, "--addresses", strings.Join(target.Addresses, ","))
	}
	// Who runs beside others knows of them.
	alone := `if pgrep -x loadgen >/dev/null; then echo "a load generator of another trial is running" >&2; exit 1; fi`
	if t.inRound() {
		args = append(args, "--resolver", t.resolverAddress())
		alone = ":"
	}
	for i := range args {
		args[i] = kubectl.Quote(args[i])
	}
	line := fmt.Sprintf("%[1]s\nrm -rf %[2]s && mkdir -p %[2]s && exec %[3]s", alone, t.sampleDir(), strings.Join(args, " "))
	out, err := t.Nodes.Shell(ctx, node, line, nil)
	if len(out) > 0 {
		err = errors.Join(err, os.WriteFile(filepath.Join(t.dir, results.LogsDir, "loadgen-"+node+".json"), out, 0o644))
	}
	if err != nil {
		return fmt.Errorf("generating load: %w", err)
	}
	return nil
}

// target is what the load generators are told.
func (t *trial) target() system.Target {
	if t.inRound() {
		return system.Target{URL: "http://" + strings.TrimSuffix(t.tree.Host(), ".") + "/"}
	}
	return t.bench.Target(t.system, t.readyBackends())
}

// settle bounds the reading at the end of the window: a node without power answers never.
const settle = 10 * time.Second

// count reads every node's counters at both edges of the window. A node that cannot be read is
// missing, and no error: its power may have been cut.
func (t *trial) count(ctx context.Context, open, shut time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, shut.Add(settle))
	defer cancel()
	type edges struct{ start, end *reading }
	read := make([]edges, len(t.Inventory.Nodes))
	var (
		all group
		mu  sync.Mutex
	)
	missing := func(node string, e edge, err error) {
		t.Log.Debug("reading counters", "node", node, "edge", e, "error", err)
		if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return // the trial is being given up
		}
		if t.fault != nil && t.aimed.Strikes(node) {
			return // it may be off
		}
		mu.Lock()
		defer mu.Unlock()
		t.facts.missing = append(t.facts.missing, fmt.Sprintf("%s at the %s of the window: %v", node, e, err))
	}
	for i, n := range t.Inventory.Nodes {
		all.do(func() (err error) {
			if read[i].start, err = readCounters(ctx, t.Nodes, n.Name, open, edgeStart); err != nil {
				missing(n.Name, edgeStart, err)
			}
			return nil
		})
		all.do(func() (err error) {
			if read[i].end, err = readCounters(ctx, t.Nodes, n.Name, shut, edgeEnd); err != nil {
				missing(n.Name, edgeEnd, err)
			}
			return nil
		})
	}
	err := all.wait()
	for i, n := range t.Inventory.Nodes {
		if read[i].start != nil && read[i].end != nil {
			t.usage = append(t.usage, usage{n.Name, read[i].start, read[i].end})
		}
	}
	return err
}

// breakIt does the fault within the window that opens at open, and writes its instants down.
func (t *trial) breakIt(ctx context.Context, open time.Time) error {
	f := t.cell.Trials.Fault
	note := func(edge string, before, after time.Time, clock string) {
		if clock == "" {
			clock = "orchestrator"
		}
		t.event(results.Event{
			UnixNs: before.UnixNano(), Kind: results.EventFault, Name: f.Kind, Node: t.aimed.Node, Target: t.aimed.Name,
			Detail: map[string]string{"edge": edge, "clock": clock, "within_ns": strconv.FormatInt(int64(after.Sub(before)), 10)},
		})
	}
	begin, err := t.fault.Begin(ctx, open.Add(f.At))
	if !begin.Before.IsZero() {
		note("begin", begin.Before, begin.After, begin.Clock)
		t.out.Fault = &results.Fault{Kind: f.Kind, Node: t.aimed.Node, Target: t.aimed.Name, BeginNs: begin.Before.UnixNano()}
	}
	if err != nil {
		return err
	}
	end, err := t.fault.End(ctx, open.Add(f.At+f.Hold))
	if err != nil {
		return err
	}
	note("end", end.Before, end.After, end.Clock)
	t.out.Fault.EndNs = end.Before.UnixNano()
	return nil
}

// collect fetches what the generators wrote, merges it, and attributes what was used.
func (t *trial) collect(ctx context.Context) error {
	parts, err := os.MkdirTemp(t.dir, ".parts-")
	if err != nil {
		return fmt.Errorf("making a directory for samples: %w", err)
	}
	defer os.RemoveAll(parts)
	names := []string{results.SamplesFile, results.HistogramFile, generatorFile}
	if err := each(ctx, t.clients(), func(ctx context.Context, n inventory.Node) error {
		for _, name := range names {
			if err := t.fetch(ctx, n.Name, t.sampleDir()+"/"+name, partPath(parts, n.Name, name)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	var samples, histograms []string
	for _, n := range t.clients() {
		samples = append(samples, partPath(parts, n.Name, results.SamplesFile))
		histograms = append(histograms, partPath(parts, n.Name, results.HistogramFile))
		var g generator
		b, err := os.ReadFile(partPath(parts, n.Name, generatorFile))
		if err == nil {
			err = json.Unmarshal(b, &g)
		}
		if err != nil {
			return fmt.Errorf("reading the account of the generator on %s: %w", n.Name, err)
		}
		t.facts.generators[n.Name], t.out.Generators[n.Name] = g, g.Generator
	}
	if t.facts.outcome, err = mergeSamples(filepath.Join(t.dir, results.SamplesFile), samples, t.out.WindowStartNs, t.out.WindowEndNs); err != nil {
		return err
	}
	if t.facts.outcome.latency, err = mergeHistograms(filepath.Join(t.dir, results.HistogramFile), histograms); err != nil {
		return err
	}
	if t.out.Fault != nil && len(t.aimed.Members) > 0 && !t.inRound() {
		for _, s := range t.answers {
			t.event(s.event())
		}
		t.out.Measures = answerMeasures(t.answers, t.aimed.Members, t.out.Fault.BeginNs, t.out.Fault.EndNs)
		maps.Copy(t.out.Measures, errorMeasures(t.facts.outcome.failures, t.out.Fault.BeginNs, t.out.Fault.EndNs))
	}
	if !t.inRound() || t.beside != nil {
		t.logs(ctx)
	}
	return t.attribute()
}

// generatorFile is what a load generator writes last.
const generatorFile = "generator.json"

func partPath(dir, node, name string) string { return filepath.Join(dir, node+"-"+name) }

func (t *trial) fetch(ctx context.Context, node, from, to string) (err error) {
	f, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("creating %s: %w", to, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return t.Nodes.Get(ctx, node, from, f)
}

// attribute writes resources.parquet.
func (t *trial) attribute() (err error) {
	for i := range t.usage {
		u := &t.usage[i]
		rows, missing := u.rows(t.pods)
		t.facts.resources = append(t.facts.resources, rows...)
		if t.fault == nil || !t.aimed.Strikes(u.node) {
			t.facts.missing = append(t.facts.missing, missing...)
		}
	}
	for _, n := range t.clients() {
		g := t.facts.generators[n.Name]
		t.facts.resources = append(t.facts.resources, results.Resource{
			Node: n.Name, Component: results.ComponentGenerator, Unit: "loadgen",
			StartNs: g.WindowStartNs, EndNs: g.WindowEndNs, CPUNs: g.CPUNs,
		})
	}
	t.facts.resources = append(t.facts.resources, hostRows(t.usage, t.run.Manifest.Hosts)...)
	w, err := results.CreateRows[results.Resource](filepath.Join(t.dir, results.ResourcesFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return w.Write(t.facts.resources...)
}

// logs keeps what the system's pods printed. A log that cannot be had costs no trial.
func (t *trial) logs(ctx context.Context) {
	if t.system.Dir == "" {
		return
	}
	namespaces := map[string]bool{}
	for i := range t.pods {
		if t.pods[i].Labels[system.SystemLabel] == t.system.Product() {
			namespaces[t.pods[i].Namespace] = true
		}
	}
	for ns := range namespaces {
		out, err := t.bench.Kubectl().Run(ctx, "logs", "-n", ns, "-l", t.system.Selector(), "--all-containers", "--prefix", "--timestamps", "--tail=400")
		if err != nil {
			t.Log.Debug("reading logs", "system", t.system.Name, "error", err)
		}
		if len(out) > 0 {
			if err := os.WriteFile(filepath.Join(t.dir, results.LogsDir, t.system.Name+".log"), bytes.ToValidUTF8(out, []byte("?")), 0o644); err != nil {
				t.Log.Warn("writing logs", "error", err)
			}
		}
	}
}
