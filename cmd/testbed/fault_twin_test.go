// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/experiment"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/fault"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/system"
)

// observeProgram watches things on a node by that node's clock.
//
//go:embed testdata/faults/observe.py
var observeProgram string

const (
	// tolerance is how far a fault's instant may be from what its node saw.
	tolerance = 5 * time.Millisecond
	// attempts: a machine that others use may keep an observer, or a fault, from its CPU just then.
	attempts = 4
	// observedFor is how long observers watch: from before a fault until after its end.
	observedFor = 14
	faultHold   = 5 * time.Second
	faultLead   = 4 * time.Second
)

// sight is what is watched on a node, and which events show that a fault has begun and ended; an empty one is not looked for.
type sight struct {
	node       string
	args       string
	begin, end string
}

// observed is one event of an observer.
type observed struct {
	name          string
	before, after time.Time
}

// faultTwin is a twin with pods on it, on which faults are done.
type faultTwin struct {
	*testing.T
	c     *cluster.Cluster
	env   fault.Env
	bench *system.Bench

	mu    sync.Mutex
	table [][]string
}

// TestFaultsOnTwin does every fault on a standing twin (make faults), holds its instants against what the struck nodes saw by
// their own clocks, and sees that it is undone.
func TestFaultsOnTwin(t *testing.T) {
	path := os.Getenv("FAULTS")
	if path == "" {
		t.Skip("a twin is needed: make faults")
	}
	inv, err := inventory.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Open(t.Context(), inv, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	release, err := c.Hold("the tests of faults")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	w := &faultTwin{T: t, c: c}
	w.deploy()
	for _, k := range w.cases() {
		if only := os.Getenv("FAULT"); only != "" && only != k.kind {
			continue
		}
		t.Run(strings.TrimSpace(k.kind+" "+k.note), func(t *testing.T) { w.try(t, k) })
	}
	w.report()
}

func (w *faultTwin) deploy() {
	repo, err := filepath.Abs("../..")
	if err != nil {
		w.Fatal(err)
	}
	shell := experiment.OverSSH(w.c.Fleet)
	w.bench = &system.Bench{Repo: repo, Inventory: w.c.Inventory, Shell: shell}
	s, ok := system.ByName("dnsingress-peers")
	if !ok {
		w.Fatal("no system dnsingress-peers")
	}
	if w.env, err = faultEnv(w.c, os.Stderr); err != nil {
		w.Fatal(err)
	}
	if _, err := fault.Heal(w.Context(), w.env); err != nil {
		w.Fatal(err)
	}
	if err := w.bench.Prepare(w.Context(), scenario.Backend{Replicas: 2, ResponseBytes: 64}, []system.System{s}); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := w.bench.CleanUp(context.WithoutCancel(w.Context())); err != nil {
			w.Error(err)
		}
	})
	if err := w.bench.AwaitBackend(w.Context(), 2*time.Minute); err != nil {
		w.Fatal(err)
	}
	if err := w.bench.Deploy(w.Context(), s, scenario.Setup{}); err != nil {
		w.Fatal(err)
	}
	w.env.System = s.Selector()
	if w.env.Healthy, err = fault.AsNow(w.Context(), w.env); err != nil {
		w.Fatal(err)
	}
}

// kase is a fault, and how it shows.
type kase struct {
	kind, note string
	with       map[string]string
	// sights of the aimed fault.
	sights func(t *testing.T, w *faultTwin, aimed fault.Target) []sight
	// span: it takes a while, as several nodes are struck or a large process dies.
	span bool
	// refused says why it cannot be here.
	refused string
}

