// SPDX-License-Identifier: Apache-2.0

package openloop

import (
	"math/rand/v2"
	"time"
)

// Shaped is a vegeta pacer whose rate follows a profile, by inversion of its integral (Çinlar, Introduction to
// Stochastic Processes, 1975, §4.7): the n-th send is due when n sends are expected, or, with independent
// arrivals, when the sum of n exponential gaps is. It needs the virtual clock of a Schedule.
type Shaped struct {
	profile Profile
	begin   time.Duration // of the profile; before it its first rate is kept
	end     time.Duration // of the schedule
	gap     func() float64
	due     float64 // expected sends at which the next is due
}

// Even returns a pacer whose sends are as even as the profile allows. The profile begins at begin, the schedule ends
// at end. Generators that start at one instant differ by rng in where in their first interval they begin.
func Even(p Profile, begin, end time.Duration, rng *rand.Rand) *Shaped {
	return &Shaped{profile: p, begin: begin, end: end, gap: func() float64 { return 1 }, due: -rng.Float64()}
}

// Independent returns a pacer of independent arrivals (an inhomogeneous Poisson process) at the profile's rate.
func Independent(p Profile, begin, end time.Duration, rng *rand.Rand) *Shaped {
	return &Shaped{profile: p, begin: begin, end: end, gap: rng.ExpFloat64}
}

// Pace returns the time from the last intended send to the next one. It stops when there is none before the end.
func (s *Shaped) Pace(elapsed time.Duration, _ uint64) (wait time.Duration, stop bool) {
	s.due += s.gap()
	if s.expected(s.end) < s.due {
		return 0, true
	}
	low, high := elapsed, s.end // what is sought is in (low, high], or is low
	for high-low > 1 {
		middle := low + (high-low)/2
		if s.expected(middle) < s.due {
			low = middle
		} else {
			high = middle
		}
	}
	return high - elapsed, false
}

// Rate returns the rate at an instant of the schedule.
func (s *Shaped) Rate(elapsed time.Duration) float64 { return s.profile.Rate(max(0, elapsed-s.begin)) }

func (s *Shaped) expected(until time.Duration) float64 {
	if until <= s.begin {
		return until.Seconds() * s.profile.Rate(0)
	}
	return s.begin.Seconds()*s.profile.Rate(0) + s.profile.Expected(until-s.begin)
}

func (s *Shaped) String() string { return s.profile.String() }
