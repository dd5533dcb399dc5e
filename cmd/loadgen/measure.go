// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/accuracy"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/clock"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/live"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/openloop"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/search"
)

// job is what is done when a request is due.
type job struct {
	title    string // says in a line what is done
	attempts int    // at most, for one request
	users    int    // whom requests are drawn for
	do       func(user int, hit openloop.Hit, note record.Note)
	// flow, in place of do, executes a plan by itself, as a thread that sends in batches does.
	flow func(ctx context.Context, p openloop.Plan, note record.Note) error
	lone bool                 // flow is one thread, which waits in system calls
	draw func(seq uint64) int // which user makes a request; nil: one drawn evenly
	// weight is about how many plain HTTP requests the execution of one hit costs; 0 is one.
	weight float64
	hold   time.Duration // what a request may last beyond its attempts' timeouts, as for thinking
	// settle, where there is one, waits for what is still to be noted of a run that is over.
	settle func()
	close  func()
	// account adds to the outcome what the job alone knows; it is called when a run is over.
	account func(*outcome) error
}

// outcome is what is known after a run.
type outcome struct {
	record.Summary
	Clocks   *clock.Account    `json:"clocks,omitempty"`
	Accuracy *accuracy.Account `json:"accuracy,omitempty"`
	Search   *search.Account   `json:"search,omitempty"`
}

// run generates the load, records it, and prints the outcome.
func (f *loadFlags) run(ctx context.Context, j job, stdout, stderr io.Writer) error {
	title := j.title + ", " + f.describeLoad()
	var server *live.Server
	var clocks clock.Account
	if f.metrics != "" {
		var err error
		if server, err = live.Serve(f.metrics); err != nil {
			return err
		}
		defer server.Leave(ctx, f.peers)
		if clocks.Before, err = f.lookAtClocks(ctx); err != nil {
			return err
		}
	}
	var o outcome
	var err error
	if f.find.on {
		o, err = f.search(ctx, j, title, server, stderr)
	} else {
		o, err = f.measure(ctx, &j, title, server, stderr, true)
	}
	if o.WindowStartNs == 0 {
		return err // nothing was begun
	}
	if f.metrics != "" {
		clocks.After = live.Clocks(context.WithoutCancel(ctx), f.peers, linger)
		o.Clocks = &clocks
		o.invalid(clocks.Judge(f.maxClock)...)
	}
	if err == nil || ctx.Err() != nil {
		err = errors.Join(f.keep(&o), err)
	}
	err = errors.Join(writeSummary(stdout, f.output, title, &o), err)
	if err == nil && !o.Verdict.Valid {
		return f.disown(&o, stderr)
	}
	return err
}

// disown says of a run that is whole that its figures are not to be used.
func (f *loadFlags) disown(o *outcome, stderr io.Writer) error {
	invalid := fmt.Errorf("INVALID, these figures are not to be used: %s", strings.Join(o.Verdict.Reasons, "; "))
	if f.requireValid {
		return invalid
	}
	fmt.Fprintf(stderr, "loadgen: %v (hint: --require-valid makes this exit code 1)\n", invalid)
	return nil
}

// linger bounds how long peers' clocks are asked for.
const linger = 10 * time.Second

// lookAtClocks asks peers for their clocks, early enough for the start.
func (f *loadFlags) lookAtClocks(ctx context.Context) (clock.Look, error) {
	within := linger
	if !f.start.IsZero() {
		within = min(within, time.Until(f.start)*3/4)
	}
	l := live.Clocks(ctx, f.peers, within)
	return l, ctx.Err()
}

// invalid adds reasons for which the figures are not to be used.
func (o *outcome) invalid(reasons ...string) {
	if len(reasons) > 0 {
		o.Verdict = results.Verdict{Reasons: append(o.Verdict.Reasons, reasons...)}
	}
}

// keep writes what programs read of the outcome. The generator's account comes last, and only beside files that are whole:
// who finds it may rely on them.
func (f *loadFlags) keep(o *outcome) error {
	if f.out == "" {
		return nil
	}
	if err := results.WriteJSON(filepath.Join(f.out, record.SummaryFile), o); err != nil {
		return err
	}
	return results.WriteJSON(filepath.Join(f.out, record.GeneratorFile), struct {
		record.Account
		Clocks *clock.Account `json:"clocks,omitempty"`
	}{o.Account(), o.Clocks})
}

// measure makes one run. With final, the job is closed when the run is over.
func (f *loadFlags) measure(ctx context.Context, j *job, title string, server *live.Server, stderr io.Writer, final bool) (o outcome, err error) {
	closed := !final
	defer func() {
		if !closed {
			j.close()
		}
	}()
	start := openloop.At(time.Now())
	if !f.start.IsZero() {
		if late := time.Since(f.start); late > 0 {
			return o, cli.Misuse("--start-at is %s ago (hint: start generators some seconds ahead; are the clocks in step?)", late.Round(time.Millisecond))
		}
		start = openloop.At(f.start)
	}
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	f.tune(j)
	rec, err := record.New(record.Options{Dir: f.out, Begin: start.Add(f.warmup), Thin: f.thin, Bounds: f.bounds, CPUs: j.cpus(), Fail: fail})
	if err != nil {
		return o, err
	}
	drawn := f.seeded("requests").Uint64()
	user := j.draw
	if user == nil {
		user = func(seq uint64) int { return userOf(drawn, seq, j.users) }
	}
	plan := openloop.Plan{
		Start:       start,
		Schedule:    f.schedule(),
		Window:      f.warmup,
		Length:      f.warmup + f.duration,
		MaxInFlight: f.inFlight(j),
		Drop: func(h openloop.Hit) {
			rec.Add(&results.Sample{
				Client: f.client, User: int32(user(h.Seq)), Seq: h.Seq,
				IntendedNs: h.Intended.UnixNano(), Error: results.ErrDropped,
			}, true, nil)
		},
		Open:  rec.Open,
		Close: rec.Shut,
	}
	if server != nil {
		server.Show(live.Run{Client: f.client, Title: title, Start: start, Length: plan.Length, Look: rec.Progress})
	}
	stop := func() {}
	if !f.quiet {
		stop = live.Show(stderr, func() live.Frame {
			return live.Frame{Title: title, Passed: time.Since(start), Length: plan.Length, All: rec.Progress()}
		})
	}
	var ran error
	if j.flow != nil {
		ran = j.flow(running, plan, rec.Add)
	} else {
		loop := openloop.Loop{Plan: plan, Do: func(h openloop.Hit) { j.do(user(h.Seq), h, rec.Add) }}
		ran = loop.Run(running)
	}
	stop()
	if j.settle != nil {
		j.settle()
	}
	if final {
		closed = true
		j.close() // before the recorder is: what users still have under way is noted
	}
	o.Summary, err = rec.Close(ran == nil, f.duration)
	if ctx.Err() != nil {
		ran = ctx.Err() // a signal
	} else if err != nil {
		ran = nil // the writing error that ended the run is err
	}
	if j.account != nil {
		err = errors.Join(err, j.account(&o))
	}
	return o, errors.Join(err, ran)
}
