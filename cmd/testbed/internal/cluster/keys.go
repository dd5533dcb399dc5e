// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// keys is the directory of a cluster's SSH keys. They are made before the nodes boot, so that there
// is no first meeting at which a key would have to be believed.
type keys struct{ dir string }

func (k keys) identityPath() string        { return filepath.Join(k.dir, "id_ed25519") }
func (k keys) knownHosts() string          { return filepath.Join(k.dir, "known_hosts") }
func (k keys) hostDir() string             { return filepath.Join(k.dir, "hostkeys") }
func (k keys) hostPath(node string) string { return filepath.Join(k.hostDir(), node) }

// make makes the keys that are not there, and the list of known hosts.
func (k keys) make(inv *inventory.Inventory) error {
	if err := makeKey(k.identityPath(), "testbed of "+inv.Cluster); err != nil {
		return err
	}
	if err := k.makeHosts(inv); err != nil {
		return err
	}
	identity, err := k.identity()
	if err != nil {
		return err
	}
	if err := os.WriteFile(k.identityPath()+".pub", ssh.MarshalAuthorizedKey(identity.PublicKey()), 0o644); err != nil {
		return fmt.Errorf("writing the public key: %w", err)
	}
	var known bytes.Buffer
	for _, n := range inv.Nodes {
		signer, err := readKey(k.hostPath(n.Name))
		if err != nil {
			return err
		}
		fmt.Fprintln(&known, knownLine(inv, n, signer.PublicKey()))
	}
	if err := replace(k.knownHosts(), known.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing the known host keys: %w", err)
	}
	return nil
}

// makeHosts makes the host keys that are not there.
func (k keys) makeHosts(inv *inventory.Inventory) error {
	for _, n := range inv.Nodes {
		if err := makeKey(k.hostPath(n.Name), n.Name); err != nil {
			return err
		}
	}
	return nil
}

// knownLine is the line of a known_hosts file that pins a node's key.
func knownLine(inv *inventory.Inventory, n inventory.Node, key ssh.PublicKey) string {
	port := strconv.Itoa(inv.SSH.Port)
	return knownhosts.Line([]string{
		knownhosts.Normalize(net.JoinHostPort(n.Address.String(), port)),
		knownhosts.Normalize(net.JoinHostPort(n.Name, port)),
	}, key)
}

func (k keys) identity() (ssh.Signer, error) { return readKey(k.identityPath()) }

func (k keys) host(node string) ([]byte, error) { return os.ReadFile(k.hostPath(node)) }

func (k keys) authorized() ([]byte, error) { return os.ReadFile(k.identityPath() + ".pub") }

func makeKey(path, comment string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("making an SSH key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return fmt.Errorf("making an SSH key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("making the directory of keys: %w", err)
	}
	if err := replace(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return fmt.Errorf("writing an SSH key: %w", err)
	}
	return nil
}

func readKey(path string) (ssh.Signer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading an SSH key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("reading the SSH key %s: %w (hint: it must be a private key without passphrase)", path, err)
	}
	return signer, nil
}

// replace writes a file as a whole.
func replace(path string, data []byte, mode fs.FileMode) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
