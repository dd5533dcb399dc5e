// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/experiment"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/fault"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/grafana"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/journal"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/system"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func faultCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "Break something on the cluster and mend it again",
	}
	cmd.AddCommand(faultListCommand(s), faultInjectCommand(s), faultClearCommand(s))
	return cmd
}

// faultEnv is what faults work with on an open cluster.
func faultEnv(c *cluster.Cluster, warn io.Writer) (fault.Env, error) {
	annotate, err := annotator(c.Inventory)
	return fault.Env{
		Inventory: c.Inventory, Shell: experiment.OverSSH(c.Fleet), Power: c.Power, Journal: c.Journal,
		Backend: system.BackendSelector, Annotate: annotate,
		Warn: func(err error) { fmt.Fprintln(warn, "testbed: warning:", err) },
	}, err
}

// annotator marks faults on the dashboards of the inventory's Grafana; nil where it names none.
func annotator(inv *inventory.Inventory) (func(context.Context, string, fault.Target, fault.Instant) (func(context.Context, fault.Instant) error, error), error) {
	if !inv.Grafana.Given() {
		return nil, nil
	}
	token, err := inv.Secret(inv.Grafana.Credentials)
	if err != nil {
		return nil, fmt.Errorf("readying Grafana: %w", err)
	}
	g := &grafana.Client{URL: inv.Grafana.URL, Token: token, Dashboards: inv.Grafana.Dashboards}
	return func(ctx context.Context, kind string, t fault.Target, began fault.Instant) (func(context.Context, fault.Instant) error, error) {
		marks, err := g.Annotate(ctx, grafana.Note{
			At: began.Before, Text: kind + " of " + t.Name, Tags: []string{"testbed", "fault", kind, "cluster:" + inv.Cluster},
		})
		return func(ctx context.Context, ended fault.Instant) error { return marks.End(ctx, ended.Before) }, err
	}, nil
}

// faultList is the JSON of `fault list`.
type faultList struct {
	// Standing is what is broken now: what the cluster's journal and its nodes tell. Null where no cluster stands.
	Standing []string    `json:"standing"`
	Kinds    []faultHere `json:"kinds"`
}

type faultHere struct {
	fault.Kind
	// Not says why it cannot be on this inventory; empty when it can.
	Not string `json:"not,omitempty"`
}

func faultListCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what is broken now, and the kinds of fault that the inventory can have",
		Args:  cobra.NoArgs,
	}
	path, output := inventoryFlag(cmd), outputFlag(cmd)
	offline := cmd.Flags().Bool("offline", false, "ask no node")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		c, _, err := s.known(cmd, *path)
		if err != nil {
			return err
		}
		defer c.Close()
		stands, err := c.Standing()
		if err != nil {
			return err
		}
		var l faultList
		if stands {
			if !*offline {
				if err := c.Connect(); err != nil {
					return err
				}
			}
			if l.Standing, err = broken(cmd.Context(), c, *offline); err != nil {
				return err
			}
		}
		l.Kinds = kindsHere(cmd.Context(), c, stands && !*offline)
		if *output == "json" {
			return s.json(l)
		}
		return l.table(s.Out, c.Inventory.Cluster)
	}
	return cmd
}

// broken lists what stands: by the journal, and unless offline by the nodes.
func broken(ctx context.Context, c *cluster.Cluster, offline bool) ([]string, error) {
	standing := []string{}
	entries, err := c.Journal.Standing()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		standing = append(standing, e.String())
	}
	if offline {
		return standing, nil
	}
	found, err := fault.Leftovers(ctx, fault.Env{Inventory: c.Inventory, Shell: experiment.OverSSH(c.Fleet), Power: c.Power})
	return append(standing, found...), err
}

// kindsHere says of each kind whether it can be here, as far as can be told.
func kindsHere(ctx context.Context, c *cluster.Cluster, ask bool) []faultHere {
	var kinds []faultHere
	for _, k := range fault.All() {
		here := faultHere{Kind: k}
		err := fault.Check(k.Name, nil, c.Inventory)
		if err == nil && ask {
			err = fault.Ready(ctx, fault.Env{Inventory: c.Inventory, Shell: experiment.OverSSH(c.Fleet)}, k.Name)
		}
		if err != nil {
			here.Not = err.Error()
		}
		kinds = append(kinds, here)
	}
	return kinds
}

