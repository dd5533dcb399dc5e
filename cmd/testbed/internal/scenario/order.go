// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// Cell is a trial to be executed: a system under a condition with levels of factors, and where the scenario has resolvers,
// over one of them. Equal cells are repetitions.
type Cell struct {
	System string
	Trials *Trials
	Levels Levels
	Lookup Lookup
}

// String is the cell in a few words.
func (c Cell) String() string {
	text := c.System + " " + c.Condition()
	if l := c.Levels.String(); l != "" {
		text += " (" + l + ")"
	}
	return text
}

// Condition is the level of the factor "fault".
func (c Cell) Condition() string { return c.Trials.Condition() }

// Clients is how many client nodes generate the cell's load; 0: all.
func (c Cell) Clients() int {
	n, _ := strconv.Atoi(c.Levels[Clients])
	return n
}

// Order is the order of execution: randomised complete blocks. A block holds one trial of every cell of one entry: every
// system (and level of its factors, and resolver, behaviour and tree) under one condition. The blocks, and the cells in each, are
// shuffled by the seed, so that a drift of the machine meets all systems alike. Where rates are shares of knees, the blocks that look
// for knees come first.
func (s *Scenario) Order() []Cell {
	rng := rand.New(rand.NewPCG(s.Seed, 0x6f72646572)) // "order"
	var blocks []*Trials
	for i := range s.Trials {
		for range s.Trials[i].Count {
			blocks = append(blocks, &s.Trials[i])
		}
	}
	rng.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
	if slices.ContainsFunc(s.LevelsOf(Rate), func(level string) bool { _, ok := share(level); return ok }) {
		slices.SortStableFunc(blocks, func(a, b *Trials) int { return knees(b) - knees(a) })
	}
	var out []Cell
	for _, t := range blocks {
		cells := s.cells(t)
		for _, i := range rng.Perm(len(cells)) {
			if !s.DNS.Given() {
				out = append(out, cells[i])
				continue
			}
			for _, l := range s.DNS.lookups(rng) {
				out = append(out, Cell{System: cells[i].System, Trials: t, Lookup: l})
			}
		}
	}
	return out
}

// knees is 1 for an entry that looks for knees.
func knees(t *Trials) int {
	if t.FindMax != nil {
		return 1
	}
	return 0
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
	if s.Load.WarmupMost > 0 && !c.Trials.Idle {
		d += leastSettling // what is stable from the begin shows it so soon
	}
	if len(c.Trials.Faults()) > 0 || c.Trials.Churn != nil {
		d += recovery
	}
	d += s.Cached(c)/2 + s.Setup(c).Drain // pods that drain are waited for where others take their place
	if m := c.Trials.FindMax; m != nil {
		full := m.filled()
		d += time.Duration(full.steps()) * (full.Step + s.Load.Warmup + between)
	}
	if s.Load.Workload == WorkloadDNS {
		d += recovery // its names are made and seen
	}
	return d
}

// between is what comes around each step of a search: sessions, starting, collecting.
const between = 4 * time.Second

// steps is about how many runs a search takes when the knee is half-way, on a scale of ratios, between From and Most: doublings
// up to it and the one that misses, and halvings of the interval in which it is; a step that misses the goal is tried twice.
func (m FindMax) steps() int {
	doublings := math.Log2(max(m.Most/m.From, 1))/2 + 2
	halvings := math.Ceil(math.Log2(1 / math.Log2(1+m.Precision)))
	return int(doublings+max(halvings, 0)*1.5) + 1
}
