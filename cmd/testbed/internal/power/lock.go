// SPDX-License-Identifier: Apache-2.0

package power

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// lock keeps changes of one switch's settings apart: its interface takes all ports at once, and two who read, change and write
// at the same time would undo each other. It holds among goroutines and among the processes of this machine.
type lock struct {
	path string
	turn chan struct{} // holds one value while nobody has the lock
}

func newLock(dir string, s inventory.Switch) lock {
	// The device, not its name: another inventory may call it something else.
	id := s.MAC.String()
	if s.MAC.IsZero() {
		id = strings.Join(append([]string{s.Driver, s.SSH}, s.Command...), "-")
	}
	id = strings.Map(func(r rune) rune {
		if strings.ContainsRune("/:@[] ", r) {
			return '-'
		}
		return r
	}, id)
	l := lock{path: filepath.Join(dir, "switch-"+id[:min(len(id), 200)]+".lock"), turn: make(chan struct{}, 1)}
	l.turn <- struct{}{}
	return l
}

// retryLock is how often another process's lock is tried: the kernel tells nobody who could also wait for a context.
const retryLock = 50 * time.Millisecond

// hold waits for the lock. The kernel gives it back when the process ends, however it ends.
func (l lock) hold(ctx context.Context) (release func(), err error) {
	select {
	case <-l.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() {
		if err != nil {
			l.turn <- struct{}{}
		}
	}()
	if err := os.MkdirAll(filepath.Dir(l.path), 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of locks: %w", err)
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of a switch: %w", err)
	}
	tick := time.NewTicker(retryLock)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() {
				f.Close()
				l.turn <- struct{}{}
			}, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", l.path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for another testbed to let go of %s: %w", l.path, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
