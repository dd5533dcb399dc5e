// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/system"
	"github.com/dnsingress/dnsingress/internal/results"
)

// trialsPhase executes the trials one after the other, and repeats invalid ones within the bound.
type trialsPhase struct {
	runner *Runner
	began  time.Time
	// estimated is what the finished trials should have taken: it scales the estimate of the rest.
	estimated time.Duration
}

func (p *trialsPhase) Title() string { return "Run the trials" }

func (p *trialsPhase) Plan() []string {
	cells, err := p.runner.Cells()
	if err != nil {
		return []string{err.Error()}
	}
	lines := make([]string, 0, len(cells))
	for i, c := range cells {
		lines = append(lines, planTrial(i+1, c, p.runner.Scenario))
	}
	return lines
}

func (p *trialsPhase) Run(ctx context.Context) error {
	r := p.runner
	queue, err := r.Cells()
	if err != nil {
		return err
	}
	before, err := r.run.Trials()
	if err != nil {
		return err
	}
	index := 0
	for _, t := range before {
		index = max(index, t.Trial.Index)
	}
	p.began = time.Now()
	repeats, total := r.Scenario.Validity.Repeats, len(queue)
	var invalid []string
	for done := 0; len(queue) > 0; done++ {
		cell := queue[0]
		queue = queue[1:]
		index++
		name := cell.String()
		fmt.Fprintf(r.Out, "      %d/%d %s …\n", done+1, total, name)
		t := newTrial(r, index, cell)
		begin := time.Now()
		verdict, err := t.execute(ctx)
		if err != nil {
			return fmt.Errorf("trial %s: %w", t.out.ID, err)
		}
		p.estimated += r.Scenario.EstimateCell(cell)
		fmt.Fprintf(r.Out, "      %d/%d %s … %s; %.0fs, %s left\n", done+1, total, name,
			t.summary(verdict), time.Since(begin).Seconds(), p.left(queue))
		if verdict.Valid {
			continue
		}
		if repeats == 0 || errors.Is(t.facts.trial, errNoKnee) {
			invalid = append(invalid, t.out.ID)
			continue
		}
		repeats--
		total++
		queue = again(queue, cell)
	}
	return r.finish(invalid)
}

// again puts a cell that is to be repeated into the queue: behind all others, but a search for a knee before those that wait for it.
func again(queue []scenario.Cell, cell scenario.Cell) []scenario.Cell {
	if cell.Trials.FindMax != nil {
		if i := slices.IndexFunc(queue, func(c scenario.Cell) bool { _, waits := c.Share(); return waits }); i >= 0 {
			return slices.Insert(queue, i, cell)
		}
	}
	return append(queue, cell)
}

// finish ends a run of which these trials stayed invalid.
func (r *Runner) finish(invalid []string) error {
	r.run.Manifest.Finished = time.Now().UTC()
	if err := errors.Join(r.run.SaveManifest(), results.Seal(r.run.Dir)); err != nil {
		return err
	}
	if len(invalid) > 0 {
		return fmt.Errorf("%d trials are invalid and were not repeated: %v (hint: see their verdict.json; run it again with --resume %s)", len(invalid), invalid, r.run.Dir)
	}
	return nil
}

// left estimates the time that the rest takes, as fast as the trials so far.
func (p *trialsPhase) left(queue []scenario.Cell) string {
	var rest time.Duration
	for _, c := range queue {
		rest += p.runner.Scenario.EstimateCell(c)
	}
	if p.estimated > 0 {
		rest = time.Duration(float64(rest) * float64(time.Since(p.began)) / float64(p.estimated))
	}
	return "about " + rest.Round(time.Second).String()
}

func (r *Runner) systems() []system.System {
	var out []system.System
	for _, name := range r.Scenario.Systems {
		if s, ok := system.ByName(name); ok {
			out = append(out, s)
		}
	}
	return out
}

// hosts describes all nodes at once.
func (r *Runner) hosts(ctx context.Context) ([]results.Host, error) {
	hosts := make([]results.Host, len(r.Inventory.Nodes))
	place := map[string]int{}
	for i, n := range r.Inventory.Nodes {
		place[n.Name] = i
	}
	err := each(ctx, r.Inventory.Nodes, func(ctx context.Context, n inventory.Node) error {
		var err error
		hosts[place[n.Name]], err = describeHost(ctx, r.Nodes, n)
		return err
	})
	if err != nil || r.Inventory.Substrate != "twin" {
		return hosts, err
	}
	id, err := bootID()
	for i := range hosts {
		hosts[i].BootID = id // they share this machine's kernel
	}
	return hosts, err
}

// readProgram reads the load generator's program.
func readProgram(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no load generator at %s (hint: make build, or --loadgen FILE)", path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the load generator: %w", err)
	}
	return b, nil
}
