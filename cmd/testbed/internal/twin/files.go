// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// writeNode writes what makes a node that node into its layer of the overlay, before it boots: its
// name, its keys and everybody's addresses. It writes again at every boot, so that what it needs to
// be reached is right whatever was done to the node.
func (t *Twin) writeNode(n inventory.Node, m Machine) error {
	key, err := ssh.ParsePrivateKey(m.HostKey)
	if err != nil {
		return fmt.Errorf("reading the host key: %w", err)
	}
	files := []struct {
		path string
		mode os.FileMode
		data []byte
	}{
		{"etc/hostname", 0o644, []byte(n.Name + "\n")},
		{"etc/hosts", 0o644, t.hosts()},
		{"etc/machine-id", 0o444, []byte(t.machineID(n.Name) + "\n")},
		{"etc/ssh/ssh_host_ed25519_key", 0o600, m.HostKey},
		{"etc/ssh/ssh_host_ed25519_key.pub", 0o644, ssh.MarshalAuthorizedKey(key.PublicKey())},
		{"root/.ssh/authorized_keys", 0o600, m.Authorized},
	}
	upper := filepath.Join(t.nodeDir(n.Name), "upper")
	if err := os.MkdirAll(upper, 0o755); err != nil { // it is the node's /
		return err
	}
	// Directories of the upper layer hide the mode of the base's.
	if err := os.MkdirAll(filepath.Join(upper, "root/.ssh"), 0o700); err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(upper, f.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		tmp := path + ".testbed"
		if err := os.WriteFile(tmp, f.data, f.mode); err != nil {
			return err
		}
		if err := os.Rename(tmp, path); err != nil {
			return err
		}
	}
	return nil
}

// hosts is /etc/hosts of every node.
func (t *Twin) hosts() []byte {
	var b strings.Builder
	b.WriteString("::1 localhost ip6-localhost ip6-loopback\n")
	for _, n := range t.inv.Nodes {
		fmt.Fprintf(&b, "%s %s\n", n.Address, n.Name)
	}
	return []byte(b.String())
}
