// SPDX-License-Identifier: Apache-2.0

// Package live shows a run while it goes on: on a terminal, to Prometheus, and to a "loadgen watch" that shows several
// generators as one. All are read off cumulative counts and histograms, so that what several show adds up exactly.
package live

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
)

// How often a run is shown: a terminal's view is drawn over, a log gets a line.
const (
	redrawEvery = 500 * time.Millisecond
	logEvery    = 5 * time.Second
)

// Frame is what is shown at an instant.
type Frame struct {
	Title          string
	Passed, Length time.Duration   // since the start of the schedule; of all of it
	All            record.Progress // of the window so far
	Now            record.Progress // since the last frame
	Since          time.Duration   // the last frame
	Sources        []string        // a line each, of generators that are shown together
}

// Show draws frames on w until the returned function is called: on a terminal a view that is drawn over, else a line now
// and then. Look is asked for where the run stands; it leaves Now and Since to Show.
func Show(w io.Writer, look func() Frame) (stop func()) {
	every, draw := logEvery, func(f Frame) { fmt.Fprintln(w, Line(f)) }
	clear := func() {}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s := screen{w: w, width: func() int { n, _, _ := term.GetSize(int(f.Fd())); return n }}
		every, draw, clear = redrawEvery, func(f Frame) { s.draw(Lines(f)) }, func() { s.draw(nil) }
	}
	done := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		last, at := look().All, time.Now()
		for {
			select {
			case now := <-tick.C:
				f := look()
				f.Now, f.Since = f.All.Since(&last), now.Sub(at)
				last, at = f.All, now
				draw(f)
			case <-done:
				clear()
				return
			}
		}
	})
	return func() { close(done); shown.Wait() }
}

// screen draws lines over those that it drew before.
type screen struct {
	w     io.Writer
	width func() int
	lines int
}

func (s *screen) draw(lines []string) {
	var b strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.lines)
	}
	b.WriteString("\r\x1b[J")
	width := s.width()
	for _, l := range lines {
		// A line that wraps would be two when it is drawn over.
		if r := []rune(l); width > 0 && len(r) > width {
			l = string(r[:width])
		}
		b.WriteString(l + "\n")
	}
	s.lines = len(lines)
	_, _ = io.WriteString(s.w, b.String())
}

// Line shows a frame in a line.
func Line(f Frame) string {
	if f.Passed < 0 {
		return fmt.Sprintf("starting in %s", (-f.Passed).Round(time.Second))
	}
	p := &f.All
	at := fmt.Sprintf("%.0f/%.0fs  ", min(f.Passed, f.Length).Seconds(), f.Length.Seconds())
	if p.Requests == 0 && p.Warmup > 0 {
		return at + fmt.Sprintf("warming up, %d done", p.Warmup)
	}
	at += fmt.Sprintf("%d done, %d ok, %d failed", p.Requests, p.Succeeded, p.Failed())
	if p.Dropped > 0 {
		at += fmt.Sprintf(" (%d dropped)", p.Dropped)
	}
	if p.Succeeded > 0 {
		at += fmt.Sprintf("  p50 %s p99 %s  lag p99 %s", quantile(p, 50), quantile(p, 99), lag(p))
	}
	return at
}

func quantile(p *record.Progress, q float64) string {
	return Span(time.Duration(p.Total.ValueAtPercentile(q)))
}

func lag(p *record.Progress) string { return Span(time.Duration(p.Lag.ValueAtPercentile(99))) }

// Lines shows a frame as a view of several lines: what came since the last frame beside the whole window.
func Lines(f Frame) []string {
	const width = 40
	if f.Passed < 0 {
		return []string{f.Title, "starting in " + (-f.Passed).Round(time.Second).String()}
	}
	passed := min(f.Passed, f.Length)
	n := int(width * passed / max(f.Length, 1))
	out := []string{
		f.Title,
		fmt.Sprintf("[%s%s] %.0f/%.0f s", strings.Repeat("=", n), strings.Repeat(" ", width-n), passed.Seconds(), f.Length.Seconds()),
	}
	if f.All.Requests == 0 && f.All.Warmup > 0 {
		return append(out, fmt.Sprintf("warming up, %d done", f.All.Warmup))
	}
	row := func(name, now, all string) { out = append(out, fmt.Sprintf("%-12s %14s %14s", name, now, all)) }
	row("", "now", "all")
	row("rate", perSecond(f.Now.Requests, f.Since), fmt.Sprintf("%d due", f.All.Requests))
	row("succeeded", Share(f.Now.Succeeded, f.Now.Requests), Share(f.All.Succeeded, f.All.Requests))
	for _, q := range []float64{50, 90, 99, 99.9} {
		row(fmt.Sprintf("p%g", q), quantile(&f.Now, q), quantile(&f.All, q))
	}
	row("lag p99", lag(&f.Now), lag(&f.All))
	row("late", fmt.Sprint(f.Now.Late), fmt.Sprint(f.All.Late))
	if f.Since > 0 {
		row("cpu", fmt.Sprintf("%.2f cores", f.Now.CPU.Seconds()/f.Since.Seconds()), "")
	}
	for _, class := range slices.Sorted(maps.Keys(f.All.Errors)) {
		row(class, fmt.Sprint(f.Now.Errors[class]), fmt.Sprint(f.All.Errors[class]))
	}
	return append(out, f.Sources...)
}

func perSecond(n uint64, d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f/s", float64(n)/d.Seconds())
}

// Share prints part of whole in per cent.
func Share(part, whole uint64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(part)/float64(whole))
}

// Span prints a duration with three digits.
func Span(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	case d < 1000*time.Second:
		return fmt.Sprintf("%.3g s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
