// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// Check says why a fault with these parameters cannot be on the nodes of an inventory, whether they stand or not: everything,
// one finding a line. Without an inventory it says what is wrong with it anywhere.
func Check(name string, with map[string]string, inv *inventory.Inventory) error {
	_, _, err := check(name, with, inv)
	return err
}

func check(name string, with map[string]string, inv *inventory.Inventory) (Kind, params, error) {
	k, ok := kindOf(name)
	if !ok {
		return k, params{}, fmt.Errorf("unknown kind of fault %q (hint: %s)", name, list(Kinds()))
	}
	p, err := k.parse(with)
	if err != nil || inv == nil {
		return k, p, err
	}
	var errs []error
	if k.cannot != nil {
		for _, why := range k.cannot(p, inv) {
			errs = append(errs, fmt.Errorf("fault %s %s", name, why))
		}
	}
	return k, p, errors.Join(errs...)
}

// noPod says why a fault of backend pods cannot be.
func noPod(p params, inv *inventory.Inventory) []string {
	if p.pod != "" && p.node != "" {
		return []string{"cannot be aimed at pod " + p.pod + " and at node " + p.node + " (hint: one of them)"}
	}
	if p.pod != "" && p.number(1, 2) != 1 {
		return []string{"strikes one pod where that is named (hint: leave count out)"}
	}
	if p.node == "" {
		return nil
	}
	nodes := named(inv, p.node)
	if why := unknown(inv, p.node, nodes); why != "" {
		return []string{why}
	}
	if !slices.ContainsFunc(nodes, func(n inventory.Node) bool { return n.In(inventory.Worker) }) {
		return []string{"strikes pods, and " + p.node + " has none: it is no worker"}
	}
	return nil
}

func unknown(inv *inventory.Inventory, name string, found []inventory.Node) string {
	if len(found) > 0 {
		return ""
	}
	return fmt.Sprintf("strikes %q, and the inventory has neither a node nor a group of that name (hint: the nodes are in %s)", name, inv.Path)
}

// noNode says why a fault of nodes cannot be.
func noNode(p params, inv *inventory.Inventory) []string {
	nodes := p.candidates(inv)
	if why := unknown(inv, cmp.Or(p.node, inventory.Worker), nodes); why != "" {
		return []string{why}
	}
	var findings []string
	if p.count > len(nodes) {
		findings = append(findings, fmt.Sprintf("strikes %d nodes, and %s has %d", p.count, cmp.Or(p.node, inventory.Worker), len(nodes)))
	}
	// It would end what is to undo it.
	for _, n := range nodes {
		if n.Runs(inventory.RoleOrchestrator) {
			findings = append(findings, fmt.Sprintf("cannot strike %s, from where testbed is run", n.Name))
		}
	}
	return findings
}

func noClock(p params, inv *inventory.Inventory) []string {
	if inv.Substrate == "twin" {
		return []string{"cannot be on the twin: its nodes share the clock of their machine (hint: boards, or virtual machines)"}
	}
	return noNode(p, inv)
}

func noDelay(p params, inv *inventory.Inventory) []string {
	findings := noNode(p, inv)
	if p.jitter > cmp.Or(p.delay, defaultDelay) {
		findings = append(findings, fmt.Sprintf("has a jitter of %s, which is more than its delay", p.jitter))
	}
	return findings
}

func noDisk(p params, inv *inventory.Inventory) []string {
	findings := noNode(p, inv)
	dir := diskPath(p, inv)
	below := func(top string) bool { return dir == top || strings.HasPrefix(dir, top+"/") }
	switch {
	case below("/dev/shm"):
		findings = append(findings, "cannot fill /dev/shm: faults keep their own files there")
	case inv.Substrate == "twin" && !below("/run") && !below("/tmp"):
		findings = append(findings, fmt.Sprintf("cannot fill %s on the twin, whose nodes share their machine's disk (hint: path: /run, which is in memory: Prometheus and containerd have their state there)", dir))
	}
	return findings
}

func noClusters(_ params, inv *inventory.Inventory) []string {
	if inv.Clusters()[0].Member == "" {
		return []string{"needs an inventory with several clusters (hint: -i pi-cluster/inventory.clusters.yaml)"}
	}
	return nil
}

