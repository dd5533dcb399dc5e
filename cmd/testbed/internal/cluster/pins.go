// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
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

// MakeKeys makes a host key for each node whose card is written here, on the twin each node, and of which no key is known
// yet. What is written to a node's card has it, so that the node is known before it boots for the first time.
func (c *Cluster) MakeKeys() error {
	if c.Inventory.Substrate == "twin" {
		return c.keys.make(c.Inventory)
	}
	return errors.Join(os.MkdirAll(c.keys.dir, 0o700), c.keys.makeCards(c.Inventory))
}

// HostKey returns the private key that a node is to show, in OpenSSH's format; MakeKeys has made it.
func (c *Cluster) HostKey(node string) ([]byte, error) {
	key, err := c.keys.host(node)
	if errors.Is(err, fs.ErrNotExist) && c.Inventory.Substrate != "twin" {
		return nil, fmt.Errorf("%s: the private part of its host key is not here: %w (hint: it is where its card was written; or forget its key, hostKey in %s or its line in %s, and a new one is made)",
			node, err, c.Inventory.Path, c.Inventory.SSH.KnownHosts)
	}
	return key, err
}

// makeCards makes the host keys of boards that have an image and that nobody has pinned.
func (k keys) makeCards(inv *inventory.Inventory) error {
	file, err := operatorPath(inv.Path, inv.SSH.KnownHosts)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range inv.Nodes {
		if _, named := inv.ImageOf(n); !named {
			continue
		}
		known, err := k.pinned(inv, n, file)
		if err == nil && len(known) == 0 {
			err = makeKey(k.hostPath(n.Name), n.Name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Authorized returns what is to be in the nodes' authorized_keys: whom they let in.
func (c *Cluster) Authorized() ([]byte, error) {
	if c.Inventory.Substrate == "twin" {
		return c.keys.authorized()
	}
	path, err := operatorPath(c.Inventory.Path, c.Inventory.SSH.Identity)
	if err != nil {
		return nil, err
	}
	signer, err := readKey(path)
	if err != nil {
		return nil, err
	}
	return ssh.MarshalAuthorizedKey(signer.PublicKey()), nil
}

// borrow takes the operator's identity by a link, and pins the boards' keys: the one that the inventory names, or that was
// made here for the board's card, or that the operator's file of known hosts has. Every board needs one, of its own.
func (k keys) borrow(inv *inventory.Inventory) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of keys: %w", err)
	}
	identity, err := operatorPath(inv.Path, inv.SSH.Identity)
	if err != nil {
		return err
	}
	if _, err := readKey(identity); err != nil {
		return fmt.Errorf("finding the operator's SSH keys: %w (hint: ssh.identity and ssh.knownHosts in %s)", err, inv.Path)
	}
	if err := os.Remove(k.identityPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("linking the operator's SSH keys: %w", err)
	}
	if err := os.Symlink(identity, k.identityPath()); err != nil {
		return fmt.Errorf("linking the operator's SSH keys: %w", err)
	}
	known, err := k.pins(inv)
	if err != nil {
		return err
	}
	if err := replace(k.knownHosts(), known, 0o644); err != nil {
		return fmt.Errorf("writing the known host keys: %w", err)
	}
	return nil
}

// pins returns the lines that pin all boards; what is wrong with any of them is in the error.
func (k keys) pins(inv *inventory.Inventory) ([]byte, error) {
	file, err := operatorPath(inv.Path, inv.SSH.KnownHosts)
	if err != nil {
		return nil, err
	}
	var (
		known bytes.Buffer
		errs  []error
		owner = map[string]string{} // of a key
	)
	for _, n := range inv.Nodes {
		keys, err := k.pinned(inv, n, file)
		if err == nil && len(keys) == 0 {
			err = fmt.Errorf("%s: no host key is pinned (hint: 'testbed image build' makes one for its card; or hostKey: in %s; or its key under %s in %s)", n.Name, inv.Path, n.Address, file)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, key := range keys {
			if other, taken := owner[string(key.Marshal())]; taken {
				errs = append(errs, fmt.Errorf("%s: the host key %s pinned for it is also that of %s (hint: two cards written from one that had booted; write them anew)", n.Name, ssh.FingerprintSHA256(key), other))
				continue
			}
			owner[string(key.Marshal())] = n.Name
			fmt.Fprintln(&known, knownLine(inv, n, key))
		}
	}
	return known.Bytes(), errors.Join(errs...)
}

// pinned returns the keys that a board may show.
func (k keys) pinned(inv *inventory.Inventory, n inventory.Node, file string) ([]ssh.PublicKey, error) {
	var own ssh.PublicKey
	switch signer, err := readKey(k.hostPath(n.Name)); {
	case err == nil:
		own = signer.PublicKey()
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if n.HostKey != "" {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(n.HostKey))
		if err != nil {
			return nil, fmt.Errorf("%s: reading hostKey in %s: %w", n.Name, inv.Path, err)
		}
		if own != nil && !bytes.Equal(own.Marshal(), key.Marshal()) {
			return nil, fmt.Errorf("%s: hostKey in %s is %s, but the key made for its card is %s (hint: which is right? remove the other; that one is %s)",
				n.Name, inv.Path, ssh.FingerprintSHA256(key), ssh.FingerprintSHA256(own), k.hostPath(n.Name))
		}
		return []ssh.PublicKey{key}, nil
	}
	if own != nil {
		return []ssh.PublicKey{own}, nil
	}
	check, err := knownhosts.New(file)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading the operator's known hosts: %w (hint: ssh.knownHosts in %s)", err, inv.Path)
	}
	var (
		unknown *knownhosts.KeyError
		keys    []ssh.PublicKey
		address = net.TCPAddr{IP: n.Address.AsSlice(), Port: inv.SSH.Port}
	)
	// Asking for a key that nobody has yields those that are there.
	err = check(net.JoinHostPort(n.Address.String(), strconv.Itoa(inv.SSH.Port)), &address, nobody{})
	if errors.As(err, &unknown) {
		for _, want := range unknown.Want {
			keys = append(keys, want.Key)
		}
	}
	return keys, nil
}

// nobody is a key that no host has.
type nobody struct{}

func (nobody) Type() string                        { return "none" }
func (nobody) Marshal() []byte                     { return nil }
func (nobody) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

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
