// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
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
// belongs into the window: counters at its edges, and what the cell's trials are about.
func (t *trial) load(ctx context.Context) error {
	start := time.Now().Add(lead)
	open := start.Add(t.offered.Warmup)
	shut := open.Add(t.window)
	t.out.WindowStartNs, t.out.WindowEndNs = open.UnixNano(), shut.UnixNano()
	t.facts.window = window{open.UnixNano(), shut.UnixNano()}
	t.event(results.Event{UnixNs: start.UnixNano(), Kind: results.EventPhase, Name: "warm-up"})
	t.event(results.Event{UnixNs: open.UnixNano(), Kind: results.EventPhase, Name: "window"})

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all group
	needed := func(fn func() error) { // without which there is nothing to wait for
		all.do(func() error {
			err := fn()
			if err != nil {
				cancel()
			}
			return err
		})
	}
	if !t.cell.Trials.Idle {
		t.facts.clients = nil
		for i, n := range t.clients() {
			t.facts.clients = append(t.facts.clients, n.Name)
			needed(func() error { return t.generate(ctx, i, n.Name, start, shut) })
		}
	}
	if t.records != nil {
		needed(func() error { return t.records.change(ctx, open, shut) })
	}
	all.do(func() error { return t.count(ctx, open, shut) })
	switch c := t.cell.Trials; {
	case t.fault != nil:
		all.do(func() error {
			t.facts.fault = t.breakIt(ctx, open)
			return nil
		})
	case len(c.Chaos) > 0:
		all.do(func() error {
			t.facts.fault = t.disturb(ctx, open, shut)
			return nil
		})
	case c.Churn != nil:
		all.do(func() error {
			t.facts.fault = t.churn(ctx, open, shut)
			return nil
		})
	}
	t.watch(ctx, shut, &all)
	return all.wait()
}

// watch looks at what Kubernetes and DNS servers say while something happens. It costs time of CPUs, so that it is done in trials
// alone in which there is something to see.
func (t *trial) watch(ctx context.Context, shut time.Time, all *group) {
	c := t.cell.Trials
	if t.fault == nil && len(c.Chaos) == 0 && c.Churn == nil {
		return
	}
	if t.records == nil && t.answered() && (len(t.aimed.Members) > 0 || c.Churn != nil) {
		all.do(func() (err error) {
			t.answers, err = t.watchAnswers(ctx, shut)
			return err
		})
	}
	for _, cluster := range t.Inventory.Clusters() {
		all.do(func() error {
			events, err := watchPool(ctx, t.Nodes, cluster.ControlPlane().Name, shut)
			if err != nil {
				t.Log.Debug("watching the pool", "trial", t.out.ID, "error", err)
			}
			t.pool.add(events)
			for _, e := range events {
				t.event(e)
			}
			return nil
		})
	}
}

// answered says whether clients resolve a name whose answers are pods' addresses.
func (t *trial) answered() bool {
	return t.system.Dir != "" && strings.HasSuffix(t.system.Host(t.Inventory), "."+strings.TrimSuffix(t.Inventory.Zone, "."))
}

// writing bounds what a generator may take after the window for the last answers and its files.
const writing = time.Minute

// generate runs the i-th client node's load generator until it ends.
func (t *trial) generate(ctx context.Context, i int, node string, start, shut time.Time) error {
	ctx, cancel := context.WithDeadlineCause(ctx, shut.Add(t.offered.Timeout+writing), fmt.Errorf("the load generator runs on %s after its window", writing))
	defer cancel()
	args, stdin := t.command(i, node), io.Reader(nil)
	if t.records != nil {
		stdin = t.records.follow(shut)
	}
	args = append(args,
		"--duration", t.window.String(), "--warmup", (t.offered.Warmup - t.delay).String(),
		"--start-at", strconv.FormatInt(start.Add(t.delay).UnixNano(), 10), "--out", t.sampleDir(), "-o", "json",
	)
	// Who runs beside others knows of them.
	alone := `if pgrep -x loadgen >/dev/null; then echo "a load generator of another trial is running" >&2; exit 1; fi`
	if t.inRound() {
		alone = ":"
	}
	line := fmt.Sprintf("%[1]s\nrm -rf %[2]s && mkdir -p %[2]s && exec %[3]s", alone, t.sampleDir(), quoted(args))
	out, err := t.Nodes.Shell(ctx, node, line, stdin)
	if len(out) > 0 {
		err = errors.Join(err, os.WriteFile(filepath.Join(t.dir, results.LogsDir, "loadgen-"+node+".json"), out, 0o644))
	}
	if err != nil {
		return fmt.Errorf("generating load: %w", err)
	}
	return nil
}

