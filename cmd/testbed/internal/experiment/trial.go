// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/fault"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/resolver"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/system"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/tree"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/search"
)

// lead is the time between telling the load generators to start and their first request: long
// enough for a session and a process to start on a busy machine.
const lead = 2 * time.Second

// trial is one execution of a cell.
type trial struct {
	*Runner
	cell   scenario.Cell
	system system.System
	dir    string
	out    results.Trial
	events *results.EventLog
	facts  facts

	// In a round: the one client node, what it runs, the tree of the name that its clients ask for, and how much later than
	// others' their load begins; and in the round's first trial the others, which get its events too.
	client inventory.Node
	form   resolver.Form
	tree   tree.Tree
	delay  time.Duration
	beside []*trial

	setup   scenario.Setup
	offered scenario.Load // the cell's, at the rate that is known
	window  time.Duration

	pods   []kubectl.Pod
	fault  fault.Fault // that of a fault trial; else nil
	aimed  fault.Target
	struck []*struck // of chaos
	// recovery is how long chaos took to be as before; churned are pods that were deleted, came those that stood at the end.
	recovery time.Duration
	churned  []gone
	came     []kubectl.Pod
	usage    []usage
	draw     *power.Recording // what nodes drew in the window; nil where nobody can tell
	// answers of DNS servers, and what became of the pool, while that was watched
	answers []span
	pool    pool
	records *records // of workload dns
	account *search.Account
}

func newTrial(r *Runner, index int, c scenario.Cell) *trial {
	id := fmt.Sprintf("%03d-%s-%s", index, c.System, c.Trials.Kind())
	s, _ := system.ByName(c.System) // the scenario was checked
	offered := r.Scenario.Offered(c)
	if !r.Scenario.Loaded(c) {
		offered.Rate = 0
	}
	t := &trial{
		Runner: r, cell: c, system: s, dir: filepath.Join(r.run.Dir, results.TrialsDir, id),
		setup: r.Scenario.Setup(c), offered: offered, window: c.Trials.Window,
		out: results.Trial{
			SchemaVersion: results.SchemaVersion, ID: id, Index: index, System: c.System, Kind: c.Trials.Kind(),
			Factors: r.factors(c), Rate: offered.Rate, Generators: map[string]results.Generator{},
		},
	}
	t.offered.Warmup += time.Duration(t.random("warm-up").Float64() * float64(r.Scenario.Cached(c)))
	return t
}

// execute runs the trial and writes its directory. What goes wrong within the trial makes it
// invalid; an error is returned only when ctx ended or nothing could be written.
func (t *trial) execute(ctx context.Context) (results.Verdict, error) {
	if err := t.begin(); err != nil {
		return results.Verdict{}, err
	}
	defer t.events.Close()
	err := t.measure(ctx)
	err = errors.Join(err, t.restore(context.WithoutCancel(ctx)))
	if ctx.Err() != nil {
		return results.Verdict{}, ctx.Err()
	}
	return t.finish(err)
}

// begin makes the trial's directory.
func (t *trial) begin() error {
	if err := os.MkdirAll(filepath.Join(t.dir, results.LogsDir), 0o755); err != nil {
		return fmt.Errorf("making the trial's directory: %w", err)
	}
	t.out.StartedUnixNs = time.Now().UnixNano()
	if err := t.save(); err != nil {
		return err
	}
	backend := t.Scenario.Backend
	backend.Replicas = cmp.Or(t.setup.Pods, backend.Replicas)
	t.facts = facts{kind: t.out.Kind, replicas: t.bench.Replicas(backend), generators: map[string]generator{}, clocks: map[string]clock{}}
	var err error
	t.events, err = results.OpenEvents(filepath.Join(t.dir, results.EventsFile))
	return err
}

// finish judges the trial; failed is what ended it early.
func (t *trial) finish(failed error) (results.Verdict, error) {
	t.facts.trial = failed
	t.out.FinishedUnixNs = time.Now().UnixNano()
	if err := t.save(); err != nil {
		return results.Verdict{}, err
	}
	verdict := judge(t.Scenario.Validity, &t.facts)
	return verdict, results.WriteJSON(filepath.Join(t.dir, results.VerdictFile), verdict)
}

func (t *trial) save() error {
	return results.WriteJSON(filepath.Join(t.dir, results.TrialFile), t.out)
}