func (l faultList) table(out io.Writer, name string) error {
	switch {
	case l.Standing == nil:
		fmt.Fprintf(out, "no cluster %q stands\n\n", name)
	case len(l.Standing) == 0:
		fmt.Fprint(out, "nothing is broken\n\n")
	default:
		fmt.Fprintf(out, "standing (hint: testbed fault clear):\n  %s\n\n", strings.Join(l.Standing, "\n  "))
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tHERE\tWITH\tWHAT")
	for _, k := range l.Kinds {
		here := "yes"
		if k.Not != "" {
			here = "no"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.Name, here, strings.Join(k.With, ","), k.What)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, k := range l.Kinds {
		if k.Not != "" {
			fmt.Fprintf(out, "\nno %s: %s\n", k.Name, strings.ReplaceAll(k.Not, "\n", "; "))
		}
	}
	return nil
}

// faultRecord is the JSON of `fault inject`.
type faultRecord struct {
	Kind    string         `json:"kind"`
	Target  string         `json:"target"`
	Node    string         `json:"node"`
	Nodes   []string       `json:"nodes,omitempty"`
	Members []netip.Prefix `json:"members,omitempty"`
	Begin   faultInstant   `json:"begin"`
	End     faultInstant   `json:"end"`
	// Recovered is how long after its end all was as before.
	Recovered time.Duration `json:"recovered_ns"`
}

// faultInstant is when it happened: after unix_ns, within within_ns, by the clock of a node or the orchestrator's.
type faultInstant struct {
	UnixNs int64         `json:"unix_ns"`
	Within time.Duration `json:"within_ns"`
	Clock  string        `json:"clock"`
}

func instantOf(i fault.Instant) faultInstant {
	clock := i.Clock
	if clock == "" {
		clock = "orchestrator"
	}
	return faultInstant{i.Before.UnixNano(), i.After.Sub(i.Before), clock}
}

func (i faultInstant) String() string {
	return fmt.Sprintf("%s within %s (clock of %s)", time.Unix(0, i.UnixNs).UTC().Format("15:04:05.000000"), i.Within.Round(time.Microsecond), i.Clock)
}

// injection is one `fault inject`.
type injection struct {
	kind     string
	env      fault.Env
	seed     uint64
	out      io.Writer // progress
	lead     time.Duration
	recorded faultRecord
}

func faultInjectCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inject KIND [KEY=VALUE...]",
		Short: "Break something, see it broken, hold it for a while, and mend it",
		Long: `Break something at a known instant, see that it is broken, hold it for a while, and mend it. An interrupt mends
at once. What nodes can do themselves they also undo themselves when the time is over, whatever became of this
command; the rest is in the cluster's journal until it is undone ('testbed fault list', 'testbed fault clear').`,
		Example: `  testbed fault inject link-down node=worker-2 --hold 20s
  testbed fault inject partition 'sides=worker-1,worker-2|rest'
  testbed fault inject dns-kill --system app.kubernetes.io/name=dnsingress`,
		Args: cobra.MinimumNArgs(1),
	}
	path, output := inventoryFlag(cmd), outputFlag(cmd)
	hold := cmd.Flags().Duration("hold", 30*time.Second, "how long it lasts")
	seed := cmd.Flags().Uint64("seed", 0, "picks the target (default: anyone)")
	pods := cmd.Flags().String("pods", system.BackendSelector, "label selector of the pods that faults of pods strike")
	servers := cmd.Flags().String("system", "", "label selector of the system's pods, for faults of name servers")
	dry := cmd.Flags().Bool("dry-run", false, "print what would be struck")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		inv, log, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		with, err := pairs(args[1:])
		if err != nil {
			return err
		}
		if *hold < time.Second || *hold > time.Hour {
			return cli.Misuse("a fault cannot be held for %s (hint: 1s to 1h)", *hold)
		}
		if err := fault.Check(args[0], with, inv); err != nil {
			return &cli.MisuseError{Err: err}
		}
		if fault.NeedsSystem(args[0]) && *servers == "" {
			return cli.Misuse("fault %s strikes pods of a system (hint: --system SELECTOR)", args[0])
		}
		c, err := s.open(cmd.Context(), inv, log)
		if err != nil {
			return err
		}
		defer c.Close()
		run := injection{kind: args[0], seed: *seed, out: s.Out, lead: 3 * time.Second}
		if run.env, err = faultEnv(c, s.Err); err != nil {
			return err
		}
		run.env.With, run.env.Hold, run.env.Backend, run.env.System = with, *hold, *pods, *servers
		if *seed == 0 {
			run.seed = rand.Uint64()
		}
		if *output == "json" {
			run.out = io.Discard
		}
		if *dry {
			return run.plan(cmd.Context())
		}
		release, err := c.Hold("fault inject " + args[0])
		if err != nil {
			return err
		}
		defer release()
		err = run.do(cmd.Context())
		if *output == "json" && err == nil {
			return s.json(run.recorded)
		}
		return err
	}
	return cmd
}

