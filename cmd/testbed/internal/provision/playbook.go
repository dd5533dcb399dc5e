// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
)

// playbookPhase runs ansible/site.yml against the nodes.
type playbookPhase struct {
	c *cluster.Cluster
	o Options

	sockets string // directory of the control sockets of Ansible's SSH connections
}

func (p *playbookPhase) Title() string { return "Apply Ansible's roles" }

func (p *playbookPhase) Plan() []string {
	roles := [][2]string{ // in the playbook's order
		{"control", "etcd, control_plane"},
		{"worker", "container_runtime, kubelet"},
		{"client", "resolver"},
		{"prometheus", "prometheus"},
	}
	groups := ansibleGroups(p.c.Inventory)
	var lines []string
	for _, n := range p.c.Work.Of(p.c.Inventory.Nodes) {
		line := n.Name + ": "
		if groups["board"](n) {
			line += "packages, programs, "
		}
		line += "common"
		for _, r := range roles {
			if groups[r[0]](n) {
				line += ", " + r[1]
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// provisioned is what nodes have done when the roles have been applied to them.
const provisioned = "provision"

// todo returns the names of the nodes that the playbook is to run on.
func (p *playbookPhase) todo() []string {
	var names []string
	for _, n := range p.c.Work.Of(p.c.Inventory.Nodes) {
		if !p.c.Work.Done(provisioned, n) {
			names = append(names, n.Name)
		}
	}
	return names
}

func (p *playbookPhase) Run(ctx context.Context) error {
	nodes := p.todo()
	if len(nodes) == 0 {
		return nil
	}
	program, err := exec.LookPath("ansible-playbook")
	if err != nil {
		return fmt.Errorf("%w (hint: apt-get install ansible-core)", err)
	}
	kube, err := kubeDir(ctx, p.o)
	if err != nil {
		return err
	}
	inventoryFile, configFile, err := render(p.c, p.o.Store.Repo, kube)
	if err != nil {
		return err
	}
	if p.sockets, err = socketDir(p.c.StateDir); err != nil {
		return fmt.Errorf("making the directory of SSH sockets: %w", err)
	}

	words := append(append([]string{}, p.c.Enter...), program, "-i", inventoryFile, filepath.Join(p.o.Store.Repo, "ansible", "site.yml"))
	if len(nodes) < len(p.c.Inventory.Nodes) {
		words = append(words, "--limit", strings.Join(nodes, ","))
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(),
		"ANSIBLE_CONFIG="+configFile, "ANSIBLE_HOME="+filepath.Dir(configFile), "ANSIBLE_LOCAL_TEMP="+p.sockets,
		"ANSIBLE_SSH_CONTROL_PATH_DIR="+p.sockets, "ANSIBLE_NOCOLOR=1", "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1")
	// A group of its own: an interrupt from the terminal reaches testbed alone, which ends the whole group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second // an SSH master may hold the pipes
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the death signal is sent when the thread ends that started the program
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting ansible-playbook: %w", err)
	}
	f := &follower{out: p.o.Out, log: p.o.Log}
	err = f.follow(events)
	_, _ = io.Copy(io.Discard, events) // a program that nobody listens to would never end
	err = errors.Join(cmd.Wait(), err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case f.err() != nil && p.c.Work == nil:
		return f.err()
	case f.err() == nil && err != nil:
		return fmt.Errorf("running ansible-playbook: %w\n%s", err, indent(complaint.String()))
	}
	return p.settle(nodes, f)
}

// settle gives up the nodes that a role failed on; Ansible went on with the others.
func (p *playbookPhase) settle(nodes []string, f *follower) error {
	for _, name := range nodes {
		n, _ := p.c.Inventory.Node(name)
		err := f.errOf(name)
		if err != nil {
			err = p.c.Work.GiveUp(provisioned, n, err)
		} else {
			err = p.c.Work.Finished(provisioned, n)
		}
		if err != nil {
			return err
		}
	}
	return p.c.Enough()
}

// socketDir makes an empty directory for sockets in the cluster's state, so that 'testbed down' removes what a killed
// testbed left in it. A socket's path has at most 107 bytes, of which ssh adds 28: where the state's is too long, the
// directory is elsewhere.
func socketDir(state string) (string, error) {
	dir := filepath.Join(state, "ansible", "ssh")
	if len(dir)+28 > 107 {
		return os.MkdirTemp("", "testbed-ssh-")
	}
	return dir, errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700))
}

// CleanUp ends Ansible's SSH connections, which would stay for another minute.
func (p *playbookPhase) CleanUp(ctx context.Context) error {
	if p.sockets == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	entries, err := os.ReadDir(p.sockets)
	if err != nil {
		return fmt.Errorf("listing SSH sockets: %w", err)
	}
	for _, e := range entries {
		if e.Type() != os.ModeSocket {
			continue
		}
		out, err := exec.CommandContext(ctx, "ssh", "-F", "none", "-o", "ControlPath="+filepath.Join(p.sockets, e.Name()), "-O", "exit", "node").CombinedOutput()
		if err != nil {
			p.o.Log.Debug("an SSH connection had ended", "socket", e.Name(), "says", strings.TrimSpace(string(out)))
		}
	}
	return os.RemoveAll(p.sockets)
}
