// SPDX-License-Identifier: Apache-2.0

package openloop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// Trace is a recorded series of sends, replayed as it was. It is a vegeta pacer.
type Trace struct {
	path    string
	offsets []time.Duration // from the first send, in order
}

// maxTraceFaults bounds how many wrong lines one error tells of.
const maxTraceFaults = 10

// ReadTrace reads a trace: one instant a line, in seconds with fractions, counted from anywhere (Unix time will do),
// in order. Empty lines and those that begin with # are skipped. The first instant is the schedule's start.
func ReadTrace(path string) (*Trace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the trace: %w", err)
	}
	defer f.Close()
	return readTrace(f, path)
}

func readTrace(from io.Reader, path string) (*Trace, error) {
	t := &Trace{path: path}
	var errs []error
	wrong := func(line int, format string, a ...any) {
		if len(errs) <= maxTraceFaults {
			errs = append(errs, fmt.Errorf("%s:%d:1: %s", path, line, fmt.Sprintf(format, a...)))
		}
	}
	lines := bufio.NewScanner(from)
	first, last := decimal{}, decimal{}
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		at, ok := parseDecimal(text)
		switch {
		case !ok:
			wrong(n, "%q is no instant in seconds (hint: 12.345)", text)
			continue
		case len(t.offsets) == 0:
			first = at
		case at.before(last):
			wrong(n, "%s comes after a later instant (hint: sort -n)", text)
		}
		last = at
		t.offsets = append(t.offsets, at.since(first))
	}
	if err := lines.Err(); err != nil {
		errs = append(errs, fmt.Errorf("reading the trace %s: %w", path, err))
	}
	if len(t.offsets) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("the trace %s has no instant (hint: one a line, in seconds)", path))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return t, nil
}

// decimal is a time in whole nanoseconds; a float64 has too few digits for Unix times.
type decimal struct{ seconds, nanos int64 }

func (d decimal) before(o decimal) bool {
	return d.seconds < o.seconds || d.seconds == o.seconds && d.nanos < o.nanos
}

func (d decimal) since(o decimal) time.Duration {
	return time.Duration(d.seconds-o.seconds)*time.Second + time.Duration(d.nanos-o.nanos)
}

// maxSeconds keeps differences of instants within a Duration.
const maxSeconds = math.MaxInt64 / int64(time.Second) / 2

// parseDecimal reads a number that is not negative; digits beyond the ninth behind the point are dropped.
func parseDecimal(s string) (decimal, bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	seconds, err := strconv.ParseUint(whole, 10, 63)
	if err != nil || seconds > uint64(maxSeconds) {
		return decimal{}, false
	}
	for _, c := range fraction {
		if c < '0' || c > '9' {
			return decimal{}, false
		}
	}
	nanos, err := strconv.ParseUint((fraction + "000000000")[:9], 10, 63)
	return decimal{int64(seconds), int64(nanos)}, err == nil
}

// Pace returns the time to the next recorded send. It stops behind the last.
func (t *Trace) Pace(elapsed time.Duration, hits uint64) (wait time.Duration, stop bool) {
	if hits >= uint64(len(t.offsets)) {
		return 0, true
	}
	return t.offsets[hits] - elapsed, false
}

// Rate returns the trace's mean rate.
func (t *Trace) Rate(time.Duration) float64 {
	return float64(len(t.offsets)) / max(t.Length().Seconds(), 1)
}

// Length returns the time from the first send to the last.
func (t *Trace) Length() time.Duration { return t.offsets[len(t.offsets)-1] }

// Peak returns the highest number of sends within a second.
func (t *Trace) Peak() float64 {
	most, first := 0, 0
	for i, at := range t.offsets {
		for at-t.offsets[first] >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return float64(most)
}

func (t *Trace) String() string { return "trace:" + t.path }
