// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// Boot starts a node that does not run: a fresh network namespace, then systemd on an overlay of the
// base that keeps what the node wrote before. It returns when the node's process has been started,
// with a channel that gets one error if that process ends while testbed lives.
func (t *Twin) Boot(ctx context.Context, n inventory.Node, m Machine) (<-chan error, error) {
	if err := t.state.update(func(s *State) error { s.add(n.Name); return nil }); err != nil {
		return nil, err
	}
	g, err := nodeGroup(t.inv.Cluster, n.Name)
	if err != nil {
		return nil, err
	}
	if err := g.empty(ctx); err != nil { // of a node that died by itself
		return nil, err
	}
	if err := writeJSON(t.machinePath(n.Name), m); err != nil {
		return nil, fmt.Errorf("recording what %s boots with: %w", n.Name, err)
	}
	if err := t.writeNode(n, m); err != nil {
		return nil, fmt.Errorf("writing the files of %s: %w", n.Name, err)
	}
	if m.Seed != "" {
		if err := t.plant(ctx, n.Name, m.Seed); err != nil {
			return nil, err
		}
	}
	if err := t.plugIn(n); err != nil {
		return nil, err
	}
	if err := g.create(); err != nil {
		return nil, err
	}
	return t.start(n, m, g)
}

// Machine returns what the node was booted with last, without its keys.
func (t *Twin) Machine(node string) (Machine, error) {
	var m Machine
	b, err := os.ReadFile(t.machinePath(node))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return m, fmt.Errorf("finding what %s boots with: %w (hint: 'testbed up' boots it for the first time)", node, err)
	}
	return m, nil
}

func (t *Twin) machinePath(node string) string { return filepath.Join(t.nodeDir(node), "machine.json") }

// start runs systemd-nspawn in the node's cgroup, with the overlay mounted in a mount namespace that
// goes with it: the host's mount table stays as it is.
func (t *Twin) start(n inventory.Node, m Machine, g group) (<-chan error, error) {
	dir := t.nodeDir(n.Name)
	root := filepath.Join(dir, "root")
	for _, sub := range []string{"root", "work", "containerd", "kubelet"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o711); err != nil {
			return nil, fmt.Errorf("making the directories of %s: %w", n.Name, err)
		}
	}
	console, err := os.Create(filepath.Join(dir, "console.log"))
	if err != nil {
		return nil, fmt.Errorf("opening the console of %s: %w", n.Name, err)
	}
	defer console.Close()
	// Enter the cgroups, then become nspawn, whose own files are not left to the host. Should the groups
	// be gone (a concurrent down), end here.
	const script = `
while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit; shift; done; shift
root=$1 overlay=$2; shift 2
mkdir -p /run/systemd/nspawn && mount -t tmpfs -o mode=0755 tmpfs /run/systemd/nspawn &&
mount -t overlay -o "$overlay" overlay "$root" && exec "$@"`
	args := []string{"--mount", "--propagation", "private", "--", "sh", "-c", script, "sh"}
	args = append(args, g.dirs()...)
	args = append(args, "--", root, overlayOptions(m.Base, dir))
	args = append(args, t.nspawn(n, m, root)...)
	cmd := exec.Command("unshare", args...)
	cmd.Stdout, cmd.Stderr = console, console
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network") // of /proc/sys, what the node's network namespace has of its own
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}                      // outlives testbed, and hears no Ctrl-C
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("booting %s: %w", n.Name, err)
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		if err == nil {
			err = errors.New("it switched itself off")
		}
		ended <- fmt.Errorf("%s went off: %w\n%s", n.Name, err, t.Console(n.Name))
	}()
	return ended, nil
}

func overlayOptions(base, dir string) string {
	escape := strings.NewReplacer(`\`, `\\`, ",", `\,`, ":", `\:`).Replace
	return fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", escape(base), escape(filepath.Join(dir, "upper")), escape(filepath.Join(dir, "work")))
}

// nspawn returns the command line of a node.
func (t *Twin) nspawn(n inventory.Node, m Machine, root string) []string {
	dir := t.nodeDir(n.Name)
	args := []string{
		"systemd-nspawn", "--quiet", "--boot",
		"--register=no", "--keep-unit", // no systemd is needed on the host
		"--machine=" + t.machineName(n.Name), "--hostname=" + n.Name, "--directory=" + root,
		"--network-namespace-path=" + filepath.Join(namespaceDir, nodeNamespace(t.inv.Cluster, n.Name)),
		"--resolv-conf=off", "--timezone=off", "--link-journal=no",
		// A node is a machine: its containers need what the kernel has, but all nodes share one clock.
		"--capability=all", "--drop-capability=CAP_SYS_TIME", "--system-call-filter=@keyring bpf @known",
		"--bind=/dev/kmsg",
		// An overlay cannot be the upper layer of another one.
		"--bind=" + filepath.Join(dir, "containerd") + ":/var/lib/containerd",
		"--bind=" + filepath.Join(dir, "kubelet") + ":/var/lib/kubelet",
	}
	for _, b := range m.Binds {
		args = append(args, "--bind-ro="+escapeBind(b.Source)+":"+escapeBind(b.Target))
	}
	return args
}

func escapeBind(path string) string { return strings.ReplaceAll(path, ":", `\:`) }

// Console returns the last lines of the node's console.
func (t *Twin) Console(node string) string {
	b, err := os.ReadFile(filepath.Join(t.nodeDir(node), "console.log"))
	if err != nil {
		return ""
	}
	var last tail
	_, _ = last.Write(b)
	return last.String()
}
