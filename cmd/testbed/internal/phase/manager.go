// SPDX-License-Identifier: Apache-2.0

package phase

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Manager runs phases in order and tells people how far it is.
type Manager struct {
	Log *slog.Logger // nil: silent
	Out io.Writer    // progress lines: "[3/9] Boot the nodes … 4.2s"
	Dry bool         // print plans, run nothing
}

// Run runs the phases in order until one fails or ctx ends, then calls CleanUp of every phase that
// began, last first. The error is that of the phase, joined with those of the clean-ups. A phase that
// panics is cleaned up after like one that fails, and the panic goes on.
func (m *Manager) Run(ctx context.Context, phases ...Phase) (err error) {
	if m.Dry {
		return m.plan(phases)
	}
	var began []Phase
	defer func() {
		fresh := context.WithoutCancel(ctx)
		for i := len(began) - 1; i >= 0; i-- {
			if c, ok := began[i].(Cleaner); ok {
				err = errors.Join(err, m.cleanUp(fresh, c, began[i].Title()))
			}
		}
	}()
	for i, p := range phases {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s, ok := p.(Skipper); ok {
			reason, err := s.Skip(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", p.Title(), err)
			}
			if reason != "" {
				fmt.Fprintf(m.Out, "[%d/%d] %s … skipped: %s\n", i+1, len(phases), p.Title(), reason)
				continue
			}
		}
		fmt.Fprintf(m.Out, "[%d/%d] %s …\n", i+1, len(phases), p.Title())
		start := time.Now()
		began = append(began, p)
		if err := p.Run(ctx); err != nil {
			m.log().Debug("phase failed", "phase", p.Title(), "after", time.Since(start), "error", err)
			return fmt.Errorf("%s: %w", p.Title(), err)
		}
		fmt.Fprintf(m.Out, "[%d/%d] %s … %.1fs\n", i+1, len(phases), p.Title(), time.Since(start).Seconds())
	}
	return nil
}

// cleanUp keeps a panic of one clean-up from keeping the others from running.
func (m *Manager) cleanUp(ctx context.Context, c Cleaner, title string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cleaning up after %q: panic: %v", title, p)
		}
	}()
	if err := c.CleanUp(ctx); err != nil {
		return fmt.Errorf("cleaning up after %q: %w", title, err)
	}
	return nil
}

func (m *Manager) plan(phases []Phase) error {
	for i, p := range phases {
		fmt.Fprintf(m.Out, "[%d/%d] %s\n", i+1, len(phases), p.Title())
		if pl, ok := p.(Planner); ok {
			for _, line := range pl.Plan() {
				fmt.Fprintf(m.Out, "      %s\n", line)
			}
		}
	}
	return nil
}

func (m *Manager) log() *slog.Logger {
	if m.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return m.Log
}
