// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
)

// mend ends and undoes the faults of a node whose names match a pattern, and forgets them. It returns those that stood, and
// those that had ended and were not forgotten.
func mend(ctx context.Context, e *Env, node, pattern string) (stood, over []string, err error) {
	// What a unit that has ended left armed, systemd could not undo: it is tried once more.
	line := fmt.Sprintf(`status=0; for d in %s/%s/; do
[ -e "$d/about" ] || continue
was=over; [ ! -e "$d/armed" ] || was=stood
systemctl stop "testbed-fault-$(basename "$d")" 2>/dev/null
[ ! -e "$d/armed" ] || bash "$d/fault.sh" mend
if [ -e "$d/armed" ]; then cat "$d/about" "$d/error" >&2; status=1; continue; fi
echo "$was $(cat "$d/about")"
rm -rf "$d"
done; exit $status`, e.dir(), pattern)
	out, err := e.Shell.Shell(ctx, node, line, nil)
	for text := range strings.Lines(string(out)) {
		text = strings.TrimSpace(text)
		if what, ok := strings.CutPrefix(text, "stood "); ok {
			stood = append(stood, what)
		} else if what, ok := strings.CutPrefix(text, "over "); ok {
			over = append(over, what)
		}
	}
	if err != nil {
		err = fmt.Errorf("undoing the faults of %s: %w (hint: testbed power cycle %[1]s forgets them)", node, err)
	}
	return stood, over, err
}

// Heal undoes what a run that was killed left broken: nodes without power, and whatever nodes hold broken themselves. The
// journal's faults are struck out then. It returns what it undid.
func Heal(ctx context.Context, e Env) ([]string, error) {
	healed, err := onAll(ctx, &e, func(n inventory.Node) ([]string, error) {
		var healed []string
		if e.Power != nil {
			state, err := e.Power.State(ctx, n.Name)
			if err != nil {
				return nil, fmt.Errorf("asking for the power of %s: %w", n.Name, err)
			}
			if state == power.Off {
				if err := e.Power.On(ctx, n.Name); err != nil {
					return nil, fmt.Errorf("giving power to %s: %w", n.Name, err)
				}
				healed = append(healed, n.Name+": power was off")
			}
		}
		stood, _, err := mend(ctx, &e, n.Name, "*")
		for _, what := range stood {
			healed = append(healed, n.Name+": "+what)
		}
		return healed, err
	})
	if err != nil {
		return healed, err
	}
	return healed, forget(e.Journal)
}

// leftovers prints what faults may have left on a node: also what no fault of this testbed accounts for.
const leftovers = `for d in %s/*/; do [ ! -e "$d/armed" ] || cat "$d/about"; done
tc qdisc show 2>/dev/null | sed -n 's/^qdisc netem .* dev \([^ ]*\) .*/packets are delayed on \1/p'
nft list tables 2>/dev/null | sed -n 's/^table \(.*testbed-.*\)/nftables has table \1/p'
for root in /sys/fs/cgroup/freezer /sys/fs/cgroup; do [ -d $root ] && break; done
find $root -maxdepth 9 -name freezer.state -path '*pod*' -exec grep -lxE 'FROZEN|FREEZING' {} + 2>/dev/null | sed 's,.*/\([^/]*pod[^/]*\)/.*,\1 is frozen,'
find $root -maxdepth 9 -name cgroup.freeze -path '*pod*' -exec grep -lx 1 {} + 2>/dev/null | sed 's,.*/\([^/]*pod[^/]*\)/.*,\1 is frozen,'
for root in /sys/fs/cgroup/pids /sys/fs/cgroup; do [ -d $root ] && break; done
find $root -maxdepth 9 -name pids.max -path '*pod*' -exec grep -lx 0 {} + 2>/dev/null | sed 's,.*/\([^/]*pod[^/]*\)/.*,\1 is kept from restarting,'
ls -d /run/systemd/system/*.d/testbed-fault.conf 2>/dev/null | sed 's,.*/\([^/]*\)\.d/.*,\1 is kept from starting,'
ps -eo state=,pid=,comm= | sed -n 's/^T *\([0-9]*\) \(.*\)/process \1 (\2) is stopped/p'
:`

// Leftovers lists what faults left on the nodes. It changes nothing. Of a node that does not answer that is the error.
func Leftovers(ctx context.Context, e Env) ([]string, error) {
	return onAll(ctx, &e, func(n inventory.Node) ([]string, error) {
		if e.Power != nil {
			if state, err := e.Power.State(ctx, n.Name); err != nil {
				return nil, fmt.Errorf("asking for the power of %s: %w", n.Name, err)
			} else if state == power.Off {
				return []string{n.Name + ": power is off"}, nil
			}
		}
		out, err := e.Shell.Shell(ctx, n.Name, fmt.Sprintf(leftovers, e.dir()), nil)
		if err != nil {
			return nil, fmt.Errorf("looking for what faults left on %s: %w", n.Name, err)
		}
		var found []string
		for what := range strings.Lines(string(out)) {
			found = append(found, n.Name+": "+strings.TrimSpace(what))
		}
		return slices.Compact(found), nil
	})
}

// onAll asks about all nodes at once, and lists what is found in the inventory's order.
func onAll(_ context.Context, e *Env, do func(n inventory.Node) ([]string, error)) ([]string, error) {
	nodes := e.Inventory.Nodes
	found, errs := make([][]string, len(nodes)), make([]error, len(nodes))
	var running sync.WaitGroup
	for i, n := range nodes {
		running.Go(func() { found[i], errs[i] = do(n) })
	}
	running.Wait()
	return slices.Concat(found...), errors.Join(errs...)
}
