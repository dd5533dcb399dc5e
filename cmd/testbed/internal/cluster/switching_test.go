// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/sshtest"
)

// powered is boards of which one is an SSH host that answers while its port has power, and after so many attempts.
type powered struct {
	*boards
	host   *sshtest.Host
	off    string // a file that is there while the port has no power
	booted atomic.Int32
}

func (p *powered) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	if _, err := os.Stat(p.off); err == nil || p.booted.Add(-1) >= 0 {
		return nil, errors.New("no route to host")
	}
	return (&net.Dialer{}).DialContext(ctx, network, p.host.Address().String())
}

// poweredRack returns boards on a switch that is a script.
func poweredRack(t *testing.T) (*Cluster, *powered) {
	t.Helper()
	t.Setenv("TESTBED_STATE_DIR", filepath.Join(t.TempDir(), "state"))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plug.sh"), []byte(`#!/bin/sh
cd "`+dir+`"
case $1 in
ports) if [ -e off ]; then echo '[{"index":1,"power":"off","enabled":false}]'; else echo '[{"index":1,"power":"on","enabled":true,"watts":4}]'; fi ;;
off) : >off ;;
on) rm -f off ;;
esac
`), 0o700); err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.Parse(filepath.Join(dir, "inventory.yaml"), []byte(strings.Replace(twoBoards, "nodes:\n", `switches: [{name: plug, driver: command, ports: 2, budgetWatts: 40, command: [./plug.sh]}]
nodes:
  - {name: pi-3, groups: [client], address: "fd6e:7369:8:1::3", port: {switch: plug, index: 1}}
`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(inv, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	client := sshtest.NewKey(t)
	p := &powered{boards: c.nodes.(*boards), host: sshtest.NewHost(t, client.PublicKey()), off: filepath.Join(dir, "off")}
	c.nodes, c.Power = p, p
	c.Fleet = sshtest.Fleet(t, inv, client, map[string]*sshtest.Host{"pi-3": p.host})
	t.Cleanup(func() { c.Close() })
	return c, p
}

func TestBoardsPower(t *testing.T) {
	c, p := poweredRack(t)
	state := func() power.State {
		s, err := c.Power.State(t.Context(), "pi-3")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := state(); s != power.On {
		t.Errorf("at first it is %s", s)
	}
	if err := c.Power.Off(t.Context(), "pi-3"); err != nil || state() != power.Off {
		t.Fatalf("after off it is %s, %v", state(), err)
	}
	p.booted.Store(3)
	if err := c.Power.On(t.Context(), "pi-3"); err != nil || state() != power.On {
		t.Fatalf("after on it is %s, %v", state(), err)
	}
	if left := p.booted.Load(); left > 0 {
		t.Errorf("on returned %d attempts before the node answered", left)
	}
	if _, err := c.Fleet.Run(t.Context(), "pi-3", remote.Command{Line: "true"}); err != nil {
		t.Errorf("the node has power and does not answer: %v", err)
	}
	// A cycled node has power again, and need not answer: it may be netbooting.
	p.booted.Store(1 << 20)
	if err := c.Power.(power.Cycler).Cycle(t.Context(), "pi-3"); err != nil || state() != power.On {
		t.Errorf("after cycle it is %s, %v", state(), err)
	}
	if watts, err := c.Power.(power.Meter).Watts(t.Context()); err != nil || watts["pi-3"] != 4 {
		t.Errorf("watts %v, %v", watts, err)
	}
}

// Nobody cuts the power of the machine that they sit at.
func TestBoardsPowerOfThisMachine(t *testing.T) {
	c, p := poweredRack(t)
	c.Inventory.Nodes[0].Address = netip.IPv6Loopback()
	for what, err := range map[string]error{"off": c.Power.Off(t.Context(), "pi-3"), "cycle": p.Cycle(t.Context(), "pi-3")} {
		if err == nil || !strings.Contains(err.Error(), "it is the machine that this command runs on (hint: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := os.Stat(p.off); err == nil {
		t.Error("the power was cut")
	}
}
