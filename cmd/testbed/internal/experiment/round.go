// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/resolver"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/tree"
	"github.com/dnsingress/dnsingress/internal/results"
)

// round executes cells that differ in their resolver, its behaviour or the tree at the same time: each form of resolver on a
// client node of its own, where the names of all trees are resolved. So all of them meet one removal, and the five minutes
// that some resolvers keep what is gone are waited for once.
type round struct {
	*Runner
	trials []*trial
	lead   *trial // the first, by which is done what is done once
	nodes  []inventory.Node
}

// newRound makes the trials of cells that scenario.Rounds put together, numbered from index on; number is the round's.
func newRound(r *Runner, number, index int, cells []scenario.Cell) *round {
	out := &round{Runner: r}
	for i, n := range place(cells, r.Inventory.Group(inventory.Client)) {
		t := newTrial(r, index+i, cells[i])
		t.client, t.form, t.tree = n, formOf(cells[i]), tree.ByName(cells[i].Lookup.Tree)[0]
		t.delay = r.delay(number, t.tree)
		if !slices.ContainsFunc(out.nodes, func(known inventory.Node) bool { return known.Name == n.Name }) {
			out.nodes = append(out.nodes, n)
		}
		out.trials = append(out.trials, t)
	}
	out.lead = out.trials[0]
	out.lead.beside = out.trials[1:]
	return out
}

// delay is when within one TTL the load over a tree begins: what is left of an answer's TTL when the pod goes shall be anything
// from nothing to all of it. It is the same for all forms of resolvers in a round; the trees have a third of the TTL each (if
// they are three), and take turns from round to round, so that neither forms nor trees differ by it.
func (r *Runner) delay(number int, of tree.Tree) time.Duration {
	trees := r.plan().Trees
	turn := (slices.IndexFunc(trees, func(t tree.Tree) bool { return t.Name == of.Name }) + number) % len(trees)
	within := rand.New(rand.NewPCG(r.Scenario.Seed, uint64(number))).Float64()
	return time.Duration((float64(turn) + within) / float64(len(trees)) * float64(r.Scenario.DNS.TTL)).Round(time.Millisecond)
}

func formOf(c scenario.Cell) resolver.Form {
	return resolver.Form{Resolver: c.Lookup.Resolver, Behaviour: c.Lookup.Behaviour}
}

// place gives each form of resolver among the cells a client node, and so each cell.
func place(cells []scenario.Cell, clients []inventory.Node) []inventory.Node {
	on := map[resolver.Form]inventory.Node{}
	nodes := make([]inventory.Node, len(cells))
	for i, c := range cells {
		node, known := on[formOf(c)]
		if !known {
			node = clients[len(on)]
			on[formOf(c)] = node
		}
		nodes[i] = node
	}
	return nodes
}

// on lists the trials of a client node.
func (r *round) on(n inventory.Node) []*trial {
	return slices.DeleteFunc(slices.Clone(r.trials), func(t *trial) bool { return t.client.Name != n.Name })
}

// execute runs the round and writes the directories of its trials. As of a trial, an error is returned only when ctx ended or
// nothing could be written.
func (r *round) execute(ctx context.Context) ([]results.Verdict, error) {
	for _, t := range r.trials {
		if err := t.begin(); err != nil {
			return nil, err
		}
		defer t.events.Close()
	}
	err := r.measure(ctx)
	err = errors.Join(err, r.restore(context.WithoutCancel(ctx)))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	verdicts := make([]results.Verdict, len(r.trials))
	for i, t := range r.trials {
		verdict, broken := t.finish(err)
		if broken != nil {
			return nil, broken
		}
		verdicts[i] = verdict
	}
	return verdicts, nil
}

func (r *round) measure(ctx context.Context) error {
	r.lead.phase("resolvers")
	if err := r.start(ctx); err != nil {
		return err
	}
	r.lead.phase("lookups")
	from := time.Now().UnixNano()
	if err := r.lookups(ctx); err != nil {
		return err
	}
	if err := r.lead.look(ctx); err != nil {
		return err
	}
	r.lead.phase("load")
	if err := r.restart(ctx); err != nil {
		return err
	}
	if err := r.load(ctx); err != nil {
		return err
	}
	if err := r.lead.clocks(ctx, "after"); err != nil {
		return err
	}
	r.lead.phase("collect")
	r.share()
	if err := errors.Join(r.collect(ctx), r.queries(ctx, from, r.lead.out.WindowEndNs)); err != nil {
		return err
	}
	levels := []string{tree.Leaf}
	for _, s := range r.plan().Servers() {
		levels = append(levels, s.Level)
	}
	var errs []error
	for _, t := range r.trials {
		errs = append(errs, t.measureStaleness(levels))
	}
	return errors.Join(errs...)
}

