// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Hold takes the cluster for one command ("up", "experiment run"), so that no other changes it
// meanwhile; who has it is in the error. The kernel releases it when the process ends, however it
// ends.
func (c *Cluster) Hold(what string) (release func(), err error) {
	path := filepath.Join(c.StateDir, "lock")
	for {
		if err := os.MkdirAll(c.StateDir, 0o755); err != nil {
			return nil, fmt.Errorf("making the state directory: %w (hint: root, or TESTBED_STATE_DIR)", err)
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if errors.Is(err, os.ErrNotExist) {
			continue // 'down' removed the directory just now
		}
		if err != nil {
			return nil, fmt.Errorf("opening the cluster's lock: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			owner, _ := io.ReadAll(io.LimitReader(f, 200))
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("cluster %q is in use by testbed %s (hint: wait for its end)", c.Inventory.Cluster, strings.TrimSpace(string(owner)))
			}
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !same(f, path) { // locked a file that 'down' has removed
			f.Close()
			continue
		}
		err = f.Truncate(0)
		if err == nil {
			_, err = fmt.Fprintf(f, "%s (process %d)\n", what, os.Getpid())
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("writing the cluster's lock: %w", err)
		}
		return func() {
			if ok, err := c.Standing(); err == nil && !ok {
				c.tidy(path) // nothing was made: leave nothing
			}
			f.Close()
		}, nil
	}
}

func (c *Cluster) tidy(lock string) {
	_ = os.Remove(lock)
	_ = os.Remove(c.StateDir) // succeeds only when empty, as does the next
	_ = os.Remove(filepath.Dir(c.StateDir))
}

func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}
