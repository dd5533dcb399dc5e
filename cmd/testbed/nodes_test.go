// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/journal"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/preflight"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/sshtest"
)

const threeBoards = `version: 1
cluster: rack
substrate: pi
network: {nodes: "fd6e:7369:8:1::/64", services: "fd6e:7369:8:f::/112"}
zone: apps.test.
nodes:
  - {name: control-1, groups: [control, client], address: "fd6e:7369:8:1::1"}
  - {name: worker-1, groups: [worker], address: "fd6e:7369:8:1::11", pods: "fd6e:7369:8:11::/64"}
  - {name: worker-2, groups: [worker], address: "fd6e:7369:8:1::12", pods: "fd6e:7369:8:12::/64"}
`

// boards returns a cluster of which control-1 and worker-1 answer, each as $NODE, and worker-2 does not; and streams.
func boards(t *testing.T) (*cluster.Cluster, streams, map[string]*sshtest.Host) {
	t.Helper()
	t.Setenv("TESTBED_STATE_DIR", t.TempDir())
	inv, err := inventory.Parse("inventory.yaml", []byte(threeBoards))
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.New(inv, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	client := sshtest.NewKey(t)
	hosts := map[string]*sshtest.Host{}
	for _, name := range []string{"control-1", "worker-1"} {
		hosts[name] = sshtest.NewHost(t, client.PublicKey(), "NODE="+name)
	}
	c.Fleet = sshtest.Fleet(t, inv, client, hosts)
	return c, streams{In: strings.NewReader(""), Out: new(bytes.Buffer), Err: new(bytes.Buffer)}, hosts
}

func TestChoose(t *testing.T) {
	c, _, _ := boards(t)
	for words, want := range map[string]string{
		"worker": "worker-1 worker-2", "all": "control-1 worker-1 worker-2", "worker-2,client": "control-1 worker-2",
		"worker-1,worker": "worker-1 worker-2", "control-plane": "control-1",
	} {
		nodes, err := choose(c.Inventory, []string{words})
		if got := strings.Join(names(nodes), " "); err != nil || got != want {
			t.Errorf("%s chooses %q, %v; want %q", words, got, err, want)
		}
	}
	for _, words := range []string{"wroker", "", "worker,", "worker-9"} {
		if _, err := choose(c.Inventory, []string{words}); err == nil || !strings.Contains(err.Error(), "(hint: all, control, client, worker; the nodes are in inventory.yaml)") {
			t.Errorf("%q was chosen: %v", words, err)
		}
	}
}

func TestExec(t *testing.T) {
	c, s, _ := boards(t)
	two := c.Inventory.Nodes[:2]
	if err := s.exec(t.Context(), c, two, `echo I am $NODE; printf "no end"`, 0, 0, false); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(s.Out.(*bytes.Buffer).String()), "\n")
	slices.Sort(got)
	if want := []string{"control-1 | I am control-1", "control-1 | no end", "worker-1  | I am worker-1", "worker-1  | no end"}; !slices.Equal(got, want) {
		t.Errorf("printed %q, want %q", got, want)
	}

	s.Out.(*bytes.Buffer).Reset()
	err := s.exec(t.Context(), c, c.Inventory.Nodes, `echo $NODE; echo sorry >&2; [ $NODE != worker-1 ] || exit 3`, 1, 0, true)
	if err == nil || !strings.Contains(err.Error(), "the command failed on 2 of 3 nodes:\n  worker-1: it ended with code 3\n  connecting to worker-2: ") {
		t.Errorf("error %v", err)
	}
	var results []execResult
	if err := json.Unmarshal(s.Out.(*bytes.Buffer).Bytes(), &results); err != nil {
		t.Fatal(err)
	}
	if len(results) != 3 || results[1].Code != 3 || results[1].Stdout != "worker-1\n" || results[1].Stderr != "sorry\n" || results[2].Code != -1 || results[2].Error == "" {
		t.Errorf("results %+v", results)
	}

	err = s.exec(t.Context(), c, two[:1], "sleep 1000", 0, 50*time.Millisecond, false)
	if err == nil || !strings.Contains(err.Error(), "control-1: no end within 50ms") {
		t.Errorf("a command without end: %v", err)
	}
}

// Nodes that do not answer say so in their lines; what is asked of others is there.
func TestStatus(t *testing.T) {
	c, s, _ := boards(t)
	nodes, err := lookAround(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes) != 3 || nodes[0].SSH != "ok" || nodes[0].Offset == nil || nodes[0].Offset.Abs() > time.Second || nodes[2].SSH == "ok" || nodes[2].Offset != nil {
		t.Errorf("status %+v", nodes)
	}
	if nodes[1].Kubelet != "unknown" || nodes[0].Kubelet != "" {
		t.Errorf("kubelets: %+v", nodes)
	}
	if err := statusTable(s.Out, nodes); err != nil {
		t.Fatal(err)
	}
	table := s.Out.(*bytes.Buffer).String()
	if !strings.HasPrefix(table, "NODE") || strings.Count(table, "\n") != 4 || !strings.Contains(table, "fd6e:7369:8:1::12") {
		t.Errorf("table:\n%s", table)
	}
}

