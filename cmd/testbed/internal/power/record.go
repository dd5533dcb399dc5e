// SPDX-License-Identifier: Apache-2.0

package power

import (
	"context"
	"log/slog"
	"sort"
	"sync"
	"time"
)

// Recording is what nodes draw over a time, for energies. It is safe for concurrent use.
type Recording struct {
	every time.Duration
	stop  context.CancelFunc
	ended chan struct{}

	mu      sync.Mutex
	samples map[string][]sample
}

type sample struct {
	at    time.Time
	watts float64
}

// Record asks a meter at once and then each time that every has passed, until Stop or ctx's end. What a meter refuses to tell
// is missing from the samples: Joules says so.
func Record(ctx context.Context, m Meter, every time.Duration, log *slog.Logger) *Recording {
	ctx, cancel := context.WithCancel(ctx)
	r := &Recording{every: every, stop: cancel, ended: make(chan struct{}), samples: make(map[string][]sample)}
	go func() {
		defer close(r.ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			before := time.Now()
			watts, err := m.Watts(ctx)
			if err != nil && ctx.Err() == nil {
				log.Warn("a reading of the power is missing", "error", err)
			}
			r.add(before.Add(time.Since(before)/2), watts)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return r
}

func (r *Recording) add(at time.Time, watts map[string]float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for node, w := range watts {
		r.samples[node] = append(r.samples[node], sample{at, w})
	}
}

// Stop ends the recording; what was recorded can still be asked for.
func (r *Recording) Stop() {
	r.stop()
	<-r.ended
}

// Joules returns the energy that a node drew between two instants, and from how many readings in between it is known. The draw
// is taken to change evenly from one reading to the next, and to be as the nearest reading has it at the edges. ok is false
// where readings are missing: none within two intervals of an edge, or two further apart than three intervals.
func (r *Recording) Joules(node string, from, to time.Time) (joules float64, readings int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.samples[node]
	lo := sort.Search(len(all), func(i int) bool { return !all[i].at.Before(from) })
	hi := sort.Search(len(all), func(i int) bool { return all[i].at.After(to) })
	readings = hi - lo
	at := func(t time.Time) (float64, bool) { // the draw at an edge
		i := sort.Search(len(all), func(i int) bool { return !all[i].at.Before(t) })
		switch {
		case i < len(all) && i > 0 && all[i].at.Sub(all[i-1].at) <= 3*r.every:
			a, b := all[i-1], all[i]
			return a.watts + (b.watts-a.watts)*float64(t.Sub(a.at))/float64(b.at.Sub(a.at)), true
		case i < len(all) && all[i].at.Sub(t) <= 2*r.every:
			return all[i].watts, true
		case i > 0 && t.Sub(all[i-1].at) <= 2*r.every:
			return all[i-1].watts, true
		}
		return 0, false
	}
	first, okFirst := at(from)
	last, okLast := at(to)
	if !okFirst || !okLast || !to.After(from) {
		return 0, readings, false
	}
	points := append(append([]sample{{from, first}}, all[lo:hi]...), sample{to, last})
	for i := 1; i < len(points); i++ {
		gap := points[i].at.Sub(points[i-1].at)
		if gap > 3*r.every {
			return 0, readings, false
		}
		joules += (points[i-1].watts + points[i].watts) / 2 * gap.Seconds()
	}
	return joules, readings, true
}
