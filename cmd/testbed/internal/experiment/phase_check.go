// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/fault"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/journal"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/internal/results"
)

// checkPhase finds out whether the cluster can run the scenario, before anything is changed; what a
// killed run left broken is mended.
type checkPhase struct{ *Runner }

func (p *checkPhase) Title() string { return "Check the cluster" }

func (p *checkPhase) Run(ctx context.Context) error {
	for i := range p.Scenario.Trials {
		for _, f := range p.Scenario.Trials[i].Faults() {
			env := p.faultEnv()
			env.With = f.With
			if _, err := fault.New(f.Kind, env); err != nil {
				return err
			}
		}
	}
	healed, err := fault.Heal(ctx, p.faultEnv())
	for _, h := range healed {
		fmt.Fprintln(p.Out, "      mended", h)
	}
	if err != nil {
		return fmt.Errorf("%w (hint: testbed status)", err)
	}
	if err := each(ctx, p.Inventory.Nodes, func(ctx context.Context, n inventory.Node) error {
		line := ":"
		if slices.Contains(n.Groups, inventory.Client) {
			line = "pkill -KILL -x loadgen; :" // of a run that was killed
		}
		if _, err := p.Nodes.Shell(ctx, n.Name, line, nil); err != nil {
			return fmt.Errorf("%w (hint: testbed status)", err)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := p.dismantle(ctx); err != nil {
		return err
	}
	if err := p.workersReady(ctx, time.Now().Add(time.Minute)); err != nil {
		return err
	}
	return p.faultsReady(ctx)
}

// faultsReady says which faults the mended cluster cannot have, each once.
func (p *checkPhase) faultsReady(ctx context.Context) error {
	var errs []error
	told := map[string]bool{}
	for i := range p.Scenario.Trials {
		for _, f := range p.Scenario.Trials[i].Faults() {
			env := p.faultEnv()
			env.With = f.With
			if err := fault.Ready(ctx, env, f.Kind); err != nil && !told[err.Error()] {
				told[err.Error()] = true
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// workersReady waits until Kubernetes says that every worker is ready.
func (p *checkPhase) workersReady(ctx context.Context, deadline time.Time) error {
	for _, cluster := range p.Inventory.Clusters() {
		line := "kubectl wait --for=condition=Ready --timeout=" + max(time.Until(deadline), time.Second).Round(time.Second).String()
		for _, w := range cluster.Group(inventory.Worker) {
			line += " node/" + w.Name
		}
		if _, err := p.Nodes.Shell(ctx, cluster.ControlPlane().Name, line, nil); err != nil {
			return fmt.Errorf("waiting for the workers: %w (hint: testbed status)", err)
		}
	}
	return nil
}

// preparePhase puts everything on the nodes that trials need.
type preparePhase struct {
	*Runner
	entry journal.Entry
}

func (p *preparePhase) Title() string { return "Prepare nodes and backend" }

// loadgenPath is where the load generator is on the client nodes.
const loadgenPath = "/opt/testbed/bin/loadgen"

func (p *preparePhase) Run(ctx context.Context) error {
	program, err := readProgram(p.Loadgen)
	if err != nil {
		return err
	}
	if p.entry, err = p.Journal.Begin(journal.Entry{Kind: journal.Run, What: "of " + p.Scenario.Name}); err != nil {
		return err
	}
	if err := each(ctx, p.Inventory.Group(inventory.Client), func(ctx context.Context, n inventory.Node) error {
		return p.Nodes.Put(ctx, n.Name, bytes.NewReader(program), loadgenPath, 0o755)
	}); err != nil {
		return err
	}
	if err := p.bench.Prepare(ctx, p.Scenario.Backend, p.systems()); err != nil {
		return err
	}
	if err := p.bench.Present(ctx, p.systems()); err != nil {
		return err
	}
	if slices.Contains(p.Scenario.LevelsOf(scenario.Cached), scenario.ByCluster) {
		if err := p.bench.PresentClusterDNS(ctx); err != nil {
			return err
		}
	}
	return p.backendHealthy(ctx)
}

func (p *preparePhase) CleanUp(ctx context.Context) error {
	if err := p.bench.CleanUp(ctx); err != nil {
		return err
	}
	return p.Journal.End(p.entry.ID)
}

func (p *preparePhase) Plan() []string {
	var lines []string
	for _, n := range p.Inventory.Group(inventory.Client) {
		lines = append(lines, fmt.Sprintf("%s: copy %s to %s", n.Name, p.Loadgen, loadgenPath))
	}
	for _, c := range p.Inventory.Group(inventory.Control) {
		lines = append(lines, fmt.Sprintf("%s: copy deploy/, apply the backend with %d replicas", c.Name, p.Scenario.Backend.Replicas))
	}
	return lines
}

// describePhase writes down what is measured: hosts, clocks, versions, settings.
type describePhase struct{ *Runner }

func (p *describePhase) Title() string { return "Describe the cluster" }

func (p *describePhase) Run(ctx context.Context) error {
	if p.Resume != nil {
		p.run = p.Resume
		m := &p.run.Manifest
		m.Resumed = append(m.Resumed, results.Resumption{At: time.Now().UTC(), Source: Source(ctx, p.Repo)})
		if err := p.run.SaveManifest(); err != nil {
			return err
		}
		return p.Begun(p.run.Dir)
	}
	hosts, err := p.hosts(ctx)
	if err != nil {
		return err
	}
	versions, err := describeVersions(ctx, p.Nodes, p.Inventory)
	if err != nil {
		return err
	}
	if versions["kubectl"], versions["kubernetes"], err = p.bench.Kubectl().Version(ctx); err != nil {
		return err
	}
	kubelets, err := p.kubelets(ctx)
	if err != nil {
		return err
	}
	versions["kubelet"] = kubelets
	if err := p.resolverVersions(ctx, versions); err != nil {
		return err
	}
	if err := p.newRun(ctx, hosts, versions); err != nil {
		return err
	}
	fmt.Fprintln(p.Out, "      run directory", p.run.Dir)
	return p.Begun(p.run.Dir)
}

// kubelets returns the kubelets' versions, as the API server knows them.
func (p *describePhase) kubelets(ctx context.Context) (string, error) {
	out, err := p.bench.Kubectl().Run(ctx, "get", "nodes", "-o", "json")
	if err != nil {
		return "", fmt.Errorf("asking for the kubelets' versions: %w", err)
	}
	var list struct {
		Items []struct {
			Status struct {
				NodeInfo struct{ KubeletVersion string }
			}
		}
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return "", fmt.Errorf("parsing the list of nodes: %w", err)
	}
	var versions []string
	for _, i := range list.Items {
		if v := i.Status.NodeInfo.KubeletVersion; !slices.Contains(versions, v) {
			versions = append(versions, v)
		}
	}
	slices.Sort(versions)
	return strings.Join(versions, ", "), nil
}

// planTrial is a trial's line in a dry run.
func planTrial(i int, c scenario.Cell, s *scenario.Scenario) string {
	t, l := c.Trials, s.Offered(c)
	line := fmt.Sprintf("%03d %s: ", i, c.System)
	switch part, isShare := c.Share(); {
	case t.Idle:
		line += fmt.Sprintf("no requests for %s", t.Window)
	case t.FindMax != nil:
		line += fmt.Sprintf("the highest rate from %g to %g requests/s, confirmed for %s", t.FindMax.From, t.FindMax.Most, t.Window)
	case isShare:
		line += fmt.Sprintf("%g %% of its knee for %s after %s of warm-up", 100*part, t.Window, l.Warmup)
	default:
		line += fmt.Sprintf("%g requests/s for %s after %s of warm-up", l.Rate, t.Window, l.Warmup)
	}
	switch {
	case t.Fault != nil:
		line += fmt.Sprintf(", %s from %s to %s of the window", t.Fault.Kind, t.Fault.At, t.Fault.At+t.Fault.Hold)
	case len(t.Chaos) > 0:
		line += fmt.Sprintf(", %d steps of %s", len(t.Chaos), t.Condition())
	case t.Churn != nil:
		line += fmt.Sprintf(", %d pods replaced %d times", t.Churn.Pods, t.Churn.Beats(t.Window))
	}
	if levels := c.Levels.String(); levels != "" {
		line += "; " + levels
	}
	return line
}
