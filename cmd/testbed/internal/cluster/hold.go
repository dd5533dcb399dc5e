// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Owner is who holds a cluster, or held it and died.
type Owner struct {
	Command string    `json:"command"` // "up", "experiment run quickstart"
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Since   time.Time `json:"since"`
}

// String describes the owner for people.
func (o Owner) String() string {
	return fmt.Sprintf("testbed %s (process %d on %s, since %s)", o.Command, o.PID, o.Host, o.Since.Local().Format(time.DateTime))
}

// HeldError says that another testbed has the cluster.
type HeldError struct {
	Cluster string
	Owner   Owner
}

func (e *HeldError) Error() string {
	if e.Owner.Command == "" { // between taking it and saying so
		return fmt.Sprintf("cluster %q is in use by another testbed (hint: wait for its end)", e.Cluster)
	}
	return fmt.Sprintf("cluster %q is in use by %s (hint: wait for its end, or end it with: kill %d)", e.Cluster, e.Owner, e.Owner.PID)
}

func (c *Cluster) lockPath() string { return filepath.Join(c.StateDir, "lock") }

// Hold takes the cluster for one command ("up", "experiment run"), so that no other changes it meanwhile; that another has
// it is a *HeldError. The kernel releases it when the process ends, however it ends; who held it then stays written in the
// file, see Interrupted. Boards are taken on their control node, too, once the fleet is connected.
func (c *Cluster) Hold(command string) (release func(), err error) {
	path := c.lockPath()
	for {
		if err := os.MkdirAll(c.StateDir, 0o755); err != nil {
			return nil, fmt.Errorf("making the state directory: %w (hint: root, or TESTBED_STATE_DIR)", err)
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if errors.Is(err, fs.ErrNotExist) {
			continue // 'down' removed the directory just now
		}
		if err != nil {
			return nil, fmt.Errorf("opening the cluster's lock: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			if errors.Is(err, unix.EWOULDBLOCK) && unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
				f.Close()
				continue // somebody was only looking, see Interrupted
			}
			owner := readOwner(f)
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, &HeldError{c.Inventory.Cluster, owner}
			}
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !same(f, path) { // locked a file that 'down' has removed
			f.Close()
			continue
		}
		if o := readOwner(f); o.Command != "" {
			c.died = &o
		}
		if err := writeOwner(f, command); err != nil {
			f.Close()
			return nil, fmt.Errorf("writing the cluster's lock: %w", err)
		}
		unclaim, err := c.claimBoards(command)
		if err != nil {
			_ = f.Truncate(0)
			f.Close()
			return nil, err
		}
		return func() {
			unclaim()
			_ = f.Truncate(0) // it ended as it should
			if ok, err := c.Standing(); err == nil && !ok {
				c.tidy(path) // nothing was made: leave nothing
			}
			f.Close()
		}, nil
	}
}

// claimBoards takes boards among all orchestrators that reach them, where we are connected: `up` does so when it is.
func (c *Cluster) claimBoards(command string) (release func(), err error) {
	b, ok := c.nodes.(*boards)
	if !ok || c.Fleet == nil {
		return func() {}, nil
	}
	return b.claim(context.Background(), command)
}

// Interrupted returns the command that held the cluster and died without letting go of it; nil when none did, or when
// another has the cluster now. What Hold found on its way stays known to the one who holds.
func (c *Cluster) Interrupted() (*Owner, error) {
	if c.died != nil {
		return c.died, nil
	}
	owner, lives, err := c.look()
	if lives {
		owner = nil
	}
	return owner, err
}

// Holder returns the command that holds the cluster now; nil when none does.
func (c *Cluster) Holder() (*Owner, error) {
	owner, lives, err := c.look()
	if !lives {
		owner = nil
	}
	return owner, err
}

// look returns who is written in the lock's file, and whether that one lives.
func (c *Cluster) look() (owner *Owner, lives bool, err error) {
	f, err := os.Open(c.lockPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("opening the cluster's lock: %w", err)
	}
	defer f.Close()
	// A shared lock is a look alone; it is given back when the file is closed.
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if lives = errors.Is(err, unix.EWOULDBLOCK); !lives && err != nil {
		return nil, false, fmt.Errorf("looking at the cluster's lock: %w", err)
	}
	if o := readOwner(f); o.Command != "" {
		owner = &o
	}
	return owner, lives, nil
}

// writeOwner makes us the owner. One write of a few bytes: a reader sees it whole, or nothing.
func writeOwner(f *os.File, command string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	text, err := json.Marshal(Owner{command, os.Getpid(), host, time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(text, '\n'), 0)
	return err
}

// readOwner returns the zero Owner where the file names none.
func readOwner(f *os.File) Owner {
	var o Owner
	text, err := io.ReadAll(io.LimitReader(io.NewSectionReader(f, 0, 1<<12), 1<<12))
	if err != nil || json.Unmarshal(text, &o) != nil {
		return Owner{}
	}
	return o
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