// What the state file knows is shown though nobody answers.
func TestStatusOffline(t *testing.T) {
	c, s, _ := boards(t)
	w, err := c.NewWork(nil, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Finished("flash", c.Inventory.Nodes[0]), w.GiveUp("flash", c.Inventory.Nodes[2], errors.New("no card in it"))); err != nil {
		t.Fatal(err)
	}
	c.Fleet = nil // whoever asks a node meets this
	nodes, err := lookOffline(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := offlineTable(s.Out, nodes); err != nil {
		t.Fatal(err)
	}
	table := s.Out.(*bytes.Buffer).String()
	for _, words := range []string{"gave up: flash", "no card in it", "control-1"} {
		if !strings.Contains(table, words) {
			t.Errorf("%q is not in the table:\n%s", words, table)
		}
	}
	if nodes[1].Up != nil || nodes[0].Up == nil || nodes[0].SSH != "not asked" {
		t.Errorf("offline: %+v", nodes)
	}
}

// The doctor finds all that is wrong, on every node, and what stands on the cluster.
func TestDoctor(t *testing.T) {
	c, s, hosts := boards(t)
	hosts["worker-1"].Take(hosts["control-1"].Key) // their cards were swapped
	if _, err := c.Journal.Begin(journal.Entry{Kind: journal.Fault, What: "link-down", Nodes: []string{"worker-1"}}); err != nil {
		t.Fatal(err)
	}
	findings, err := examine(t.Context(), c, c.Inventory.Nodes)
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]preflight.Finding{}
	for _, f := range preflight.Bad(findings) {
		bad[f.Node+" "+f.Check] = f
	}
	for _, what := range []string{"rack standing", "worker-1 host key", "worker-2 ssh", "control-1 kubelets", "control-1 scrapes"} {
		if _, found := bad[what]; !found {
			t.Errorf("%s was not found: %v", what, bad)
		}
	}
	if f := bad["worker-1 host key"]; !strings.Contains(f.Value, "the host key of control-1") {
		t.Errorf("a node with another's host key: %+v", f)
	}
	if err := findingsTable(s.Out, preflight.Bad(findings)); err != nil {
		t.Fatal(err)
	}
	if table := s.Out.(*bytes.Buffer).String(); strings.Count(table, "cure: ") != len(bad) {
		t.Errorf("not every finding has a cure:\n%s", table)
	}
}

// Whoever comes next is told what a killed testbed left, unless somebody is at it.
func TestTell(t *testing.T) {
	c, s, _ := boards(t)
	said := func() string {
		t.Helper()
		r, err := left(c)
		if err != nil {
			t.Fatal(err)
		}
		s.Err.(*bytes.Buffer).Reset()
		r.tell(s.Err)
		return s.Err.(*bytes.Buffer).String()
	}
	if text := said(); text != "" {
		t.Errorf("nothing stands, and yet: %s", text)
	}
	e, err := c.Journal.Begin(journal.Entry{Kind: journal.Fault, What: "node-power-cut", Nodes: []string{"worker-2"}})
	if err != nil {
		t.Fatal(err)
	}
	lock := `{"command": "experiment run quickstart", "pid": 99, "host": "seat", "since": "2026-11-22T09:00:00Z"}`
	if err := os.WriteFile(filepath.Join(c.StateDir, "lock"), []byte(lock), 0o644); err != nil {
		t.Fatal(err)
	}
	text := said()
	for _, words := range []string{
		"testbed: testbed experiment run quickstart (process 99 on seat, since 2026-11-22 ", ") was killed before its end\n",
		"testbed: standing: fault node-power-cut on worker-2, since ", "(hint: 'testbed up' and ",
	} {
		if !strings.Contains(text, words) {
			t.Errorf("%q is not in %q", words, text)
		}
	}
	c.Fleet = nil // as it is when 'up' takes a cluster
	release, err := c.Hold("up")
	if err != nil {
		t.Fatal(err)
	}
	if text := said(); text != "" {
		t.Errorf("somebody is at it, and yet: %s", text)
	}
	if reason, err := (&mending{c: c}).Skip(t.Context()); reason != "" || err != nil {
		t.Errorf("whoever is at it skips what stands: %q, %v", reason, err)
	}
	release()
	if err := c.Journal.End(e.ID); err != nil {
		t.Fatal(err)
	}
	again, err := cluster.New(c.Inventory, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := left(again); err != nil || !r.nothing() {
		t.Errorf("left after all is mended: %v, %v", r, err)
	}
}
