// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// partition drops, on every node of the cluster, each packet that comes from outside of it or goes there.
type partition struct{ *clusterFault }

// table is the nftables table that cuts a node off. What it drops is not answered.
const table = "testbed-partition"

// inside lists the addresses that the cluster's nodes go on talking to: its own, neighbour discovery, and the orchestrator,
// which is no part of any cluster.
func inside(cluster *inventory.Inventory) []string {
	list := []string{"::1", "::", "fe80::/10", "ff00::/8", cluster.Orchestrator().String(), cluster.Network.Services.String()}
	for _, n := range cluster.Nodes {
		if n.Cluster != cluster.Member {
			continue
		}
		list = append(list, n.Address.String())
		if n.Pods.IsValid() {
			list = append(list, n.Pods.String())
		}
	}
	return list
}

// cutScript loads the rules on standard input at the instant $at, and prints the instants before and after.
const cutScript = `
rules=$(cat)
d=$((at - $(date +%s%N))); [ $d -gt 0 ] && sleep "$((d / 1000000000)).$(printf %09d $((d % 1000000000)))"
before=$(date +%s%N)
echo "$rules" | nft -f - || exit
echo "$before $(date +%s%N)"
`

func (p *partition) strike(ctx context.Context, node string, at time.Time) (Instant, error) {
	i, err := p.load(ctx, node, at, rules(p.cluster))
	if err != nil {
		return i, fmt.Errorf("cutting %s off: %w", node, err)
	}
	return i, p.silent(ctx, node)
}

// silent checks that a client that is outside of the cluster reaches the node no more.
func (p *partition) silent(ctx context.Context, node string) error {
	n, _ := p.env.Inventory.Node(node)
	for _, c := range p.env.Inventory.Group(inventory.Client) {
		if c.Cluster == p.cluster.Member {
			continue
		}
		out, err := p.env.Shell.Shell(ctx, c.Name, fmt.Sprintf("! ping -6 -q -c 1 -W 1 %s", kubectl.Quote(n.Address.String())), nil)
		if err != nil {
			return fmt.Errorf("cutting %s off: %s still reaches it: %w: %s", node, c.Name, err, out)
		}
		return nil
	}
	return nil
}

func (p *partition) relieve(ctx context.Context, node string, at time.Time) (Instant, error) {
	i, err := p.load(ctx, node, at, "delete table ip6 "+table+"\n")
	if err != nil {
		return i, fmt.Errorf("joining %s: %w", node, err)
	}
	return i, nil
}

func (p *partition) recovered(ctx context.Context, _ *inventory.Inventory, _ time.Time) error {
	for _, n := range p.nodes { // also where End failed
		if _, err := join(ctx, p.env, n.Name); err != nil {
			return err
		}
	}
	return nil
}

// rules is the table that cuts a node of the cluster off. Prerouting sees what comes in, for the node and for its pods;
// output sees what the node itself sends; what pods send outside meets prerouting on its way.
func rules(cluster *inventory.Inventory) string {
	const chain = "	chain %[1]s { type filter hook %[1]s priority raw; ip6 saddr != @inside drop; ip6 daddr != @inside drop; }\n"
	return fmt.Sprintf("table ip6 %s {\n	set inside { type ipv6_addr; flags interval; elements = { %s } }\n"+
		fmt.Sprintf(chain, "prerouting")+fmt.Sprintf(chain, "output")+"}\n", table, strings.Join(inside(cluster), ", "))
}

// load gives nft a file of commands at the instant at: all of it counts at once.
func (p *partition) load(ctx context.Context, node string, at time.Time, commands string) (Instant, error) {
	out, err := p.env.Shell.Shell(ctx, node, fmt.Sprintf("at=%d; %s", at.UnixNano(), cutScript), strings.NewReader(commands))
	if err != nil {
		return Instant{}, err
	}
	return parseInstant(out, node)
}

// join ends a partition on a node, if there is one.
func join(ctx context.Context, e Env, node string) (bool, error) {
	line := fmt.Sprintf("if nft list tables ip6 | grep -qw %[1]s; then nft delete table ip6 %[1]s && echo joined; fi", table)
	out, err := e.Shell.Shell(ctx, node, line, nil)
	if err != nil {
		return false, fmt.Errorf("joining %s: %w", node, err)
	}
	return len(out) > 0, nil
}