// noSides says why a partition cannot be.
func noSides(p params, inv *inventory.Inventory) []string {
	if p.sides[0] == nil && len(inv.Group(inventory.Worker)) < 2 {
		return []string{"needs two workers to part them (hint: sides: worker-1|client)"}
	}
	var findings []string
	for i, side := range p.sides {
		for _, name := range side {
			if name == rest && (len(side) > 1 || p.sides[1-i][0] == rest) {
				findings = append(findings, `has "rest" beside others (hint: worker-1,worker-2|rest)`)
			} else if name != rest {
				if why := unknown(inv, name, named(inv, name)); why != "" {
					findings = append(findings, why)
				}
			}
		}
	}
	if findings != nil {
		return slices.Compact(findings)
	}
	left, right := sides(p, inv)
	for _, n := range left {
		if slices.ContainsFunc(right, func(m inventory.Node) bool { return m.Name == n.Name }) {
			findings = append(findings, n.Name+" is on both sides")
		}
	}
	if len(left) == 0 || len(right) == 0 {
		findings = append(findings, "has nobody on one of its sides")
	}
	return findings
}

// onEach runs a line on nodes at once that prints why they cannot have a fault, or nothing.
func onEach(ctx context.Context, e *Env, nodes []inventory.Node, line string) error {
	said := make([]string, len(nodes))
	_, err := together(indices(len(nodes)), func(i int) (Instant, error) {
		out, err := e.Shell.Shell(ctx, nodes[i].Name, line, nil)
		said[i] = strings.TrimSpace(string(out))
		return Instant{}, err
	})
	var errs []error
	for i, why := range said {
		if why == "" || slices.Contains(said[:i], why) {
			continue
		}
		var who []string
		for k, n := range nodes {
			if said[k] == why {
				who = append(who, n.Name)
			}
		}
		errs = append(errs, fmt.Errorf("%s: %s", list(who), why))
	}
	return errors.Join(err, errors.Join(errs...))
}

// needs wants a program on the nodes that are struck, or on the control nodes where it is kubectl.
func needs(program string) func(context.Context, *Env, params) error {
	return func(ctx context.Context, e *Env, p params) error {
		nodes := p.candidates(e.Inventory)
		if program == "kubectl" {
			nodes = controls(e.Inventory)
		}
		return onEach(ctx, e, nodes, fmt.Sprintf("command -v %[1]s >/dev/null || echo no program %[1]s", program))
	}
}

// controls are the nodes with the control planes.
func controls(inv *inventory.Inventory) []inventory.Node {
	var nodes []inventory.Node
	for _, c := range inv.Clusters() {
		nodes = append(nodes, c.ControlPlane())
	}
	return nodes
}

// scratch tries something in a network namespace that ends with it.
func scratch(what, try string) string {
	return fmt.Sprintf(`unshare -n sh -c %s >/dev/null 2>&1 || echo "the kernel $(uname -r) has no %s"`, kubectl.Quote("ip link set lo up && "+try), what)
}

func netem(ctx context.Context, e *Env, p params) error {
	return onEach(ctx, e, p.candidates(e.Inventory), scratch("netem (CONFIG_NET_SCH_NETEM)", "tc qdisc add dev lo root netem delay 1ms"))
}

func netfilter(ctx context.Context, e *Env, _ params) error {
	return onEach(ctx, e, e.Inventory.Nodes, scratch("nftables", "nft add table ip6 t"))
}

func lossy(ctx context.Context, e *Env, p params) error {
	try := "printf '%s\n' " + kubectl.Quote(lossRules("t", "lo", 100)) + " | nft -f -"
	return onEach(ctx, e, p.candidates(e.Inventory), scratch("nftables with numgen and hooks at devices", try))
}

func disk(ctx context.Context, e *Env, p params) error {
	line := fmt.Sprintf(`d=%s; if [ ! -d "$d" ]; then echo "no directory $d"; `, kubectl.Quote(diskPath(p, e.Inventory)))
	if e.Inventory.Substrate == "twin" {
		line += `elif [ "$(stat -f -c %T "$d")" != tmpfs ]; then echo "$d is not in memory, but on the disk of their machine"; `
	}
	return onEach(ctx, e, p.candidates(e.Inventory), line+"fi")
}

// active wants services on the nodes that have them.
func active(s services) func(context.Context, *Env, params) error {
	return func(ctx context.Context, e *Env, _ params) error {
		var nodes []inventory.Node
		for _, c := range e.Inventory.Clusters() {
			nodes = append(nodes, s.on(c))
		}
		return onEach(ctx, e, nodes, fmt.Sprintf(`for u in %s; do systemctl -q is-active "$u" || echo "$u is not running"; done`, strings.Join(s.units, " ")))
	}
}
