// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"bytes"
	"context"
	"fmt"
	"io"
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

// namespaces runs the commands of each node in a network namespace of its own.
type namespaces struct{ prefix string }

func (n namespaces) Shell(ctx context.Context, node, line string, stdin io.Reader) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "nsenter", "--net=/run/netns/"+n.prefix+node, "sh", "-c", line)
	cmd.Stdin = stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%w: %s", err, &stderr)
	}
	return out, nil
}

// wire makes a namespace for each node and one for the switch between them, with a pod behind each worker.
func wire(t *testing.T, inv *inventory.Inventory) namespaces {
	t.Helper()
	for program, pkg := range map[string]string{"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux", "ping": "iputils-ping"} {
		if _, err := exec.LookPath(program); err != nil {
			needRoot(t, program+" is missing (hint: apt-get install "+pkg+")")
		}
	}
	if os.Geteuid() != 0 {
		needRoot(t, "making network namespaces needs root")
	}
	prefix := fmt.Sprintf("cut%d-", os.Getpid())
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
	return namespaces{prefix}
}

// A partition on real kernels: the cluster talks to itself, its pods included, and to the orchestrator; nobody else hears of it.
func TestPartition(t *testing.T) {
	inv, err := inventory.Parse("pairs.yaml", []byte(pairs))
	if err != nil {
		t.Fatal(err)
	}
	shell := wire(t, inv)
	healthy := false
	f, err := New(ClusterPartition, Env{Inventory: inv, Shell: shell, Healthy: func(context.Context) error { healthy = true; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	target, err := f.Aim(ctx, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	struck, other := target.Name, "b"
	if struck == other {
		other = "a"
	}
	if !target.Strikes(struck+"1") || !target.Strikes(struck+"2") || target.Strikes("client") || target.Strikes(other+"2") {
		t.Errorf("target %+v", target)
	}
	address := map[string]string{"orchestrator": inv.Orchestrator().String()}
	for _, n := range inv.Nodes {
		address[n.Name] = n.Address.String()
		if n.Pods.IsValid() {
			address[n.Name+"p"] = n.Pods.Addr().String() + "2"
		}
	}
	// Who asks whom, and whether that is to work when the cluster is whole (as always) and cut off.
	S, O := struck, other
	paths := []struct {
		from, to string
		cut      bool
	}{
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
	check := func(when string, cut bool) {
		t.Helper()
		var all sync.WaitGroup
		for _, p := range paths {
			want, tries := p.cut || !cut, 1
			if want {
				tries = 20 // the first packets may be lost while neighbours are found
			}
			all.Go(func() {
				_, err := shell.Shell(ctx, p.from, fmt.Sprintf("for i in $(seq %d); do ping -6 -q -c 1 -W 1 %s && exit 0; done; exit 1", tries, address[p.to]), nil)
				if reached := err == nil; reached != want {
					t.Errorf("%s: %s reaches %s: %t", when, p.from, p.to, reached)
				}
			})
		}
		all.Wait()
	}
	check("before", false)
	at := time.Now().Add(300 * time.Millisecond)
	i, err := f.Begin(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	if i.Before.Before(at) || i.After.Before(i.Before) || !target.Strikes(i.Clock) {
		t.Errorf("instant %v, want at or after %s", i, at)
	}
	check("cut off", true)
	if i, err := f.End(ctx, time.Now()); err != nil || i.Before.IsZero() {
		t.Fatalf("End: %v, %v", i, err)
	}
	check("joined", false)
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
	for n, want := range map[string][]bool{struck + "2": {true, false}, "client": {false}} {
		for _, want := range want {
			if got, err := join(ctx, Env{Shell: shell}, n); err != nil || got != want {
				t.Errorf("joining %s: %t, %v, want %t", n, got, err, want)
			}
		}
	}
}
