// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/experiment"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/phase"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/results"
)

func experimentCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "experiment",
		Short: "Run, check and list the scenarios of experiments/",
	}
	cmd.AddCommand(
		experimentRunCommand(s), experimentResumeCommand(s), experimentValidateCommand(s), experimentListCommand(s), experimentSchemaCommand(s),
	)
	return cmd
}

// runFlags are the flags of "experiment run" as given.
type runFlags struct {
	inventory, results, resume, loadgen, repo, dirFile *string
	dry                                                *bool
}

func experimentRunCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Execute a scenario on the standing cluster",
		Long: `Execute a scenario on the standing cluster and write a run directory.

Systems stand one at a time, in the order that the scenario's seed gives. A trial that the
scenario's rules find invalid is kept and repeated, within its bound. What a fault broke is mended
and what was deployed is removed at the end, also after an interrupt; 'run --resume RUN' goes on
with the trials of which RUN has no valid one.`,
		Example: `  testbed experiment run experiments/quickstart.yaml
  testbed experiment run --resume results/quickstart/20261121T223000Z`,
		Args: cobra.MaximumNArgs(1),
	}
	f := newRunFlags(cmd)
	f.results = cmd.Flags().String("results", "results", "directory that gets EXPERIMENT/RUN-ID/")
	f.resume = cmd.Flags().String("resume", "", "run directory to go on with")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.run(cmd, s, args)
	}
	return cmd
}

func newRunFlags(cmd *cobra.Command) runFlags {
	return runFlags{
		inventory: inventoryFlag(cmd),
		results:   new(string),
		loadgen:   cmd.Flags().String("loadgen", "", "load generator for the client nodes (default: beside this program)"),
		repo:      cmd.Flags().String("repo", "", "directory of the repository (default: from the working directory up)"),
		dirFile:   cmd.Flags().String("run-dir-file", "", "file that gets the path of the run directory"),
		dry:       cmd.Flags().Bool("dry-run", false, "print what would be done, do nothing"),
	}
}

func experimentResumeCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume RUN [FILE]",
		Short: "Go on with a run that was interrupted",
		Long: `Go on with a run: execute the trials of its scenario of which it has no valid one.

What was interrupted in the midst of a trial left it without a verdict: it is executed again. With
FILE, the run must be one of that very scenario.`,
		Example: `  testbed experiment resume results/quickstart/20261121T223000Z`,
		Args:    cobra.RangeArgs(1, 2),
	}
	f := newRunFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.resume = &args[0]
		return f.run(cmd, s, args[1:])
	}
	return cmd
}

func (f *runFlags) run(cmd *cobra.Command, s streams, args []string) error {
	if *f.resume == "" && len(args) == 0 {
		return cli.Misuse("no scenario (hint: testbed experiment run experiments/quickstart.yaml)")
	}
	inv, log, err := s.load(cmd, *f.inventory)
	if err != nil {
		return err
	}
	repo, err := repository(*f.repo)
	if err != nil {
		return err
	}
	sc, text, resumed, err := f.scenario(args, vocabulary(repo, inv))
	if err != nil {
		return err
	}
	r := &experiment.Runner{
		Scenario: sc, Text: text, Inventory: inv, Results: *f.results, Resume: resumed, Loadgen: *f.loadgen, Repo: repo,
		Out: s.Out, Log: log,
		Begun: func(dir string) error {
			if *f.dirFile == "" {
				return nil
			}
			if err := os.WriteFile(*f.dirFile, []byte(dir+"\n"), 0o644); err != nil {
				return fmt.Errorf("writing the run directory's path: %w", err)
			}
			return nil
		},
	}
	if r.Loadgen == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding the load generator: %w (hint: --loadgen FILE)", err)
		}
		r.Loadgen = filepath.Join(filepath.Dir(self), "loadgen")
	}
	cells, err := r.Cells()
	if err != nil {
		return err
	}
	estimate := sc.EstimateRounds(scenario.Rounds(cells, len(inv.Group(inventory.Client))))
	fmt.Fprintf(s.Out, "%s: %d trials of %d systems, about %s\n", sc.Name, len(cells), len(sc.Systems), (estimate + scenario.SetUp).Round(time.Second))
	m := phase.Manager{Log: log, Out: s.Out, Dry: *f.dry}
	if *f.dry {
		return m.Run(cmd.Context(), r.Phases()...)
	}
	return s.onCluster(cmd.Context(), r, &m)
}

// onCluster runs the experiment on the standing cluster, which is held meanwhile.
func (s streams) onCluster(ctx context.Context, r *experiment.Runner, m *phase.Manager) error {
	c, err := cluster.Open(ctx, r.Inventory, r.Log)
	if err != nil {
		return err
	}
	defer c.Close()
	release, err := c.Hold("experiment run " + r.Scenario.Name)
	if err != nil {
		return err
	}
	defer release()
	r.Nodes, r.Power, r.Journal = experiment.OverSSH(c.Fleet), c.Power, c.Journal
	if r.Annotate, err = annotator(r.Inventory); err != nil {
		return err
	}
	return m.Run(ctx, append([]phase.Phase{&mending{c, r.Repo, s.Out}}, r.Phases()...)...)
}

// scenario reads the scenario that is to be run, and the run that is to be resumed if there is one.
func (f *runFlags) scenario(args []string, known scenario.Vocabulary) (*scenario.Scenario, []byte, *results.Run, error) {
	if *f.resume == "" {
		s, text, err := scenario.Read(args[0], known)
		if err != nil {
			return nil, nil, nil, &cli.MisuseError{Err: err}
		}
		return s, text, nil, nil
	}
	run, err := results.OpenRun(*f.resume)
	if err != nil {
		return nil, nil, nil, &cli.MisuseError{Err: err}
	}
	s, text, err := scenario.Read(filepath.Join(run.Dir, results.ScenarioFile), known)
	if err != nil {
		return nil, nil, nil, &cli.MisuseError{Err: err}
	}
	if m := run.Manifest; m.Experiment != s.Name || m.Seed != s.Seed {
		return nil, nil, nil, cli.Misuse("%s is a run of %s with seed %d, but its %s is %s with seed %d (hint: begin a new run)",
			run.Dir, m.Experiment, m.Seed, results.ScenarioFile, s.Name, s.Seed)
	}
	if len(args) == 1 {
		given, err := os.ReadFile(args[0])
		if err != nil {
			return nil, nil, nil, &cli.MisuseError{Err: fmt.Errorf("reading scenario: %w", err)}
		}
		if !bytes.Equal(given, text) {
			return nil, nil, nil, cli.Misuse("%s is not the scenario of %s (hint: leave FILE out, or begin a new run)", args[0], run.Dir)
		}
	}
	return s, text, run, nil
}
