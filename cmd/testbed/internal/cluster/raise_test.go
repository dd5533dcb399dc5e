// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/phase"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/twin"
)

// raiseEnv makes of the test's program one that raises the cluster of an inventory file, so that a
// test can kill it.
const raiseEnv = "DNSINGRESS_TEST_RAISE"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		if err := holdFile(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if path := os.Getenv(raiseEnv); path != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		if err := raiseFile(ctx, path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func raiseFile(ctx context.Context, path string) error {
	inv, err := inventory.Load(path)
	if err != nil {
		return err
	}
	c, err := New(inv, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer c.Close()
	release, err := c.Hold("up")
	if err != nil {
		return err
	}
	defer release()
	r, err := raising(io.Discard)
	if err != nil {
		return err
	}
	return (&phase.Manager{Out: os.Stdout}).Run(ctx, c.Phases(r)...)
}

func raising(out io.Writer) (Raising, error) {
	cache, err := CacheDir()
	if err != nil {
		return Raising{}, err
	}
	packages, err := bundle.NodePackages("../../../..")
	return Raising{
		Base:  twin.BaseBuild{Cache: cache, Packages: packages, Mirror: os.Getenv("TESTBED_DEBIAN_MIRROR"), Out: out},
		Binds: func(context.Context, inventory.Node) ([]twin.Bind, error) { return nil, nil },
	}, err
}

// twoNodes is the smallest cluster. It has a name of its own, so that it may stand beside another.
const twoNodes = `version: 1
cluster: %s
substrate: twin
network: {nodes: "fd6e:7369:7:1::/64", services: "fd6e:7369:7:f::/112"}
zone: apps.test.
nodes:
  - {name: first, groups: [control, client], address: "fd6e:7369:7:1::1"}
  - {name: second, groups: [worker], address: "fd6e:7369:7:1::2", pods: "fd6e:7369:7:2::/64"}
`

// testCluster returns a cluster that does not stand, and its inventory file. Whatever the test does,
// nothing of it is left afterwards, which is checked.
func testCluster(t *testing.T, name string) (*Cluster, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("virtual nodes need root")
		}
		t.Skip("NOT RUN: virtual nodes need root (hint: sudo make test)")
	}
	t.Setenv("TESTBED_STATE_DIR", filepath.Join(t.TempDir(), "state"))
	name = fmt.Sprintf("%s%d", name, os.Getpid())
	path := filepath.Join(t.TempDir(), "inventory.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, twoNodes, name), 0o644); err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(inv, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	before := machine(t, name)
	t.Cleanup(func() {
		c.Close()
		for range 2 { // the second time there is nothing to remove
			if err := c.Down(context.Background()); err != nil {
				t.Error(err)
			}
		}
		if diff := cmp.Diff(before, machine(t, name)); diff != "" {
			t.Errorf("the machine before and after (-before +after):\n%s", diff)
		}
	})
	return c, path
}

// machine lists what of this machine a twin may change: of the cluster only, as others may stand.
func machine(t *testing.T, cluster string) []string {
	t.Helper()
	var list []string
	add := func(kind string, lines ...string) {
		for _, l := range lines {
			if l != "" && strings.Contains(l, cluster) {
				list = append(list, kind+" "+l)
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	add("mount", strings.Split(string(mounts), "\n")...)
	for _, dir := range []string{"/run/netns", "/run/systemd/nspawn/propagate", "/run/systemd/nspawn/unix-export"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			add("file", filepath.Join(dir, e.Name()))
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		list = append(list, "link "+l.Name)
	}
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			add("cgroup", path)
		}
		return nil // others may remove theirs while we look
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range processes(t, cluster) {
		words, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		list = append(list, fmt.Sprintf("process %d %q", pid, words))
	}
	if _, err := os.Stat(StateDir(cluster)); err == nil {
		list = append(list, "state directory")
	}
	slices.Sort(list)
	return list
}

// processes returns the living processes that the cluster's name is in the command line or cgroup of.
func processes(t *testing.T, cluster string) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
		if _, state, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(state, "Z") {
			continue // dead, and not ours to reap
		}
		words, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		groups, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
		if strings.Contains(string(words), cluster) || strings.Contains(string(groups), cgroupOf(cluster)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func setting(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc/sys", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func isInside(pid int, namespace string) bool {
	own, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return false
	}
	want, err := os.Stat(namespace)
	return err == nil && os.SameFile(own, want)
}

func cgroupOf(cluster string) string { return "/dnsingress-testbed/" + cluster }

func raiseHere(t *testing.T, c *Cluster) string {
	t.Helper()
	r, err := raising(t.Output())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := (&phase.Manager{Out: io.MultiWriter(&out, t.Output())}).Run(t.Context(), c.Phases(r)...); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func run(t *testing.T, c *Cluster, node, line string) string {
	t.Helper()
	r, err := c.Fleet.Run(t.Context(), node, remote.Command{Line: line})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(r.Stdout))
}

func TestNodesLiveAndLosePower(t *testing.T) {
	c, path := testCluster(t, "live")
	ctx := t.Context()
	raiseHere(t, c)

	for _, n := range c.Inventory.Nodes {
		if got := run(t, c, n.Name, "hostname && systemctl is-system-running --wait"); got != n.Name+"\nrunning" {
			t.Errorf("%s says %q", n.Name, got)
		}
	}
	run(t, c, "second", "ping -c 1 -W 10 first && ip -6 addr add fd6e:7369:7:2::5/64 dev lo nodad")
	run(t, c, "first", "ping -c 1 -W 10 fd6e:7369:7:2::5")
	clock := run(t, c, "first", "date -s 2001-01-01 2>&1 || true")
	if year := run(t, c, "first", "date +%Y"); year == "2001" || !strings.Contains(clock, "not permitted") {
		t.Errorf("a node can set the clock: %q", clock)
	}
	// Of the kernel's settings, nodes have those of their own network, also after a power cut, and no other.
	host := setting(t, "vm/swappiness") + setting(t, "kernel/panic") + setting(t, "net/ipv4/ip_local_port_range")
	run(t, c, "first", "sysctl -qw net.ipv4.ip_local_port_range='20001 30000' && sysctl -qw kernel.panic=77 && ! sysctl -qw vm.swappiness=7 2>/dev/null")
	if now := setting(t, "vm/swappiness") + setting(t, "kernel/panic") + setting(t, "net/ipv4/ip_local_port_range"); now != host {
		t.Errorf("a node changed settings of this machine: %q, were %q", now, host)
	}
	if got := raiseHere(t, c); strings.Count(got, "skipped: all are up") != 1 {
		t.Errorf("raising what stands did not leave it alone:\n%s", got)
	}
	if _, err := Open(ctx, c.Inventory, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("the standing cluster cannot be opened: %v", err)
	}

	// What a container leaves: processes in cgroups of its own, mounts, another mount namespace.
	run(t, c, "second", `echo kept > /root/kept; sync
		for d in /sys/fs/cgroup/*/; do [ -e $d/cgroup.procs ] && mkdir -p $d/pods/one || true; done
		mount -t tmpfs none /var/lib/kubelet && touch /run/lost
		setsid unshare --mount --pid --fork sh -c 'for d in /sys/fs/cgroup/*/pods/one; do echo $$ > $d/cgroup.procs; done; exec sleep 1000' >/dev/null 2>&1 </dev/null &`)
	if err := c.Power.Off(ctx, "second"); err != nil {
		t.Fatal(err)
	}
	if s, err := c.Power.State(ctx, "second"); err != nil || s != power.Off {
		t.Errorf("state %v, %v after the power was cut", s, err)
	}
	// The dead say nothing: no refusal.
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if _, err := c.nodes.dial(short, "tcp", "[fd6e:7369:7:1::2]:22"); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialing a dead node: %v", err)
	}
	if err := c.Power.Off(ctx, "second"); err != nil {
		t.Errorf("cutting the power twice: %v", err)
	}
	if err := c.Power.On(ctx, "second"); err != nil {
		t.Fatal(err)
	}
	if got := run(t, c, "second", "cat /root/kept; ls /run/lost 2>/dev/null; ip -6 -o addr show dev lo | grep -c 7:2::5 || true"); got != "kept\n0" {
		t.Errorf("after power-on: %q", got)
	}

	// A second testbed cannot take it, and another inventory under its name is refused.
	release, err := c.Hold("up")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Hold("down"); err == nil || !strings.Contains(err.Error(), "in use by testbed up (process ") {
		t.Errorf("held twice: %v", err)
	}
	release()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := inventory.Parse(path, []byte(strings.Replace(string(src), "first", "other", 1)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := raising(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := twin.New(other, c.StateDir, c.log).Check(r.Base); err == nil || !strings.Contains(err.Error(), "made from another inventory") {
		t.Errorf("another inventory: %v", err)
	}
	// Down ends what a killed testbed has left running in the twin's network, ...
	words := append(slices.Clone(c.Enter), "sh", "-c", "(sleep 1000; :) & sleep 1000; : "+c.Inventory.Cluster)
	left := exec.Command(words[0], words[1:]...)
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = left.Wait() }()
	for deadline := time.Now().Add(time.Minute); !isInside(left.Process.Pid, "/run/netns/"+c.Inventory.Cluster+"-sw"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nsenter enters nothing")
		}
	}
	// ... and finds everything by name, too.
	if err := os.RemoveAll(c.StateDir); err != nil {
		t.Fatal(err)
	}
}

// However an `up` ends, `down` removes what it made, and the next `up` goes on with it.
func TestKilledRaise(t *testing.T) {
	exists := func(path string) func() bool {
		return func() bool {
			paths, _ := filepath.Glob(path)
			return len(paths) > 0
		}
	}
	for _, tt := range []struct {
		name   string
		signal syscall.Signal
		when   func(c *Cluster) func() bool
		resume bool
	}{
		{"record", syscall.SIGKILL, func(c *Cluster) func() bool { return exists(c.StateDir + "/state.json") }, false},
		{"switch", syscall.SIGKILL, func(c *Cluster) func() bool { return exists("/run/netns/" + c.Inventory.Cluster + "-sw") }, true},
		{"cgroup", syscall.SIGKILL, func(c *Cluster) func() bool {
			return exists("/sys/fs/cgroup/*" + cgroupOf(c.Inventory.Cluster) + "/first")
		}, false},
		{"booting", syscall.SIGKILL, func(c *Cluster) func() bool {
			return func() bool {
				b, _ := os.ReadFile(c.StateDir + "/nodes/second/console.log")
				return len(b) > 0
			}
		}, true},
		{"interrupt", syscall.SIGINT, func(c *Cluster) func() bool { return exists(c.StateDir + "/nodes/first/console.log") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, path := testCluster(t, "kill")
			r, err := raising(t.Output())
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Base.Build(t.Context()); err != nil { // so that it is the phases after it that are met
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), raiseEnv+"="+path)
			cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for met := tt.when(c); !met(); {
				select {
				case err := <-ended:
					t.Fatalf("ended before it was killed: %v", err)
				case <-tick.C:
				}
			}
			if err := cmd.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err == nil {
				t.Fatal("an interrupted 'up' ended as if all were well")
			}
			if tt.resume {
				raiseHere(t, c)
				run(t, c, "second", "ping -c 1 -W 10 first")
			}
		})
	}
}

// A base that is being built when testbed is killed leaves no process and no mount, and is built anew.
func TestKilledBase(t *testing.T) {
	c, path := testCluster(t, "base")
	cache := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), raiseEnv+"="+path, "TESTBED_CACHE_DIR="+cache)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if files, _ := os.ReadDir(filepath.Join(cache, "base/.building")); len(files) > 0 {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("ended before it was killed: %v", err)
		case <-tick.C:
		}
	}
	if len(processes(t, cache)) < 2 {
		t.Error("nothing seems to build the base")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	for deadline := time.Now().Add(time.Minute); len(processes(t, cache)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("processes %v go on building the base", processes(t, cache))
		}
	}
	if left := slices.DeleteFunc(machine(t, cache), func(l string) bool { return strings.HasPrefix(l, "link ") }); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if _, err := os.Stat(c.StateDir + "/state.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a twin without base was recorded: %v", err)
	}
}
