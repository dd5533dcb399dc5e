// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

const twoBoards = `version: 1
cluster: rack
substrate: pi
network: {nodes: "fd6e:7369:8:1::/64", services: "fd6e:7369:8:f::/112"}
zone: apps.test.
ssh: {identity: keys/id, knownHosts: keys/known}
nodes:
  - {name: pi-1, groups: [control, client], address: "fd6e:7369:8:1::1"}
  - {name: pi-2, groups: [worker], address: "fd6e:7369:8:1::2", pods: "fd6e:7369:8:2::/64"}
`

// Boards are reached with the operator's keys, keep their power, and survive down.
func TestBoards(t *testing.T) {
	t.Setenv("TESTBED_STATE_DIR", filepath.Join(t.TempDir(), "state"))
	dir := t.TempDir()
	path := filepath.Join(dir, "inventory.yaml")
	inv, err := inventory.Parse(path, []byte(twoBoards))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	c, err := New(inv, log)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Enter) != 0 {
		t.Errorf("boards are entered by %q", c.Enter)
	}
	if _, err := Open(t.Context(), inv, log); err == nil || !strings.Contains(err.Error(), "testbed up --substrate pi") {
		t.Errorf("boards that nobody took were opened: %v", err)
	}
	if err := c.keys.borrow(inv); err == nil || !strings.Contains(err.Error(), "(hint: ssh.identity and ssh.knownHosts in ") {
		t.Errorf("missing keys: %v", err)
	}
	operators := keys{filepath.Join(dir, "keys")}
	if err := operators.make(inv); err != nil { // and pins them
		t.Fatal(err)
	}
	for from, to := range map[string]string{operators.identityPath(): "keys/id", operators.knownHosts(): "keys/known"} {
		if err := os.Rename(from, filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.keys.borrow(inv); err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{c.Power.Off(t.Context(), "pi-2"), c.Power.On(t.Context(), "pi-2")} {
		if err == nil || !strings.Contains(err.Error(), "pi-2: nobody knows where pi-2 is plugged in (hint: ") {
			t.Errorf("power: %v", err)
		}
	}
	if err := c.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := c.Leftovers(); err != nil || len(left) > 0 {
		t.Errorf("left %q, %v", left, err)
	}
	for _, file := range []string{"keys/id", "keys/known"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			t.Errorf("down took the operator's key: %v", err)
		}
	}
}

// A twin of the same name keeps its files: boards would take their place, and 'down' remove them.
func TestBoardsLeaveATwinAlone(t *testing.T) {
	t.Setenv("TESTBED_STATE_DIR", t.TempDir())
	inv, err := inventory.Parse("inventory.yaml", []byte(twoBoards))
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(inv, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(c.StateDir, "state.json")
	if err := errors.Join(os.MkdirAll(c.StateDir, 0o755), os.WriteFile(state, []byte(`{"cluster": "any"}`), 0o644)); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"down": c.Down(t.Context()), "up": (&meet{taking: &taking{boards: &boards{c}}}).Run(t.Context())} {
		if err == nil || !strings.Contains(err.Error(), "stands under this name (hint: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := os.Stat(state); err != nil {
		t.Error(err)
	}
}
