// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/results"
)

const (
	logTail   = 16 << 10 // of a log that the page shows
	logBudget = 2 << 20  // of all logs together
	maxEvents = 200      // of a trial
)

// diary is what a trial tells beside its figures: what happened, and what programs printed.
type diary struct {
	Trial  *digest.Trial
	Events []digest.Event
	More   int // events that are not shown
	Logs   []logged
	Notes  []string // what could not be read
}

type logged struct {
	Name, Text string
	Bytes      int64 // of the whole file
	Cut        bool  // Text is its end alone
}

// diaries reads the ends of logs of every trial. What cannot be read is said in its place.
func diaries(run *digest.Run) []diary {
	budget := int64(logBudget)
	out := make([]diary, len(run.Trials))
	for i := range run.Trials {
		d := diary{Trial: &run.Trials[i]}
		d.Events = d.Trial.Events[:min(len(d.Trial.Events), maxEvents)]
		d.More = len(d.Trial.Events) - len(d.Events)
		d.readLogs(&budget)
		out[i] = d
	}
	return out
}

func (d *diary) note(err error) { d.Notes = append(d.Notes, err.Error()) }

func (d *diary) readLogs(budget *int64) {
	dir := filepath.Join(d.Trial.Dir, results.LogsDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.note(fmt.Errorf("listing logs: %w", err))
		}
		return
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		l, err := tail(filepath.Join(dir, e.Name()), min(logTail, *budget))
		if err != nil {
			d.note(err)
			continue
		}
		*budget -= int64(len(l.Text))
		d.Logs = append(d.Logs, l)
	}
}

// tail reads the last bytes of a log, from the begin of a line on.
func tail(path string, most int64) (logged, error) {
	l := logged{Name: filepath.Base(path)}
	f, err := os.Open(path)
	if err != nil {
		return l, fmt.Errorf("reading log: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return l, fmt.Errorf("reading log: %w", err)
	}
	l.Bytes = st.Size()
	from := max(0, l.Bytes-most)
	b, err := io.ReadAll(io.NewSectionReader(f, from, most))
	if err != nil {
		return l, fmt.Errorf("reading log: %w", err)
	}
	l.Text, l.Cut = string(b), from > 0
	if l.Cut {
		_, l.Text, _ = strings.Cut(l.Text, "\n")
	}
	if !utf8.ValidString(l.Text) {
		l.Text = strings.ToValidUTF8(l.Text, "�")
	}
	return l, nil
}
