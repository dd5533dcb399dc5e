// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The base is Debian 12, as on the boards.
const (
	release       = "bookworm"
	defaultMirror = "http://deb.debian.org/debian"
)

// baseFiles are laid over the packages: presets that leave every service off (the roles switch on
// what a node runs), and what makes a container behave as a machine of its own.
//
//go:embed all:base
var baseFiles embed.FS

// BaseBuild says what the root file system under all nodes holds.
type BaseBuild struct {
	Cache    string   // directory of the cache
	Packages []string // Debian packages for all groups of nodes
	Mirror   string   // default deb.debian.org
	Out      io.Writer
}

// Key is the name of the base's directory: it follows from all that goes into it.
func (b BaseBuild) Key() string {
	h := sha256.New()
	packages := slices.Sorted(slices.Values(b.Packages))
	fmt.Fprintln(h, "1", release, runtime.GOARCH, strings.Join(slices.Compact(packages), " "))
	_ = fs.WalkDir(baseFiles, "base", func(path string, d fs.DirEntry, _ error) error {
		if content, err := baseFiles.ReadFile(path); err == nil {
			fmt.Fprintf(h, "%s %d\n%s", path, len(content), content)
		}
		return nil
	})
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Path is where the base is, once it is built.
func (b BaseBuild) Path() string { return filepath.Join(b.Cache, "base", b.Key()) }

// Cached says whether the base is there, whole.
func (b BaseBuild) Cached() bool {
	_, err := os.Stat(filepath.Join(b.Path(), "etc/debian_version"))
	return err == nil
}

// Build makes the base unless it is there. It takes one to two minutes; an interrupted build leaves
// a directory that the next one removes.
func (b BaseBuild) Build(ctx context.Context) error {
	parent := filepath.Join(b.Cache, "base")
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("making the cache: %w", err)
	}
	dir, err := os.Open(parent)
	if err != nil {
		return fmt.Errorf("opening the cache: %w", err)
	}
	defer dir.Close()
	if err := lock(ctx, dir, unix.LOCK_EX); err != nil { // another testbed may be building it
		return fmt.Errorf("waiting for another build of the base: %w", err)
	}
	if b.Cached() {
		return nil
	}
	tmp := filepath.Join(parent, ".building")
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("removing an interrupted build: %w", err)
	}
	if err := b.build(ctx, tmp); err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	if err := os.Rename(tmp, b.Path()); err != nil {
		return fmt.Errorf("keeping the base: %w", err)
	}
	return nil
}

func (b BaseBuild) build(ctx context.Context, root string) error {
	mirror := b.Mirror
	if mirror == "" {
		mirror = defaultMirror
	}
	err := b.run(ctx, "debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,dbus,ca-certificates", release, root, mirror)
	if err != nil {
		return fmt.Errorf("bootstrapping Debian %s from %s: %w", release, mirror, err)
	}
	if err := os.CopyFS(root, sub(baseFiles, "base")); err != nil {
		return fmt.Errorf("laying files over the base: %w", err)
	}
	// Nothing starts while packages are set up, and nothing waits for the disk: a base that a crash
	// cuts short is thrown away anyway.
	policy := filepath.Join(root, "usr/sbin/policy-rc.d")
	unsafe := filepath.Join(root, "etc/dpkg/dpkg.cfg.d/testbed")
	err = errors.Join(
		os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755),
		os.WriteFile(unsafe, []byte("force-unsafe-io\n"), 0o644),
	)
	if err != nil {
		return fmt.Errorf("laying files over the base: %w", err)
	}
	// apt rather than debootstrap's --include: that one knows no alternatives and no virtual packages.
	script := `mount -t proc proc "$0/proc" && exec chroot "$0" apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$@"`
	if err := b.run(ctx, "sh", append([]string{"-c", script, root}, b.Packages...)...); err != nil {
		return fmt.Errorf("installing packages into the base: %w (hint: the list is in ansible/group_vars/all.yml)", err)
	}
	for _, args := range [][]string{
		{"chroot", root, "apt-get", "clean"},
		{"systemctl", "--root=" + root, "preset-all"},
		{"systemctl", "--root=" + root, "mask", "systemd-logind.service", "console-getty.service", "dev-hugepages.mount", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "e2scrub_reap.service"},
	} {
		if err := b.run(ctx, args[0], args[1:]...); err != nil {
			return fmt.Errorf("preparing the base: %w", err)
		}
	}
	// Every node brings its own.
	for _, pattern := range []string{policy, unsafe, "etc/ssh/ssh_host_*", "etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname", "etc/resolv.conf", "var/lib/apt/lists/*", "usr/share/doc/*", "usr/share/man/*"} {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(root, pattern)
		}
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("preparing the base: %w", err)
			}
		}
	}
	return nil
}

// run runs a program in mount and process namespaces of its own: whatever ends testbed ends the
// program with all its children and its mounts.
func (b BaseBuild) run(ctx context.Context, name string, args ...string) error {
	runtime.LockOSThread() // the death signal is sent when the thread ends that started the program
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--", name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	var last tail
	cmd.Stdout = io.MultiWriter(b.Out, &last)
	cmd.Stderr = cmd.Stdout
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s: %w\n%s", name, err, last.String())
	}
	return nil
}

// tail keeps the last 2 KB written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if n := len(t.b) - 2048; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(bytes.TrimSpace(t.b)) }

func sub(f embed.FS, dir string) fs.FS {
	s, err := fs.Sub(f, dir)
	if err != nil {
		panic(err) // the directory is a constant
	}
	return s
}
