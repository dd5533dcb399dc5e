// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
)

// How often progress is shown: a terminal's line is drawn over, a log gets a line.
const (
	redrawEvery = 500 * time.Millisecond
	logEvery    = 5 * time.Second
)

// showProgress shows how far a run is until the returned function is called.
func showProgress(w io.Writer, rec *record.Recorder, start time.Time, length time.Duration) (stop func()) {
	every, print := logEvery, func(line string) { fmt.Fprintln(w, line) }
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		every, print = redrawEvery, func(line string) { fmt.Fprintf(w, "\r\x1b[K%s", line) }
	}
	done := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				print(progressLine(rec.Progress(), time.Since(start), length, every == redrawEvery))
			case <-done:
				if every == redrawEvery {
					print("")
				}
				return
			}
		}
	})
	return func() { close(done); shown.Wait() }
}

func progressLine(p record.Progress, passed, length time.Duration, bar bool) string {
	if passed < 0 {
		return fmt.Sprintf("starting in %s", (-passed).Round(time.Second))
	}
	passed = min(passed, length)
	var b strings.Builder
	if bar {
		const width = 20
		n := int(width * passed / length)
		b.WriteString("[" + strings.Repeat("=", n) + strings.Repeat(" ", width-n) + "] ")
	}
	fmt.Fprintf(&b, "%.0f/%.0fs  ", passed.Seconds(), length.Seconds())
	if p.Requests == 0 && p.Warmup > 0 {
		fmt.Fprintf(&b, "warming up, %d done", p.Warmup)
		return b.String()
	}
	fmt.Fprintf(&b, "%d done, %d ok, %d failed", p.Requests, p.Succeeded, p.Failed)
	if p.Dropped > 0 {
		fmt.Fprintf(&b, " (%d dropped)", p.Dropped)
	}
	if p.Succeeded > 0 {
		fmt.Fprintf(&b, "  p50 %s p99 %s  lag p99 %s", span(p.P50), span(p.P99), span(p.LagP99))
	}
	return b.String()
}
