// SPDX-License-Identifier: Apache-2.0

package health

import (
	"container/heap"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// defaultConcurrency bounds the checks at one time: each holds a socket.
const defaultConcurrency = 256

// firstSpread bounds the wait before the first check of a new member.
const firstSpread = time.Second

// Target is one member of a pool under one check.
type Target struct {
	Pool    model.Ref
	Check   model.HealthCheck
	Address netip.Addr
}

// Result is the settled state of a target.
type Result struct {
	Target
	Healthy bool
	Since   time.Time // when it settled so
	Detail  string    // why it is unhealthy; empty: healthy
}

// Options of a Checker.
type Options struct {
	// Deliver is told each time that a member of the pool settles or turns under that check. values makes, whenever it is
	// called, a map of what is known of all its members: 1 for a healthy one, 0 for one that is not, none where nothing
	// is. Deliver is called from several goroutines, must not block, and must leave calling values to another.
	Deliver     func(pool model.Ref, check string, at time.Time, values func() map[netip.Addr]float64)
	Concurrency int // checks at one time; 0: 256
	Registerer  prometheus.Registerer
	Log         *slog.Logger
}

// Checker checks a changing set of targets.
type Checker struct {
	options Options
	metrics *metrics
	slots   chan struct{}
	wake    chan struct{}

	mu    sync.Mutex
	pools map[model.Ref]map[Target]*subject
	queue queue
}

// subject is what is known of a target.
type subject struct {
	target Target
	due    time.Time
	at     int  // in the queue; -1: being checked
	gone   bool // while it was being checked

	known  bool // result means something
	result Result
	streak int // outcomes in a row that speak against the settled state
}

// New makes a checker with no targets.
func New(o Options) (*Checker, error) {
	if o.Concurrency == 0 {
		o.Concurrency = defaultConcurrency
	}
	c := &Checker{options: o, slots: make(chan struct{}, o.Concurrency), wake: make(chan struct{}, 1), pools: map[model.Ref]map[Target]*subject{}}
	var err error
	if c.metrics, err = newMetrics(c, o.Registerer); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return c, nil
}

// Set makes checks of addresses all that the pool is checked by; none of either: the pool is not checked any
// more. What is known of members that stay is kept; the others are forgotten.
func (c *Checker) Set(pool model.Ref, checks []model.HealthCheck, addresses []netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	old, current := c.pools[pool], make(map[Target]*subject, len(checks)*len(addresses))
	for _, check := range checks {
		for _, a := range addresses {
			t := Target{pool, check, a}
			s := old[t]
			if s == nil {
				s = &subject{target: t, due: now.Add(rand.N(min(check.Interval, firstSpread) + 1))}
				heap.Push(&c.queue, s)
			}
			current[t] = s
		}
	}
	forgotten := map[string]bool{}
	for t, s := range old {
		if current[t] != nil {
			continue
		}
		if s.gone = true; s.at >= 0 {
			heap.Remove(&c.queue, s.at)
		}
		if s.known {
			forgotten[t.Check.Name] = true
		}
	}
	if c.pools[pool] = current; len(current) == 0 {
		delete(c.pools, pool)
	}
	for check := range forgotten { // or it would count again should the member come back
		c.deliver(pool, check, now)
	}
	c.nudge()
}

// deliver tells that something is known since at. That is put together when it is asked for: when a large pool starts,
// far more members settle than anybody looks.
func (c *Checker) deliver(pool model.Ref, check string, at time.Time) {
	c.options.Deliver(pool, check, at, func() map[netip.Addr]float64 { return c.values(pool, check) })
}

// values are what is known of a pool's members under a check.
func (c *Checker) values(pool model.Ref, check string) map[netip.Addr]float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	values := map[netip.Addr]float64{}
	for t, s := range c.pools[pool] {
		switch {
		case t.Check.Name != check || !s.known:
		case s.result.Healthy:
			values[t.Address] = 1
		default:
			values[t.Address] = 0
		}
	}
	return values
}

func (c *Checker) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// State returns what is known of a target; false: nothing yet, or it is none.
func (c *Checker) State(t Target) (Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.pools[t.Pool][t]
	if s == nil || !s.known {
		return Result{}, false
	}
	return s.result, true
}

// Run checks until ctx ends, and returns when the last check has ended.
func (c *Checker) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	defer wait.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s, pause := c.take(time.Now())
		if s == nil {
			timer.Reset(pause)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-c.wake:
			case <-timer.C:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c.slots <- struct{}{}:
		}
		wait.Go(func() {
			defer func() { <-c.slots }()
			c.check(ctx, s)
		})
	}
}

// take removes the subject that is due from the queue, or returns nil and how long to wait for one.
func (c *Checker) take(now time.Time) (*subject, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return nil, time.Hour
	}
	if pause := c.queue[0].due.Sub(now); pause > 0 {
		return nil, pause
	}
	return heap.Pop(&c.queue).(*subject), 0
}

// check asks once, settles what follows from it, and puts the subject back into the queue.
func (c *Checker) check(ctx context.Context, s *subject) {
	t := s.target
	began := time.Now()
	c.metrics.delay.Observe(began.Sub(s.due).Seconds())
	limited, cancel := context.WithTimeout(ctx, t.Check.Timeout)
	err := ask(limited, t)
	cancel()
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	c.metrics.observe(t.Check.Protocol, err, now.Sub(began))
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.gone {
		return
	}
	if s.settle(err, now) {
		c.options.Log.Info("health check turned", "pool", t.Pool.String(), "check", t.Check.Name, "address", t.Address, "healthy", s.result.Healthy, "detail", s.result.Detail)
		c.deliver(t.Pool, t.Check.Name, now)
	}
	pause := t.Check.Interval
	if !s.known || !s.result.Healthy || s.streak > 0 {
		pause = t.Check.UnhealthyInterval
	}
	s.due = now.Add(jittered(pause))
	heap.Push(&c.queue, s)
	c.nudge()
}

// settle takes in one outcome and reports whether the settled state changed.
func (s *subject) settle(err error, now time.Time) bool {
	healthy := err == nil
	if s.known && healthy == s.result.Healthy {
		s.streak = 0
		return false
	}
	s.streak++
	need := s.target.Check.Down
	switch {
	case healthy && !s.known:
		need = 1
	case healthy:
		need = s.target.Check.Up
	}
	if s.streak < need {
		return false
	}
	s.known, s.streak = true, 0
	s.result = Result{Target: s.target, Healthy: healthy, Since: now}
	if err != nil {
		s.result.Detail = err.Error()
	}
	return true
}

// jittered is d give or take a tenth.
func jittered(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// queue is a heap of subjects by the time that they are due.
type queue []*subject

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

func (q *queue) Push(x any) {
	s := x.(*subject)
	s.at = len(*q)
	*q = append(*q, s)
}

func (q *queue) Pop() any {
	old := *q
	s := old[len(old)-1]
	s.at = -1
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return s
}
