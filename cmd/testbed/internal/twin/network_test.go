// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// twoClusters has a name of its own, so that it may stand beside another twin.
const twoClusters = `version: 1
cluster: %s
substrate: twin
network: {nodes: "fd6e:7369:9:1::/64", services: "fd6e:7369:9:f::/112"}
zone: apps.test.
nodes:
  - {name: a1, cluster: a, groups: [control, worker], address: "fd6e:7369:9:1::a1", pods: "fd6e:7369:9:a1::/64"}
  - {name: b1, cluster: b, groups: [control], address: "fd6e:7369:9:1::b1"}
  - {name: b2, cluster: b, groups: [worker], address: "fd6e:7369:9:1::b2", pods: "fd6e:7369:9:b2::/64"}
  - {name: c1, groups: [client], address: "fd6e:7369:9:1::c1"}
`

// Each cluster's API server has an address of its own, to which every node has a way, as to all pods.
func TestNetworkOfSeveralClusters(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("network namespaces need root")
		}
		t.Skip("NOT RUN: network namespaces need root (hint: sudo make test)")
	}
	inv, err := inventory.Parse("two.yaml", fmt.Appendf(nil, twoClusters, fmt.Sprintf("net%d", os.Getpid())))
	if err != nil {
		t.Fatal(err)
	}
	tw := New(inv, t.TempDir(), slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		var errs []error
		for _, n := range inv.Nodes {
			errs = append(errs, tw.unplug(n.Name))
		}
		if err := errors.Join(append(errs, removeNamespace(switchNamespace(inv.Cluster)))...); err != nil {
			t.Error(err)
		}
	})
	if err := tw.raiseSwitch(); err != nil {
		t.Fatal(err)
	}
	for _, n := range inv.Nodes {
		if err := tw.plugIn(n); err != nil {
			t.Fatal(err)
		}
	}
	const apiOfA, apiOfB = "fd6e:7369:9:f::1", "fd6e:7369:9:f::1001"
	if got := ownAddresses(t, inv, "a1"); !slices.Contains(got, apiOfA) || slices.Contains(got, apiOfB) {
		t.Errorf("a1 has %v", got)
	}
	if got := ownAddresses(t, inv, "b1"); !slices.Contains(got, apiOfB) || slices.Contains(got, apiOfA) {
		t.Errorf("b1 has %v", got)
	}
	ways := map[string]string{apiOfA: "fd6e:7369:9:1::a1", apiOfB: "fd6e:7369:9:1::b1", "fd6e:7369:9:a1::7": "fd6e:7369:9:1::a1", "fd6e:7369:9:b2::7": "fd6e:7369:9:1::b2"}
	for _, from := range []string{"b2", "c1"} {
		for to, want := range ways {
			if from == "b2" && to == "fd6e:7369:9:b2::7" {
				continue // its own pods, which its container runtime has the routes of
			}
			if got := gateway(t, inv, from, to); got != want {
				t.Errorf("from %s to %s by %s, want %s", from, to, got, want)
			}
		}
	}
}

func ownAddresses(t *testing.T, inv *inventory.Inventory, node string) []string {
	t.Helper()
	h, err := handle(nodeNamespace(inv.Cluster, node))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	list, err := h.AddrList(nil, netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, a := range list {
		texts = append(texts, a.IP.String())
	}
	return texts
}

func gateway(t *testing.T, inv *inventory.Inventory, node, to string) string {
	t.Helper()
	h, err := handle(nodeNamespace(inv.Cluster, node))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	routes, err := h.RouteGet(net.ParseIP(to))
	if err != nil {
		t.Fatalf("from %s to %s: %v", node, to, err)
	}
	return routes[0].Gw.String()
}
