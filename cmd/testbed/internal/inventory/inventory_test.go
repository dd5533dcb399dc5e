// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

const shipped = "../../../../pi-cluster/inventory.twin.yaml"

func TestShippedInventory(t *testing.T) {
	inv, err := inventory.Load(shipped)
	if err != nil {
		t.Fatal(err)
	}
	want := inventory.Node{
		Name: "worker-2", Groups: []string{"worker"},
		Address: netip.MustParseAddr("fd6e:7369:0:1::12"), Pods: netip.MustParsePrefix("fd6e:7369:0:12::/64"),
	}
	got, ok := inv.Node("worker-2")
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); !ok || diff != "" {
		t.Errorf("worker-2 (-want +got):\n%s", diff)
	}
	for group, want := range map[string]string{
		inventory.Control: "control-1",
		inventory.Worker:  "worker-1 worker-2 worker-3",
		inventory.Client:  "client-1 client-2",
	} {
		var names []string
		for _, n := range inv.Group(group) {
			names = append(names, n.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("group %s: %s, want %s", group, got, want)
		}
	}
	if got, want := inv.API().String(), "fd6e:7369:0:f::1"; got != want {
		t.Errorf("API address %s, want %s", got, want)
	}
	if got, want := inv.Orchestrator().String(), "fd6e:7369:0:1::fffe"; got != want {
		t.Errorf("orchestrator's address %s, want %s", got, want)
	}
}

func TestAllShippedInventories(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(filepath.Dir(shipped), "*.yaml"))
	if err != nil || len(files) < 3 {
		t.Fatalf("only %q, %v", files, err)
	}
	for _, file := range files {
		if _, err := inventory.Load(file); err != nil {
			t.Error(err)
		}
	}
}

// Every *.yaml of testdata/bad has its expected messages in the *.want beside it.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			_, err := inventory.Load(file)
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.ReplaceAll(err.Error(), "testdata/bad/", "") + "\n"
			golden := strings.TrimSuffix(file, ".yaml") + ".want"
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/bad/*.yaml")
	for _, file := range append(files, shipped) {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		inv, err := inventory.Parse("f", src)
		if (inv == nil) == (err == nil) {
			t.Fatalf("inventory %v with error %v", inv, err)
		}
		if err != nil {
			return
		}
		// What is accepted keeps the promises that the twin builds on.
		seen := make(map[string]bool)
		for _, n := range inv.Nodes {
			if seen[n.Name] || len(n.Name) > 15 || strings.ContainsAny(n.Name, "/. \n") {
				t.Errorf("node name %q", n.Name)
			}
			seen[n.Name] = true
			if !inv.Network.Nodes.Contains(n.Address) || n.Address == inv.Orchestrator() {
				t.Errorf("address %s of %s", n.Address, n.Name)
			}
			if n.In(inventory.Worker) != n.Pods.IsValid() {
				t.Errorf("pods %s of %s in %q", n.Pods, n.Name, n.Groups)
			}
		}
	})
}

// The inventory of the testbed itself: 22 nodes, each on a port of its own, with the roles that the documentation gives them.
func TestTheTestbed(t *testing.T) {
	inv, err := inventory.Load("../../../../pi-cluster/inventory.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for group, want := range map[string]int{inventory.Control: 2, inventory.Worker: 10, inventory.Client: 10} {
		if n := len(inv.Group(group)); n != want {
			t.Errorf("%d nodes in group %s, want %d", n, group, want)
		}
	}
	if cp, prom, netboot := inv.ControlPlane().Name, inv.Prometheus().Name, inv.Netboot().Name; cp != "control-1" || prom != "control-2" || netboot != "control-2" {
		t.Errorf("control plane on %q, Prometheus on %q, netboot on %q", cp, prom, netboot)
	}
	for _, n := range inv.Nodes {
		image, ok := inv.ImageOf(n)
		if !ok || image.SHA256 == "" || n.MAC.IsZero() || n.Port.IsZero() || n.Watts.Worst == 0 {
			t.Errorf("%s: image %q, MAC %s, %s, %v", n.Name, image.ID, n.MAC, n.Port, n.Watts)
		}
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	inv := &inventory.Inventory{Path: filepath.Join(dir, "inventory.yaml")}
	for name, mode := range map[string]os.FileMode{"mine": 0o600, "everybodys": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(" the key\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "blank"), []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("THE_KEY", "the key\n")
	for _, reference := range []string{"mine", "env:THE_KEY", filepath.Join(dir, "mine")} {
		if s, err := inv.Secret(reference); err != nil || s != "the key" {
			t.Errorf("%s: %q, %v", reference, s, err)
		}
	}
	for reference, want := range map[string]string{
		"everybodys":   "others may read",
		"blank":        "is empty",
		"missing":      "no such file",
		"env:NOBODY_X": "the variable NOBODY_X is not set",
	} {
		if _, err := inv.Secret(reference); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", reference, err, want)
		}
	}
}
