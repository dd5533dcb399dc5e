// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"maps"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Counts are of answers.
type Counts struct {
	Answers uint64 `json:"answers"`
	Right   uint64 `json:"right"`
	Stale   uint64 `json:"stale"`
	Missing uint64 `json:"missing"`
	Silent  uint64 `json:"silent"` // of the missing: no reply came, or an error
	Wrong   uint64 `json:"wrong"`
	Mixed   uint64 `json:"mixed"` // of the wrong: made of several versions' data
}

func (c *Counts) add(o Counts) {
	c.Answers, c.Right, c.Stale, c.Missing = c.Answers+o.Answers, c.Right+o.Right, c.Stale+o.Stale, c.Missing+o.Missing
	c.Silent, c.Wrong, c.Mixed = c.Silent+o.Silent, c.Wrong+o.Wrong, c.Mixed+o.Mixed
}

// Delays of a histogram, in nanoseconds; all 0 when Count is.
type Delays struct {
	Count int64 `json:"count"`
	P50   int64 `json:"p50_ns"`
	P90   int64 `json:"p90_ns"`
	P99   int64 `json:"p99_ns"`
	Max   int64 `json:"max_ns"`
}

func delays(h *hdrhistogram.Histogram) Delays {
	v := h.ValueAtPercentilesSlice([]float64{50, 90, 99})
	return Delays{Count: h.TotalCount(), P50: v[0], P90: v[1], P99: v[2], Max: h.Max()}
}

// Propagation is how long changes took, from when each was begun.
type Propagation struct {
	FirstRight Delays `json:"first_right"` // until the first right answer came
	// FirstRightError is how much earlier each may have been in truth: since the query before was sent.
	FirstRightError Delays `json:"first_right_error"`
	LastWrong       Delays `json:"last_wrong"` // until the last answer came that was not right; of the changes that had one
	Never           uint64 `json:"never"`      // changes that no right answer came for before the next one
	Unfinished      uint64 `json:"unfinished"` // those that none came for before the end
}

// PerServer is what one server said.
type PerServer struct {
	Server string `json:"server"`
	Counts
	Propagation Propagation `json:"propagation"`
}

// Account is the outcome.
type Account struct {
	Counts
	Changes     int         `json:"changes"`
	Propagation Propagation `json:"propagation"` // of all changes and servers
	// Resolution is the time between two queries for a name at a server: the most that a delay can be off.
	Resolution Delays      `json:"resolution"`
	Servers    []PerServer `json:"servers"`
	Seconds    []Second    `json:"seconds"` // in which queries were sent, in order
}

// Second is what was answered to the queries of one second.
type Second struct {
	UnixS int64 `json:"unix_s"`
	Counts
}

// Reached is how a change came to a server, for a file.
type Reached struct {
	Name    int      `json:"-"`
	Of      string   `json:"name"`
	Server  string   `json:"server"`
	Data    []string `json:"data"`
	BegunNs int64    `json:"begun_unix_ns"`
	DoneNs  int64    `json:"done_unix_ns"`
	// FirstRightNs is from begun; FirstRightErrorNs is how much less it may be in truth. Both are -1 when no right answer came.
	FirstRightNs      int64 `json:"first_right_ns"`
	FirstRightErrorNs int64 `json:"first_right_error_ns"`
	LastWrongNs       int64 `json:"last_wrong_ns"` // from begun; -1 when every answer was right
}

// close takes a version that is over into account. It is called with the lock held. The first version is how servers began,
// and no change.
func (t *Truth) close(name int, h *history, at int, never []uint64) {
	if at+h.dropped == 0 {
		return
	}
	v := h.versions[at]
	for s, r := range v.reached {
		out := Reached{
			Name: name, Server: t.servers[s], Data: v.data, BegunNs: v.begun.UnixNano(), DoneNs: v.done.UnixNano(),
			FirstRightNs: -1, FirstRightErrorNs: -1, LastWrongNs: -1,
		}
		if r.first.IsZero() {
			never[s]++
		} else {
			out.FirstRightNs, out.FirstRightErrorNs = int64(r.first.Sub(v.begun)), int64(r.first.Sub(r.early))
			put(t.first[s], time.Duration(out.FirstRightNs))
			put(t.firstErr[s], time.Duration(out.FirstRightErrorNs))
		}
		if !r.last.IsZero() {
			out.LastWrongNs = int64(r.last.Sub(v.begun))
			put(t.last[s], time.Duration(out.LastWrongNs))
		}
		if t.report != nil {
			t.report(out)
		}
	}
}

// Close returns the outcome. What is judged later is not in it.
func (t *Truth) Close() *Account {
	t.mu.Lock()
	defer t.mu.Unlock()
	unfinished := make([]uint64, len(t.servers))
	for i := range t.names {
		if h := &t.names[i]; len(h.versions) > 0 {
			t.close(i, h, len(h.versions)-1, unfinished)
		}
	}
	out := &Account{Changes: t.changes, Resolution: delays(t.gaps)}
	for _, at := range slices.Sorted(maps.Keys(t.seconds)) {
		out.Seconds = append(out.Seconds, Second{at, t.seconds[at]})
	}
	first, last, firstErr := newHistogram(), newHistogram(), newHistogram()
	for s, name := range t.servers {
		p := Propagation{FirstRight: delays(t.first[s]), FirstRightError: delays(t.firstErr[s]), LastWrong: delays(t.last[s]), Never: t.never[s], Unfinished: unfinished[s]}
		out.Servers = append(out.Servers, PerServer{Server: name, Counts: t.counts[s], Propagation: p})
		out.add(t.counts[s])
		out.Propagation.Never += t.never[s]
		out.Propagation.Unfinished += unfinished[s]
		first.Merge(t.first[s])
		last.Merge(t.last[s])
		firstErr.Merge(t.firstErr[s])
	}
	out.Propagation.FirstRight, out.Propagation.LastWrong, out.Propagation.FirstRightError = delays(first), delays(last), delays(firstErr)
	return out
}
