// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/system"
)

// standingScript lists, a line each, what on a node shapes or cuts its traffic, holds something broken, or takes its CPUs: queueing
// disciplines and tables of nftables, processes that are stopped, pods that are kept from restarting, load generators.
const standingScript = `
export LC_ALL=C
tc qdisc show 2>/dev/null | sed -nE 's/^qdisc (netem|tbf|htb|ingress|clsact|prio) [^ ]+ dev ([^ ]+).*/queueing discipline \1 on \2/p'
nft list tables 2>/dev/null
sed -nE 's/^([0-9]+) (\(.*\)) [Tt] .*/stopped process \2/p' /proc/[0-9]*/stat 2>/dev/null
ls /run/testbed/held 2>/dev/null | sed 's/^/kept from restarting: /'
pgrep -x loadgen >/dev/null && echo a load generator
:
`

// lookAround lists by node what stands there. A node that cannot be asked is an error.
func (r *Runner) lookAround(ctx context.Context) (map[string][]string, error) {
	found := map[string][]string{}
	var mu sync.Mutex
	err := each(ctx, r.Inventory.Nodes, func(ctx context.Context, n inventory.Node) error {
		out, err := r.Nodes.Shell(ctx, n.Name, standingScript, nil)
		if err != nil {
			return fmt.Errorf("looking for what stands on %s: %w", n.Name, err)
		}
		mu.Lock()
		defer mu.Unlock()
		found[n.Name] = parseStanding(string(out))
		return nil
	})
	return found, err
}

func parseStanding(out string) []string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(lines)
	return slices.DeleteFunc(slices.Compact(lines), func(l string) bool { return l == "" })
}

// standing lists what stands on nodes before the load and did not when the run began.
func (t *trial) standing(ctx context.Context) ([]string, error) {
	now, err := t.lookAround(ctx)
	if err != nil {
		return nil, err
	}
	return unwanted(newOn(t.before, now), t.setup), nil
}

// unwanted leaves out what the setup itself has stand.
func unwanted(found []string, u scenario.Setup) []string {
	if !u.ClusterDNS {
		return found
	}
	return slices.DeleteFunc(found, func(l string) bool { return strings.HasSuffix(l, " "+system.RoutingTable) })
}

// newOn lists what is in now and was not in before, as "node: what".
func newOn(before, now map[string][]string) []string {
	var left []string
	for node, lines := range now {
		for _, l := range lines {
			if !slices.Contains(before[node], l) {
				left = append(left, node+": "+l)
			}
		}
	}
	slices.Sort(left)
	return left
}
