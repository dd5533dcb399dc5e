// SPDX-License-Identifier: Apache-2.0

package openloop

import (
	"context"
	"sync"
	"time"
)

// Hit is one request that is due.
type Hit struct {
	Seq      uint64
	Intended time.Time // with a monotonic reading
	End      time.Time // of the schedule: nothing more is due from here on
}

// Plan is what is due when, whoever executes it.
type Plan struct {
	Start       time.Time     // of the schedule
	Schedule    *Schedule     // what is due when
	Window      time.Duration // when the measured window opens, after Start
	Length      time.Duration // when it closes, after Start
	MaxInFlight int           // hits being executed at a time; more are dropped

	Drop func(Hit) // takes note of a hit that no worker was free for; called from one goroutine
	// Open and Close mark the edges of the measured window, as they pass.
	Open, Close func()
}

// Loop is one run of an open loop whose hits are executed by goroutines.
type Loop struct {
	Plan
	Do func(Hit) // executes a hit; called concurrently
}

// At returns the wall-clock instant start with a monotonic reading, so that a step of the clock
// during the run moves no send.
func At(start time.Time) time.Time {
	now := time.Now()
	return now.Add(start.Sub(now))
}

// Run executes the schedule, then waits for the hits in flight. When ctx ends, sending stops,
// the window is closed, the hits in flight are still waited for, and ctx's cause is returned.
func (l *Loop) Run(ctx context.Context) error {
	t, err := newTimer()
	if err != nil {
		return err
	}
	defer t.Close()
	defer context.AfterFunc(ctx, t.cancel)()

	work := make(chan Hit)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer close(work)

	if err := l.send(ctx, t, work, &workers); err != nil {
		l.Close()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	l.Close()
	return nil
}

func (l *Loop) send(ctx context.Context, t *timer, work chan Hit, workers *sync.WaitGroup) error {
	started, open := 0, false
	for seq := uint64(0); ; seq++ {
		offset, more := l.Schedule.Next()
		if !open && (!more || offset >= l.Window) {
			if err := t.until(ctx, l.Start.Add(l.Window)); err != nil {
				return err
			}
			l.Open()
			open = true
		}
		if !more {
			return t.until(ctx, l.Start.Add(l.Length))
		}
		hit := Hit{Seq: seq, Intended: l.Start.Add(offset), End: l.Start.Add(l.Length)}
		if err := t.until(ctx, hit.Intended); err != nil {
			return err
		}
		// A worker that waits takes the hit; workers are started as they are needed, and stay,
		// because a goroutine with a grown stack is cheaper than a new one.
		select {
		case work <- hit:
		default:
			if started == l.MaxInFlight {
				l.Drop(hit)
				continue
			}
			started++
			workers.Go(func() {
				l.Do(hit)
				for hit := range work {
					l.Do(hit)
				}
			})
		}
	}
}
