// SPDX-License-Identifier: Apache-2.0

package openloop

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// Schedule is the series of intended sends, as offsets from the start.
type Schedule struct {
	pacer   vegeta.Pacer
	length  time.Duration
	phase   time.Duration
	elapsed time.Duration
	hits    uint64
}

// NewSchedule returns the intended sends of pacer in [0, length). Every send is moved forward by
// phase, so that generators that start at one instant need not send at the same instants.
func NewSchedule(pacer vegeta.Pacer, length, phase time.Duration) *Schedule {
	return &Schedule{pacer: pacer, length: length, phase: phase}
}

// Next returns the next intended send; false when there is none left.
func (s *Schedule) Next() (time.Duration, bool) {
	for {
		wait, stop := s.pacer.Pace(s.elapsed, s.hits)
		if stop {
			return 0, false
		}
		s.elapsed += max(wait, 0)
		s.hits++
		at := s.elapsed - s.phase
		if at >= s.length {
			return 0, false
		}
		if at >= 0 {
			return at, true
		}
	}
}

// Constant returns a pacer of evenly spaced sends, rate a second (up to 1e9, fractions allowed).
// Intervals are whole nanoseconds, so the true rate is above the wanted by at most rate/1e9 of it.
func Constant(rate float64) vegeta.Pacer {
	// The first hit of vegeta's pacer comes one interval after the start.
	return vegeta.ConstantPacer{Freq: 1, Per: interval(rate)}
}

// Phase returns where in its first interval a generator of the given rate begins, in (0, interval],
// drawn from rng. NewSchedule subtracts it.
func Phase(rate float64, rng *rand.Rand) time.Duration {
	return 1 + time.Duration(rng.Int64N(int64(interval(rate))))
}

func interval(rate float64) time.Duration {
	return max(1, time.Duration(math.Floor(float64(time.Second)/rate)))
}

// Poisson is a pacer of independent arrivals: exponential gaps with mean 1/PerSecond.
// It needs the virtual clock of a Schedule: it draws each gap anew from the last intended send.
type Poisson struct {
	PerSecond float64
	Rng       *rand.Rand
}

// Pace returns the gap to the next arrival. It never stops.
func (p Poisson) Pace(time.Duration, uint64) (time.Duration, bool) {
	return time.Duration(p.Rng.ExpFloat64() / p.PerSecond * float64(time.Second)), false
}

// Rate returns the mean rate.
func (p Poisson) Rate(time.Duration) float64 { return p.PerSecond }

func (p Poisson) String() string { return fmt.Sprintf("Poisson{%g hits/s}", p.PerSecond) }
