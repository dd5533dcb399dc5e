// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/sshtest"
)

// pin writes an operator's keys: his own, and the file of known hosts with these lines.
func pin(t *testing.T, c *Cluster, known string) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(c.Inventory.Path), "keys")
	if err := errors.Join(makeKey(filepath.Join(dir, "id"), "operator"), os.WriteFile(filepath.Join(dir, "known"), []byte(known), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func line(t *testing.T, n inventory.Node, key ssh.PublicKey) string {
	t.Helper()
	return fmt.Sprintf("%s %s", n.Address, ssh.MarshalAuthorizedKey(key))
}

// Each board has one pinned key of its own, from wherever it is known; what is wrong is found before anybody connects.
func TestPins(t *testing.T) {
	c, _ := rack(t)
	n := c.Inventory.Nodes
	one, two := sshtest.NewKey(t).PublicKey(), sshtest.NewKey(t).PublicKey()
	check := func(what string, wants ...string) {
		t.Helper()
		err := c.keys.borrow(c.Inventory)
		if len(wants) == 0 && err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want %q", what, err, want)
			}
		}
	}
	check("no key of the operator's", "(hint: ssh.identity and ssh.knownHosts in ")
	pin(t, c, "")
	check("nothing pinned", "pi-1: no host key is pinned (hint: ", "pi-2: no host key is pinned")
	pin(t, c, line(t, n[0], one)+line(t, n[1], two))
	check("both pinned")
	pin(t, c, line(t, n[0], one)+line(t, n[1], one))
	check("one key for two", "pi-2: the host key SHA256:", " pinned for it is also that of pi-1 (hint: two cards")

	c.Inventory.Nodes[1].HostKey = string(ssh.MarshalAuthorizedKey(two))
	check("the inventory's counts")

	makeKeys := func() {
		t.Helper()
		if err := c.MakeKeys(); err != nil {
			t.Fatal(err)
		}
	}
	image := func(id string) {
		for i := range c.Inventory.Nodes {
			c.Inventory.Nodes[i].Image = id
		}
	}
	c.Inventory.Images = []inventory.Image{{ID: "os"}}
	image("os")
	makeKeys()
	check("no other is made for boards that are known")
	for _, node := range n {
		if _, err := c.HostKey(node.Name); err == nil || !strings.Contains(err.Error(), node.Name+": the private part of its host key is not here: open ") {
			t.Errorf("%s: error %v", node.Name, err)
		}
	}
	pin(t, c, "")
	c.Inventory.Nodes[1].HostKey = ""
	image("")
	makeKeys()
	check("boards without an image are not written", "pi-1: no host key is pinned", "pi-2: no host key is pinned")
	image("os")
	makeKeys()
	c.Inventory.Nodes[1].HostKey = string(ssh.MarshalAuthorizedKey(two))
	check("another key was made for the card", "pi-2: hostKey in ", ", but the key made for its card is SHA256:")
	c.Inventory.Nodes[1].HostKey = ""
	check("those made here")
	known, err := os.ReadFile(c.keys.knownHosts())
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range n {
		key, err := c.HostKey(node.Name)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.ParsePrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))); !strings.Contains(string(known), want) {
			t.Errorf("%s is not pinned with the key made for it", node.Name)
		}
	}

	// Boards go on showing their keys when the cluster is down.
	if err := c.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := c.Leftovers(); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	check("after down")
}
