// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"math/rand/v2"
	"time"
)

// Cell is a trial to be executed: a system under a condition, and where the scenario has resolvers, over one of them. Equal
// cells are repetitions.
type Cell struct {
	System string
	Trials *Trials
	Lookup Lookup
}

// Condition is the level of the factor "fault".
func (c Cell) Condition() string { return c.Trials.Condition() }

// Order is the order of execution: randomised complete blocks. A block holds one trial of every
// system (and resolver, behaviour and tree) under one condition; the blocks, and the systems in each, are shuffled by the seed, so
// that a drift of the machine meets all systems alike.
func (s *Scenario) Order() []Cell {
	rng := rand.New(rand.NewPCG(s.Seed, 0x6f72646572)) // "order"
	var blocks []*Trials
	for i := range s.Trials {
		for range s.Trials[i].Count {
			blocks = append(blocks, &s.Trials[i])
		}
	}
	rng.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
	var out []Cell
	for _, t := range blocks {
		for _, i := range rng.Perm(len(s.Systems)) {
			if !s.DNS.Given() {
				out = append(out, Cell{System: s.Systems[i], Trials: t})
				continue
			}
			for _, l := range s.DNS.lookups(rng) {
				out = append(out, Cell{s.Systems[i], t, l})
			}
		}
	}
	return out
}

// SetUp is about how long a run takes before its first trial: checking, copying, deploying the backend.
const SetUp = 10 * time.Second

// Times around a trial's load, as measured on the twin with two cores; they only feed the estimate.
const (
	around   = 7 * time.Second // deploying and removing a system, collecting
	recovery = 5 * time.Second // until all is healthy again after a fault
)

// Estimate is about how long all trials take if none must be repeated, where there is a client node for each form of resolver.
func (s *Scenario) Estimate() time.Duration {
	cells := s.Order()
	return SetUp + s.EstimateRounds(Rounds(cells, len(cells)))
}

// EstimateCell is about how long one trial takes.
func (s *Scenario) EstimateCell(c Cell) time.Duration {
	d := around + s.Load.Warmup + c.Trials.Window
	if c.Trials.Fault != nil {
		d += recovery
	}
	return d
}
