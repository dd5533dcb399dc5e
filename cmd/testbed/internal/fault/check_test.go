// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// six is the small twin: a control node, three workers, two clients.
func six(t *testing.T) *inventory.Inventory {
	t.Helper()
	inv, err := inventory.Load("../../../../pi-cluster/inventory.twin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestCheck(t *testing.T) {
	twin, boards := six(t), six(t)
	boards.Substrate = "pi"
	boards.Nodes[0].Roles = []string{inventory.RoleControlPlane, inventory.RoleOrchestrator}
	for name, test := range map[string]struct {
		kind, with string // as on the command line
		inv        *inventory.Inventory
		want       []string // parts of the error, each of one finding; none: it can be
	}{
		"a kind that is none":         {"pod-kil", "", twin, []string{`unknown kind of fault "pod-kil" (hint: pod-sigkill, pod-delete,`}},
		"a pod":                       {PodFreeze, "", twin, nil},
		"a named pod":                 {PodFreeze, "pod=bench/backend-1", twin, nil},
		"all pods of a worker":        {PodSIGKILL, "node=worker-2 count=all", twin, nil},
		"a pod without a namespace":   {PodFreeze, "pod=backend", twin, []string{`"backend" is no pod (hint: NAMESPACE/NAME)`}},
		"a pod and a node":            {PodFreeze, "pod=bench/b node=worker-1", twin, []string{"cannot be aimed at pod bench/b and at node worker-1"}},
		"several of one pod":          {PodFreeze, "pod=bench/b count=2", twin, []string{"strikes one pod where that is named"}},
		"pods of a client":            {PodDelete, "node=client-1", twin, []string{"client-1 has none: it is no worker"}},
		"pods of nobody":              {PodDelete, "node=worker-9", twin, []string{`strikes "worker-9", and the inventory has neither a node nor a group of that name`}},
		"no number":                   {PodDelete, "count=0", twin, []string{`"0" is no number of things to strike`}},
		"a parameter of others":       {PodDelete, "loss=5% delay=1s", twin, []string{`takes no "delay" (hint: it takes pod, node, count)`, `takes no "loss"`}},
		"a parameter where none is":   {Rollout, "node=worker-1", twin, []string{`takes no "node" (hint: it takes none)`}},
		"a group":                     {LinkDown, "node=client count=2", twin, nil},
		"more than there are":         {NodePowerCut, "count=4", twin, []string{"strikes 4 nodes, and worker has 3"}},
		"who would undo it":           {NodePowerCut, "node=control-1", boards, []string{"cannot strike control-1, from where testbed is run"}},
		"half of the workers":         {GroupPartition, "", twin, nil},
		"sides":                       {GroupPartition, "sides=worker-1,worker-2|control,client", twin, nil},
		"one and all others":          {GroupPartition, "sides=worker-3|rest", twin, nil},
		"one side":                    {GroupPartition, "sides=worker-1", twin, []string{`"worker-1" has no two sides`}},
		"three sides":                 {GroupPartition, "sides=worker-1|worker-2|worker-3", twin, []string{"has no two sides"}},
		"a side of nobody":            {GroupPartition, "sides=worker-1|rack-9", twin, []string{`neither a node nor a group of that name`}},
		"on both sides":               {GroupPartition, "sides=worker-1,worker-2|worker", twin, []string{"worker-1 is on both sides", "worker-2 is on both sides"}},
		"rest on both sides":          {GroupPartition, "sides=rest|rest", twin, []string{`has "rest" beside others`}},
		"nobody is the rest":          {GroupPartition, "sides=worker,client,control|rest", twin, []string{"has nobody on one of its sides"}},
		"loss":                        {PacketLoss, "loss=0.5%", twin, nil},
		"loss of all":                 {PacketLoss, "loss=100%", twin, []string{`"100%" is no share of packets (hint: 0.01% to 99%)`}},
		"loss of no unit":             {PacketLoss, "loss=0.05", twin, []string{"is no share of packets"}},
		"jitter above the delay":      {PacketDelay, "delay=10ms jitter=20ms", twin, []string{"jitter of 20ms, which is more than its delay"}},
		"a delay that is none":        {PacketDelay, "delay=fast", twin, []string{`"fast" is no such time`}},
		"a disk in memory":            {DiskFull, "path=/run", twin, nil},
		"the disk of all":             {DiskFull, "path=/var/lib", twin, []string{"whose nodes share their machine's disk"}},
		"a disk of a board":           {DiskFull, "path=/var/lib", boards, nil},
		"where faults are":            {DiskFull, "path=/dev/shm/x", boards, []string{"faults keep their own files there"}},
		"no path":                     {DiskFull, "path=run", twin, []string{`"run" is no absolute path`}},
		"one clock":                   {ClockSkew, "", twin, []string{"its nodes share the clock of their machine"}},
		"a clock":                     {ClockSkew, "node=worker-1 by=-90s", boards, nil},
		"a clock that is right":       {ClockSkew, "by=1ms", boards, []string{`"1ms" is no such time (hint: 50ms to 24h0m0s)`}},
		"one cluster":                 {ClusterKill, "", twin, []string{"needs an inventory with several clusters (hint: "}},
		"everything that is wrong":    {PacketDelay, "node=nobody delay=1h", twin, []string{`delay of fault packet-delay: "1h" is no such time`}},
		"anywhere, which it can be":   {ClockSkew, "node=anybody", nil, nil},
		"anywhere, which it can't be": {ClockSkew, "by=soon", nil, []string{"is no such time"}},
	} {
		with := map[string]string{}
		for _, pair := range strings.Fields(test.with) {
			key, value, _ := strings.Cut(pair, "=")
			with[key] = value
		}
		err := Check(test.kind, with, test.inv)
		if (err != nil) != (test.want != nil) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %s", name, err, want)
			}
		}
		if err != nil && strings.Count(err.Error(), "\n") != len(test.want)-1 {
			t.Errorf("%s: %d findings in %q", name, len(test.want), err)
		}
	}
}

