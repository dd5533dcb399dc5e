// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrReplaced is why a process ends that another has taken the place of.
var ErrReplaced = errors.New("replaced by a new process")

// Ready says that this process answers from here on: the one before ends, and sockets that nobody asked for are closed.
func (s *Sockets) Ready() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.heirs {
		h.file.Close()
	}
	s.heirs = nil
	// First, or the service manager would see its main process end.
	notify(fmt.Sprintf("READY=1\nMAINPID=%d", os.Getpid()))
	if s.ready != nil {
		_, _ = s.ready.Write([]byte{1}) // the one before may have ended by itself
		s.ready.Close()
		s.ready = nil
	}
}

// Follow restarts on SIGUSR2, also on one that came since Inherit, until ctx ends or the process has been replaced, which
// it returns as ErrReplaced. within is how long a new process may take to become ready. It is to be called when this one is.
func (s *Sockets) Follow(ctx context.Context, within time.Duration, log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.signals:
		}
		if ctx.Err() != nil { // both
			return nil
		}
		pid, err := s.Restart(ctx, within)
		if err == nil {
			log.Info("replaced by a new process", "pid", pid)
			return ErrReplaced
		}
		if ctx.Err() != nil {
			return nil
		}
		log.Error("restarting; this process goes on", "error", err)
	}
}

// Restart starts the program again with all sockets and returns its process ID when it is ready. An error means that
// it is not, and has been ended.
func (s *Sockets) Restart(ctx context.Context, within time.Duration) (pid int, err error) {
	path, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("finding the program: %w", err)
	}
	fds, keys, err := s.duplicate()
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	if err != nil {
		return 0, err
	}
	told, tell, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("opening a pipe: %w", err)
	}
	defer told.Close()
	files := []uintptr{0, 1, 2}
	for _, fd := range fds {
		files = append(files, uintptr(fd))
	}
	env := append(os.Environ(), envSockets+"="+strings.Join(keys, " "), fmt.Sprintf("%s=%d", envReady, len(files)))
	files = append(files, tell.Fd())
	// Not by os/exec, which would make the sockets, and with them ours, block.
	pid, err = syscall.ForkExec(path, os.Args, &syscall.ProcAttr{Env: env, Files: files})
	tell.Close()
	if err != nil {
		return 0, fmt.Errorf("starting %s: %w", path, err)
	}
	child, err := os.FindProcess(pid)
	if err != nil {
		return 0, fmt.Errorf("finding process %d: %w", pid, err)
	}
	stop := context.AfterFunc(ctx, func() { told.SetReadDeadline(time.Now()) })
	defer stop()
	_ = told.SetReadDeadline(time.Now().Add(within)) // pipes have deadlines
	_, err = io.ReadFull(told, make([]byte, 1))
	if err == nil {
		go child.Wait() // should it end before us
		return pid, nil
	}
	_ = child.Kill() // it may have ended by itself
	state, waited := child.Wait()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, fmt.Errorf("process %d was not ready within %v", pid, within)
	case waited != nil:
		return 0, fmt.Errorf("waiting for process %d: %w", pid, waited)
	}
	return 0, fmt.Errorf("process %d ended before it was ready: %v", pid, state)
}

// duplicate gives descriptors of all sockets that are still open, with their keys.
func (s *Sockets) duplicate() (fds []int, keys []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.kept {
		raw, err := k.conn.SyscallConn()
		if err != nil {
			return fds, nil, fmt.Errorf("opening %v: %w", k.key, err)
		}
		var dup int
		var failed error
		err = raw.Control(func(fd uintptr) { dup, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
		if errors.Is(err, net.ErrClosed) {
			continue
		}
		if err = errors.Join(err, failed); err != nil {
			return fds, nil, fmt.Errorf("duplicating %v: %w", k.key, err)
		}
		fds = append(fds, dup)
		keys = append(keys, k.String())
	}
	return fds, keys, nil
}

// notify tells the service manager about this process, if there is one: sd_notify(3).
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' {
		path = "\x00" + path[1:]
	}
	c, err := net.Dial("unixgram", path)
	if err != nil {
		return // it went away
	}
	defer c.Close()
	_, _ = c.Write([]byte(state))
}