func (w *faultTwin) cases() []kase {
	node := func(n string) map[string]string { return map[string]string{"node": n} }
	clocked := func(mode, begin, end string) func(*testing.T, *faultTwin, fault.Target) []sight {
		return func(_ *testing.T, _ *faultTwin, aimed fault.Target) []sight {
			return []sight{{aimed.Node, mode, begin, end}}
		}
	}
	// talk is a stream of datagrams between two nodes.
	talk := func(from, to, which string) func(*testing.T, *faultTwin, fault.Target) []sight {
		return func(t *testing.T, w *faultTwin, _ fault.Target) []sight {
			n, ok := w.c.Inventory.Node(to)
			if !ok {
				t.Fatalf("no node %s", to)
			}
			heard := "heard"
			if which == "theirs" {
				heard = "" // what spoke has died
			}
			return []sight{{from, "speak " + n.Address.String() + " 9999", "", ""}, {to, "hear 9999 " + which, "silent", heard}}
		}
	}
	control := w.c.Inventory.Clusters()[0].ControlPlane().Name
	return []kase{
		{kind: fault.PodSIGKILL, span: true, sights: processes("pids.max")},
		{kind: fault.ContainerKill, span: true, sights: processes("")},
		{kind: fault.PodFreeze, sights: freezer},
		{kind: fault.PodSlow, with: map[string]string{"by": "120ms"}, sights: slowness},
		{kind: fault.PodPartition, sights: func(t *testing.T, w *faultTwin, aimed fault.Target) []sight {
			return []sight{{"client-1", "reach " + w.pod(t, aimed.Name).Address, "silent", "heard"}}
		}},
		{kind: fault.PodDelete, span: true, sights: deletion("MODIFIED")},
		{kind: fault.PodDeleteForced, span: true, sights: deletion("DELETED")},
		{kind: fault.Rollout, span: true, sights: func(_ *testing.T, w *faultTwin, _ fault.Target) []sight {
			path := "/apis/apps/v1/namespaces/bench/deployments?watch=1&resourceVersion=" + w.version(control)
			return []sight{{control, "watch " + kubectl.Quote(path) + " testbed.dnsingress.dev/rolled", "seen", ""}}
		}},
		{kind: fault.LinkDown, with: node("north-1"), sights: clocked("link eth0", "down", "up")},
		{kind: fault.GroupPartition, with: map[string]string{"sides": "north-1|rest"}, span: true, sights: talk("client-1", "north-1", "own")},
		{kind: fault.GroupPartition, note: "the other direction", with: map[string]string{"sides": "north-1|rest"}, span: true, sights: talk("north-1", "client-1", "own")},
		{kind: fault.PacketLoss, with: map[string]string{"node": "north-1", "loss": "99%"}, sights: func(t *testing.T, w *faultTwin, aimed fault.Target) []sight {
			both := talk("client-1", aimed.Node, "own 0.05")(t, w, aimed)
			both[1].end = "" // one in a hundred is heard all the time
			return both
		}},
		{kind: fault.DiskFull, with: node(control), sights: clocked("room /run", "full", "room")},
		{kind: fault.NodePowerCut, with: node("north-2"), sights: talk("north-2", "client-1", "theirs")},
		{kind: fault.DNSKill, span: true, sights: func(t *testing.T, w *faultTwin, aimed fault.Target) []sight {
			return processesOf(t, w, aimed.Nodes[len(aimed.Nodes)-1], w.env.System, "")
		}},
		{kind: fault.ForwarderKill, span: true, sights: noSight},
		{kind: fault.ProvisioningKill, span: true, sights: noSight},
		{kind: fault.APIServerKill, span: true, sights: service("kube-apiserver")},
		{kind: fault.EtcdKill, span: true, sights: service("etcd")},
		{kind: fault.ControlPlaneKill, span: true, sights: service("etcd kube-apiserver kube-controller-manager kube-scheduler")},
		{kind: fault.PrometheusKill, span: true, sights: service("prometheus")},
		{kind: fault.ClusterPartition, span: true, sights: func(t *testing.T, w *faultTwin, aimed fault.Target) []sight {
			return talk("client-1", aimed.Node, "own")(t, w, aimed)
		}},
		{kind: fault.ClusterKill, span: true, sights: func(t *testing.T, w *faultTwin, aimed fault.Target) []sight {
			return talk(aimed.Nodes[0], "client-1", "theirs")(t, w, aimed)
		}},
		{kind: fault.PacketDelay, refused: "has no netem"},
		{kind: fault.ClockSkew, refused: "its nodes share the clock of their machine"},
	}
}

func noSight(*testing.T, *faultTwin, fault.Target) []sight { return nil }

// shell runs a line on a node.
func (w *faultTwin) shell(t *testing.T, node, line string) string {
	t.Helper()
	out, err := w.env.Shell.Shell(t.Context(), node, line, nil)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// pod is the struck pod.
func (w *faultTwin) pod(t *testing.T, name string) kubectl.Pod {
	t.Helper()
	pods, err := w.bench.Pods(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if p.FullName() == name {
			return p
		}
	}
	t.Fatalf("no pod %s", name)
	return kubectl.Pod{}
}

// cgroupOf is the directory of a pod's cgroup with a controller.
func (w *faultTwin) cgroupOf(t *testing.T, p kubectl.Pod, controller string) string {
	t.Helper()
	return w.shell(t, p.Node, fmt.Sprintf(`r=/sys/fs/cgroup/%s; [ -d $r ] || r=/sys/fs/cgroup; find $r -type d -path '*%s' -o -type d -path '*%s*.slice' | head -n 1`,
		controller, p.UID, strings.ReplaceAll(p.UID, "-", "_")))
}

// processes watches the processes of a struck pod's containers, and when the limit of its cgroup is lifted.
func processes(limit string) func(*testing.T, *faultTwin, fault.Target) []sight {
	return func(t *testing.T, w *faultTwin, aimed fault.Target) []sight {
		p := w.pod(t, aimed.Name)
		sights := []sight{{p.Node, "process " + w.pids(t, p), "gone", ""}}
		if limit != "" {
			sights = append(sights, sight{p.Node, "file " + w.cgroupOf(t, p, "pids") + "/" + limit, "", "max"})
		}
		return sights
	}
}

func (w *faultTwin) pids(t *testing.T, p kubectl.Pod) string {
	t.Helper()
	var list []string
	for _, c := range p.Containers {
		list = append(list, strings.Fields(w.shell(t, p.Node, fmt.Sprintf("cat %s/*%s*/cgroup.procs", w.cgroupOf(t, p, "pids"), c.ID)))...)
	}
	return strings.Join(list, " ")
}

// processesOf watches the processes of the pods on a node that a selector matches.
func processesOf(t *testing.T, w *faultTwin, node, selector, limit string) []sight {
	t.Helper()
	pods, err := w.bench.Pods(t.Context(), selector)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if p.Node == node {
			return processes(limit)(t, w, fault.Target{Name: p.FullName(), Node: node})
		}
	}
	t.Fatalf("no pod of %s on %s", selector, node)
	return nil
}