// Every kind says what it is, is made where it can be, and takes only parameters that are read.
func TestKinds(t *testing.T) {
	if got := len(slices.Compact(slices.Sorted(slices.Values(Kinds())))); got != len(All()) {
		t.Errorf("%d names of %d kinds", got, len(All()))
	}
	for _, k := range All() {
		if k.What == "" || k.make == nil {
			t.Errorf("%s: nothing is said of it", k.Name)
		}
		for _, key := range k.With {
			if err := (&params{}).set(k, key, "?"); err == nil && key != withNode && key != withContainer {
				t.Errorf("%s: %s may be anything", k.Name, key)
			}
		}
	}
	if !NeedsSystem(DNSKill) || NeedsSystem(PodDelete) || NeedsSystem("nothing") {
		t.Error("who needs a system is wrong")
	}
}

func TestSides(t *testing.T) {
	inv := six(t)
	for with, want := range map[string][2]string{
		"":                           {"worker-1", "control-1, worker-2, worker-3, client-1, client-2"},
		"worker-3,client|rest":       {"worker-3, client-1, client-2", "control-1, worker-1, worker-2"},
		"rest|control":               {"worker-1, worker-2, worker-3, client-1, client-2", "control-1"},
		"worker-1,worker|client-2":   {"worker-1, worker-2, worker-3", "client-2"},
		" worker-1 , worker-2 |rest": {"worker-1, worker-2", "control-1, worker-3, client-1, client-2"},
	} {
		var p params
		if with != "" {
			if err := p.setSides(with); err != nil {
				t.Errorf("%s: %v", with, err)
			}
		}
		left, right := sides(p, inv)
		if diff := cmp.Diff(want, [2]string{list(names(left)), list(names(right))}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", with, diff)
		}
	}
}

// The trial's seed picks: the same target again, and every target in time.
func TestPick(t *testing.T) {
	e := &Env{Inventory: six(t)}
	met := map[string]bool{}
	rng := random()
	for range 60 {
		for _, n := range (params{count: 2}).pick(e, rng) {
			met[n.Name] = true
		}
	}
	if got := slices.Sorted(maps.Keys(met)); list(got) != "worker-1, worker-2, worker-3" {
		t.Errorf("picked %v", got)
	}
	if a, b := (params{}).pick(e, random()), (params{}).pick(e, random()); a[0].Name != b[0].Name {
		t.Errorf("the same seed picks %s and %s", a[0].Name, b[0].Name)
	}
}