// command is what the i-th client node runs, but for when and for how long.
func (t *trial) command(i int, node string) []string {
	s, l := t.Scenario, t.offered
	args := []string{
		loadgenPath, l.Workload,
		"--rate", strconv.FormatFloat(l.Rate/float64(len(t.clients())), 'g', -1, 64),
		"--timeout", l.Timeout.String(), "--seed", strconv.FormatUint(s.Seed+uint64(t.out.Index), 10),
		"--client", node, "-q", "--max-lag", s.Validity.LagP99.String(), "--max-cpu", "0", // the scenario's rules judge
	}
	if t.records != nil {
		return append(args, t.records.flags(t.asked())...)
	}
	target := t.target()
	args = append(args, target.URL, "--connection", l.Connection, "--clients", strconv.Itoa(l.Users), "--family", "ipv6")
	args = append(args, target.Args...)
	if level := t.cell.Levels[scenario.ClientTTL]; level != "" {
		args = append(args, "--ttl", level)
	}
	if len(target.Addresses) > 0 {
		args = append(args, "--addresses", strings.Join(target.Addresses, ","))
	}
	if hosts := share(target.Hosts, i, len(t.clients())); len(hosts) > 0 {
		args = append(args, "--hosts", strings.Join(hosts, ","))
	}
	if t.inRound() {
		args = append(args, "--resolver", t.resolverAddress())
	}
	return args
}

// share is the i-th of n parts of the hosts beyond the first, which is in everybody's URL.
func share(hosts []string, i, n int) []string {
	var out []string
	for j := 1 + i; j < len(hosts); j += n {
		out = append(out, hosts[j])
	}
	return out
}

func quoted(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = kubectl.Quote(a)
	}
	return strings.Join(out, " ")
}

// target is what the load generators are told.
func (t *trial) target() system.Target {
	if t.inRound() {
		return system.Target{URL: "http://" + strings.TrimSuffix(t.tree.Host(), ".") + "/"}
	}
	return t.bench.Target(t.system, t.setup, t.readyBackends())
}

// settle bounds the reading at the end of the window: a node without power answers never.
const settle = 10 * time.Second

// count reads every node's counters at both edges of the window. A node that cannot be read is
// missing, and no error: its power may have been cut.
func (t *trial) count(ctx context.Context, open, shut time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, shut.Add(settle))
	defer cancel()
	defer t.recordPower(ctx)()
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
		if t.strikes(node) {
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
			if why := throttled(read[i].start, read[i].end); why != "" {
				t.facts.throttled = append(t.facts.throttled, n.Name+": "+why)
			}
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
	if err := t.samples(ctx); err != nil {
		return err
	}
	t.out.Measures = t.measures()
	if !t.inRound() || t.beside != nil {
		t.logs(ctx)
	}
	if err := t.attribute(); err != nil {
		return err
	}
	if !t.inRound() { // which has other trials' load beside its own
		maps.Copy(t.out.Measures, costs(t.facts.resources, t.sent(), t.window))
	}
	return nil
}

// samples brings together what the generators wrote. Idle trials have files without a row.
func (t *trial) samples(ctx context.Context) error {
	parts, err := os.MkdirTemp(t.dir, ".parts-")
	if err != nil {
		return fmt.Errorf("making a directory for samples: %w", err)
	}
	defer os.RemoveAll(parts)
	clients := t.clients()
	if t.cell.Trials.Idle {
		clients = nil
	}
	names := []string{results.SamplesFile, results.HistogramFile, generatorFile}
	if t.records != nil {
		names = append(names, results.AccuracyFile)
	}
	if err := each(ctx, clients, func(ctx context.Context, n inventory.Node) error {
		for _, name := range names {
			if err := t.fetch(ctx, n.Name, t.sampleDir()+"/"+name, partPath(parts, n.Name, name)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	var samples, histograms, changes []string
	for _, n := range clients {
		samples = append(samples, partPath(parts, n.Name, results.SamplesFile))
		histograms = append(histograms, partPath(parts, n.Name, results.HistogramFile))
		changes = append(changes, partPath(parts, n.Name, results.AccuracyFile))
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
	if len(clients) == 0 {
		return results.WriteHistogram(filepath.Join(t.dir, results.HistogramFile), emptyHistogram(t.out.WindowStartNs, t.out.WindowEndNs))
	}
	if t.facts.outcome.latency, err = mergeHistograms(filepath.Join(t.dir, results.HistogramFile), histograms); err != nil {
		return err
	}
	if t.records != nil {
		return mergeLines(filepath.Join(t.dir, results.AccuracyFile), changes)
	}
	return nil
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
		if !t.strikes(u.node) && t.cell.Trials.Churn == nil { // whose pods are to go
			t.facts.missing = append(t.facts.missing, missing...)
		}
		link := u.linkRow()
		link.Energy = t.energy(u)
		t.facts.resources = append(t.facts.resources, link)
	}
	for _, n := range t.clients() {
		g, ok := t.facts.generators[n.Name]
		if !ok {
			continue
		}
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
