// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/resolver"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/results"
)

// hostScript prints one fact a line; what is unknown is an empty line.
const hostScript = `uname -r
sed -n 's/^\(model name\|Model\)[^:]*: //p' /proc/cpuinfo | sort -u | head -n 1 | grep . || uname -m
nproc
sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo
cat /proc/sys/kernel/random/boot_id`

// describeHost asks a node what it is, and its clock.
func describeHost(ctx context.Context, nodes Nodes, n inventory.Node) (results.Host, error) {
	out, err := nodes.Shell(ctx, n.Name, hostScript, nil)
	if err != nil {
		return results.Host{}, fmt.Errorf("describing %s: %w", n.Name, err)
	}
	h, err := parseHost(string(out))
	if err != nil {
		return h, fmt.Errorf("describing %s: %w", n.Name, err)
	}
	h.Name, h.Groups = n.Name, n.Groups
	offset, rtt, err := nodes.ClockOffset(ctx, n.Name)
	if err != nil {
		return h, fmt.Errorf("asking for the clock of %s: %w", n.Name, err)
	}
	h.ClockOffsetNs, h.ClockRTTNs = int64(offset), int64(rtt)
	return h, nil
}

func parseHost(out string) (results.Host, error) {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 5 {
		return results.Host{}, fmt.Errorf("got %d facts, not 5: %q", len(lines), out)
	}
	cpus, err := strconv.Atoi(lines[2])
	if err != nil {
		return results.Host{}, fmt.Errorf("parsing the number of CPUs: %w", err)
	}
	kib, err := strconv.ParseInt(lines[3], 10, 64)
	if err != nil {
		return results.Host{}, fmt.Errorf("parsing the size of memory: %w", err)
	}
	return results.Host{Kernel: lines[0], CPU: lines[1], CPUs: cpus, Memory: kib << 10, BootID: lines[4]}, nil
}

// bootID returns the identity of this machine's running kernel. Virtual nodes show a made-up one each.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// programs maps what a node of each group runs to the command that tells its version.
func programs() map[string]map[string]string {
	return map[string]map[string]string{
		inventory.Control: {
			"etcd":       `etcd --version 2>/dev/null | sed -n 's/^etcd Version: //p' || true`,
			"prometheus": `prometheus --version 2>&1 | sed -n 's/^prometheus, version \([^ ]*\).*/\1/p'`,
		},
		inventory.Worker: {
			"containerd": `containerd --version | cut -d' ' -f3`,
			"runc":       `runc --version | sed -n 's/^runc version //p'`,
		},
		inventory.Client: {
			"unbound": `unbound -V | sed -n 's/^Version //p'`,
		},
	}
}

// describeVersions asks one node of each group for the versions of its programs.
func describeVersions(ctx context.Context, nodes Nodes, inv *inventory.Inventory) (map[string]string, error) {
	versions := map[string]string{}
	for group, commands := range programs() {
		node := inv.Group(group)[0].Name
		for program, line := range commands {
			// Programs of the test bed's own are outside of the shell's path.
			out, err := nodes.Shell(ctx, node, `PATH=$PATH:/opt/testbed/kube:/opt/testbed/bin; `+line, nil)
			if err != nil {
				return nil, fmt.Errorf("asking %s for the version of %s: %w", node, program, err)
			}
			if v := strings.TrimSpace(string(out)); v != "" {
				versions[program] = v
			}
		}
	}
	return versions, nil
}

// resolverVersions adds the versions of the resolvers that the scenario names.
func (r *Runner) resolverVersions(ctx context.Context, versions map[string]string) error {
	lines := resolver.Versions()
	for _, name := range r.Scenario.DNS.Resolvers {
		if lines[name] == "" {
			continue
		}
		out, err := r.Nodes.Shell(ctx, r.Inventory.Group(inventory.Client)[0].Name, lines[name], nil)
		if err != nil {
			return fmt.Errorf("asking for the version of %s: %w", name, err)
		}
		versions[name] = strings.TrimSpace(string(out))
	}
	return nil
}

// Source tells the state of the repository at dir; without git, it is what this program was built from.
func Source(ctx context.Context, dir string) results.Source {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", filepath.Clean(dir)}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("rev-parse", "HEAD")
	if err != nil {
		return results.Source{Commit: strings.TrimSuffix(cli.Version(), "-dirty"), Dirty: strings.HasSuffix(cli.Version(), "-dirty")}
	}
	// Results of runs are no part of what programs are built from.
	changed, err := git("status", "--porcelain", "--untracked-files=normal", "--", ".", ":!results")
	return results.Source{Commit: commit, Dirty: err != nil || changed != ""}
}
