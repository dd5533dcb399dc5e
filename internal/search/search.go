// SPDX-License-Identifier: Apache-2.0

// Package search finds the highest rate at which a service keeps what it promises.
//
// The rate doubles until a step breaks the promise, then the interval between the last rate that kept it and the first that
// broke it is halved (geometrically, because capacity is a ratio) until it is narrower than the precision asked for. A step
// that breaks the promise is tried once more before it counts: one disturbance of the machine is no saturation. What is
// found is confirmed by a longer run, and lowered when that fails. All of it is bounded: doublings, halvings and
// confirmations have a fixed most.
//
// A step whose generator bent its own figures says nothing of the service: the search ends below it, and says so. (Nighthawk's
// adaptive load controller thresholds on the send rate for the same reason.)
package search

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
)

// Goal is what a service promises (a service level objective). A zero field promises nothing.
type Goal struct {
	P99      time.Duration // of the latency from the intended send
	Success  float64       // of requests, as a share
	SendRate float64       // of requests that were sent in time, as a share: below it the generator is saturated, not the service
}

// Measured is what a run at one rate gave.
type Measured struct {
	P99      time.Duration
	Success  float64
	SendRate float64
	Invalid  []string // why the generator's figures are not to be used
}

// broken says what of the goal a run did not keep; empty when it kept all. Own is set when that is the generator's doing.
func (g Goal) broken(m Measured) (why string, own bool) {
	switch {
	case len(m.Invalid) > 0:
		return strings.Join(m.Invalid, "; "), true
	case m.SendRate < g.SendRate:
		return fmt.Sprintf("%.2f %% were sent in time, goal %.2f %%", 100*m.SendRate, 100*g.SendRate), true
	case m.Success < g.Success:
		return fmt.Sprintf("%.3f %% succeeded, goal %.3f %%", 100*m.Success, 100*g.Success), false
	case g.P99 > 0 && m.P99 > g.P99:
		return fmt.Sprintf("p99 is %s, goal %s", m.P99.Round(time.Microsecond), g.P99), false
	}
	return "", false
}

// Options bound a search.
type Options struct {
	Goal      Goal
	From      float64 // the first rate
	Most      float64 // no rate above is tried
	Least     float64 // nor below
	Precision float64 // how far above the found rate the promise may still hold, as a share
}

// Bounds of every search.
const (
	doublings     = 24
	halvings      = 16
	confirmations = 4
	tries         = 2 // of a step that fails
	backOff       = 0.9
)

// Step is one run at one rate.
type Step struct {
	Rate     float64 `json:"rate_per_second"`
	P99Ns    int64   `json:"p99_ns"`
	Success  float64 `json:"success"`
	SendRate float64 `json:"send_rate"`
	Confirms bool    `json:"confirms,omitempty"` // the longer run
	Kept     bool    `json:"kept"`
	Why      string  `json:"why,omitempty"` // it was not kept
}

// Account is the outcome of a search.
type Account struct {
	Rate      float64 `json:"rate_per_second"` // the highest that kept the goal; 0 when none did
	Confirmed bool    `json:"confirmed"`
	LimitedBy string  `json:"limited_by"` // service, generator, or bound (the highest rate allowed)
	Why       string  `json:"why"`        // what ended the search from above
	Steps     []Step  `json:"steps"`
}

// What limits a rate.
const (
	Service   = "service"
	Generator = "generator"
	Bound     = "bound"
)

// Probe makes one run at a rate; the confirming ones are longer.
type Probe func(ctx context.Context, rate float64, confirms bool) (Measured, error)

// Run searches. Its account is whole also when it returns an error, which is the probe's or ctx's.
func Run(ctx context.Context, o Options, probe Probe) (Account, error) {
	s := seeker{Options: o, probe: probe, account: Account{LimitedBy: Bound, Why: fmt.Sprintf("no rate above %.6g is tried", o.Most), Steps: []Step{}}}
	err := s.seek(ctx)
	return s.account, err
}

type seeker struct {
	Options
	probe   Probe
	account Account
}

func (s *seeker) seek(ctx context.Context) error {
	low, high := 0.0, math.Inf(1)
	for rate, n := min(s.From, s.Most), 0; n < doublings; n++ {
		kept, err := s.step(ctx, rate)
		if err != nil {
			return err
		}
		if kept {
			low = rate
		} else {
			high = rate
		}
		switch {
		case low > 0 && !math.IsInf(high, 1), kept && rate == s.Most:
			n = doublings
		case kept:
			rate = min(2*rate, s.Most)
		case rate <= s.Least:
			n = doublings
		default:
			rate = max(rate/2, s.Least)
		}
	}
	if low == 0 {
		return nil // not even at the least
	}
	for n := 0; n < halvings && high > low*(1+s.Precision) && !math.IsInf(high, 1); n++ {
		middle := math.Sqrt(low * high)
		kept, err := s.step(ctx, middle)
		if err != nil {
			return err
		}
		if kept {
			low = middle
		} else {
			high = middle
		}
	}
	s.account.Rate = low
	return s.confirm(ctx, low)
}

// confirm makes the longer run, and lowers the rate while it fails.
func (s *seeker) confirm(ctx context.Context, rate float64) error {
	for range confirmations {
		kept, err := s.once(ctx, rate, true)
		if err != nil {
			return err
		}
		s.account.Rate, s.account.Confirmed = rate, kept
		if kept {
			return nil
		}
		rate *= backOff
	}
	return nil
}

func (s *seeker) step(ctx context.Context, rate float64) (kept bool, err error) {
	for range tries {
		if kept, err = s.once(ctx, rate, false); kept || err != nil {
			break
		}
	}
	return kept, err
}

func (s *seeker) once(ctx context.Context, rate float64, confirms bool) (bool, error) {
	m, err := s.probe(ctx, rate, confirms)
	if err != nil {
		return false, err
	}
	why, own := s.Goal.broken(m)
	s.account.Steps = append(s.account.Steps, Step{
		Rate: rate, P99Ns: int64(m.P99), Success: m.Success, SendRate: m.SendRate, Confirms: confirms, Kept: why == "", Why: why,
	})
	if why != "" {
		s.account.LimitedBy, s.account.Why = Service, why
		if own {
			s.account.LimitedBy = Generator
		}
	}
	return why == "", nil
}
