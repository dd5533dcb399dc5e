// SPDX-License-Identifier: Apache-2.0

package openloop

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

func all(s *Schedule) (out []time.Duration) {
	for {
		at, more := s.Next()
		if !more {
			return out
		}
		out = append(out, at)
	}
}

func TestConstantIsGapless(t *testing.T) {
	for _, rate := range []float64{0.5, 1, 3, 7.5, 200, 999, 12345, 1e6} {
		length := max(time.Second, time.Duration(20/rate*float64(time.Second)))
		gap := time.Duration(float64(time.Second) / rate)
		for _, phase := range []time.Duration{1, gap / 3, gap} {
			sends := all(NewSchedule(Constant(rate), length, phase))
			if want := rate * length.Seconds(); math.Abs(float64(len(sends))-want) > 1+want*rate/1e9 {
				t.Errorf("rate %g, phase %v: %d sends in %v, want %g", rate, phase, len(sends), length, want)
			}
			if sends[0] < 0 || sends[0] >= gap {
				t.Errorf("rate %g, phase %v: first send at %v", rate, phase, sends[0])
			}
			for i := 1; i < len(sends); i++ {
				if d := sends[i] - sends[i-1]; d != gap {
					t.Fatalf("rate %g, phase %v: gap %v after send %d, want %v", rate, phase, d, i-1, gap)
				}
			}
		}
	}
}

func TestPhaseIsWithinOneInterval(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		if p := Phase(200, rng); p <= 0 || p > 5*time.Millisecond {
			t.Fatalf("phase %v of an interval of 5 ms", p)
		}
	}
}

// The gaps' mean is 1/rate within 4 standard errors, and their standard deviation equals the mean
// (within 5 %), which tells exponential gaps from even ones. The seed is fixed.
func TestPoissonGaps(t *testing.T) {
	const rate, seconds = 1000, 100
	sends := all(NewSchedule(Poisson{rate, rand.New(rand.NewPCG(3, 4))}, seconds*time.Second, 0))
	var sum, squares float64
	last := time.Duration(0)
	for _, at := range sends {
		gap := (at - last).Seconds()
		sum, squares, last = sum+gap, squares+gap*gap, at
	}
	n := float64(len(sends))
	mean := sum / n
	deviation := math.Sqrt(squares/n - mean*mean)
	if math.Abs(mean-1.0/rate) > 4.0/rate/math.Sqrt(n) || math.Abs(deviation/mean-1) > 0.05 {
		t.Errorf("%d sends: mean gap %g s, deviation %g s; want both %g", len(sends), mean, deviation, 1.0/rate)
	}
}

// Any pacer of vegeta's works on the virtual clock, and may end the schedule.
func TestScheduleOfOtherPacers(t *testing.T) {
	sine := vegeta.SinePacer{Period: time.Second, Mean: vegeta.Rate{Freq: 100, Per: time.Second}, Amp: vegeta.Rate{Freq: 50, Per: time.Second}}
	if n := len(all(NewSchedule(sine, 10*time.Second, 0))); n < 980 || n > 1020 {
		t.Errorf("sine of mean 100/s: %d sends in 10 s", n)
	}
	if n := len(all(NewSchedule(seven{}, time.Second, 0))); n != 7 {
		t.Errorf("a pacer that stops after 7 hits gave %d", n)
	}
}

// seven is a pacer that stops after 7 hits.
type seven struct{}

func (seven) Pace(_ time.Duration, hits uint64) (time.Duration, bool) {
	return time.Millisecond, hits == 7
}
func (seven) Rate(time.Duration) float64 { return 1000 }