// pairs reads KEY=VALUE arguments.
func pairs(args []string) (map[string]string, error) {
	with := map[string]string{}
	for _, a := range args {
		key, value, ok := strings.Cut(a, "=")
		if _, twice := with[key]; !ok || key == "" || twice {
			return nil, cli.Misuse("%q is no further KEY=VALUE (hint: node=worker-2)", a)
		}
		with[key] = value
	}
	return with, nil
}

func (r *injection) random() *rand.Rand { return rand.New(rand.NewPCG(r.seed, 0)) }

// plan prints what would be struck.
func (r *injection) plan(ctx context.Context) error {
	if err := fault.Ready(ctx, r.env, r.kind); err != nil {
		return err
	}
	f, err := fault.New(r.kind, r.env)
	if err != nil {
		return err
	}
	t, err := f.Aim(ctx, r.random())
	if err != nil {
		return err
	}
	nodes := t.Nodes
	if len(nodes) == 0 {
		nodes = []string{t.Node}
	}
	for _, n := range nodes {
		fmt.Fprintf(r.out, "%s: %s of %s for %s\n", n, r.kind, t.Name, r.env.Hold)
	}
	return nil
}

// do breaks, holds and mends.
func (r *injection) do(ctx context.Context) error {
	if err := fault.Ready(ctx, r.env, r.kind); err != nil {
		return err
	}
	var err error
	if r.env.Healthy, err = fault.AsNow(ctx, r.env); err != nil {
		return err
	}
	f, err := fault.New(r.kind, r.env)
	if err != nil {
		return err
	}
	t, err := f.Aim(ctx, r.random())
	if err != nil {
		return err
	}
	r.recorded = faultRecord{Kind: r.kind, Target: t.Name, Node: t.Node, Nodes: t.Nodes, Members: t.Members}
	fmt.Fprintf(r.out, "%s of %s …\n", r.kind, t.Name)
	at := time.Now().Add(r.lead)
	began, err := f.Begin(ctx, at)
	if err == nil {
		r.recorded.Begin = instantOf(began)
		fmt.Fprintf(r.out, "broken at %s, for %s …\n", r.recorded.Begin, r.env.Hold)
	}
	var ended fault.Instant
	if err == nil {
		ended, err = f.End(ctx, at.Add(r.env.Hold))
	}
	// From here on it is mended, also after an interrupt.
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		var late error
		ended, late = f.End(ctx, time.Now())
		err = errors.Join(err, late)
	}
	if !ended.Before.IsZero() {
		r.recorded.End = instantOf(ended)
		fmt.Fprintf(r.out, "mended at %s …\n", r.recorded.End)
	}
	begin := time.Now()
	if recovered := f.Recover(ctx); recovered != nil {
		return errors.Join(err, fmt.Errorf("%w (hint: testbed fault clear)", recovered))
	}
	r.recorded.Recovered = time.Since(begin)
	fmt.Fprintf(r.out, "as before … %.1fs\n", r.recorded.Recovered.Seconds())
	return err
}

func faultClearCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clear",
		Short: "Mend whatever faults left broken",
		Long: `Mend whatever faults left broken: nodes get their power back and undo what they hold broken, and the cluster's
journal forgets the faults that it names. A fault that somebody is doing right now is not touched: the cluster is in use then.`,
		Args: cobra.NoArgs,
	}
	path := inventoryFlag(cmd)
	dry := cmd.Flags().Bool("dry-run", false, "print what stands, mend nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		inv, log, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		c, err := cluster.Open(cmd.Context(), inv, log)
		if err != nil {
			return err
		}
		defer c.Close()
		standing, err := broken(cmd.Context(), c, false)
		if *dry {
			for _, what := range standing {
				fmt.Fprintln(s.Out, what)
			}
			return err
		}
		release, err := c.Hold("fault clear")
		if err != nil {
			return err
		}
		defer release()
		env, err := faultEnv(c, s.Err)
		if err != nil {
			return err
		}
		entries, err := c.Journal.Standing()
		if err != nil {
			return err
		}
		// An interrupt would leave half of it.
		healed, err := fault.Heal(context.WithoutCancel(cmd.Context()), env)
		for _, h := range healed {
			fmt.Fprintln(s.Out, "mended", h)
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Kind == journal.Fault {
				fmt.Fprintln(s.Out, "forgot", e)
			}
		}
		if len(healed) == 0 {
			fmt.Fprintln(s.Out, "nothing was broken")
		}
		return nil
	}
	return cmd
}
