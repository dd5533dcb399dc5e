// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/twin"
)

// boards is the substrate of real machines, which answer on SSH with keys that are pinned.
type boards struct{ *Cluster }

func (b *boards) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// takenPath marks that `up` has taken the boards.
func (b *boards) takenPath() string { return filepath.Join(b.StateDir, "taken") }

func (b *boards) standing() (bool, error) {
	_, err := os.Stat(b.takenPath())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (b *boards) leftovers() ([]string, error) {
	files, err := b.forgettable()
	if err != nil || len(files) == 0 {
		return nil, err
	}
	return []string{"state directory " + b.StateDir}, nil
}

// forgettable lists what down removes: all of the state but the host keys made here, which the boards go on showing, and
// the lock, which whoever removes the rest holds.
func (b *boards) forgettable() ([]string, error) {
	var files []string
	for _, dir := range []string{b.StateDir, b.keys.dir} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("listing the state: %w", err)
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if path != b.keys.dir && path != b.keys.hostDir() && path != b.lockPath() {
				files = append(files, path)
			}
		}
	}
	return files, nil
}

// alone makes sure that the state is not that of a twin of the same name, whose nodes would lose their files.
func (b *boards) alone() error {
	_, stands, err := twin.New(b.Inventory, b.StateDir, b.log).Standing()
	if stands {
		err = fmt.Errorf("a twin %q stands under this name (hint: 'testbed down' with its inventory, or another name)", b.Inventory.Cluster)
	}
	return err
}

// down forgets the boards; what was installed on them stays, and so do the host keys made for them.
func (b *boards) down(context.Context) error {
	if err := b.alone(); err != nil {
		return err
	}
	files, err := b.forgettable()
	if err != nil {
		return err
	}
	for _, path := range files {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("removing the state: %w", err)
		}
	}
	_ = os.Remove(b.keys.dir) // fails while host keys are in it
	return nil
}
