// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// figures are what was measured of one system.
type figures struct {
	System, World, Note string
	Services            int
	Ready               time.Duration   // from its start until the last Service is answered
	RSS                 int64           // bytes, after that
	Settled             int64           // RSS once the changes were made
	StartCPU, CPU       float64         // seconds: until ready; while the changes were made
	Delays              []time.Duration // from before the write until answered
	Floors              []time.Duration // of the same changes until the bare watch hears of them
	Received            *histogram      // seconds from the watch event until answered, as the system itself counts; nil: it does not
	Lost                int             // changes that were not answered within the patience
}

// floor is a bare watch that notes when each change is heard of.
type floor struct {
	mu    sync.Mutex
	heard map[string]time.Time // by resourceVersion
	err   error
	wake  chan struct{}
}

func watchBare(ctx context.Context, c *kubernetes.Clientset, w world) (*floor, error) {
	events, err := w.watch(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("watching: %w", err)
	}
	f := &floor{heard: map[string]time.Time{}, wake: make(chan struct{}, 1)}
	go func() {
		for e := range events.ResultChan() {
			now := time.Now()
			if e.Type == watch.Error {
				f.mu.Lock()
				f.err = fmt.Errorf("watching: %v", e.Object)
				f.mu.Unlock()
				return
			}
			if o, err := meta.Accessor(e.Object); err == nil {
				f.mu.Lock()
				f.heard[o.GetResourceVersion()] = now
				f.mu.Unlock()
			}
			select {
			case f.wake <- struct{}{}:
			default:
			}
		}
	}()
	return f, nil
}

// when waits until the version has been heard of.
func (f *floor) when(ctx context.Context, version string) (time.Time, error) {
	for {
		f.mu.Lock()
		at, ok := f.heard[version]
		err := f.err
		f.mu.Unlock()
		if ok || err != nil {
			return at, err
		}
		select {
		case <-ctx.Done():
			return at, fmt.Errorf("version %s was not heard of: %w", version, context.Cause(ctx))
		case <-f.wake:
		}
	}
}

// plan says how changes are made.
type plan struct {
	changes  int
	pace     time.Duration
	patience time.Duration // for one change to be answered
	poll     time.Duration // between two questions
	seed     uint64
}

// await asks for Service i until the answer is as it should be.
func await(ctx context.Context, a answerer, i int, right func([]netip.Addr) bool, poll, patience time.Duration) (time.Time, error) {
	var last error
	for end := time.Now().Add(patience); ; {
		answer, err := a(i)
		now := time.Now()
		switch {
		case err == nil && right(answer):
			return now, nil
		case now.After(end):
			return now, fmt.Errorf("awaiting the answer of Service %d: it is %v after %v: %w", i, answer, patience, last)
		}
		last = err
		if poll > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(poll):
			}
		}
		if ctx.Err() != nil {
			return now, context.Cause(ctx)
		}
	}
}

// measure starts the system, waits until it answers for the first and the last Service, and makes the changes.
func measure(ctx context.Context, s *system, w world, api *apiserver, services int, dir string, p plan) (*figures, error) {
	f := &figures{System: s.name, World: s.world, Note: s.note, Services: services}
	proc, ask, err := s.start(ctx, s, api.kubeconfig, dir)
	if err != nil {
		return nil, err
	}
	defer proc.stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		<-proc.ended
		cancel(fmt.Errorf("%s ended (hint: its log is %s)", s.name, proc.log))
	}()
	some := func(a []netip.Addr) bool { return len(a) > 0 }
	ready := proc.began
	for _, i := range []int{0, services / 2, services - 1} {
		if ready, err = await(ctx, ask, i, some, 5*time.Millisecond, 15*time.Minute); err != nil {
			return nil, fmt.Errorf("starting %s: %w (hint: its log is %s)", s.name, err, proc.log)
		}
	}
	f.Ready = ready.Sub(proc.began)
	if f.StartCPU, f.RSS, err = proc.usage(); err != nil {
		return nil, err
	}
	bare, err := watchBare(ctx, api.client, w)
	if err != nil {
		return nil, err
	}
	before, err := proc.received(ctx)
	if err != nil {
		return nil, err
	}
	idle, _, err := proc.usage() // asking for metrics costs, too
	if err != nil {
		return nil, err
	}
	type change struct {
		delay time.Duration
		floor time.Duration
		err   error
	}
	random := rand.New(rand.NewPCG(p.seed, uint64(services)))
	// Each change is of another Service, so that slow systems can be waited for while the next changes are made.
	which := random.Perm(services)[:min(p.changes, services)]
	done := make(chan change, len(which))
	tick := time.NewTicker(p.pace)
	defer tick.Stop()
	for _, i := range which {
		began := time.Now()
		right, version, err := w.change(ctx, api.client, i)
		if err != nil {
			return nil, fmt.Errorf("changing Service %d: %w", i, err)
		}
		one := func() (c change) {
			seen, err := await(ctx, ask, i, right, p.poll, p.patience)
			if err != nil {
				c.err = err
				return c
			}
			heard, err := bare.when(ctx, version)
			return change{seen.Sub(began), heard.Sub(began), err}
		}
		if p.pace >= time.Second {
			go func() { done <- one() }()
		} else {
			done <- one()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	for range which {
		c := <-done
		if c.err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			f.Lost++
			continue
		}
		f.Delays, f.Floors = append(f.Delays, c.delay), append(f.Floors, c.floor)
	}
	slices.Sort(f.Delays)
	slices.Sort(f.Floors)
	busy, settled, err := proc.usage()
	if err != nil {
		return nil, err
	}
	f.CPU, f.Settled = busy-idle, settled
	if f.Received, err = proc.received(ctx); err != nil {
		return nil, err
	}
	f.Received.less(before)
	return f, nil
}
