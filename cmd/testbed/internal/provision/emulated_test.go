// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// emulated is an arm64 Debian in a directory, with namespaces in which the kernel starts its programs by QEMU. That the kernel
// is told only there, in a user namespace's own binfmt_misc, leaves the machine as it is; it takes Linux 6.7.
type emulated struct {
	root string
	pid  int // of the process that holds the namespaces
}

// enter makes the namespaces around a root file system; its argument is the emulator. It says "ready" when it has.
const enter = `
set -eu
mount --make-rprivate /
mount -t proc proc /proc
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
printf '%s' ":arm64:M::$magic:$mask:$2:F" > /proc/sys/fs/binfmt_misc/register
mount -t proc proc "$1/proc"
mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
mount -t tmpfs -o mode=0755 tmpfs "$1/run"
echo ready
exec sleep infinity`

// newEmulated returns a fresh copy of a minimal arm64 Debian 12 that answers on SSH, as the image of a board does before any
// role is applied. The original is made once, in dir.
func newEmulated(t *testing.T, dir string) *emulated {
	t.Helper()
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		t.Fatalf("%v (hint: tools/bootstrap arm64)", err)
	}
	// The kernel wants the emulator itself, where tools/bootstrap has made a script that runs it.
	if real := filepath.Join(filepath.Dir(qemu), "../usr/bin/qemu-aarch64-static"); isFile(real) {
		qemu = real
	}
	base := filepath.Join(dir, "bookworm")
	if !isFile(filepath.Join(base, "done")) {
		makeEmulated(t, base, qemu)
	}
	root := filepath.Join(t.TempDir(), "board-1")
	if out, err := exec.Command("cp", "--archive", "--reflink=auto", filepath.Join(base, "root"), root).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return &emulated{root, hold(t, root, qemu)}
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// makeEmulated bootstraps Debian: unpacked by this machine's own programs, set up by its own.
func makeEmulated(t *testing.T, base, qemu string) {
	t.Helper()
	mirror := os.Getenv("TESTBED_DEBIAN_MIRROR")
	if mirror == "" {
		mirror = "http://deb.debian.org/debian"
	}
	root := filepath.Join(base, "root")
	if err := errors.Join(os.RemoveAll(base), os.MkdirAll(base, 0o755)); err != nil {
		t.Fatal(err)
	}
	run(t, "unshare", "--mount", "debootstrap", "--foreign", "--arch=arm64", "--variant=minbase",
		"--include=systemd,systemd-sysv,dbus,ca-certificates,openssh-server,python3,iproute2", "bookworm", root, mirror)
	m := &emulated{root, hold(t, root, qemu)}
	// In what it takes for this kind of container it makes no devices, which nobody may in a user namespace.
	if out, err := m.run(t.Context(), "container=lxc /debootstrap/debootstrap --second-stage"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(base, "done"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// hold starts the process that holds the namespaces, which all go with it at the end of the test.
func hold(t *testing.T, root, qemu string) int {
	t.Helper()
	cmd := exec.Command("sh", "-c", enter, "sh", root, qemu)
	all := []syscall.SysProcIDMap{{Size: math.MaxUint32}} // users are who they are
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
		UidMappings: all, GidMappings: all, GidMappingsEnableSetgroups: true,
		Pdeathsig: syscall.SIGKILL,
	}
	runtime.LockOSThread() // the death signal is sent when the thread ends: with the test
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatal("no namespace in which the kernel starts arm64 programs (hint: Linux 6.7 with CONFIG_BINFMT_MISC and CONFIG_USER_NS)")
	}
	return cmd.Process.Pid
}

// command is a command line in the machine.
func (m *emulated) command(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", "--user", "--mount", "--pid", "--uts", "--target", strconv.Itoa(m.pid), "--", "chroot", m.root, "/bin/sh", "-c", line)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	return cmd
}

func (m *emulated) run(ctx context.Context, line string) (string, error) {
	out, err := m.command(ctx, line).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// listen starts the machine's SSH server on a port of the loopback, with the keys of a cluster in dir.
func (m *emulated) listen(t *testing.T, dir string) (port int) {
	t.Helper()
	free, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	port = free.Addr().(*net.TCPAddr).Port
	free.Close()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "id_ed25519"))
	own, err := os.ReadFile(filepath.Join(dir, "id_ed25519.pub"))
	host, err2 := os.ReadFile(filepath.Join(m.root, "etc/ssh/ssh_host_ed25519_key.pub"))
	resolv, err3 := os.ReadFile("/etc/resolv.conf")
	hosts, err4 := os.ReadFile("/etc/hosts")
	err = errors.Join(err, err2, err3, err4,
		os.WriteFile(filepath.Join(dir, "known_hosts"), fmt.Appendf(nil, "[::1]:%d %s", port, host), 0o600),
		os.MkdirAll(filepath.Join(m.root, "root/.ssh"), 0o700),
		os.WriteFile(filepath.Join(m.root, "root/.ssh/authorized_keys"), own, 0o600),
		os.WriteFile(filepath.Join(m.root, "etc/resolv.conf"), resolv, 0o644), // as this machine resolves Debian's servers
		os.WriteFile(filepath.Join(m.root, "etc/hosts"), hosts, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	server := m.command(context.Background(), fmt.Sprintf("mkdir -p /run/sshd && exec /usr/sbin/sshd -D -e -o ListenAddress=[::1]:%d -o UsePAM=no", port))
	server.Stdout, server.Stderr = t.Output(), t.Output()
	server.WaitDelay = time.Second // nsenter dies, and sshd with the namespaces alone, after it
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		conn, err := net.Dial("tcp6", fmt.Sprintf("[::1]:%d", port))
		if err == nil {
			conn.Close()
			return port
		}
		if time.Now().After(deadline) {
			t.Fatal("the emulated SSH server does not answer")
		}
	}
}
