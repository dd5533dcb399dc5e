// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Verdicts on an answer.
type verdict int

const (
	right verdict = iota
	stale
	missing
	wrong
	mixed // which is wrong too
)

// version is what was true of a name from some instant on.
type version struct {
	key         string // its data, sorted; "" for none
	data        []string
	begun, done time.Time // done is zero while the change is under way
	reached     []reached // by server
}

// reached is how a version came to a server.
type reached struct {
	first time.Time // the first right answer came; zero: none has
	early time.Time // at the earliest: the last query before it that was not answered right was sent
	last  time.Time // the last answer that was not right came; zero: none did
}

// history of a name: what servers have been told.
type history struct {
	versions []*version
	newest   []int       // by server: the latest version that it has shown
	asked    []time.Time // by server: when the last query was sent
	dropped  int         // versions that were forgotten
}

// Truth is what is true of each name, and what servers said. It is safe for concurrent use.
type Truth struct {
	servers []string
	subset  bool // an answer may hold a part of the data

	mu       sync.Mutex
	names    []history
	counts   []Counts         // by server
	seconds  map[int64]Counts // by the second in which the query was sent
	changes  int
	first    []*hdrhistogram.Histogram // by server, in nanoseconds
	last     []*hdrhistogram.Histogram
	gaps     *hdrhistogram.Histogram
	never    []uint64 // by server: changes that no right answer came for
	report   func(Reached)
	firstErr []*hdrhistogram.Histogram
}

// NewTruth returns the truth of so many names, of which nothing is known yet. With subset, an answer that holds some of the
// data is right: servers may select. Report, where there is one, is told of every change and server when it is over.
func NewTruth(names int, servers []string, subset bool, report func(Reached)) *Truth {
	t := &Truth{
		servers: servers, subset: subset, report: report, names: make([]history, names),
		counts: make([]Counts, len(servers)), seconds: map[int64]Counts{}, never: make([]uint64, len(servers)), gaps: newHistogram(),
	}
	for range servers {
		t.first, t.last, t.firstErr = append(t.first, newHistogram()), append(t.last, newHistogram()), append(t.firstErr, newHistogram())
	}
	for i := range t.names {
		t.names[i].newest, t.names[i].asked = make([]int, len(servers)), make([]time.Time, len(servers))
	}
	return t
}

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(time.Hour), 3) }

func put(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(int64(d), 0), int64(time.Hour))) // within range: no error
}

// key makes equal data equal.
func key(data []string) (string, []string) {
	data = slices.Compact(slices.Sorted(slices.Values(data)))
	return strings.Join(data, "\n"), data
}

// kept is how many versions of a name are remembered: an answer that is older is wrong.
const kept = 64

// Begin says that the name's data is being changed. The change is counted when a former version is known.
func (t *Truth) Begin(name int, data []string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := &t.names[name]
	v := &version{begun: at, reached: make([]reached, len(t.servers))}
	v.key, v.data = key(data)
	if n := len(h.versions); n > 0 {
		t.changes++
		t.close(name, h, n-1, t.never)
	}
	if h.versions = append(h.versions, v); len(h.versions) > kept {
		h.versions[0] = nil
		h.versions = h.versions[1:]
		h.dropped++
	}
}

// Done says that the name's last change is done.
func (t *Truth) Done(name int, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := &t.names[name]
	h.versions[len(h.versions)-1].done = at
}

// Settled reports whether every server has shown the name's last version.
func (t *Truth) Settled(name int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := &t.names[name]
	v := h.versions[len(h.versions)-1]
	for _, r := range v.reached {
		if r.first.IsZero() {
			return false
		}
	}
	return !v.done.IsZero()
}

// Since returns when the name was last changed, and its data.
func (t *Truth) Since(name int) (time.Time, []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := &t.names[name]
	v := h.versions[len(h.versions)-1]
	return v.begun, v.data
}

// Answer is what a server said of a name.
type Answer struct {
	Server, Name   int
	Sent, Received time.Time
	Silent         bool     // no reply, or an error: Data means nothing
	Data           []string // of the type asked for; none with NXDOMAIN or no record
}

// Judge takes an answer into account.
func (t *Truth) Judge(a Answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := &t.names[a.Name]
	if len(h.versions) == 0 {
		return // nothing is known to be true yet
	}
	before := h.asked[a.Server]
	if a.Sent.After(before) { // silence is sure only later, when others have been asked and answered
		if !before.IsZero() {
			put(t.gaps, a.Sent.Sub(before))
		}
		h.asked[a.Server] = a.Sent
	}
	v, at := t.verdict(h, &a)
	if v == right {
		h.newest[a.Server] = max(h.newest[a.Server], at+h.dropped)
	}
	one := v.counts(a.Silent)
	t.counts[a.Server].add(one)
	second := t.seconds[a.Sent.Unix()]
	second.add(one)
	t.seconds[a.Sent.Unix()] = second
	t.reach(h, &a, v, at, before)
}

// counts are those of one answer.
func (v verdict) counts(silent bool) Counts {
	c := Counts{Answers: 1}
	switch v {
	case right:
		c.Right = 1
	case stale:
		c.Stale = 1
	case missing:
		if c.Missing = 1; silent {
			c.Silent = 1
		}
	case mixed:
		c.Mixed, c.Wrong = 1, 1
	case wrong:
		c.Wrong = 1
	}
	return c
}

// reach notes what an answer tells of how the last version comes to the server. An answer that came before the change began,
// or was right because the former version may have been true still, tells nothing.
func (t *Truth) reach(h *history, a *Answer, v verdict, at int, before time.Time) {
	last := len(h.versions) - 1
	now := h.versions[last]
	if !a.Sent.After(now.begun) && !(v == right && at == last) {
		return
	}
	r := &now.reached[a.Server]
	switch {
	case v == right && at == last:
		if r.first.IsZero() {
			r.first, r.early = a.Received, now.begun
			if before.After(now.begun) {
				r.early = before
			}
		}
	case a.Silent: // no answer is no wrong answer
	case v != right || at < last:
		r.last = a.Received
	}
}

// verdict says what an answer is worth, and for data that was or is true of which version it is.
func (t *Truth) verdict(h *history, a *Answer) (verdict, int) {
	last := len(h.versions) - 1
	if a.Silent {
		return missing, -1
	}
	k, data := key(a.Data)
	// Versions that may have been true: from the first whose successor was not done before the query was sent, on.
	first := last
	for first > 0 && (h.versions[first].done.IsZero() || !h.versions[first].done.Before(a.Sent)) {
		first--
	}
	for i := last; i >= 0; i-- {
		v := h.versions[i]
		if v.begun.After(a.Received) || !t.matches(v, k, data) {
			continue
		}
		switch {
		case i >= first:
			return right, i
		case k == "" && h.newest[a.Server] > i+h.dropped:
			return missing, -1 // it has shown later data
		}
		return stale, i
	}
	if k == "" {
		return missing, -1
	}
	known := map[string]bool{}
	for _, v := range h.versions {
		for _, d := range v.data {
			known[d] = true
		}
	}
	for _, d := range data {
		if !known[d] {
			return wrong, -1
		}
	}
	return mixed, -1
}

func (t *Truth) matches(v *version, k string, data []string) bool {
	if !t.subset || k == "" || v.key == "" {
		return v.key == k
	}
	for _, d := range data {
		if _, ok := slices.BinarySearch(v.data, d); !ok {
			return false
		}
	}
	return true
}