// start gives each client node its resolver; one whose clients ask a leaf has none.
func (r *round) start(ctx context.Context) error {
	return each(ctx, r.nodes, func(ctx context.Context, n inventory.Node) error {
		form := r.on(n)[0].form
		files, err := form.Files(r.Repo, r.plan().Address(tree.Root))
		if err != nil {
			return err
		}
		if err := r.unpack(ctx, n.Name, files); err != nil {
			return err
		}
		line := fmt.Sprintf("systemctl stop %s 2>/dev/null; systemctl stop unbound", resolver.Unit)
		if len(files) > 0 {
			line += "; systemctl daemon-reload && systemctl start " + resolver.Unit
		}
		if _, err := r.Nodes.Shell(ctx, n.Name, line, nil); err != nil {
			return fmt.Errorf("starting %s on %s: %w", form, n.Name, err)
		}
		return nil
	})
}

// restart has every resolver begin the load with nothing cached.
func (r *round) restart(ctx context.Context) error {
	return each(ctx, r.nodes, func(ctx context.Context, n inventory.Node) error {
		form := r.on(n)[0].form
		if form.Resolver == resolver.None {
			return nil
		}
		if _, err := r.Nodes.Shell(ctx, n.Name, "systemctl restart "+resolver.Unit, nil); err != nil {
			return fmt.Errorf("starting %s on %s anew: %w", form, n.Name, err)
		}
		return nil
	})
}

// starting is the time that the generators of a round have to start, for each of them on top of lead.
const starting = 100 * time.Millisecond

// load starts all generators at one instant, breaks what the scenario says and reads counters, once for all trials.
func (r *round) load(ctx context.Context) error {
	s := r.Scenario
	start := time.Now().Add(lead + time.Duration(len(r.trials))*starting)
	open := start.Add(s.Load.Warmup)
	shut := open.Add(r.lead.cell.Trials.Window)
	for _, t := range r.trials {
		t.out.WindowStartNs, t.out.WindowEndNs = open.UnixNano(), shut.UnixNano()
		t.facts.window = window{open.UnixNano(), shut.UnixNano()}
		t.facts.clients = []string{t.client.Name}
	}
	r.lead.event(results.Event{UnixNs: start.UnixNano(), Kind: results.EventPhase, Name: "warm-up"})
	r.lead.event(results.Event{UnixNs: open.UnixNano(), Kind: results.EventPhase, Name: "window"})

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all group
	for _, t := range r.trials {
		all.do(func() error {
			err := t.generate(ctx, 0, t.client.Name, start, shut)
			if err != nil {
				cancel() // all meet the same fault or none does
			}
			return err
		})
	}
	all.do(func() error { return r.lead.count(ctx, open, shut) })
	if r.lead.fault != nil {
		all.do(func() error {
			r.lead.facts.fault = r.lead.breakIt(ctx, open)
			return nil
		})
		all.do(func() error {
			events, err := watchPool(ctx, r.Nodes, r.bench.Kubectl().Node, shut)
			if err != nil {
				r.Log.Debug("watching the pool", "error", err)
			}
			for _, e := range events {
				r.lead.event(e)
			}
			return nil
		})
	}
	return all.wait()
}

// share gives every trial what was found out for all: pods, clocks, the fault, and what was used on the nodes but for those of
// other trials' clients.
func (r *round) share() {
	of := &r.lead.facts
	others := func(t *trial) func(usage) bool {
		return func(u usage) bool {
			n, _ := r.Inventory.Node(u.node)
			return n.In(inventory.Client) && n.Name != t.client.Name
		}
	}
	used := r.lead.usage
	for _, t := range r.trials {
		t.pods, t.usage = r.lead.pods, slices.DeleteFunc(slices.Clone(used), others(t))
		t.fault, t.aimed, t.out.Fault = r.lead.fault, r.lead.aimed, r.lead.out.Fault
		f := &t.facts
		f.backends, f.leftovers, f.clocks, f.fault, f.missing = of.backends, of.leftovers, maps.Clone(of.clocks), of.fault, slices.Clone(of.missing)
	}
}

// collect fetches what the generators wrote, node by node so that none has more sessions than its SSH server takes.
func (r *round) collect(ctx context.Context) error {
	return each(ctx, r.nodes, func(ctx context.Context, n inventory.Node) error {
		var errs []error
		for _, t := range r.on(n) {
			errs = append(errs, t.collect(ctx))
		}
		return errors.Join(errs...)
	})
}

// restore undoes the fault; the trees stay for the next round.
func (r *round) restore(ctx context.Context) error {
	if r.lead.fault == nil {
		return nil
	}
	_, err := r.lead.fault.End(ctx, time.Now())
	r.lead.phase("recover")
	return errors.Join(err, r.lead.fault.Recover(ctx))
}

// resolverAddress is what the trial's clients ask: their node's resolver, or the first leaf.
func (t *trial) resolverAddress() string {
	if t.form.Resolver == resolver.None {
		return netip.AddrPortFrom(t.Inventory.Group(inventory.Worker)[0].Address, 53).String()
	}
	return "[::1]:53"
}
