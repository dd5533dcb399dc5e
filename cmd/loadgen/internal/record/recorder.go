// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/dnsingress/dnsingress/internal/results"
)

// GeneratorFile is the name of the generator's account of itself, written last.
const GeneratorFile = "generator.json"

const (
	lateAfter  = time.Millisecond // results.Generator.Late
	maxLatency = 10 * time.Minute // longer ones are recorded as this; package stats reads no longer ones
	batchRows  = 1024
	batches    = 8
	maxPeers   = 1024 // peers that are counted apart
)

// Note takes one attempt's sample; last marks the final one of its request, and cause is why it
// failed, for people.
type Note = func(s *results.Sample, last bool, cause error)

// Recorder takes the samples of one run. It is safe for concurrent use.
type Recorder struct {
	dir  string // "" writes no files
	rows chan []results.Sample
	free chan []results.Sample
	done chan error // the writer's last word

	mu     sync.Mutex
	begin  time.Time // intended sends before this are warm-up
	batch  []results.Sample
	counts counts
	total  *hdrhistogram.Histogram
	phases [4]*hdrhistogram.Histogram // dns, connect, tls, first byte
	lag    *hdrhistogram.Histogram
	opened edge
	closed edge
}

// counts are of the measured window, except those that say otherwise.
type counts struct {
	requests, dropped, late, succeeded, attempts uint64
	warmup                                       uint64 // requests before the window
	bytes                                        int64
	errors                                       map[string]uint64 // attempts by class
	examples                                     map[string]string // the first cause of each class, also of the warm-up
	peers                                        map[string]uint64 // attempts that chose the peer
	statuses                                     map[int32]uint64
	dnsCached, reused                            uint64
}

// edge is what is read at an edge of the window.
type edge struct {
	at  time.Time
	cpu time.Duration
}

// New returns a recorder for a window that opens at begin. It writes into the directory dir, which
// it makes; with dir "" it only counts. Fail is called once when writing breaks, from another goroutine.
func New(dir string, begin time.Time, fail func(error)) (*Recorder, error) {
	r := &Recorder{
		dir:   dir,
		begin: begin,
		counts: counts{
			errors: map[string]uint64{}, examples: map[string]string{},
			peers: map[string]uint64{}, statuses: map[int32]uint64{},
		},
		total: newHistogram(),
		lag:   newHistogram(),
	}
	for i := range r.phases {
		r.phases[i] = newHistogram()
	}
	if dir == "" {
		return r, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making output directory: %w", err)
	}
	path := filepath.Join(dir, results.SamplesFile)
	if _, err := os.Stat(path); err == nil {
		return nil, fmt.Errorf("%s exists already (hint: --out a new directory)", path)
	}
	w, err := results.CreateRows[results.Sample](path)
	if err != nil {
		return nil, err
	}
	r.rows, r.free, r.done = make(chan []results.Sample, batches), make(chan []results.Sample, batches), make(chan error, 1)
	for range batches {
		r.free <- make([]results.Sample, 0, batchRows)
	}
	r.batch = <-r.free
	go r.write(w, fail)
	return r, nil
}

// write streams batches to the file. After an error it drains, so that nobody waits for it.
func (r *Recorder) write(w *results.RowWriter[results.Sample], fail func(error)) {
	var err error
	for b := range r.rows {
		if err == nil {
			if err = w.Write(b...); err != nil {
				fail(err)
			}
		}
		r.free <- b[:0]
	}
	r.done <- errors.Join(err, w.Close())
}

// newHistogram holds nanoseconds with three digits: percentiles are within 0.1 %.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(maxLatency), 3)
}

func put(h *hdrhistogram.Histogram, ns int64) {
	_ = h.RecordValue(min(max(ns, 0), int64(maxLatency))) // within range: no error
}

// Add is a Note: it takes one attempt.
func (r *Recorder) Add(s *results.Sample, last bool, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dir != "" {
		if r.batch = append(r.batch, *s); len(r.batch) == cap(r.batch) {
			r.rows <- r.batch
			r.batch = <-r.free
		}
	}
	if s.Error != "" && cause != nil {
		if _, known := r.counts.examples[s.Error]; !known {
			r.counts.examples[s.Error] = cause.Error()
		}
	}
	if s.IntendedNs < r.begin.UnixNano() {
		if s.Attempt == 0 {
			r.counts.warmup++
		}
		return
	}
	r.count(s, last)
}

// count takes an attempt of the window into the counts.
func (r *Recorder) count(s *results.Sample, last bool) {
	c := &r.counts
	if s.Attempt == 0 {
		c.requests++
	}
	if s.Error != "" {
		c.errors[s.Error]++
	}
	if s.Error == results.ErrDropped {
		c.dropped++
		return
	}
	c.attempts++
	c.bytes += s.Bytes
	if s.DNSCached {
		c.dnsCached++
	}
	if s.Reused {
		c.reused++
	}
	if s.Status != 0 {
		c.statuses[s.Status]++
	}
	if _, known := c.peers[s.Peer]; s.Peer != "" && (known || len(c.peers) < maxPeers) {
		c.peers[s.Peer]++
	}
	if s.Attempt == 0 {
		lag := s.SentNs - s.IntendedNs
		put(r.lag, lag)
		if lag > int64(lateAfter) {
			c.late++
		}
	}
	if last && s.OK() {
		c.succeeded++
		put(r.total, s.TotalNs)
		for i, ns := range []int64{s.DNSNs, s.ConnectNs, s.TLSNs, s.FirstByteNs} {
			if ns > 0 {
				put(r.phases[i], ns)
			}
		}
	}
}

// Open marks the start of the measured window.
func (r *Recorder) Open() { r.mark(&r.opened) }

// Shut marks the end of the measured window; requests under way are still taken.
func (r *Recorder) Shut() { r.mark(&r.closed) }

func (r *Recorder) mark(e *edge) {
	now := edge{time.Now(), cpuTime()}
	r.mu.Lock()
	defer r.mu.Unlock()
	*e = now
}

// cpuTime returns the user and system time that this process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Close writes what is left and closes the files. No Add may come after it. The window is what
// was asked for when the run was whole, else what passed of it.
func (r *Recorder) Close(whole bool, length time.Duration) (Summary, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.summary(whole, length)
	if r.dir == "" {
		return s, nil
	}
	r.rows <- r.batch
	close(r.rows)
	if err := errors.Join(<-r.done, r.writeHistogram(s)); err != nil {
		return s, err
	}
	// Last, and only when the others are whole: who finds it may rely on them.
	return s, results.WriteJSON(filepath.Join(r.dir, GeneratorFile), s.account())
}

// writeHistogram writes the log: one interval, the window.
func (r *Recorder) writeHistogram(s Summary) error {
	r.total.SetStartTimeMs(s.WindowStartNs / 1e6)
	r.total.SetEndTimeMs(s.WindowEndNs / 1e6)
	return results.WriteHistogram(filepath.Join(r.dir, results.HistogramFile), r.total)
}
