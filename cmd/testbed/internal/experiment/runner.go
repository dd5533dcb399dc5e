// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/fault"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/journal"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/phase"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/resolver"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/system"
	"github.com/dnsingress/dnsingress/internal/results"
)

// Runner executes one scenario on one cluster.
type Runner struct {
	Scenario  *scenario.Scenario
	Text      []byte // the scenario file, verbatim
	Inventory *inventory.Inventory
	Nodes     Nodes
	Power     power.Controller // nil where the substrate has none
	Repo      string           // repository root, for deploy/
	Loadgen   string           // path of the load generator's program for the client nodes
	Results   string           // directory of all experiments' results
	Resume    *results.Run     // a run to go on with; nil begins a new one
	Journal   *journal.Journal // gets an entry while the run's things stand; nil: none
	// Annotate tells others of faults, see fault.Env; nil: nobody.
	Annotate func(ctx context.Context, kind string, t fault.Target, began fault.Instant) (ended func(ctx context.Context, i fault.Instant) error, err error)
	// Begun is called with the run directory as soon as it is there.
	Begun func(dir string) error
	Out   io.Writer
	Log   *slog.Logger

	run    *results.Run
	bench  *system.Bench
	before map[string][]string // what stood on each node before the first trial
}

// Phases returns the run as a list of phases.
func (r *Runner) Phases() []phase.Phase {
	r.bench = &system.Bench{Repo: r.Repo, Inventory: r.Inventory, Shell: r.Nodes}
	if r.Scenario.DNS.Given() {
		return []phase.Phase{&checkPhase{r}, &preparePhase{Runner: r}, &treePhase{r}, &linksPhase{r}, &describePhase{r}, &roundsPhase{Runner: r}}
	}
	return []phase.Phase{
		&checkPhase{r},
		&preparePhase{Runner: r},
		&linksPhase{r},
		&describePhase{r},
		&trialsPhase{runner: r},
	}
}

// Cells returns the trials to be executed, in order: all of the scenario's, less those of which
// a resumed run has a valid one.
func (r *Runner) Cells() ([]scenario.Cell, error) {
	order := r.Scenario.Order()
	if r.Resume == nil {
		return order, nil
	}
	trials, err := r.Resume.Trials()
	if err != nil {
		return nil, err
	}
	return r.remaining(order, trials), nil
}

// remaining drops from order one cell for each valid trial.
func (r *Runner) remaining(order []scenario.Cell, trials []results.TrialDir) []scenario.Cell {
	done := map[string]int{}
	for _, t := range trials {
		if t.Verdict.Valid {
			done[r.cellKey(t.Trial.Factors)]++
		}
	}
	return slices.DeleteFunc(slices.Clone(order), func(c scenario.Cell) bool {
		key := r.cellKey(r.factors(c))
		done[key]--
		return done[key] >= 0
	})
}

// cellKey is the same for repetitions of a cell.
func (r *Runner) cellKey(levels map[string]string) string {
	key := []string{levels[factorSystem], levels[factorFault], levels[factorResolver], levels[factorBehaviour], levels[factorTree]}
	for _, f := range r.Scenario.Given() {
		key = append(key, levels[f.String()])
	}
	return strings.Join(key, " ")
}

// Factors of every trial, and those of scenarios with resolvers.
const (
	factorSystem = "system"
	factorFault  = "fault"

	factorResolver  = "resolver"
	factorBehaviour = "behaviour"
	factorTree      = "tree"
)

func (r *Runner) factors(c scenario.Cell) map[string]string {
	levels := map[string]string{factorSystem: c.System, factorFault: c.Condition()}
	maps.Copy(levels, r.single())
	for _, f := range r.Scenario.Given() {
		levels[f.String()] = cmp.Or(c.Levels[f], none)
	}
	if r.Scenario.DNS.Given() {
		levels[factorResolver], levels[factorBehaviour], levels[factorTree] = c.Lookup.Resolver, c.Lookup.Behaviour, c.Lookup.Tree
	}
	return levels
}

// none is the level of a factor that means nothing to a cell.
const none = "none"