func freezer(t *testing.T, w *faultTwin, aimed fault.Target) []sight {
	p := w.pod(t, aimed.Name)
	dir := w.cgroupOf(t, p, "freezer")
	file := w.shell(t, p.Node, "ls "+dir+"/freezer.state "+dir+"/cgroup.events 2>/dev/null | head -n 1")
	return []sight{{p.Node, "cgroup " + file, "frozen", "thawed"}}
}

func slowness(t *testing.T, w *faultTwin, aimed fault.Target) []sight {
	p := w.pod(t, aimed.Name)
	return []sight{{p.Node, "ask " + p.Address + " 0.1", "slow", "fast"}}
}

// version is where a watch begins that is told of nothing older.
func (w *faultTwin) version(control string) string {
	return w.shell(w.T, control, "kubectl get deployments -n bench -o 'jsonpath={.metadata.resourceVersion}'")
}

func deletion(event string) func(*testing.T, *faultTwin, fault.Target) []sight {
	return func(t *testing.T, w *faultTwin, aimed fault.Target) []sight {
		n, _ := w.c.Inventory.Node(aimed.Node)
		control := w.c.Inventory.ClusterOf(n).ControlPlane().Name
		_, name, _ := strings.Cut(aimed.Name, "/")
		path := fmt.Sprintf("/api/v1/namespaces/bench/pods?watch=1&fieldSelector=metadata.name=%s&resourceVersion=%s", name, w.version(control))
		pattern := "deletionTimestamp"
		if event == "DELETED" {
			pattern = event
		}
		return []sight{{control, kubectl.Quote("watch") + " " + kubectl.Quote(path) + " " + pattern, "seen", ""}}
	}
}

// service watches the processes of units, and when they may start again.
func service(units string) func(*testing.T, *faultTwin, fault.Target) []sight {
	return func(t *testing.T, w *faultTwin, aimed fault.Target) []sight {
		pids := w.shell(t, aimed.Node, fmt.Sprintf("for u in %s; do systemctl show --value -p MainPID $u; done", units))
		return []sight{{aimed.Node, "process " + strings.Join(strings.Fields(pids), " "), "gone", ""}}
	}
}

// try does a fault until its instants are seen right.
func (w *faultTwin) try(t *testing.T, k kase) {
	if k.refused != "" {
		err := fault.Ready(t.Context(), w.env, k.kind)
		if err == nil || !strings.Contains(err.Error(), k.refused) {
			t.Errorf("%s: %v, want that it %s", k.kind, err, k.refused)
		}
		w.note(k, "refused", fmt.Sprint(err), "", "", "", "")
		return
	}
	t.Cleanup(func() { // one that goes wrong is not to spoil the next
		if _, err := fault.Heal(context.WithoutCancel(t.Context()), w.env); err != nil {
			t.Error(err)
		}
	})
	for attempt := 1; ; attempt++ {
		late := w.once(t, k, attempt)
		if len(late) == 0 || t.Failed() {
			return
		}
		if attempt == attempts {
			t.Errorf("after %d attempts: %s", attempts, strings.Join(late, "; "))
			return
		}
		t.Logf("once more: %s", strings.Join(late, "; "))
	}
}

