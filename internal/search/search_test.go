// SPDX-License-Identifier: Apache-2.0

package search

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// queue is the p99 of an M/M/1 queue that serves capacity a second: ln(100)/(capacity-rate); beyond it, it grows without end.
func queue(capacity, rate float64) time.Duration {
	if rate >= capacity {
		return time.Minute
	}
	return time.Duration(math.Log(100) / (capacity - rate) * float64(time.Second))
}

func TestFindsTheKnee(t *testing.T) {
	const goal = 50 * time.Millisecond
	for _, capacity := range []float64{101, 1000, 12345, 800_000} {
		knee := capacity - math.Log(100)/goal.Seconds() // where p99 is the goal
		for _, from := range []float64{10, 1000, 500_000} {
			runs, confirming := 0, 0
			a, err := Run(t.Context(), Options{Goal: Goal{P99: goal, Success: 0.999, SendRate: 0.99}, From: from, Most: 1e6, Precision: 0.05},
				func(_ context.Context, rate float64, confirms bool) (Measured, error) {
					runs++
					if confirms {
						confirming++
					}
					return Measured{P99: queue(capacity, rate), Success: 1, SendRate: 1}, nil
				})
			if err != nil || !a.Confirmed || a.LimitedBy != Service || a.Rate > knee || a.Rate < knee/1.06 {
				t.Errorf("capacity %g from %g: %+v, %v; the knee is %g", capacity, from, a, err, knee)
			}
			if runs != len(a.Steps) || runs > 60 || confirming != 1 {
				t.Errorf("capacity %g from %g: %d runs, %d steps, %d confirm", capacity, from, runs, len(a.Steps), confirming)
			}
		}
	}
}

func TestEnds(t *testing.T) {
	fine := Measured{Success: 1, SendRate: 1}
	tests := []struct {
		name      string
		probe     func(rate float64, confirms bool) Measured
		limited   string
		confirmed bool
		low, high float64 // of the rate
	}{
		{"no limit but the bound", func(float64, bool) Measured { return fine }, Bound, true, 10_000, 10_000},
		{"never kept", func(float64, bool) Measured { return Measured{Success: 0.5, SendRate: 1} }, Service, false, 0, 0},
		{"the generator is saturated", func(rate float64, _ bool) Measured {
			m := fine
			if rate > 3000 {
				m.Invalid = []string{"late"}
			}
			return m
		}, Generator, true, 2850, 3000},
		{"sent too late", func(rate float64, _ bool) Measured { return Measured{Success: 1, SendRate: min(1, 3000/rate)} }, Generator, true, 2850, 3031},
		{"failures", func(rate float64, _ bool) Measured { return Measured{Success: min(1, 3000/rate), SendRate: 1} }, Service, true, 2850, 3004},
		{"the longer run shows more", func(rate float64, confirms bool) Measured {
			m := fine
			if confirms && rate > 2500 || rate > 3000 {
				m.P99 = time.Second
			}
			return m
		}, Service, true, 2200, 2500},
		{"the longer run never confirms", func(rate float64, confirms bool) Measured {
			m := fine
			if confirms || rate > 3000 {
				m.P99 = time.Second
			}
			return m
		}, Service, false, 1900, 2300},
	}
	for _, tt := range tests {
		a, err := Run(t.Context(), Options{Goal: Goal{P99: 100 * time.Millisecond, Success: 0.999, SendRate: 0.99}, From: 100, Most: 10_000, Least: 20, Precision: 0.05},
			func(_ context.Context, rate float64, confirms bool) (Measured, error) {
				return tt.probe(rate, confirms), nil
			})
		if len(a.Steps) > 0 && a.Steps[0].Rate != 100 {
			t.Errorf("%s: the first rate is %g", tt.name, a.Steps[0].Rate)
		}
		for _, s := range a.Steps {
			if s.Rate < 20 {
				t.Errorf("%s: %g is below the least rate", tt.name, s.Rate)
			}
		}
		if err != nil || a.LimitedBy != tt.limited || a.Confirmed != tt.confirmed || a.Rate < tt.low || a.Rate > tt.high || len(a.Steps) > 100 {
			t.Errorf("%s: %+v, %v", tt.name, a, err)
		}
	}
}

// One run in ten is disturbed: the search ends close to the knee all the same.
func TestDisturbance(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	off := 0
	for range 200 {
		a, err := Run(t.Context(), Options{Goal: Goal{P99: time.Millisecond}, From: 100, Most: 1e6, Precision: 0.05},
			func(_ context.Context, rate float64, _ bool) (Measured, error) {
				m := Measured{Success: 1, SendRate: 1}
				if rate > 5000 || rng.IntN(10) == 0 {
					m.P99 = time.Second
				}
				return m, nil
			})
		if err != nil {
			t.Fatal(err)
		}
		if a.Rate < 4000 {
			off++
		}
	}
	if off > 40 {
		t.Errorf("%d of 200 searches ended far below the knee", off)
	}
}

func TestProbeFails(t *testing.T) {
	broken := errors.New("broken")
	a, err := Run(t.Context(), Options{From: 1, Most: 10}, func(_ context.Context, rate float64, _ bool) (Measured, error) {
		if rate > 2 {
			return Measured{}, broken
		}
		return Measured{Success: 1, SendRate: 1}, nil
	})
	if !errors.Is(err, broken) || len(a.Steps) != 2 {
		t.Errorf("%+v, %v", a, err)
	}
}