// phase notes that a phase of the trial begins.
func (t *trial) phase(name string) {
	t.event(results.Event{UnixNs: time.Now().UnixNano(), Kind: results.EventPhase, Name: name})
}

// event notes what happened to the trial and those beside it.
func (t *trial) event(e results.Event) {
	t.own(e)
	for _, other := range t.beside {
		other.own(e)
	}
}

// own notes what happened to this trial alone.
func (t *trial) own(e results.Event) {
	if err := t.events.Add(e); err != nil {
		t.Log.Warn("writing an event", "trial", t.out.ID, "error", err)
	}
}

// measure is the trial up to its collected samples.
func (t *trial) measure(ctx context.Context) error {
	if err := t.resolveRate(); err != nil {
		return err
	}
	t.phase("deploy")
	if err := t.bench.Deploy(ctx, t.system, t.setup); err != nil {
		return err
	}
	if t.Scenario.Load.Workload == scenario.WorkloadDNS && !t.cell.Trials.Idle {
		t.records = newRecords(t)
		if err := t.records.make(ctx); err != nil {
			return err
		}
	}
	if err := t.look(ctx); err != nil {
		return err
	}
	if err := t.settle(ctx); err != nil {
		return err
	}
	t.phase("load")
	if t.cell.Trials.FindMax != nil {
		if err := t.seek(ctx); err != nil {
			return err
		}
	} else if err := errors.Join(t.load(ctx), ctx.Err()); err != nil {
		return err
	}
	if err := t.clocks(ctx, "after"); err != nil {
		return err
	}
	if err := t.scraped(ctx); err != nil {
		return err
	}
	t.phase("collect")
	return t.collect(ctx)
}

// look finds out what stands before the load: pods, leftovers, clocks; and aims the fault.
func (t *trial) look(ctx context.Context) error {
	var err error
	if t.pods, err = t.bench.Pods(ctx, system.ComponentLabel); err != nil {
		return err
	}
	for i := range t.pods {
		p := &t.pods[i]
		owner := p.Labels[system.SystemLabel]
		switch {
		case p.Labels[system.ComponentLabel] == results.ComponentBackend && p.Ready && !p.Terminating:
			t.facts.backends++
		case owner != "" && (owner != t.system.Product() || p.Terminating):
			t.facts.leftovers = append(t.facts.leftovers, "pod "+p.FullName())
		}
	}
	left, err := t.standing(ctx)
	if err != nil {
		return err
	}
	t.facts.leftovers = append(t.facts.leftovers, left...)
	t.noteImages()
	if err := t.clocks(ctx, "before"); err != nil {
		return err
	}
	if f := t.cell.Trials.Fault; f != nil {
		t.fault, t.aimed, err = t.aim(ctx, *f, t.random("target"))
		return err
	}
	return t.aimChaos(ctx)
}

// aim makes a fault and chooses its target.
func (t *trial) aim(ctx context.Context, of scenario.Fault, rng *rand.Rand) (fault.Fault, fault.Target, error) {
	env := t.faultEnv()
	env.With, env.Hold = of.With, of.Hold
	if t.system.Dir != "" {
		env.System, env.Told = t.system.Selector(), t.told
	}
	f, err := fault.New(of.Kind, env)
	if err != nil {
		return nil, fault.Target{}, err
	}
	target, err := f.Aim(ctx, rng)
	return f, target, err
}

// strikes says whether something that the trial breaks may keep a node from being asked.
func (t *trial) strikes(node string) bool {
	return t.fault != nil && t.aimed.Strikes(node) || slices.ContainsFunc(t.struck, func(s *struck) bool { return s.target.Strikes(node) })
}