// single are the factors that every scenario has a level of, where it gives no more.
func (r *Runner) single() map[string]string {
	levels := map[string]string{}
	if r.Scenario.Load.Connection != "" {
		levels[scenario.Connection.String()] = r.Scenario.Load.Connection
	}
	if r.Scenario.Load.Rate > 0 {
		levels[scenario.Rate.String()] = number(r.Scenario.Load.Rate)
	}
	return levels
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// newRun makes the run directory and its manifest.
func (r *Runner) newRun(ctx context.Context, hosts []results.Host, versions map[string]string) error {
	s := r.Scenario
	now := time.Now().UTC()
	settings, err := r.settings(ctx)
	if err != nil {
		return err
	}
	m := results.Manifest{
		Experiment: s.Name, RunID: now.Format("20060102T150405Z"), Question: s.Question, Hypothesis: s.Hypothesis,
		Substrate: r.Inventory.Substrate, Started: now, Seed: s.Seed,
		Factors: map[string][]string{factorSystem: s.Systems, factorFault: s.Conditions()},
		Source:  Source(ctx, r.Repo), Versions: versions, Settings: settings, Differences: map[string]string{}, Hosts: hosts,
	}
	for f, level := range r.single() {
		m.Factors[f] = []string{level}
	}
	for _, f := range s.Given() {
		m.Factors[f.String()] = r.levelsOf(f)
	}
	if d := s.DNS; d.Given() {
		m.Factors[factorResolver], m.Factors[factorBehaviour], m.Factors[factorTree] = d.Resolvers, d.Behaviours, d.Trees
		for _, c := range s.Order() {
			form := resolver.Form{Resolver: c.Lookup.Resolver, Behaviour: c.Lookup.Behaviour}
			if text := form.Difference(); text != "" {
				m.Differences[form.String()] = text
			}
		}
	}
	for _, name := range s.Systems {
		if sys, ok := system.ByName(name); ok && sys.Difference != "" {
			m.Differences[name] = sys.Difference
		}
	}
	if r.Inventory.Substrate == "twin" {
		m.Differences["all"] = "virtual nodes that share one kernel and its CPUs: CPU time, error windows and ratios are measured, absolute throughput is not"
	}
	r.run, err = results.CreateRun(r.Results, m, r.Text)
	return err
}

// levelsOf lists the levels that cells have of a factor: those that the scenario gives, and none where there are cells that have none.
func (r *Runner) levelsOf(f scenario.Factor) []string {
	levels := r.Scenario.LevelsOf(f)
	if slices.ContainsFunc(r.Scenario.Order(), func(c scenario.Cell) bool { return c.Levels[f] == "" }) && !slices.Contains(levels, none) {
		levels = append(levels, none)
	}
	return levels
}

// settings names what decides figures and is no factor.
func (r *Runner) settings(ctx context.Context) (map[string]string, error) {
	s := r.Scenario
	out, err := r.bench.Kubectl().Run(ctx, "get", "service", "backend", "-n", "bench", "-o", "json")
	if err != nil {
		return nil, fmt.Errorf("asking for the backend's annotations: %w", err)
	}
	var service struct {
		Metadata struct{ Annotations map[string]string }
	}
	if err := json.Unmarshal(out, &service); err != nil {
		return nil, fmt.Errorf("parsing the backend's annotations: %w", err)
	}
	settings := map[string]string{
		"kubernetes.heartbeat":   r.Inventory.Kubernetes.Heartbeat,
		"backend.replicas":       strconv.Itoa(s.Backend.Replicas),
		"backend.response_bytes": strconv.FormatInt(s.Backend.ResponseBytes, 10),
		"backend.service_time":   s.Backend.ServiceTime.String(),
		"load.users_per_client":  strconv.Itoa(s.Load.Users),
		"load.timeout":           s.Load.Timeout.String(),
		"load.workload":          s.Load.Workload,
		"load.warmup":            s.Load.Warmup.String(),
		"load.warmup_most":       s.Load.WarmupMost.String(),
		"links":                  cmp.Or(s.Links, "as they are"),
		"form":                   cmp.Or(s.Form, none),
		"load.retries":           "none",
		"proxies.replicas":       fmt.Sprintf("one on each of %d workers", len(r.Inventory.Group(inventory.Worker))),
	}
	for _, c := range s.Order() {
		if sys, ok := system.ByName(c.System); ok {
			setup := s.Setup(c)
			for key, value := range r.bench.Settings(sys, setup) {
				settings[sys.Form(setup)+"."+key] = value
			}
		}
	}
	if s.Load.Workload == scenario.WorkloadDNS {
		settings["load.names"], settings["load.update_every"] = strconv.Itoa(s.Load.Names), s.Load.UpdateEvery.String()
	}
	if d := s.DNS; d.Given() {
		settings["dns.ttl"], settings["dns.delegation_ttl"] = d.TTL.String(), d.DelegationTTL.String()
	}
	for key, value := range service.Metadata.Annotations {
		if key != "kubectl.kubernetes.io/last-applied-configuration" {
			settings["backend.annotation."+key] = value
		}
	}
	return settings, nil
}

func (r *Runner) faultEnv() fault.Env {
	return fault.Env{
		Inventory: r.Inventory, Shell: r.Nodes, Power: r.Power,
		Backend: system.BackendSelector, Healthy: r.backendHealthy,
		Journal: r.Journal, Annotate: r.Annotate,
		Warn: func(err error) { r.Log.Warn("annotating a fault", "error", err) },
	}
}

// backendHealthy waits until all of the backend's pods are ready.
func (r *Runner) backendHealthy(ctx context.Context) error {
	return r.bench.AwaitBackend(ctx, 2*time.Minute)
}

// each runs fn for the nodes at once and joins their errors.
func each(ctx context.Context, nodes []inventory.Node, fn func(ctx context.Context, n inventory.Node) error) error {
	var all group
	for _, n := range nodes {
		all.do(func() error { return fn(ctx, n) })
	}
	return all.wait()
}
