// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is a handle on a process that stays the same process even when its number is used again.
type process struct {
	pid int
	fd  int // pidfd; readable when the process is dead
}

// open returns a handle on the process, if it is still one of the group's.
func (g group) open(pid int) (process, bool) { return openIf(pid, g.holds) }

// openIf returns a handle on the process if is(pid) holds. That is asked after the handle was taken:
// then the number can no longer pass to another process.
func openIf(pid int, is func(pid int) bool) (process, bool) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return process{}, false
	}
	if !is(pid) {
		unix.Close(fd)
		return process{}, false
	}
	return process{pid, fd}, true
}

func (p process) close() { unix.Close(p.fd) }

func (p process) kill() error {
	if err := unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing process %d: %w", p.pid, err)
	}
	return nil
}

// wait returns true when the process is dead, false when d has passed or ctx has ended before.
func (p process) wait(ctx context.Context, d time.Duration) bool {
	for end := time.Now().Add(d); ; {
		left := min(time.Until(end), 100*time.Millisecond) // so that ctx is looked at now and then
		if left < 0 || ctx.Err() != nil {
			left = 0
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if n > 0 {
			return true
		}
		if err != nil && !errors.Is(err, unix.EINTR) || left == 0 {
			return false
		}
	}
}

// killInside kills the processes in a named network namespace, but for this one, and returns when none is left.
func killInside(ctx context.Context, namespace string) error {
	want, err := os.Stat(filepath.Join(namespaceDir, namespace))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finding the processes in network namespace %s: %w", namespace, err)
	}
	inside := func(pid int) bool {
		own, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
		return err == nil && os.SameFile(own, want)
	}
	for {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return fmt.Errorf("finding the processes in network namespace %s: %w", namespace, err)
		}
		found := false
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil || pid == os.Getpid() || !inside(pid) {
				continue
			}
			p, ok := openIf(pid, inside)
			if !ok {
				continue
			}
			found = true
			err = p.kill()
			dead := p.wait(ctx, 5*time.Second)
			p.close()
			if err != nil {
				return err
			}
			if !dead {
				return errors.Join(ctx.Err(), fmt.Errorf("process %d in network namespace %s survives SIGKILL", pid, namespace))
			}
		}
		if !found { // else it may have started others meanwhile
			return nil
		}
	}
}

// initOf returns the group's process that is process 1 of the node: the only one that is number 1 in
// the first process namespace below ours (those of pods are deeper).
func (g group) initOf() (process, bool, error) {
	ids, err := g.processes()
	if err != nil {
		return process{}, false, err
	}
	own := len(namespaced(os.Getpid()))
	for _, pid := range ids {
		if n := namespaced(pid); len(n) == own+1 && n[own] == "1" {
			if p, ok := g.open(pid); ok {
				return p, true, nil
			}
		}
	}
	return process{}, false, nil
}

// namespaced returns a process's numbers in the process namespaces it is in, ours first.
func namespaced(pid int) []string {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}

// killAll kills the group's processes: first the node's process 1, with which the kernel takes all
// others of the node, then, when nspawn has had time to tidy up after it, what is left. It returns
// when none is left.
func (g group) killAll(ctx context.Context) error {
	if p, ok, err := g.initOf(); err != nil {
		return err
	} else if ok {
		err := p.kill()
		p.close()
		if err != nil {
			return err
		}
	}
	patience := 3 * time.Second
	for deadline := time.Now().Add(30 * time.Second); ; {
		ids, err := g.processes()
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, pid := range ids {
			p, ok := g.open(pid)
			if !ok {
				continue
			}
			if !p.wait(ctx, patience) {
				err = p.kill()
				p.wait(ctx, 5*time.Second)
			}
			p.close()
			if err != nil {
				return err
			}
		}
		patience = 0 // given once, not to each
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes of %s survive SIGKILL: %v (hint: they hang in the kernel; see /proc/PID/stack)", len(ids), g.path, ids)
		}
	}
}