// clocks measures every node's clock, before the load and after it. A node that the fault cut off is not asked.
func (t *trial) clocks(ctx context.Context, when string) error {
	var all group
	measured := make([]clock, len(t.Inventory.Nodes))
	for i, n := range t.Inventory.Nodes {
		all.do(func() error {
			var err error
			measured[i].offset, measured[i].rtt, err = t.Nodes.ClockOffset(ctx, n.Name)
			if err != nil && t.strikes(n.Name) {
				measured[i], err = clock{}, nil // it may be off
			}
			return err
		})
	}
	if err := all.wait(); err != nil {
		return fmt.Errorf("asking for clocks %s the load: %w", when, err)
	}
	for i, n := range t.Inventory.Nodes {
		c := measured[i]
		if c == (clock{}) {
			continue
		}
		t.facts.clocks[n.Name+" "+when+" the load"] = c
		t.event(results.Event{
			UnixNs: time.Now().UnixNano(), Kind: results.EventClock, Name: when, Node: n.Name,
			Detail: map[string]string{"offset_ns": strconv.FormatInt(int64(c.offset), 10), "rtt_ns": strconv.FormatInt(int64(c.rtt), 10)},
		})
	}
	return nil
}

// random is the trial's own source for what it names: the same target in a run with the same seed.
func (t *trial) random(what string) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %s", what, t.cell.System, t.cell.Condition())
	if l := t.cell.Levels.String(); l != "" {
		fmt.Fprintf(h, " %s", l)
	}
	return rand.New(rand.NewPCG(t.Scenario.Seed, h.Sum64()+uint64(t.out.Index)))
}

// restore undoes the fault and removes the system, whatever happened before.
func (t *trial) restore(ctx context.Context) error {
	var errs []error
	if t.fault != nil {
		if _, err := t.fault.End(ctx, time.Now()); err != nil {
			errs = append(errs, err)
		}
		t.phase("recover")
		errs = append(errs, t.fault.Recover(ctx))
	}
	errs = append(errs, t.calm(ctx))
	if t.records != nil {
		errs = append(errs, t.records.remove(ctx))
	}
	t.phase("remove")
	errs = append(errs, t.bench.Remove(ctx, t.system))
	return errors.Join(errs...)
}

// noteImages writes the images of the system's pods into the manifest, once a system.
func (t *trial) noteImages() {
	versions := t.run.Manifest.Versions
	changed := false
	for i := range t.pods {
		for _, image := range t.pods[i].Images {
			name, tag := splitImage(image)
			if tag == "1" { // built from this repository
				tag = t.run.Manifest.Source.Commit
			}
			if versions[name] != tag {
				versions[name], changed = tag, true
			}
		}
	}
	if changed {
		if err := t.run.SaveManifest(); err != nil {
			t.Log.Warn("noting versions", "error", err)
		}
	}
}

// clients are the nodes that generate the trial's load.
func (t *trial) clients() []inventory.Node {
	if t.inRound() {
		return []inventory.Node{t.client}
	}
	all := t.Inventory.Group(inventory.Client)
	if n := t.cell.Clients(); n > 0 {
		return all[:min(n, len(all))]
	}
	return all
}

// inRound says whether the trial is executed beside others.
func (t *trial) inRound() bool { return t.client.Name != "" }

// summary is the trial in a few words.
func (t *trial) summary(v results.Verdict) string {
	o := t.facts.outcome
	s := "valid"
	if !v.Valid {
		s = "INVALID: " + v.Reasons[0]
		if more := len(v.Reasons) - 1; more > 0 {
			s += fmt.Sprintf(" (and %d more)", more)
		}
	}
	if t.account != nil && t.account.Rate > 0 {
		s += fmt.Sprintf("; at most %.4g requests/s", t.account.Rate)
	}
	if o.requests > 0 {
		s += fmt.Sprintf("; %d requests, %d failed", o.requests, o.failed)
	}
	if o.latency != nil && o.latency.TotalCount() > 0 {
		q := func(p float64) string {
			return time.Duration(o.latency.ValueAtQuantile(p)).Round(10 * time.Microsecond).String()
		}
		s += fmt.Sprintf(", p50 %s, p99 %s", q(50), q(99))
	}
	return s
}

// readyBackends are the pods that a client of system direct is told.
func (t *trial) readyBackends() []kubectl.Pod {
	return slices.DeleteFunc(slices.Clone(t.pods), func(p kubectl.Pod) bool {
		return p.Labels[system.ComponentLabel] != results.ComponentBackend || !p.Ready || p.Terminating
	})
}

// splitImage cuts testbed.local/nginx:1.22.1 into nginx and 1.22.1.
func splitImage(image string) (name, tag string) {
	name = image[strings.LastIndexByte(image, '/')+1:]
	name, tag, _ = strings.Cut(name, ":")
	return name, tag
}
