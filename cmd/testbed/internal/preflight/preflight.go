// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
)

// Finding is what one check found on one node.
type Finding struct {
	Node  string `json:"node"`
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Value string `json:"value"`
	Bound string `json:"bound"`
	Cure  string `json:"cure,omitempty"` // where it is not OK
	Stops bool   `json:"stops,omitempty"`
}

// String says what is wrong, and the cure.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s, must be %s (hint: %s)", f.Check, cmp.Or(f.Value, "unknown"), f.Bound, f.Cure)
}

// asking bounds what a node may take to answer all checks.
const asking = 45 * time.Second

// Run makes the checks on nodes, all at once, and returns what each found in the order of nodes and checks; a check that says
// nothing of a node is left out. Nodes that are not provisioned are not asked what only provisioned ones can tell. The error
// is of ctx alone: a node that does not answer is a finding.
func Run(ctx context.Context, fleet *remote.Fleet, inv *inventory.Inventory, nodes []inventory.Node, b Bounds, provisioned bool) ([]Finding, error) {
	checks := Checks(inv, b)
	found := make([][]Finding, len(nodes))
	speaks := speaker(nodes)
	var asked sync.WaitGroup
	for i, n := range nodes {
		asked.Go(func() {
			mine := of(checks, inv, n, speaks, provisioned)
			found[i] = ask(ctx, fleet, n, mine, b)
		})
	}
	asked.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

// speaker returns the node that is asked what virtual nodes on one machine share: the first that has all that any has.
func speaker(nodes []inventory.Node) inventory.Node {
	for _, n := range nodes {
		if n.In(inventory.Worker) {
			return n
		}
	}
	if len(nodes) == 0 {
		return inventory.Node{}
	}
	return nodes[0]
}

// ask makes the checks on one node.
func ask(ctx context.Context, fleet *remote.Fleet, n inventory.Node, checks []Check, b Bounds) []Finding {
	ctx, cancel := context.WithTimeoutCause(ctx, asking, fmt.Errorf("no answer within %s", asking))
	defer cancel()
	r, err := fleet.Run(ctx, n.Name, remote.Command{Line: script(checks, n)})
	if err != nil {
		return []Finding{unreached(n, err)}
	}
	values, whole := parse(string(r.Stdout))
	if !whole {
		return []Finding{unreached(n, errors.New("its shell ended before all was asked"))}
	}
	findings := []Finding{{Node: n.Name, Check: Reachable, OK: true, Value: "ok", Bound: "answers"}}
	offset, rtt, err := fleet.ClockOffset(ctx, n.Name)
	if err != nil {
		return []Finding{unreached(n, err)}
	}
	findings = append(findings, clockFinding(n, offset, rtt, b))
	for _, c := range checks {
		shown, ok := c.Judge(values[c.Name])
		if ok && shown == "" {
			continue
		}
		f := Finding{Node: n.Name, Check: c.Name, OK: ok, Value: shown, Bound: c.Bound}
		if !ok {
			f.Cure, f.Stops = strings.ReplaceAll(c.Cure, "NODE", n.Name), c.Stops
		}
		findings = append(findings, f)
	}
	return findings
}

// clockFinding judges a node's clock: the true offset is within half the round trip of the measured one.
func clockFinding(n inventory.Node, offset, rtt time.Duration, b Bounds) Finding {
	f := Finding{
		Node: n.Name, Check: Clock, OK: offset.Abs() <= b.Clock+rtt/2,
		Value: fmt.Sprintf("%s (±%s)", offset.Round(time.Microsecond), (rtt / 2).Round(time.Microsecond)),
		Bound: fmt.Sprintf("within %s of this machine's", b.Clock),
	}
	if !f.OK {
		f.Cure = "chrony on the node and on this machine: chronyc tracking; testbed up sets it up"
	}
	return f
}

// unreached is the finding of a node that could not be asked.
func unreached(n inventory.Node, err error) Finding {
	f := Finding{Node: n.Name, Check: Reachable, Stops: true, Bound: "answers", Cure: "testbed power cycle " + n.Name}
	if refused := (*remote.HostKeyError)(nil); errors.As(err, &refused) {
		f.Check, f.Bound = HostKey, "the pinned one"
		f.Value, f.Cure = refused.What(), refused.Hint()
		return f
	}
	f.Value, _, _ = strings.Cut(err.Error(), "\n")
	return f
}

// Bad returns the findings that are not OK.
func Bad(findings []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f Finding) bool { return f.OK })
}
