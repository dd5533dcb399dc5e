// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespaceDir is where ip(8) looks for named network namespaces, too.
const namespaceDir = "/run/netns"

// makeNamespace makes a named network namespace and writes its sysctls (paths below /proc/sys/net).
// One that is there already is an error.
func makeNamespace(name string, sysctls map[string]string) error {
	if err := os.MkdirAll(namespaceDir, 0o755); err != nil {
		return fmt.Errorf("making network namespace %s: %w", name, err)
	}
	path := filepath.Join(namespaceDir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("making network namespace %s: %w", name, err)
	}
	f.Close()
	failed := make(chan error, 1)
	onThread(func() {
		failed <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("unsharing: %w", err)
			}
			if err := unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, ""); err != nil {
				return fmt.Errorf("mounting: %w", err)
			}
			for key, value := range sysctls {
				if err := os.WriteFile(filepath.Join("/proc/sys/net", key), []byte(value), 0); err != nil {
					return err
				}
			}
			return nil
		}()
	})
	if err := <-failed; err != nil {
		return errors.Join(fmt.Errorf("making network namespace %s: %w", name, err), removeNamespace(name))
	}
	return nil
}

// onThread starts f on a thread that ends with it, so that nothing else runs where f has taken its
// thread. Never on the main thread: that one never ends, and stands for the whole process in /proc.
func onThread(f func()) {
	go func() {
		runtime.LockOSThread() // never unlocked: that is what ends the thread
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		defer runtime.UnlockOSThread()
		ended := make(chan struct{})
		go func() { // cannot come to the main thread, which is locked here until it has ended
			defer close(ended)
			runtime.LockOSThread()
			f()
		}()
		<-ended
	}()
}

// removeNamespace removes a named network namespace; the kernel removes its links when the last
// process in it is gone. One that is not there is no error.
func removeNamespace(name string) error {
	path := filepath.Join(namespaceDir, name)
	for {
		// A name that was bound twice has two mounts on it.
		err := unix.Unmount(path, unix.MNT_DETACH)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("unmounting network namespace %s: %w", name, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing network namespace %s: %w", name, err)
	}
	return nil
}

// hasNamespace says whether a network namespace of that name is there, whole: a file left without its
// mount is none.
func hasNamespace(name string) bool {
	var st unix.Statfs_t
	return unix.Statfs(filepath.Join(namespaceDir, name), &st) == nil && st.Type == unix.NSFS_MAGIC
}

// dialIn opens a connection from inside a network namespace. The address is literal: a name would be
// looked up by threads that are outside of it.
func dialIn(ctx context.Context, namespace, network, address string) (net.Conn, error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("dialing %s: %w", address, err)
	}
	target, err := os.Open(filepath.Join(namespaceDir, namespace))
	if err != nil {
		return nil, fmt.Errorf("entering network namespace %s: %w", namespace, err)
	}
	defer target.Close()
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	onThread(func() {
		if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{err: fmt.Errorf("entering network namespace %s: %w", namespace, err)}
			return
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		done <- result{conn, err}
	})
	r := <-done
	return r.conn, r.err
}
