// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/live"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/search"
)

// findFlags say what --find-max looks for.
type findFlags struct {
	on        bool
	goal      search.Goal
	most      float64
	precision float64
	step      time.Duration
}

func (f *findFlags) register(fs *pflag.FlagSet) {
	fs.BoolVar(&f.on, "find-max", false, "search the highest rate that keeps the --slo-… flags, from --rate on; --duration is of the run that confirms it")
	fs.DurationVar(&f.goal.P99, "slo-p99", 100*time.Millisecond, "find-max: highest p99 of the latency (0: any)")
	fs.Float64Var(&f.goal.Success, "slo-success", 0.999, "find-max: least share of requests that succeed")
	fs.Float64Var(&f.goal.SendRate, "slo-send-rate", 0.99, "find-max: least share of requests that are sent within --max-lag of when they are due")
	fs.Float64Var(&f.most, "max-rate", 1e6, "find-max: no higher rate is tried")
	fs.Float64Var(&f.precision, "precision", 0.05, "find-max: how close to the first rate that fails the search ends, as a share")
	fs.DurationVar(&f.step, "step", 5*time.Second, "find-max: length of each step")
}

func (f *findFlags) check(p *problems, l *loadFlags) {
	if !f.on {
		return
	}
	p.check(l.profile == "" && l.trace == "", "--find-max searches the rate: --profile and --trace exclude it")
	p.check(l.startAt == "" || l.startAt == "0", "--find-max starts at once: --start-at excludes it")
	p.check(f.goal.P99 >= 0, "--slo-p99 must not be negative")
	p.check(f.goal.Success >= 0 && f.goal.Success <= 1, "--slo-success must be between 0 and 1, not %g", f.goal.Success)
	p.check(f.goal.SendRate >= 0 && f.goal.SendRate <= 1, "--slo-send-rate must be between 0 and 1, not %g", f.goal.SendRate)
	p.check(f.most > 0 && f.most <= 1e6, "--max-rate must be above 0 and at most 1e6, not %g", f.most)
	p.check(f.precision >= 0.001 && f.precision <= 1, "--precision must be between 0.001 and 1, not %g", f.precision)
	p.check(f.step > 0, "--step must be positive")
}

// leastRequests are those of a step at the least rate that is tried: fewer tell nothing.
const leastRequests = 20

// search looks for the highest rate. The outcome is that of the last confirming run, with the search beside it.
func (f *loadFlags) search(ctx context.Context, j job, title string, server *live.Server, stderr io.Writer) (last outcome, err error) {
	defer j.close()
	rate, length, out := f.rate, f.duration, f.out
	confirming := 0
	defer func() { f.rate, f.duration, f.out = rate, length, out }()
	account, err := search.Run(ctx, search.Options{Goal: f.find.goal, From: rate, Most: f.find.most, Least: leastRequests / f.find.step.Seconds(), Precision: f.find.precision},
		func(ctx context.Context, rate float64, confirms bool) (search.Measured, error) {
			f.rate, f.duration, f.out = rate, f.find.step, ""
			if confirms {
				f.duration, f.out = length, out
				if confirming++; out != "" && confirming > 1 {
					f.out = filepath.Join(out, fmt.Sprintf("confirming-%d", confirming))
				}
			}
			o, err := f.measure(ctx, &j, fmt.Sprintf("%s, at %.6g/s", title, rate), server, stderr, false)
			if err != nil {
				return search.Measured{}, err
			}
			last = o
			m := f.measured(&o)
			if !f.quiet {
				fmt.Fprintf(stderr, "%.6g/s for %s: p99 %s, %.3f %% succeeded, %.2f %% sent in time\n",
					rate, f.duration, live.Span(m.P99), 100*m.Success, 100*m.SendRate)
			}
			return m, nil
		})
	last.Search = &account
	if err == nil && !account.Confirmed {
		err = fmt.Errorf("no rate was found that keeps the goal: %s", account.Why)
	}
	if account.LimitedBy == search.Generator {
		last.Warnings = append(last.Warnings, "the generator was the limit, not the service: the highest rate may be above the one found ("+account.Why+")")
	}
	return last, err
}

func (f *loadFlags) measured(o *outcome) search.Measured {
	due := float64(max(o.Requests, 1))
	m := search.Measured{P99: time.Duration(o.Latency.Total.P99), Success: float64(o.Succeeded) / due, SendRate: float64(o.InTime) / due}
	if !o.Verdict.Valid {
		m.Invalid = o.Verdict.Reasons
	}
	if o.Errors[results.ErrOther] > 0 {
		m.Invalid = append(m.Invalid, "this machine could not make some requests: "+o.Causes[results.ErrOther])
	}
	return m
}
