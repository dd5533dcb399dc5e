// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/resolver"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/tree"
)

// plan is the scenario's trees on the inventory's nodes.
func (r *Runner) plan() *tree.Plan {
	return &tree.Plan{Inventory: r.Inventory, Trees: tree.ByName(r.Scenario.DNS.Trees...), TTL: r.Scenario.DNS.DelegationTTL}
}

// treePhase raises the private root, the uppers and the leaves, which stand for the whole run.
type treePhase struct{ *Runner }

func (p *treePhase) Title() string { return "Raise the private root and the delegation trees" }

func (p *treePhase) Plan() []string {
	var lines []string
	control := p.Inventory.ControlPlane().Name
	for _, s := range p.plan().Servers() {
		lines = append(lines, fmt.Sprintf("%s: %s at %s serves %s", control, s.Level, s.Address, strings.Join(slices.Sorted(maps.Keys(s.Zones)), " ")))
	}
	for _, w := range p.Inventory.Group(inventory.Worker) {
		line := w.Name + ": leaf at " + w.Address.String() + " serves"
		for _, t := range p.plan().Trees {
			line += " " + t.LeafZone()
		}
		lines = append(lines, line)
	}
	return lines
}

// Programs and files on the control node.
const (
	serverPath = "/opt/testbed/bin/dnsingress"
	leavesDir  = "/opt/testbed/deploy/run/leaves"
)

func (p *treePhase) Run(ctx context.Context) error {
	program, err := os.ReadFile(filepath.Join(filepath.Dir(p.Loadgen), "dnsingress"))
	if err != nil {
		return fmt.Errorf("reading the name server's program: %w (hint: make build)", err)
	}
	control := p.Inventory.ControlPlane().Name
	if err := p.Nodes.Put(ctx, control, bytes.NewReader(program), serverPath, 0o755); err != nil {
		return err
	}
	files, units := p.plan().Units(serverPath)
	for name, text := range p.plan().Leaves() {
		files[leavesDir+"/"+name] = text
	}
	if err := p.unpack(ctx, control, files); err != nil {
		return err
	}
	line := "systemctl daemon-reload && systemctl restart " + strings.Join(units, " ")
	if _, err := p.Nodes.Shell(ctx, control, line, nil); err != nil {
		return fmt.Errorf("starting the servers above the leaves: %w", err)
	}
	return p.leaves(ctx)
}

// leaves puts dnsingress on the workers and the service's names into its zones.
func (p *treePhase) leaves(ctx context.Context) error {
	k := p.bench.Kubectl()
	var hosts []string
	for _, t := range p.plan().Trees {
		hosts = append(hosts, strings.TrimSuffix(t.Host(), "."))
	}
	if _, err := k.Run(ctx, "annotate", "--overwrite", "service", "-n", "bench", "backend",
		"external-dns.kubernetes.io/hostname="+strings.Join(hosts, ","),
		fmt.Sprintf("external-dns.kubernetes.io/ttl=%d", int(p.Scenario.DNS.TTL.Seconds()))); err != nil {
		return fmt.Errorf("naming the backend: %w", err)
	}
	if _, err := k.Run(ctx, "apply", "--server-side", "--force-conflicts", "-k", leavesDir); err != nil {
		return fmt.Errorf("applying the leaves: %w", err)
	}
	return k.Await(ctx, 2*time.Minute, kubectl.Workload{Kind: "DaemonSet", Namespace: "dnsingress", Name: "dnsingress"})
}

// CleanUp takes the servers down, and gives the clients their resolver back.
func (p *treePhase) CleanUp(ctx context.Context) error {
	return errors.Join(p.bench.RemoveAll(ctx), p.dismantle(ctx))
}

// dismantleScript removes what rounds put on a node besides pods, if anything of it is there.
const dismantleScript = `
cd /etc/systemd/system
set -- testbed-dns-*.service ` + resolver.Unit + `
for unit; do
	[ -e "$unit" ] || continue
	systemctl stop "$unit"
	rm -f "$unit"
	found=$unit
done
rm -rf /etc/testbed/tree ` + tree.TapDir + ` ` + resolver.Dir + ` ` + resolver.Run + `
[ -z "$found" ] || systemctl daemon-reload
`

// dismantle is also for what a run that was killed left.
func (r *Runner) dismantle(ctx context.Context) error {
	return each(ctx, r.Inventory.Nodes, func(ctx context.Context, n inventory.Node) error {
		line := dismantleScript
		if n.In(inventory.Client) {
			line += "systemctl start unbound\n"
		}
		if _, err := r.Nodes.Shell(ctx, n.Name, line, nil); err != nil {
			return fmt.Errorf("taking down resolvers and trees: %w", err)
		}
		return nil
	})
}

// unpack writes files on a node in one go.
func (r *Runner) unpack(ctx context.Context, node string, files map[string]string) error {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), ModTime: time.Unix(0, 0)}); err != nil {
			return fmt.Errorf("packing files for %s: %w", node, err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			return fmt.Errorf("packing files for %s: %w", node, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("packing files for %s: %w", node, err)
	}
	if _, err := r.Nodes.Shell(ctx, node, "tar -x -P --no-same-owner", &buf); err != nil {
		return fmt.Errorf("copying files: %w", err)
	}
	return nil
}
