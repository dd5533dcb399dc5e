// SPDX-License-Identifier: Apache-2.0

package alias

import (
	"container/heap"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/internal/dnsclient"
)

const (
	workers  = 16 // names that are asked for at once
	least    = time.Second
	most     = time.Hour
	retry    = time.Second // after the first failure; each further one doubles it
	lastTry  = 30 * time.Second
	negative = 30 * time.Second // where an answer does not say how long there will be no data
)

// Outcome is what is known of a host name's addresses.
type Outcome struct {
	Addresses []netip.Addr // in order, IPv6 first; the last known ones where they could not be found anew
	At        time.Time    // when all of them were last confirmed; zero: never
	Err       error        // why they are not, or why there are none
}

// Options of a Resolver.
type Options struct {
	// Servers gives the resolvers that are asked, in their order; it is called for each resolution.
	Servers func() ([]dnsclient.Exchanger, error)
	Timeout time.Duration // of one query to one server
	// Deliver is given the outcome of each resolution. It must not block.
	Deliver    func(name string, o Outcome)
	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// Resolver resolves host names in the background.
type Resolver struct {
	options     Options
	wake        chan struct{}
	resolutions *prometheus.CounterVec
	age, names  *prometheus.Desc

	mu    sync.Mutex
	tasks map[string]*task
	queue queue
}

// task is one name that is followed.
type task struct {
	name     string
	due      time.Time
	families [2]family // IPv6, IPv4
	failures int
	outcome  Outcome
}

// family is what is known of the addresses of one type.
type family struct {
	addresses []netip.Addr
	at        time.Time // zero: nothing is
}

// New prepares a resolver; it works while Run does.
func New(o Options) (*Resolver, error) {
	r := &Resolver{
		options: o, wake: make(chan struct{}, 1), tasks: map[string]*task{},
		resolutions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dnsingress_alias_resolutions_total", Help: "Resolutions of host names outside, by what came of them: addresses, none or failure.",
		}, []string{"result"}),
		age:   prometheus.NewDesc("dnsingress_alias_age_seconds", "Time since the addresses of a host name outside were last confirmed; +Inf: never.", []string{"name"}, nil),
		names: prometheus.NewDesc("dnsingress_alias_names", "Host names outside that are followed.", nil, nil),
	}
	for _, c := range []prometheus.Collector{r.resolutions, r} {
		if err := o.Registerer.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return r, nil
}

// Follow begins with a name, canonical.
func (r *Resolver) Follow(name string) {
	r.mu.Lock()
	if r.tasks[name] == nil {
		t := &task{name: name, due: time.Now()}
		r.tasks[name] = t
		heap.Push(&r.queue, t)
	}
	r.mu.Unlock()
	r.rouse()
}

// Forget ends what Follow began.
func (r *Resolver) Forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.tasks, name) // what is in the queue is left there until it is due
}

func (r *Resolver) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run resolves until ctx ends.
func (r *Resolver) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	defer wait.Wait()
	free := make(chan struct{}, workers)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.wake:
		case <-timer.C:
		}
		for {
			t, due := r.next(time.Now())
			if t == nil {
				timer.Reset(max(0, time.Until(due)))
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case free <- struct{}{}:
			}
			wait.Go(func() {
				r.resolve(ctx, t)
				<-free
			})
		}
	}
}

// next takes the task that is due out of the queue; nil: none is until due.
func (r *Resolver) next(now time.Time) (t *task, due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) > 0 {
		t := r.queue[0]
		if r.tasks[t.name] == t && now.Before(t.due) {
			return nil, t.due
		}
		heap.Pop(&r.queue)
		if r.tasks[t.name] == t {
			return t, now
		}
	}
	return nil, now.Add(most)
}

// resolve asks for a task's name, tells the outcome and puts the task back.
func (r *Resolver) resolve(ctx context.Context, t *task) {
	life, result := r.ask(ctx, t)
	if ctx.Err() != nil {
		return
	}
	r.resolutions.WithLabelValues(result).Inc()
	r.mu.Lock()
	if r.tasks[t.name] != t {
		r.mu.Unlock()
		return
	}
	t.due = time.Now().Add(life)
	heap.Push(&r.queue, t)
	// Under the lock, so that no outcome comes after Forget has returned.
	r.options.Deliver(t.name, t.outcome)
	r.mu.Unlock()
	r.rouse()
}

// queue is tasks, the one that is due first in front.
type queue []*task

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(t any)        { *q = append(*q, t.(*task)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return t
}

// Describe implements prometheus.Collector.
func (r *Resolver) Describe(out chan<- *prometheus.Desc) { out <- r.age; out <- r.names }

// Collect implements prometheus.Collector.
func (r *Resolver) Collect(out chan<- prometheus.Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	out <- prometheus.MustNewConstMetric(r.names, prometheus.GaugeValue, float64(len(r.tasks)))
	for name, t := range r.tasks {
		age := math.Inf(1)
		if !t.outcome.At.IsZero() {
			age = max(0, now.Sub(t.outcome.At).Seconds())
		}
		out <- prometheus.MustNewConstMetric(r.age, prometheus.GaugeValue, age, name)
	}
}
