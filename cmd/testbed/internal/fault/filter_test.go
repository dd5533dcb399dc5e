// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// pairs is two clusters of two nodes each, and a client.
const pairs = `version: 1
cluster: pairs
substrate: twin
network: {nodes: "fd6e:7369:8:1::/64", services: "fd6e:7369:8:f::/112"}
zone: apps.test.
nodes:
  - {name: a1, cluster: a, groups: [control], address: "fd6e:7369:8:1::a1"}
  - {name: a2, cluster: a, groups: [worker], address: "fd6e:7369:8:1::a2", pods: "fd6e:7369:8:a2::/64"}
  - {name: b1, cluster: b, groups: [control], address: "fd6e:7369:8:1::b1"}
  - {name: b2, cluster: b, groups: [worker], address: "fd6e:7369:8:1::b2", pods: "fd6e:7369:8:b2::/64"}
  - {name: client, groups: [client], address: "fd6e:7369:8:1::c"}
`

// wire makes a namespace for each node and one for the switch between them, with a pod behind each worker.
func wire(t *testing.T, m *machine, inv *inventory.Inventory) {
	t.Helper()
	needPrograms(t, map[string]string{"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux", "ping": "iputils-ping"})
	if os.Geteuid() != 0 {
		needRoot(t, "making network namespaces needs root")
	}
	prefix := fmt.Sprintf("f%06x-", rand.Uint32()>>8)
	run := func(format string, a ...any) {
		t.Helper()
		words := strings.Fields(fmt.Sprintf(format, a...))
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", words, err, out)
		}
	}
	add := func(name string) {
		t.Helper()
		run("ip netns add %s%s", prefix, name)
		t.Cleanup(func() { run("ip netns del %s%s", prefix, name) })
		for _, key := range []string{"all.disable_ipv6=0", "default.accept_dad=0", "all.accept_dad=0", "all.forwarding=1"} {
			run("nsenter --net=/run/netns/%s%s sysctl -qw net.ipv6.conf.%s", prefix, name, key)
		}
		run("ip -n %s%s link set lo up", prefix, name)
	}
	add("sw")
	run("ip -n %ssw link add br0 type bridge mcast_snooping 0", prefix)
	run("ip -n %ssw link set br0 up", prefix)
	run("ip -n %ssw address add %s/64 dev br0 nodad", prefix, inv.Orchestrator())
	for _, n := range inv.Nodes {
		add(n.Name)
		run("ip -n %ssw link add %s type veth peer name eth0 netns %s%s", prefix, n.Name, prefix, n.Name)
		run("ip -n %ssw link set %s master br0 up", prefix, n.Name)
		run("ip -n %s%s link set eth0 up", prefix, n.Name)
		run("ip -n %s%s address add %s/64 dev eth0 nodad", prefix, n.Name, n.Address)
		if n.Pods.IsValid() {
			pod := n.Name + "p"
			add(pod)
			run("ip -n %s%s link add pod type veth peer name eth0 netns %s%s", prefix, n.Name, prefix, pod)
			run("ip -n %s%s link set pod up", prefix, n.Name)
			run("ip -n %s%s link set eth0 up", prefix, pod)
			run("ip -n %s%s address add %s2/64 dev eth0 nodad", prefix, pod, n.Pods.Addr())
			run("ip -n %s%s address add %s1/64 dev pod nodad", prefix, n.Name, n.Pods.Addr())
			run("ip -n %s%s route add default via %s1", prefix, pod, n.Pods.Addr())
		}
	}
	for _, n := range inv.Nodes {
		for _, w := range inv.Group(inventory.Worker) {
			if w.Name != n.Name {
				run("ip -n %s%s route add %s via %s", prefix, n.Name, w.Pods, w.Address)
			}
		}
	}
	for _, w := range inv.Group(inventory.Worker) {
		run("ip -n %ssw route add %s via %s", prefix, w.Pods, w.Address)
	}
	m.prefix = prefix
}

