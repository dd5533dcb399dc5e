// SPDX-License-Identifier: Apache-2.0

// Package twin is the substrate that needs no hardware: nodes are systemd-nspawn machines on one
// Linux host, each an overlay over one Debian base with a network namespace and a cgroup of its own,
// on one bridge. They boot systemd, answer on OpenSSH and lose their power as boards do.
//
// What stands is written to a state file before it is made, and everything has a name that follows
// from the cluster's and the node's: so Down removes a twin whatever became of the process that
// raised it.
package twin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// Twin is the virtual substrate of one cluster. Its methods may be called from several goroutines,
// those for one node one after the other.
type Twin struct {
	inv   *inventory.Inventory
	dir   string // the cluster's state directory
	log   *slog.Logger
	state *stateFile
}

// Bind is a directory or file of the host that nodes see read-only.
type Bind struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// Machine is what a node is booted with.
type Machine struct {
	Base       string `json:"base"`  // root file system, from BaseBuild
	Binds      []Bind `json:"binds"` // seen by the node read-only
	Seed       string `json:"-"`     // what containerd has at the node's first boot, from SeedBuild; empty: nothing
	HostKey    []byte `json:"-"`     // OpenSSH private key
	Authorized []byte `json:"-"`     // authorized_keys of root
}

// New returns the twin of the inventory whose state is in dir; it makes nothing.
func New(inv *inventory.Inventory, dir string, log *slog.Logger) *Twin {
	return &Twin{inv: inv, dir: dir, log: log, state: &stateFile{path: filepath.Join(dir, "state.json")}}
}

// Dial opens a connection to a node's address from inside the twin's network.
func (t *Twin) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return dialIn(ctx, switchNamespace(t.inv.Cluster), network, address)
}

// Enter returns the words to put before a command so that it runs inside the twin's network.
func (t *Twin) Enter() []string {
	return []string{"nsenter", "--net=" + filepath.Join(namespaceDir, switchNamespace(t.inv.Cluster)), "--"}
}

// nodeDir holds what a node keeps over a power cut.
func (t *Twin) nodeDir(node string) string { return filepath.Join(t.dir, "nodes", node) }

// machineName is what systemd-nspawn knows a node by.
func (t *Twin) machineName(node string) string { return t.inv.Cluster + "-" + node }

// machineID is stable for a node, so that its first boot is like every other.
func (t *Twin) machineID(node string) string {
	sum := sha256.Sum256([]byte("dnsingress testbed " + t.inv.Cluster + " " + node))
	return hex.EncodeToString(sum[:16])
}

// Raise makes the network's bridge, and the record of the whole twin, unless they stand.
func (t *Twin) Raise(base string) error {
	err := t.state.update(func(s *State) error {
		s.Cluster, s.Inventory, s.Digest, s.Base = t.inv.Cluster, t.inv.Path, t.digest(), base
		for _, n := range t.inv.Nodes {
			s.add(n.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := t.raiseLimits(); err != nil {
		return err
	}
	return t.raiseSwitch()
}

// Standing returns what the state file says, and false when there is none.
func (t *Twin) Standing() (State, bool, error) { return t.state.read() }

// digest tells one inventory from another, wherever its file is.
func (t *Twin) digest() string {
	inv := *t.inv
	inv.Path = ""
	b, err := json.Marshal(inv)
	if err != nil {
		panic(err) // plain values
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// Running says whether the node's process 1 lives.
func (t *Twin) Running(node string) (bool, error) {
	g, err := nodeGroup(t.inv.Cluster, node)
	if err != nil || !g.exists() {
		return false, err
	}
	p, ok, err := g.initOf()
	if ok {
		p.close()
	}
	return ok, err
}

// names returns the nodes of the inventory and of the state file.
func (t *Twin) names() ([]string, error) {
	state, _, err := t.state.read()
	if err != nil {
		return nil, err
	}
	for _, n := range t.inv.Nodes {
		state.add(n.Name)
	}
	// A crash may have left groups of nodes that no file tells of any more.
	mounts, err := hierarchies()
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		entries, err := os.ReadDir(filepath.Join(m, cgroupParent, t.inv.Cluster))
		if gone(err) != nil {
			return nil, fmt.Errorf("finding the twin's cgroups: %w", err)
		}
		for _, e := range entries {
			if e.IsDir() {
				state.add(e.Name())
			}
		}
	}
	return state.Nodes, nil
}
