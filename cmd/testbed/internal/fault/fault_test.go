// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// three is an inventory of several clusters.
func three(t *testing.T) *inventory.Inventory {
	t.Helper()
	inv, err := inventory.Load("../../../../pi-cluster/inventory.clusters.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestClusterFaultsNeedSeveralClusters(t *testing.T) {
	for _, kind := range []string{ClusterKill, ClusterPartition} {
		if _, err := New(kind, Env{Inventory: here()}); err == nil || !strings.Contains(err.Error(), "several clusters (hint: ") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, err := New(ClusterKill, Env{Inventory: three(t)}); err == nil || !strings.Contains(err.Error(), "control of the nodes' power") {
		t.Errorf("%s without power: %v", ClusterKill, err)
	}
	for _, kind := range Kinds() {
		if kind == NodePowerCut || kind == ClusterKill || kind == ClockSkew {
			continue
		}
		if f, err := New(kind, Env{Inventory: three(t)}); err != nil || f == nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// What a role is is said by labels, or by there being none.
func TestWithRole(t *testing.T) {
	pod := func(name, role string, ready bool) kubectl.Pod {
		p := kubectl.Pod{Name: name, Ready: ready, Containers: []kubectl.Container{{ID: "c"}}, Labels: map[string]string{}}
		if role != "" {
			p.Labels[RoleLabel] = role
		}
		return p
	}
	all := []kubectl.Pod{pod("dns", RoleAuthoritative, true), pod("forward", RoleForwarder, true), pod("late", RoleForwarder, false), pod("other", "", true)}
	for role, want := range map[string]string{RoleAuthoritative: "dns", RoleForwarder: "forward", RoleProvisioning: ""} {
		if got := podNames(withRole(all, role)); got != want {
			t.Errorf("%s: %q, want %q", role, got, want)
		}
	}
	if got := podNames(withRole(all[3:], RoleForwarder)); got != "other" {
		t.Errorf("of a system without labels: %q", got)
	}
}

func podNames(pods []kubectl.Pod) string {
	var list []string
	for _, p := range pods {
		list = append(list, p.Name)
	}
	return strings.Join(list, " ")
}

func seconds(s int) time.Time { return time.Unix(int64(s), 0) }

func TestTogether(t *testing.T) {
	at := func(s int) Instant { return Instant{seconds(s), seconds(s + 2), fmt.Sprint("n", s)} }
	got, err := together([]int{5, 3, 4}, func(s int) (Instant, error) {
		if s == 4 {
			return Instant{}, fmt.Errorf("four")
		}
		return at(s), nil
	})
	if want := (Instant{seconds(3), seconds(7), "n3"}); got != want || err == nil || err.Error() != "four" {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

// The cluster that is struck is one that clients know of.
func TestChoose(t *testing.T) {
	inv := three(t)
	for name, test := range map[string]struct {
		told []string
		want []string
	}{
		"one":         {[]string{"fd6e:7369:0:12::7"}, []string{"south"}},
		"two":         {[]string{"fd6e:7369:0:12::7", "fd6e:7369:0:1::13"}, []string{"south", "west"}},
		"none of any": {[]string{"fd6e:7369:0:1::21"}, nil},
	} {
		e := Env{Inventory: inv, Told: func(context.Context) ([]netip.Addr, error) {
			var list []netip.Addr
			for _, s := range test.told {
				list = append(list, netip.MustParseAddr(s))
			}
			return list, nil
		}}
		rng, met := rand.New(rand.NewPCG(1, 2)), map[string]bool{}
		for range 50 {
			c, err := e.choose(t.Context(), rng)
			if (err == nil) != (test.want != nil) {
				t.Fatalf("%s: %v", name, err)
			}
			if err == nil {
				met[c.Member] = true
			}
		}
		if got := slices.Sorted(maps.Keys(met)); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// Whoever holds what was read on nodes against each other has to know that a backend pod goes, wherever it is.
func TestProvisioningKillStrikesWhereAPodIsReplaced(t *testing.T) {
	m := newMachine(t)
	pod := func(node, role string, address string) string {
		return fmt.Sprintf(`{"metadata":{"namespace":"bench","name":"of-%[1]s","uid":"u","labels":{%[2]q:%[3]q}},"spec":{"nodeName":%[1]q},
"status":{"podIP":%[4]q,"conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"b","containerID":"containerd://c"}]}}`, node, RoleLabel, role, address)
	}
	m.write(t, "pods", `{"items":[`+pod("a", RoleProvisioning, "fd00::a")+","+pod("b", "none", "fd00::b")+"]}")
	e := m.environment(&inventory.Inventory{Cluster: "small", Nodes: []inventory.Node{
		{Name: "control", Groups: []string{inventory.Control}}, {Name: "a", Groups: []string{inventory.Worker}}, {Name: "b", Groups: []string{inventory.Worker}},
	}})
	e.System, e.Hold = "system", time.Second
	replaced := map[string]bool{}
	for seed := range uint64(20) {
		f, err := New(ProvisioningKill, e)
		if err != nil {
			t.Fatal(err)
		}
		target, err := f.Aim(t.Context(), rand.New(rand.NewPCG(seed, 2)))
		if err != nil {
			t.Fatal(err)
		}
		node := strings.TrimPrefix(target.Members[0].Addr().String(), "fd00::")
		if replaced[node] = true; !target.Strikes("a") || !target.Strikes(node) {
			t.Errorf("seed %d: a pod of %s is replaced, and struck are %s and %v", seed, node, target.Node, target.Nodes)
		}
	}
	if len(replaced) != 2 {
		t.Errorf("pods of %v alone were replaced", replaced)
	}
}

func TestInside(t *testing.T) {
	inv := three(t)
	want := []string{
		"::1", "::", "fe80::/10", "ff00::/8", "fd6e:7369:0:1::fffe", "fd6e:7369:0:f::1000/116", "fd6e:7369:0:1::12", "fd6e:7369:0:12::/64",
	}
	if d := cmp.Diff(want, inside(inv.Clusters()[1])); d != "" {
		t.Errorf("inside south (-want +got):\n%s", d)
	}
	for _, p := range members(inv.Clusters()[2]) {
		if !p.Overlaps(netip.MustParsePrefix("fd6e:7369:0:13::/64")) && p.Addr() != netip.MustParseAddr("fd6e:7369:0:1::13") {
			t.Errorf("%s is no member of west", p)
		}
	}
}
