// SPDX-License-Identifier: Apache-2.0

// Package phase runs long work as a visible list of named steps, each of which may be skipped,
// planned without being done, and cleaned up after whatever happened.
package phase

import "context"

// Phase is one step of a run. A phase may also have the methods of Skipper, Cleaner and Planner.
type Phase interface {
	// Title says what the step does, as an imperative: "Boot the nodes".
	Title() string
	Run(ctx context.Context) error
}

// Skipper is a phase that can find its work already done.
type Skipper interface {
	// Skip returns a reason when the phase need not run; an error ends the run.
	Skip(ctx context.Context) (reason string, err error)
}

// Cleaner is a phase that leaves something to be undone at the end of the run.
type Cleaner interface {
	// CleanUp is called once for every phase whose Run began, in reverse order, also after a failure,
	// an interrupt or a panic. Its context is not ended by the run's.
	CleanUp(ctx context.Context) error
}

// Planner is a phase that can say what it would do.
type Planner interface {
	// Plan returns lines for people, usually one a host ("worker-1: boot, fd6e::11"). It changes nothing.
	Plan() []string
}

// Func returns a phase without any of the optional methods.
func Func(title string, run func(ctx context.Context) error) Phase { return &function{title, run} }

type function struct {
	title string
	run   func(ctx context.Context) error
}

func (f *function) Title() string                 { return f.title }
func (f *function) Run(ctx context.Context) error { return f.run(ctx) }
