// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

func TestClusters(t *testing.T) {
	inv, err := inventory.Load("../../../../pi-cluster/inventory.clusters.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range inv.Clusters() {
		var names []string
		for _, n := range m.Nodes {
			names = append(names, n.Name)
		}
		got = append(got, fmt.Sprint(m.Cluster, " ", m.Member, ": ", strings.Join(names, " "), "; ", m.Network.Services, " ", m.API()))
		if again := m.Clusters(); len(again) != 1 || again[0] != m {
			t.Errorf("%s holds %d clusters, not itself", m.Member, len(again))
		}
	}
	want := []string{
		"clusters north: north-1 client-1 client-2; fd6e:7369:0:f::/116 fd6e:7369:0:f::1",
		"clusters south: south-1 client-1 client-2; fd6e:7369:0:f::1000/116 fd6e:7369:0:f::1001",
		"clusters west: west-1 client-1 client-2; fd6e:7369:0:f::2000/116 fd6e:7369:0:f::2001",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("clusters (-want +got):\n%s", d)
	}
	for node, want := range map[string]string{"west-1": "west", "client-1": "north"} {
		n, _ := inv.Node(node)
		if got := inv.ClusterOf(n).Member; got != want {
			t.Errorf("%s belongs to %s, want %s", node, got, want)
		}
	}

	// An inventory that names no cluster is one, with the whole service range.
	one, err := inventory.Load(shipped)
	if err != nil {
		t.Fatal(err)
	}
	if m := one.Clusters(); len(m) != 1 || m[0] != one || one.ClusterOf(one.Nodes[0]) != one {
		t.Errorf("one cluster holds %d", len(m))
	}
}

// The widest service range that is accepted has its parts beside each other, too.
func TestClustersOfAWideRange(t *testing.T) {
	text := `version: 1
cluster: wide
substrate: twin
network: {nodes: "fd6e:7369:0:1::/64", services: "fd6e:7369:0:f::/108"}
zone: apps.test.
nodes:
  - {name: client-1, groups: [client], address: "fd6e:7369:0:1::ff"}
`
	for i := range 16 {
		text += fmt.Sprintf("  - {name: n%[1]d, cluster: c%[1]d, groups: [control, worker], address: 'fd6e:7369:0:1::%[2]x', pods: 'fd6e:7369:1:%[2]x::/64'}\n", i, i+1)
	}
	inv, err := inventory.Parse("wide.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	members := inv.Clusters()
	for i, m := range members {
		if !inv.Network.Services.Overlaps(m.Network.Services) || m.Network.Services.Bits() != 112 {
			t.Errorf("%s is no part of %s", m.Network.Services, inv.Network.Services)
		}
		if i > 0 && m.Network.Services.Overlaps(members[i-1].Network.Services) {
			t.Errorf("%s and %s overlap", members[i-1].Network.Services, m.Network.Services)
		}
	}
	text += "  - {name: late, cluster: late, groups: [control, worker], address: 'fd6e:7369:0:1::fe', pods: 'fd6e:7369:2:fe::/64'}\n"
	if _, err := inventory.Parse("wide.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "17 clusters") {
		t.Errorf("a seventeenth cluster: %v", err)
	}
}
