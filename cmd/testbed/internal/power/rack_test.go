// SPDX-License-Identifier: Apache-2.0

package power

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// Ports that lead to the controller, to other devices, upwards, or to another node than the inventory says are never touched,
// whether a node is to be switched off, on or cycled.
func TestDenied(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(f *fakeUniFi, inv *inventory.Inventory)
		want string // "" allows it
	}{
		{"as it should be", func(*fakeUniFi, *inventory.Inventory) {}, ""},
		{"silent board", func(f *fakeUniFi, _ *inventory.Inventory) { f.ports[1].lldp = "" }, ""},
		{"known by the table of clients", func(f *fakeUniFi, _ *inventory.Inventory) { f.ports[1].lldp, f.ports[1].seen = "", "00:00:5e:00:53:01" }, ""},
		{"in the inventory", func(_ *fakeUniFi, inv *inventory.Inventory) { inv.Switches[0].Deny = []int{1, 2} }, "it is denied in the inventory"},
		{"uplink", func(f *fakeUniFi, _ *inventory.Inventory) { f.ports[1].uplink = true }, "it is the uplink of the switch"},
		{"gateway by LLDP", func(f *fakeUniFi, _ *inventory.Inventory) { f.ports[1].lldp = fakeGateway }, "the network device " + fakeGateway + " is behind it"},
		{
			"controller by LLDP", func(f *fakeUniFi, inv *inventory.Inventory) {
				inv.Switches[0].Controller, f.ports[1].lldp = mac("00:00:5e:00:53:f1"), "00:00:5e:00:53:f1"
			}, "the switch's controller 00:00:5e:00:53:f1 is behind it",
		},
		{
			"controller by the table of clients", func(f *fakeUniFi, inv *inventory.Inventory) {
				inv.Switches[0].Controller, f.ports[1].seen = mac("00:00:5e:00:53:f1"), "00:00:5e:00:53:f1"
			}, "the switch's controller 00:00:5e:00:53:f1 is behind it",
		},
		{"cables swapped", func(f *fakeUniFi, _ *inventory.Inventory) { f.ports[1].lldp = "00:00:5e:00:53:02" }, "00:00:5e:00:53:02 is behind it, and the node's address is 00:00:5e:00:53:01 (hint: the cable, "},
		{"another board, by the table of clients", func(f *fakeUniFi, _ *inventory.Inventory) { f.ports[1].lldp, f.ports[1].seen = "", "2c:cf:67:00:00:01" }, "2c:cf:67:00:00:01 is behind it"},
		{"board unknown to the inventory", func(f *fakeUniFi, inv *inventory.Inventory) { inv.Nodes[0].MAC = inventory.MAC{} }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeUniFi(t, 2)
			inv := f.inventory(t, inventory.DriverUniFiLegacy, login, 2)
			c.set(f, inv)
			r, _ := newRack(t, inv)
			for what, do := range map[string]func(ctxt, string) error{"off": r.Off, "on": r.On, "cycle": r.Cycle} {
				written := len(f.bodies)
				err := do(t.Context(), "worker-1")
				if c.want == "" {
					if err != nil {
						t.Errorf("%s: %v", what, err)
					}
					continue
				}
				denied := (*DeniedError)(nil)
				if !errors.As(err, &denied) || !strings.Contains(err.Error(), "refusing to switch switch-1 port 1 for worker-1: "+c.want) {
					t.Errorf("%s: %v, want refused with %q", what, err, c.want)
				}
				if len(f.bodies) != written || (!f.delivers(1) && c.name != "uplink") {
					t.Errorf("%s: the switch was touched", what)
				}
			}
		})
	}
}

