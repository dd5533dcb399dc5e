// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/experiment"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/phase"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/internal/results"
)

// poison is something done to one trial of a run.
type poison struct {
	name, reason string // what the verdict must say
	// before is run on a node when the trial's generator is about to start, during some seconds into its load, after when it
	// has ended: what the next trial finds.
	node, before, during, after string
	rate                        string // in place of the trial's
	clock                       time.Duration
	unread                      string // node whose counters cannot be read
}

// The pod that is left is of a system that is not the trial's.
const leftPod = `kubectl run left -n bench --image=testbed.local/pause:1 --image-pull-policy=Never --labels=testbed.dnsingress.dev/component=proxy,testbed.dnsingress.dev/system=nginx >&2`

func poisons() []poison {
	return []poison{
		{name: "the generator is stopped", reason: "of requests were sent more than", node: "client-1", during: "pkill -STOP -x loadgen; sleep 3; pkill -CONT -x loadgen"},
		{name: "the generator has too much to do", reason: "cores, bound", rate: "1200"},
		{
			name: "the machine is busy", reason: "the CPUs of host", node: "client-1", // through all of the window, which the bound is of
			before: `for i in $(seq $(nproc)); do timeout 60 sh -c 'while :; do :; done' </dev/null >/dev/null 2>&1 & echo $!; done >/run/poison.pids`,
			after:  "kill $(cat /run/poison.pids)",
		},
		{name: "a clock is off", reason: "the clock of worker-1", clock: 300 * time.Millisecond},
		{name: "Prometheus is stopped", reason: "scrapes of Prometheus are missing", node: "control-1", during: "systemctl kill -s STOP prometheus; sleep 6; systemctl kill -s CONT prometheus"},
		{
			name: "CPUs are throttled", reason: "CPUs were throttled on worker-1: under-voltage", node: "worker-1",
			before: "printf '#!/bin/sh\necho throttled=0x50005\n' > /usr/local/bin/vcgencmd && chmod 755 /usr/local/bin/vcgencmd",
			after:  "rm /usr/local/bin/vcgencmd; nft add table ip6 poison",
		},
		{
			name: "rules are left on a node", reason: "left over from the last trial: worker-1: table ip6 poison", node: "worker-1",
			before: "nft delete table ip6 poison",
		},
		{name: "counters cannot be read", reason: "missing counters: worker-1", unread: "worker-1", node: "control-1", after: leftPod},
		{name: "a pod is left", reason: "left over from the last trial: pod bench/left", node: "control-1", after: "kubectl delete pod left -n bench --now >&2"},
	}
}

// poisoner does to trials, in their order, what poisons say.
type poisoner struct {
	experiment.Nodes
	t     *testing.T
	trial atomic.Int32 // the trial whose load was begun last, from 1
}

func (p *poisoner) Shell(ctx context.Context, node, line string, stdin io.Reader) ([]byte, error) {
	all := poisons()
	if !strings.Contains(line, "--start-at") {
		if n := int(p.trial.Load()); n > 0 && all[n-1].unread == node && strings.Contains(line, "edge=end") {
			return nil, io.ErrUnexpectedEOF
		}
		return p.Nodes.Shell(ctx, node, line, stdin)
	}
	now := all[p.trial.Add(1)-1]
	run := func(line string) {
		if line == "" {
			return
		}
		if _, err := p.Nodes.Shell(context.WithoutCancel(ctx), now.node, line, nil); err != nil {
			p.t.Errorf("%s: %v", now.name, err)
		}
	}
	if now.rate != "" {
		line = strings.Replace(line, "--rate 40 ", "--rate "+now.rate+" ", 1)
	}
	run(now.before)
	during := make(chan struct{})
	go func() {
		defer close(during)
		if now.during != "" {
			run("sleep 6; " + now.during) // lead, warm-up, and then some of the window
		}
	}()
	out, err := p.Nodes.Shell(ctx, node, line, stdin)
	<-during
	run(now.after)
	return out, err
}

func (p *poisoner) ClockOffset(ctx context.Context, node string) (offset, rtt time.Duration, err error) {
	offset, rtt, err = p.Nodes.ClockOffset(ctx, node)
	if n := int(p.trial.Load()); n > 0 && node == "worker-1" {
		offset += poisons()[n-1].clock // nodes of a twin share one clock: it is the measurement that is poisoned
	}
	return offset, rtt, err
}

const poisonScenario = `version: 1
name: poison
question: Is a trial that was poisoned found to be?
hypothesis: Every time, and for the reason for which it was.
seed: 1
systems: [direct]
backend: {replicas: 2}
load: {rate: 40, connection: keepalive, users: 4, warmup: 2s}
trials:
  - {count: 9, window: 14s}
validity: {lag_p99: 1s, generator_cpu: 0.04, host_cpu: 0.95, errors: 0.05, clock_offset: 100ms, repeats: 0}
`

// TestPoisonedTrials runs trials on a standing twin (make poison), each poisoned in another way, and holds the verdicts against
// what was done.
func TestPoisonedTrials(t *testing.T) {
	path := os.Getenv("POISON")
	if path == "" {
		t.Skip("a twin is needed: make poison")
	}
	inv, err := inventory.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	c, err := cluster.Open(t.Context(), inv, log)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	repo, err := repository("")
	if err != nil {
		t.Fatal(err)
	}
	s, err := scenario.Parse("poison.yaml", []byte(poisonScenario), vocabulary(repo, inv))
	if err != nil {
		t.Fatal(err)
	}
	var dir string
	r := &experiment.Runner{
		Scenario: s, Text: []byte(poisonScenario), Inventory: inv, Repo: repo, Results: t.TempDir(), Out: t.Output(), Log: log, Power: c.Power,
		Loadgen: filepath.Join(repo, "bin", "loadgen"), Nodes: &poisoner{Nodes: experiment.OverSSH(c.Fleet), t: t},
		Begun: func(d string) error { dir = d; return nil },
	}
	m := phase.Manager{Log: log, Out: t.Output()}
	if err := m.Run(t.Context(), r.Phases()...); err == nil || !strings.Contains(err.Error(), "9 trials are invalid") {
		t.Errorf("the run says %v", err)
	}
	run, err := results.OpenRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	trials, err := run.Trials()
	if err != nil || len(trials) != len(poisons()) {
		t.Fatalf("%d trials, %v", len(trials), err)
	}
	for i, p := range poisons() {
		v := trials[i].Verdict
		t.Logf("%s: %s", p.name, strings.Join(v.Reasons, "; "))
		if v.Valid || !strings.Contains(strings.Join(v.Reasons, "\n"), p.reason) {
			t.Errorf("%s: the verdict does not say %q", p.name, p.reason)
		}
	}
}
