// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/internal/results"
)

// roundsPhase executes the trials of a scenario with resolvers, many at a time, and repeats invalid ones within the bound.
type roundsPhase struct {
	*Runner
	began     time.Time
	estimated time.Duration // what the finished rounds should have taken
}

func (p *roundsPhase) Title() string { return "Run the trials" }

// first is the number of the first round to execute. A run that goes on does so with the first of which it has not all trials
// valid, so that they meet the phases (see delay) that it lacks.
func (p *roundsPhase) first(before []results.TrialDir) int {
	repetitions := 0
	for _, t := range p.Scenario.Trials {
		repetitions += t.Count
	}
	block := len(p.Scenario.Order()) / repetitions
	valid := map[int]int{}
	for _, t := range before {
		if t.Verdict.Valid {
			valid[1+(t.Trial.Index-1)/block]++
		}
	}
	number := 1
	for valid[number] == block {
		number++
	}
	return number
}

func (p *roundsPhase) clients() int { return len(p.Inventory.Group(inventory.Client)) }

func (p *roundsPhase) Plan() []string {
	cells, err := p.Cells()
	if err != nil {
		return []string{err.Error()}
	}
	var lines []string
	for i, cells := range scenario.Rounds(cells, p.clients()) {
		for j, n := range place(cells, p.Inventory.Group(inventory.Client)) {
			lines = append(lines, fmt.Sprintf("round %d, %s: %s over tree %s", i+1, n.Name, formOf(cells[j]), cells[j].Lookup.Tree))
		}
	}
	return lines
}

func (p *roundsPhase) Run(ctx context.Context) error {
	queue, err := p.Cells()
	if err != nil {
		return err
	}
	before, err := p.run.Trials()
	if err != nil {
		return err
	}
	index := 0
	for _, t := range before {
		index = max(index, t.Trial.Index)
	}
	p.began = time.Now()
	repeats := p.Scenario.Validity.Repeats
	var invalid []string
	for number := p.first(before); len(queue) > 0; number++ {
		rounds := scenario.Rounds(queue, p.clients())
		cells := rounds[0]
		queue = queue[len(cells):]
		fmt.Fprintf(p.Out, "      round %d of %d: %d trials …\n", number, number+len(rounds)-1, len(cells))
		r := newRound(p.Runner, number, index+1, cells)
		index += len(cells)
		begin := time.Now()
		verdicts, err := r.execute(ctx)
		if err != nil {
			return fmt.Errorf("round %d: %w", number, err)
		}
		for i, t := range r.trials {
			fmt.Fprintf(p.Out, "      %s %s over %s on %s … %s\n", t.out.ID, t.form, t.tree.Name, t.client.Name, t.summary(verdicts[i]))
			switch {
			case verdicts[i].Valid:
			case repeats == 0:
				invalid = append(invalid, t.out.ID)
			default:
				repeats--
				queue = append(queue, t.cell)
			}
		}
		p.estimated += p.Scenario.EstimateRounds(rounds[:1])
		fmt.Fprintf(p.Out, "      round %d: %.0fs, %s left\n", number, time.Since(begin).Seconds(), p.left(queue))
	}
	return p.finish(invalid)
}

// left estimates the time that the rest takes, as fast as the rounds so far.
func (p *roundsPhase) left(queue []scenario.Cell) string {
	rest := p.Scenario.EstimateRounds(scenario.Rounds(queue, p.clients()))
	rest = time.Duration(float64(rest) * float64(time.Since(p.began)) / float64(p.estimated))
	return "about " + rest.Round(time.Second).String()
}
