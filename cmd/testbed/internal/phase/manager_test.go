// SPDX-License-Identifier: Apache-2.0

package phase_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/phase"
)

// step is a phase with every optional method; it writes what is called to the shared trace.
type step struct {
	name     string
	trace    *[]string
	skip     string
	run      func(ctx context.Context) error
	cleanErr error
	cleanCtx error // ctx.Err() seen by CleanUp
	panics   bool  // in CleanUp
}

func (s *step) Title() string { return s.name }

func (s *step) Skip(context.Context) (string, error) { return s.skip, nil }

func (s *step) Run(ctx context.Context) error {
	*s.trace = append(*s.trace, "run "+s.name)
	if s.run == nil {
		return nil
	}
	return s.run(ctx)
}

func (s *step) CleanUp(ctx context.Context) error {
	*s.trace = append(*s.trace, "clean "+s.name)
	s.cleanCtx = ctx.Err()
	if s.panics {
		panic("clean " + s.name)
	}
	return s.cleanErr
}

func (s *step) Plan() []string { return []string{"host-1: " + s.name} }

var errBroken = errors.New("broken")

func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tests := []struct {
		name  string
		steps []*step
		want  []string
		err   error
	}{
		{
			name:  "all",
			steps: []*step{{name: "a"}, {name: "b"}},
			want:  []string{"run a", "run b", "clean b", "clean a"},
		},
		{
			name:  "skipped is not cleaned",
			steps: []*step{{name: "a"}, {name: "b", skip: "done before"}, {name: "c"}},
			want:  []string{"run a", "run c", "clean c", "clean a"},
		},
		{
			name:  "failure",
			steps: []*step{{name: "a"}, {name: "b", run: func(context.Context) error { return errBroken }}, {name: "c"}},
			want:  []string{"run a", "run b", "clean b", "clean a"},
			err:   errBroken,
		},
		{
			name:  "interrupt",
			steps: []*step{{name: "a"}, {name: "b", run: func(ctx context.Context) error { cancel(); return ctx.Err() }}, {name: "c"}},
			want:  []string{"run a", "run b", "clean b", "clean a"},
			err:   context.Canceled,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			runCtx := context.Background()
			if tt.name == "interrupt" {
				runCtx = ctx
			}
			var trace []string
			err := (&phase.Manager{Out: &bytes.Buffer{}}).Run(runCtx, phases(&trace, tt.steps)...)
			if !slices.Equal(trace, tt.want) {
				t.Errorf("calls: %q, want %q", trace, tt.want)
			}
			if !errors.Is(err, tt.err) || (tt.err == nil && err != nil) {
				t.Errorf("error: %v, want %v", err, tt.err)
			}
			for _, s := range tt.steps {
				if s.cleanCtx != nil {
					t.Errorf("CleanUp of %s got an ended context: %v", s.name, s.cleanCtx)
				}
			}
		})
	}
}

func TestCleanUpErrorsAreJoinedAndPanicsHeld(t *testing.T) {
	var trace []string
	err := (&phase.Manager{Out: &bytes.Buffer{}}).Run(context.Background(), phases(&trace, []*step{
		{name: "a", cleanErr: errBroken}, {name: "b", panics: true}, {name: "c"},
	})...)
	if want := []string{"run a", "run b", "run c", "clean c", "clean b", "clean a"}; !slices.Equal(trace, want) {
		t.Errorf("calls: %q, want %q", trace, want)
	}
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), `cleaning up after "b": panic: clean b`) {
		t.Errorf("error: %v", err)
	}
}

func TestPanicCleansUpAndGoesOn(t *testing.T) {
	var trace []string
	defer func() {
		if p := recover(); fmt.Sprint(p) != "boom" {
			t.Errorf("recovered %v, want the phase's panic", p)
		}
		if want := []string{"run a", "run b", "clean b", "clean a"}; !slices.Equal(trace, want) {
			t.Errorf("calls: %q, want %q", trace, want)
		}
	}()
	_ = (&phase.Manager{Out: &bytes.Buffer{}}).Run(context.Background(), phases(&trace, []*step{
		{name: "a"}, {name: "b", run: func(context.Context) error { panic("boom") }},
	})...)
}

func TestDryRunPlansAndRunsNothing(t *testing.T) {
	var trace []string
	var out bytes.Buffer
	steps := append(phases(&trace, []*step{{name: "Boot"}}), phase.Func("Talk", func(context.Context) error { return errBroken }))
	if err := (&phase.Manager{Out: &out, Dry: true}).Run(context.Background(), steps...); err != nil {
		t.Fatal(err)
	}
	if want := "[1/2] Boot\n      host-1: Boot\n[2/2] Talk\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
	if len(trace) != 0 {
		t.Errorf("a dry run called %q", trace)
	}
}

func TestProgress(t *testing.T) {
	var trace []string
	var out bytes.Buffer
	if err := (&phase.Manager{Out: &out}).Run(context.Background(), phases(&trace, []*step{{name: "Boot"}, {name: "Wait", skip: "up since noon"}})...); err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^\[1/2\] Boot …\n\[1/2\] Boot … \d+\.\ds\n\[2/2\] Wait … skipped: up since noon\n$`)
	if !want.Match(out.Bytes()) {
		t.Errorf("printed %q", out.String())
	}
}

func phases(trace *[]string, steps []*step) []phase.Phase {
	all := make([]phase.Phase, len(steps))
	for i, s := range steps {
		s.trace = trace
		all[i] = s
	}
	return all
}
