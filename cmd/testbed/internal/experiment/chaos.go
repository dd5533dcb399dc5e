// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/fault"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/internal/results"
)

// struck is a fault of chaos with its target.
type struck struct {
	scenario.Fault
	fault  fault.Fault
	target fault.Target
	begun  chan error // closed when its Begin has returned, after what it returned; nil before it was called
	began  fault.Instant
	ended  bool
}

// aimChaos chooses the targets of all faults of the steps, before anything is loaded.
func (t *trial) aimChaos(ctx context.Context) error {
	if len(t.cell.Trials.Chaos) == 0 {
		return nil
	}
	rng := t.random("target")
	for _, f := range t.cell.Trials.Faults() {
		made, target, err := t.aim(ctx, f, rng)
		if err != nil {
			return err
		}
		t.struck = append(t.struck, &struck{Fault: f, fault: made, target: target})
	}
	t.aimed = t.struck[0].target
	return nil
}

// disturb does the steps of chaos, the first at the begin of the window.
func (t *trial) disturb(ctx context.Context, open, shut time.Time) error {
	ctx, cancel := context.WithDeadlineCause(ctx, shut, errors.New("the window ended before the steps of chaos did"))
	defer cancel()
	now := open // faults are punctual: steps are counted from the instant that they are due
	if err := until(ctx, now); err != nil {
		return err
	}
	injected := 0
	for _, step := range t.cell.Trials.Chaos {
		switch {
		case step.Mark != "":
			t.mark(step.Mark)
		case step.Wait > 0:
			now = now.Add(step.Wait)
			if err := until(ctx, now); err != nil {
				return err
			}
		case step.Inject != "":
			t.inject(ctx, t.struck[injected], now)
			injected++
		case step.Withdraw != "":
			if err := t.withdraw(ctx, step.Withdraw, now); err != nil {
				return err
			}
			now = later(now)
		case step.Recover > 0:
			if err := t.recovers(ctx, step.Recover); err != nil {
				return err
			}
			now = later(now)
		}
	}
	return nil
}

// later is the instant t, or now when that has passed.
func later(t time.Time) time.Time {
	if now := time.Now(); now.After(t) {
		return now
	}
	return t
}

// until waits for an instant.
func until(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// mark writes an event that figures are counted from.
func (t *trial) mark(name string) {
	t.event(results.Event{UnixNs: time.Now().UnixNano(), Kind: results.EventMark, Name: name})
}

// inject begins a fault and waits for nothing: a node that cannot be asked meanwhile tells of it when it is back.
func (t *trial) inject(ctx context.Context, s *struck, at time.Time) {
	s.begun = make(chan error, 1)
	go func() {
		defer close(s.begun)
		begin, err := s.fault.Begin(ctx, at)
		if !begin.Before.IsZero() {
			s.began = begin
		}
		s.begun <- err
	}()
}

// withdraw ends a fault of a kind that stands, and notes both its edges.
func (t *trial) withdraw(ctx context.Context, kind string, at time.Time) error {
	i := slices.IndexFunc(t.struck, func(s *struck) bool { return s.Kind == kind && s.begun != nil && !s.ended })
	if i < 0 {
		return fmt.Errorf("withdrawing %s: it does not stand", kind)
	}
	s := t.struck[i]
	select {
	case err := <-s.begun:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	t.edge(s.Fault, s.target, "begin", s.began)
	end, err := s.fault.End(ctx, at)
	if err != nil {
		return err
	}
	s.ended = true
	t.edge(s.Fault, s.target, "end", end)
	if t.out.Fault == nil { // the first is the trial's
		t.out.Fault = &results.Fault{Kind: s.Kind, Node: s.target.Node, Target: s.target.Name, BeginNs: s.began.Before.UnixNano()}
	}
	t.out.Fault.EndNs = max(t.out.Fault.EndNs, end.Before.UnixNano())
	return nil
}

// recovers waits until everything that was broken is as before.
func (t *trial) recovers(ctx context.Context, most time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("not all is healthy again within %s", most))
	defer cancel()
	begin := time.Now()
	for _, s := range t.struck {
		if err := s.fault.Recover(ctx); err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
	t.recovery = time.Since(begin)
	return nil
}

// edge notes the begin or the end of a fault.
func (t *trial) edge(f scenario.Fault, target fault.Target, edge string, at fault.Instant) {
	clock := at.Clock
	if clock == "" {
		clock = "orchestrator"
	}
	t.event(results.Event{
		UnixNs: at.Before.UnixNano(), Kind: results.EventFault, Name: f.Kind, Node: target.Node, Target: target.Name,
		Detail: map[string]string{"edge": edge, "clock": clock, "within_ns": strconv.FormatInt(int64(at.After.Sub(at.Before)), 10)},
	})
}

// calm ends what is left of chaos, whatever happened.
func (t *trial) calm(ctx context.Context) error {
	var errs []error
	for _, s := range t.struck {
		if s.begun == nil { // the trial ended before it was to begin
			continue
		}
		for range s.begun { // what it is in the midst of
		}
		_, err := s.fault.End(ctx, time.Now())
		errs = append(errs, err, s.fault.Recover(ctx))
	}
	return errors.Join(errs...)
}