func TestTimerIsNeverEarly(t *testing.T) {
	tm, err := newTimer()
	if err != nil {
		t.Fatal(err)
	}
	defer tm.Close()
	for _, d := range []time.Duration{-time.Second, 0, 1, time.Microsecond, 300 * time.Microsecond, 5 * time.Millisecond} {
		at := time.Now().Add(d)
		if err := tm.until(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		if left := time.Until(at); left > 0 {
			t.Errorf("waiting %v ended %v early", d, left)
		}
	}
}

// Waits so short that the timer expires before, while and after the poller listens all end.
func TestTimerMissesNoExpiry(t *testing.T) {
	tm, err := newTimer()
	if err != nil {
		t.Fatal(err)
	}
	defer tm.Close()
	for i := range 5000 {
		if err := tm.until(t.Context(), time.Now().Add(time.Duration(i%50)*time.Microsecond)); err != nil {
			t.Fatal(err)
		}
	}
}

// record of what a loop did; safe for concurrent use.
type ledger struct {
	mu     sync.Mutex
	done   []Hit
	drops  []Hit
	edges  []string
	seenAt []time.Time
}

func (l *ledger) loop(s *Schedule, length time.Duration) *Loop {
	return &Loop{
		Plan: Plan{
			Start: At(time.Now()), Schedule: s, Length: length, MaxInFlight: 1000,
			Drop:  func(h Hit) { l.mu.Lock(); defer l.mu.Unlock(); l.drops = append(l.drops, h) },
			Open:  func() { l.mu.Lock(); defer l.mu.Unlock(); l.edges = append(l.edges, "open") },
			Close: func() { l.mu.Lock(); defer l.mu.Unlock(); l.edges = append(l.edges, "close") },
		},
		Do: func(h Hit) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.done, l.seenAt = append(l.done, h), append(l.seenAt, time.Now())
		},
	}
}

func TestLoopDoesEveryHitOnceAndNotEarly(t *testing.T) {
	var l ledger
	loop := l.loop(NewSchedule(Constant(2000), 200*time.Millisecond, 1), 200*time.Millisecond)
	loop.Window = 100 * time.Millisecond
	if err := loop.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.done) != 400 || len(l.drops) != 0 {
		t.Fatalf("%d hits done, %d dropped; want 400, 0", len(l.done), len(l.drops))
	}
	seen := map[uint64]bool{}
	for i, h := range l.done {
		if seen[h.Seq] {
			t.Errorf("hit %d done twice", h.Seq)
		}
		seen[h.Seq] = true
		if want := loop.Start.Add(time.Duration(h.Seq+1)*500*time.Microsecond - 1); !h.Intended.Equal(want) {
			t.Errorf("hit %d intended at %v, want %v", h.Seq, h.Intended, want)
		}
		if l.seenAt[i].Before(h.Intended) {
			t.Errorf("hit %d done %v early", h.Seq, h.Intended.Sub(l.seenAt[i]))
		}
	}
	if len(l.edges) != 2 || l.edges[0] != "open" {
		t.Errorf("edges %v", l.edges)
	}
}

// A hit that finds every worker busy is dropped and told; the loop neither waits nor slows down.
func TestLoopDropsBeyondTheBound(t *testing.T) {
	var l ledger
	loop := l.loop(NewSchedule(Constant(1000), 100*time.Millisecond, 1), 100*time.Millisecond)
	gate := make(chan struct{})
	var done atomic.Int32
	loop.MaxInFlight = 3
	loop.Do = func(Hit) { <-gate; done.Add(1) }
	loop.Close = func() { close(gate) }
	if err := loop.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if done.Load() != 3 || len(l.drops) != 97 {
		t.Errorf("%d done, %d dropped; want 3, 97", done.Load(), len(l.drops))
	}
	for i, h := range l.drops {
		if h.Seq != uint64(i+3) {
			t.Fatalf("drop %d is hit %d", i, h.Seq)
		}
	}
}

// When the context ends, sending stops at once, the window is closed, and what is in flight is waited for.
func TestLoopStops(t *testing.T) {
	why := errors.New("disk full")
	ctx, cancel := context.WithCancelCause(t.Context())
	var l ledger
	loop := l.loop(NewSchedule(Constant(1), time.Hour, time.Second), time.Hour)
	var finished atomic.Bool
	loop.Do = func(Hit) { cancel(why); <-ctx.Done(); finished.Store(true) }
	if err := loop.Run(ctx); !errors.Is(err, why) {
		t.Errorf("error %v, want the cause", err)
	}
	if !finished.Load() {
		t.Error("Run returned before the hit in flight had ended")
	}
	if len(l.edges) != 2 || l.edges[1] != "close" {
		t.Errorf("edges %v", l.edges)
	}
}
