// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/sshtest"
)

// server is a host, and the key of who may come in.
type server struct {
	*sshtest.Host
	client ssh.Signer
}

func newServer(t *testing.T) *server {
	t.Helper()
	client := sshtest.NewKey(t)
	return &server{sshtest.NewHost(t, client.PublicKey()), client}
}

// fleet returns a fleet whose one node is the server, with that key pinned for it.
func (s *server) fleet(t *testing.T, pinned ...ssh.PublicKey) *remote.Fleet {
	t.Helper()
	inv := &inventory.Inventory{
		Path: "inventory.yaml", SSH: inventory.SSH{User: "root", Port: s.Address().Port},
		Nodes: []inventory.Node{{Name: "node-1", Address: netip.IPv6Loopback()}},
	}
	var known strings.Builder
	for _, key := range pinned {
		fmt.Fprintln(&known, knownhosts.Line([]string{knownhosts.Normalize(s.Address().String())}, key))
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(known.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	f := remote.Open(inv, remote.Keys{Identity: s.client, KnownHosts: file}, nil, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { f.Close() })
	return f
}
