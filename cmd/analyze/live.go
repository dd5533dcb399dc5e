// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/figure"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/live"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/table"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/results"
)

func liveCommand(stdout, stderr io.Writer) *cobra.Command {
	var l watching
	c := &cobra.Command{
		Use:   "live DIR",
		Short: "Follow a run while it goes on",
		Long: `Follow a run while it goes on, until it has ended or is interrupted.

DIR is a run, or the directory of an experiment, of which the newest run is followed. Every trial is read once, when it has its
verdict. A terminal shows the result so far, redrawn; elsewhere each trial is a line, and the result comes at the end.
--report keeps a page up to date that a browser loads again by itself.`,
		Example: "  analyze live results/quickstart\n  analyze live --report /tmp/live.html results/quickstart/20261121T200000Z",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l.stdout, l.stderr, l.terminal = stdout, stderr, isTerminal(stdout)
			return l.follow(cmd.Context(), args[0])
		},
	}
	c.Flags().StringVar(&l.report, "report", "", "keep a report of the run so far in this file")
	c.Flags().BoolVar(&l.dryRun, "dry-run", false, "write no report")
	return c
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

type watching struct {
	stdout, stderr io.Writer
	terminal       bool
	report         string
	dryRun         bool
}

// refresh is how often a browser loads the page of a run that goes on, in seconds.
const refresh = 5

func (l *watching) follow(ctx context.Context, dir string) error {
	dir, err := live.Newest(dir)
	if err == nil {
		err = live.Follow(ctx, dir, l.see)
	}
	if errors.Is(err, results.ErrNoRun) || errors.Is(err, results.ErrSchema) {
		return &cli.MisuseError{Err: err}
	}
	return err
}

func (l *watching) see(s live.State) error {
	var b strings.Builder
	sheet := lay(s.Run, nil)
	switch {
	case l.terminal:
		b.WriteString("\x1b[H\x1b[2J")
		if err := l.overview(&b, s, sheet); err != nil {
			return err
		}
	default:
		for i := range s.Fresh {
			fmt.Fprintln(&b, line(&s.Fresh[i]))
		}
		if s.Finished {
			if err := l.overview(&b, s, sheet); err != nil {
				return err
			}
		}
	}
	if _, err := io.WriteString(l.stdout, b.String()); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	if l.report == "" || l.dryRun {
		return nil
	}
	sheet = lay(s.Run, figure.Defaults())
	return replaceFile(l.report, func(w io.Writer) error {
		page := sheet.page()
		if !s.Finished {
			page.Refresh = refresh
		}
		return page.Write(w)
	})
}

// line is a trial for people.
func line(t *digest.Trial) string {
	s := t.ID + "  "
	if !t.Used() {
		return s + "not valid: " + strings.Join(t.Verdict.Reasons, "; ")
	}
	s += fmt.Sprintf("valid, %d of %d requests failed", t.Failed, t.Requests)
	if t.Latency != nil {
		for _, p := range []float64{50, 99} {
			if ns, ok := t.Latency.PercentileNs(p); ok {
				s += fmt.Sprintf(", p%.0f %s ms", p, table.Round(float64(ns)/1e6))
			}
		}
	}
	if t.Fault != nil {
		s += ", error window " + table.Round(sec(t.Outage.DurationNs())) + " s"
		if t.StillFailing() {
			s += " or more"
		}
	}
	return s
}

// overview writes the result so far and what goes on.
func (l *watching) overview(b *strings.Builder, s live.State, sheet *sheet) error {
	m := s.Run.Manifest
	valid := 0
	for i := range s.Run.Trials {
		if s.Run.Trials[i].Used() {
			valid++
		}
	}
	fmt.Fprintf(b, "%s %s on %s: %d trials, %d of them valid\n", m.Experiment, m.RunID, m.Substrate, len(s.Run.Trials), valid)
	switch {
	case s.Finished:
		fmt.Fprintf(b, "finished %s\n", m.Finished.UTC().Format("2006-01-02 15:04:05 UTC"))
	case s.Running != "":
		fmt.Fprintf(b, "now %s (%s)\n", s.Running, s.Phase)
	}
	for _, t := range sheet.tables {
		if t.quiet || len(t.Rows) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n%s\n\n", t.Caption)
		if err := t.Markdown(b); err != nil {
			return err
		}
	}
	if n := len(s.Run.Trials); l.terminal && n > 0 {
		fmt.Fprintf(b, "\nlast: %s\n", line(&s.Run.Trials[n-1]))
	}
	return nil
}