func TestPorts(t *testing.T) {
	f := newFakeUniFi(t, 3)
	f.ports[2].lldp = "00:00:5e:00:53:77"
	r, _ := newRack(t, f.inventory(t, inventory.DriverUniFiLegacy, login, 3))
	ports, err := r.Ports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]PortOf{
		1:  {Node: "worker-1", Port: Port{Power: On, Link: true}},
		2:  {Node: "worker-2", Port: Port{Power: On, Link: true}, Denied: "00:00:5e:00:53:77 is behind it"},
		9:  {Port: Port{Power: Off}},
		22: {Port: Port{Power: Off}, Denied: "it is denied in the inventory"},
		23: {Port: Port{Power: On, Link: true}, Denied: "the network device " + fakeGateway + " is behind it"},
		24: {Port: Port{Power: Off, Link: true}, Denied: "it is the uplink of the switch"},
	} {
		got := ports[i-1]
		if got.Index != i || got.Switch != "switch-1" || got.Node != want.Node || got.Power != want.Power || got.Link != want.Link || !strings.HasPrefix(got.Denied, want.Denied) || (want.Denied == "") != (got.Denied == "") {
			t.Errorf("port %d is %+v, want %+v", i, got, want)
		}
	}
	watts, err := r.Watts(t.Context())
	if err != nil || len(watts) != 3 || watts["worker-2"] != 3.2 {
		t.Errorf("watts %v, %v", watts, err)
	}
}

func TestRackKnowsItsNodes(t *testing.T) {
	f := newFakeUniFi(t, 2)
	inv := f.inventory(t, inventory.DriverUniFiLegacy, login, 2)
	inv.Nodes[1].Port = inventory.Port{}
	r, _ := newRack(t, inv)
	for node, want := range map[string]string{
		"nobody":   `unknown node "nobody" (hint: the nodes are in `,
		"worker-2": "nobody knows where worker-2 is plugged in (hint: port: {switch: NAME, index: N} in ",
	} {
		if err := r.Off(t.Context(), node); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", node, err, want)
		}
	}
}

// Who asks for the state of all nodes at once asks the controller a few times, not once a node; and what was known before an
// order is not taken for its effect.
func TestStatesShareAnAnswer(t *testing.T) {
	f := newFakeUniFi(t, 20)
	inv := f.inventory(t, inventory.DriverUniFiLegacy, fakeKey, 20)
	r, _ := newRack(t, inv)
	r.interval = time.Hour
	var wg sync.WaitGroup
	for _, n := range inv.Nodes {
		wg.Go(func() {
			if s, err := r.State(t.Context(), n.Name); err != nil || s != On {
				t.Errorf("%s is %s, %v", n.Name, s, err)
			}
		})
	}
	wg.Wait()
	if f.requests > 4 {
		t.Errorf("%d requests for 20 states", f.requests)
	}
	f.mu.Lock()
	f.provision = 1 // the first look after the order shows its effect
	f.mu.Unlock()
	if err := r.Off(t.Context(), "worker-3"); err != nil {
		t.Fatal(err)
	}
	if s, err := r.State(t.Context(), "worker-3"); err != nil || s != Off {
		t.Errorf("after off: %s, %v", s, err)
	}
}

// A cycle that is interrupted half-way gives the power back.
func TestCycleInterrupted(t *testing.T) {
	f := newFakeUniFi(t, 1)
	r, _ := newRack(t, f.inventory(t, inventory.DriverUniFiLegacy, login, 1))
	r.dark = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.Cycle(ctx, "worker-1") }()
	for f.delivers(1) { // until it is dark
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was cancelled", err)
	}
	if !f.delivers(1) {
		t.Error("the node stays without power")
	}
}

// The lock of a switch holds among processes, and a process that dies lets go of it.
func TestLock(t *testing.T) {
	s := inventory.Switch{Name: "a", MAC: mac(fakeSwitch)}
	dir := t.TempDir()
	mine := newLock(dir, s)
	cat := exec.Command("flock", "--close", mine.path, "cat")
	in, err := cat.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cat.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Start(); err != nil {
		t.Skipf("no flock(1): %v", err)
	}
	defer func() { in.Close(); _ = cat.Wait() }()
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // it has the lock
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 3*retryLock)
	defer cancel()
	if _, err := mine.hold(short); err == nil || !strings.Contains(err.Error(), "waiting for another testbed to let go of "+mine.path) {
		t.Errorf("with the lock taken: %v", err)
	}
	if err := cat.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	release, err := mine.hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if other := newLock(dir, inventory.Switch{Name: "b", MAC: s.MAC}); other.path != mine.path {
		t.Error("one device has two locks")
	}
	release()
}
