// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"time"
)

// Mix is what users ask for when it is not always the same: sessions, one of which is drawn by
// weight each time a request is due. It is immutable.
type Mix struct {
	sessions []Session
	bounds   []float64 // running sums of the weights
}

// Session is a request, and those that the same user makes after it, each when it has thought.
type Session struct {
	Weight float64
	Steps  []Step // at least one; the first has no Think
}

// Step is one request of a session.
type Step struct {
	Name   string
	Target *Target
	Think  Think
}

// NewMix returns a mix of sessions. It panics when there is none.
func NewMix(sessions []Session) *Mix {
	m := &Mix{sessions: sessions}
	sum := 0.0
	for _, s := range sessions {
		sum += s.Weight
		m.bounds = append(m.bounds, sum)
	}
	if len(sessions) == 0 {
		panic("user: a mix needs a session")
	}
	return m
}

// draw returns the steps of a session.
func (m *Mix) draw(rng *rand.Rand) []Step {
	if len(m.sessions) == 1 {
		return m.sessions[0].Steps
	}
	at := rng.Float64() * m.bounds[len(m.bounds)-1]
	i := sort.Search(len(m.bounds)-1, func(i int) bool { return at < m.bounds[i] })
	return m.sessions[i].Steps
}

// Longest returns how long a session may last beyond the time that its requests take, and how many requests it has at most.
func (m *Mix) Longest() (thinking time.Duration, requests int) {
	for _, s := range m.sessions {
		sum := time.Duration(0)
		for _, step := range s.Steps {
			sum += step.Think.longest()
		}
		thinking, requests = max(thinking, sum), max(requests, len(s.Steps))
	}
	return thinking, requests
}

// Think is how long a user thinks before a request: a time, a range of which each time is as likely,
// or an exponential distribution with a mean. The zero value is not at all.
type Think struct {
	Low, High time.Duration
	Mean      time.Duration // exponential, when positive
}

// ParseThink reads "2s", "1s..3s" or "exp:2s".
func ParseThink(s string) (t Think, err error) {
	read := func(s string) time.Duration {
		d, e := time.ParseDuration(s)
		if err == nil && (e != nil || d < 0) {
			err = fmt.Errorf("%q is no time to think (hint: 2s, 1s..3s or exp:2s)", s)
		}
		return d
	}
	if mean, ok := strings.CutPrefix(s, "exp:"); ok {
		t.Mean = read(mean)
		return t, err
	}
	low, high, ranged := strings.Cut(s, "..")
	t.Low = read(low)
	if t.High = t.Low; ranged {
		t.High = read(high)
	}
	if err == nil && t.High < t.Low {
		err = fmt.Errorf("%q ends before it begins (hint: 1s..3s)", s)
	}
	return t, err
}

// UnmarshalText reads what ParseThink does.
func (t *Think) UnmarshalText(b []byte) (err error) {
	*t, err = ParseThink(string(b))
	return err
}

func (t Think) draw(rng *rand.Rand) time.Duration {
	if t.Mean > 0 {
		return time.Duration(rng.ExpFloat64() * float64(t.Mean))
	}
	return t.Low + time.Duration(rng.Float64()*float64(t.High-t.Low))
}

// longest is what is hardly ever exceeded.
func (t Think) longest() time.Duration { return max(t.High, 5*t.Mean) }

// think waits until a request is due, and reports whether it is before end and the run goes on.
func (h *Habits) think(due, end time.Time) bool {
	return due.Before(end) && h.pause(time.Until(due))
}

// pause waits, and reports whether the run goes on.
func (h *Habits) pause(d time.Duration) bool {
	running := h.Running
	if running == nil {
		running = context.Background()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-running.Done():
		return false
	}
}
