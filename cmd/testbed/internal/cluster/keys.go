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
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// keys is the directory of a cluster's SSH keys. They are made before the nodes boot, so that there
// is no first meeting at which a key would have to be believed.
type keys struct{ dir string }

func (k keys) identityPath() string        { return filepath.Join(k.dir, "id_ed25519") }
func (k keys) knownHosts() string          { return filepath.Join(k.dir, "known_hosts") }
func (k keys) hostPath(node string) string { return filepath.Join(k.dir, "hostkeys", node) }

// make makes the keys that are not there, and the list of known hosts.
func (k keys) make(inv *inventory.Inventory) error {
	if err := makeKey(k.identityPath(), "testbed of "+inv.Cluster); err != nil {
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
		path := k.hostPath(n.Name)
		if err := makeKey(path, n.Name); err != nil {
			return err
		}
		signer, err := readKey(path)
		if err != nil {
			return err
		}
		port := strconv.Itoa(inv.SSH.Port)
		hosts := []string{
			knownhosts.Normalize(net.JoinHostPort(n.Address.String(), port)),
			knownhosts.Normalize(net.JoinHostPort(n.Name, port)),
		}
		fmt.Fprintln(&known, knownhosts.Line(hosts, signer.PublicKey()))
	}
	if err := replace(k.knownHosts(), known.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing the known host keys: %w", err)
	}
	return nil
}

// borrow puts links to the operator's keys where ours would be.
func (k keys) borrow(inv *inventory.Inventory) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of keys: %w", err)
	}
	for link, path := range map[string]string{k.identityPath(): inv.SSH.Identity, k.knownHosts(): inv.SSH.KnownHosts} {
		target, err := operatorPath(inv.Path, path)
		if err != nil {
			return err
		}
		if _, err := os.Stat(target); err != nil {
			return fmt.Errorf("finding the operator's SSH keys: %w (hint: ssh.identity and ssh.knownHosts in %s)", err, inv.Path)
		}
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("linking the operator's SSH keys: %w", err)
		}
		if err := os.Symlink(target, link); err != nil {
			return fmt.Errorf("linking the operator's SSH keys: %w", err)
		}
	}
	return nil
}

// operatorPath resolves a path of the inventory.
func operatorPath(inventory, path string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding the home directory: %w", err)
		}
		return filepath.Join(home, rest), nil
	}
	if filepath.IsAbs(path) {
		return path, nil
	}
	return filepath.Abs(filepath.Join(filepath.Dir(inventory), path))
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