// wired is an inventory whose nodes are namespaces.
func wired(t *testing.T, m *machine, text string) *inventory.Inventory {
	t.Helper()
	inv, err := inventory.Parse("pairs.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	wire(t, m, inv)
	return inv
}

// route is who asks whom, and whether that is to work while something is broken, as it always is to before and after.
type route struct {
	from, to string
	works    bool
}

// check tries all paths at once.
func (m *machine) check(t *testing.T, inv *inventory.Inventory, when string, broken bool, paths []route) {
	t.Helper()
	address := map[string]string{"orchestrator": inv.Orchestrator().String()}
	for _, n := range inv.Nodes {
		address[n.Name] = n.Address.String()
		if n.Pods.IsValid() {
			address[n.Name+"p"] = n.Pods.Addr().String() + "2"
		}
	}
	var all sync.WaitGroup
	for _, p := range paths {
		want, tries := p.works || !broken, 1
		if want {
			tries = 20 // the first packets may be lost while neighbours are found
		}
		all.Go(func() {
			_, err := m.Shell(t.Context(), p.from, fmt.Sprintf("for i in $(seq %d); do ping -6 -q -c 1 -W 1 %s && exit 0; done; exit 1", tries, address[p.to]), nil)
			if reached := err == nil; reached != want {
				t.Errorf("%s: %s reaches %s: %t", when, p.from, p.to, reached)
			}
		})
	}
	all.Wait()
}

// A partition on real kernels: the cluster talks to itself, its pods included, and to the orchestrator; nobody else hears of it.
func TestClusterPartition(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	inv := wired(t, m, pairs)
	e := m.environment(inv)
	e.Hold = time.Hour
	healthy := false
	e.Healthy = func(context.Context) error { healthy = true; return nil }
	f, err := New(ClusterPartition, e)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	target := aimed(t, f)
	S, O := target.Name, "b"
	if S == O {
		O = "a"
	}
	if !target.Strikes(S+"1") || !target.Strikes(S+"2") || target.Strikes("client") || target.Strikes(O+"2") {
		t.Errorf("target %+v", target)
	}
	paths := []route{
		{S + "1", S + "2", true},
		{S + "1", S + "2p", true},
		{S + "2p", S + "1", true},
		{"sw", S + "1", true},
		{"sw", S + "2p", true},
		{O + "2p", O + "1", true},
		{"client", O + "2p", true},
		{"client", S + "1", false},
		{"client", S + "2p", false},
		{S + "2p", O + "2p", false},
		{O + "2p", S + "2p", false},
		{S + "1", O + "1", false},
		{S + "2p", "client", false},
	}
	m.check(t, inv, "before", false, paths)
	at := time.Now().Add(time.Second)
	i, err := f.Begin(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	if i.Before.Before(at) || i.After.Before(i.Before) || !target.Strikes(i.Clock) {
		t.Errorf("instant %v, want at or after %s", i, at)
	}
	m.check(t, inv, "cut off", true, paths)
	if i, err := f.End(ctx, time.Now()); err != nil || i.Before.IsZero() {
		t.Fatalf("End: %v, %v", i, err)
	}
	m.check(t, inv, "joined", false, paths)
	if i, err := f.End(ctx, time.Now()); err != nil || i != (Instant{}) {
		t.Errorf("End a second time: %v, %v", i, err)
	}
	if err := f.Recover(ctx); err != nil || !healthy {
		t.Errorf("Recover: %v", err)
	}

	// What a killed run left is found and undone, once.
	if _, err := f.Begin(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{2, 0} {
		if healed, err := Heal(ctx, e); err != nil || len(healed) != want {
			t.Errorf("healed %q, %v, want %d", healed, err, want)
		}
	}
	m.check(t, inv, "healed", false, paths)
}

// rack is one cluster.
var rack = strings.NewReplacer("cluster: a, ", "", "cluster: b, groups: [control]", "groups: [client]", "cluster: b, ", "").Replace(pairs)

// Two groups of nodes hear nothing of each other, of which they are told nothing; within each all is as before.
func TestGroupPartition(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	inv := wired(t, m, rack)
	e := m.environment(inv)
	e.Hold, e.With = time.Hour, map[string]string{"sides": "a2,b1|rest"}
	if err := Ready(t.Context(), e, GroupPartition); err != nil {
		t.Fatal(err)
	}
	f, err := New(GroupPartition, e)
	if err != nil {
		t.Fatal(err)
	}
	target := aimed(t, f)
	if target.Name != "a2, b1 | a1, b2, client" || !target.Strikes("b1") || target.Strikes("b2") || len(target.Members) != 2 {
		t.Errorf("target %+v", target)
	}
	paths := []route{
		{"a2", "b1", true},
		{"a2p", "b1", true},
		{"b2p", "client", true},
		{"a1", "b2p", true},
		{"sw", "a2p", true},
		{"sw", "b2p", true},
		{"a2", "b2", false},
		{"b2", "a2", false},
		{"a2p", "b2p", false},
		{"b2p", "a2p", false},
		{"a2p", "client", false},
		{"client", "a2p", false},
		{"b1", "a1", false},
	}
	m.check(t, inv, "before", false, paths)
	if _, err := f.Begin(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	m.check(t, inv, "parted", true, paths)
	// A firewall of one's own would say at once that the packet may not leave.
	if out, _ := m.Shell(t.Context(), "a2", "ping -6 -n -c 1 -W 1 "+inv.Nodes[3].Address.String()+" 2>&1", nil); strings.Contains(string(out), "not permitted") {
		t.Errorf("a sender is told: %s", out)
	}
	if i, err := f.End(t.Context(), time.Now()); err != nil || i.Before.IsZero() {
		t.Fatalf("End: %v, %v", i, err)
	}
	m.check(t, inv, "joined", false, paths)
	if err := f.Recover(t.Context()); err != nil {
		t.Error(err)
	}
}

// A pod that is cut off is heard by nobody, not by its own node either; the node and all others go on, and senders are told nothing.
func TestPodPartition(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	inv := wired(t, m, rack)
	pods := onlyPod("fa017e57-0000-4000-8000-000000000001", "c1", inv.Nodes[3].Pods.Addr().String()+"2")
	m.write(t, "pods", strings.ReplaceAll(pods, `"here"`, `"b2"`))
	e := m.environment(inv)
	e.Hold = time.Hour
	if err := Ready(t.Context(), e, PodPartition); err != nil {
		t.Fatal(err)
	}
	f, err := New(PodPartition, e)
	if err != nil {
		t.Fatal(err)
	}
	target := aimed(t, f)
	if target.Name != "bench/backend" || target.Node != "b2" || len(target.Members) != 1 {
		t.Errorf("target %+v", target)
	}
	paths := []route{
		{"b2", "a1", true},
		{"client", "b2", true},
		{"client", "a2p", true},
		{"a2p", "b2", true},
		{"b2", "b2p", false},
		{"b2p", "b2", false},
		{"a2p", "b2p", false},
		{"b2p", "a2p", false},
		{"client", "b2p", false},
		{"b2p", "client", false},
	}
	m.check(t, inv, "before", false, paths)
	if _, err := f.Begin(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	m.check(t, inv, "cut off", true, paths)
	if i, err := f.End(t.Context(), time.Now()); err != nil || i.Before.IsZero() {
		t.Fatalf("End: %v, %v", i, err)
	}
	m.check(t, inv, "joined", false, paths)
	if err := f.Recover(t.Context()); err != nil {
		t.Error(err)
	}
}

// A share of all packets is lost, coming and going.
func TestPacketLoss(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	inv := wired(t, m, rack)
	e := m.environment(inv)
	e.Hold, e.With = time.Hour, map[string]string{"node": "b2", "loss": "30%"}
	if err := Ready(t.Context(), e, PacketLoss); err != nil {
		t.Fatal(err)
	}
	f, err := New(PacketLoss, e)
	if err != nil {
		t.Fatal(err)
	}
	aimed(t, f)
	lost := func() int {
		t.Helper()
		out, err := m.Shell(t.Context(), "client", fmt.Sprintf("ping -6 -q -c 200 -i 0.002 -W 1 %s; :", inv.Nodes[3].Address), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got int
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "received") {
				if _, err := fmt.Sscanf(line, "200 packets transmitted, %d received", &got); err != nil {
					t.Fatal(line)
				}
			}
		}
		return 200 - got
	}
	lost() // neighbours are found
	if got := lost(); got != 0 {
		t.Errorf("%d of 200 packets are lost before", got)
	}
	if _, err := f.Begin(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	// 1 - 0.7², 51 %, of round trips, with a standard deviation of 10 in 400.
	if got := lost(); got < 60 || got > 144 {
		t.Errorf("%d of 200 round trips are lost", got)
	}
	if _, err := f.End(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := lost(); got != 0 {
		t.Errorf("%d of 200 packets are lost after", got)
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Error(err)
	}
}

// A node's link is down for as long as was said, and comes back with all its addresses and routes.
func TestLinkDown(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	inv := wired(t, m, rack)
	e := m.environment(inv)
	e.Hold, e.With = 3*time.Second, map[string]string{"node": "b2"}
	f, err := New(LinkDown, e)
	if err != nil {
		t.Fatal(err)
	}
	aimed(t, f)
	network := func() string {
		t.Helper()
		out, err := m.Shell(t.Context(), "b2", "{ ip -6 -o address show scope global | awk '{print $2, $4}'; ip -6 route show | sed 's/expires.*//'; } | sort", nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	before := network()
	if !strings.Contains(before, "via") {
		t.Fatalf("the node has no route: %s", before)
	}
	at := time.Now().Add(700 * time.Millisecond)
	began, err := f.Begin(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	ended, err := f.End(t.Context(), at.Add(e.Hold))
	if err != nil {
		t.Fatal(err)
	}
	if began.Before.Before(at) || ended.Before.Before(at.Add(e.Hold)) {
		t.Errorf("began %v, ended %v", began, ended)
	}
	if after := network(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Error(err)
	}
}