// once does a fault; late is what was off by more than the tolerance.
func (w *faultTwin) once(t *testing.T, k kase, attempt int) (late []string) {
	ctx := t.Context()
	env := w.env
	env.With, env.Hold = k.with, faultHold
	if err := fault.Ready(ctx, env, k.kind); err != nil {
		t.Fatal(err)
	}
	f, err := fault.New(k.kind, env)
	if err != nil {
		t.Fatal(err)
	}
	target, err := f.Aim(ctx, (&injection{seed: uint64(attempt)}).random())
	if err != nil {
		t.Fatal(err)
	}
	sights := k.sights(t, w, target)
	watched := make([][]observed, len(sights))
	var watching sync.WaitGroup
	for i, s := range sights {
		watching.Go(func() { watched[i] = w.observe(ctx, s) })
	}
	at := time.Now().Add(faultLead)
	began, err := f.Begin(ctx, at)
	if err != nil {
		t.Error(err)
	}
	entries, journalErr := env.Journal.Standing()
	if journalErr != nil || len(entries) != 1 || !strings.HasPrefix(entries[0].What, k.kind+" of ") {
		t.Errorf("the journal has %v, %v", entries, journalErr)
	}
	ended, err := f.End(ctx, at.Add(faultHold))
	if err != nil {
		t.Error(err)
	}
	begin := time.Now()
	if err := f.Recover(context.WithoutCancel(ctx)); err != nil {
		t.Fatal(err)
	}
	recovered := time.Since(begin)
	watching.Wait()
	left, err := fault.Leftovers(ctx, env)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	if entries, err := env.Journal.Standing(); err != nil || len(entries) > 0 {
		t.Errorf("the journal still has %v, %v", entries, err)
	}
	for i, s := range sights {
		for _, edge := range []struct {
			name    string
			event   string
			instant fault.Instant
			due     time.Time
		}{{"begin", s.begin, began, at}, {"end", s.end, ended, at.Add(faultHold)}} {
			if edge.event == "" {
				continue
			}
			o, ok := first(watched[i], edge.event, edge.due)
			if !ok {
				t.Errorf("%s of %s: %s did not see %q: %v", edge.name, k.kind, s.node, edge.event, watched[i])
				continue
			}
			off := distance(edge.instant, o, k.span)
			w.note(k, edge.name, o.name+" on "+s.node, off.Round(time.Microsecond).String(), distance(edge.instant, o, false).Round(time.Microsecond).String(), edge.instant.After.Sub(edge.instant.Before).Round(time.Microsecond).String(), recovered.Round(time.Millisecond).String())
			if off > tolerance {
				late = append(late, fmt.Sprintf("%s of %s: %s saw %q %s from the instant", edge.name, k.kind, s.node, edge.event, off))
			}
		}
	}
	if len(sights) == 0 {
		w.note(k, "begin", "by the nodes themselves", "", "", began.After.Sub(began.Before).Round(time.Microsecond).String(), recovered.Round(time.Millisecond).String())
	}
	return late
}

// distance is how far an instant is from the moment at which something was seen: from the instant that is written down, or
// where it takes a while, from the span of it.
func distance(i fault.Instant, o observed, span bool) time.Duration {
	before, after := i.Before, i.Before
	if span {
		after = i.After
	}
	switch { // o lies between two looks
	case o.before.After(after):
		return o.before.Sub(after)
	case o.after.Before(before):
		return before.Sub(o.after)
	}
	return 0
}

// first finds the first event of that name, not long before it is due.
func first(events []observed, name string, due time.Time) (observed, bool) {
	for _, o := range events {
		if o.name == name && o.after.After(due.Add(-20*time.Millisecond)) {
			return o, true
		}
	}
	return observed{}, false
}

// observe runs an observer on a node until it ends, or the node does.
func (w *faultTwin) observe(ctx context.Context, s sight) []observed {
	ctx, cancel := context.WithTimeout(ctx, (observedFor+10)*time.Second)
	defer cancel()
	line := fmt.Sprintf("python3 - %d %s", observedFor, s.args)
	out, _ := w.env.Shell.Shell(ctx, s.node, line, strings.NewReader(observeProgram))
	var events []observed
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var (
			o             observed
			before, after int64
		)
		if n, err := fmt.Sscan(lines.Text(), &o.name, &before, &after); n == 3 && err == nil {
			o.before, o.after = time.Unix(0, before), time.Unix(0, after)
			events = append(events, o)
		}
	}
	return events
}

func (w *faultTwin) note(k kase, columns ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.table = append(w.table, append([]string{strings.TrimSpace(k.kind + " " + k.note)}, columns...))
}

// report prints what was seen.
func (w *faultTwin) report() {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FAULT\tEDGE\tSEEN\tOFF BY\tFROM ITS BEGIN\tWITHIN\tRECOVERED")
	for _, row := range w.table {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	if err := table.Flush(); err != nil {
		w.Error(err)
	}
	w.Logf("instants and what nodes saw:\n%s", b.String())
	if path := os.Getenv("FAULTS_TABLE"); path != "" {
		if err := os.WriteFile(cmp.Or(path, os.DevNull), []byte(b.String()), 0o644); err != nil {
			w.Error(err)
		}
	}
}
