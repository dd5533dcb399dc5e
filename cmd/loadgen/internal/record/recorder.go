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

// phases are the tags of the histograms in results.PhasesFile, in the order of Recorder.phases.
var phases = [...]string{"dns", "connect", "tls", "first_byte", "lag"}

// lag is the index in phases of the send lag, which every send has.
const lag = len(phases) - 1

// Note takes one attempt's sample; last marks the final one of its request, and cause is why it
// failed, for people.
type Note = func(s *results.Sample, last bool, cause error)

// Options say what a Recorder keeps and what it holds a generator to.
type Options struct {
	Dir   string    // where files go, which is made; "" writes none
	Begin time.Time // when the window opens: intended sends before this are warm-up
	// Thin keeps of the successful attempts those whose Seq it divides; 0 and 1 keep all. Failed ones, histograms and
	// counts stay whole.
	Thin   uint64
	Bounds Bounds
	CPUs   int // that the generator may use
	// Fail is called once when writing breaks, from another goroutine.
	Fail func(error)
}

// Recorder takes the samples of one run. It is safe for concurrent use.
type Recorder struct {
	Options
	rows chan []results.Sample
	free chan []results.Sample
	done chan error // the writer's last word

	mu     sync.Mutex
	ended  bool // nothing is taken any more
	batch  []results.Sample
	counts counts
	total  *hdrhistogram.Histogram
	phases [len(phases)]*hdrhistogram.Histogram
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
	clients                                      Clients
}

// edge is what is read at an edge of the window.
type edge struct {
	at  time.Time
	cpu time.Duration
}

// New returns a recorder.
func New(o Options) (*Recorder, error) {
	r := &Recorder{
		Options: o,
		counts: counts{
			errors: map[string]uint64{}, examples: map[string]string{},
			peers: map[string]uint64{}, statuses: map[int32]uint64{},
		},
		total: newHistogram(),
	}
	for i, tag := range phases {
		r.phases[i] = newHistogram()
		r.phases[i].SetTag(tag)
	}
	if r.Dir == "" {
		return r, nil
	}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("making output directory: %w", err)
	}
	path := filepath.Join(r.Dir, results.SamplesFile)
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
	go r.write(w)
	return r, nil
}

// write streams batches to the file. After an error it drains, so that nobody waits for it.
func (r *Recorder) write(w *results.RowWriter[results.Sample]) {
	var err error
	for b := range r.rows {
		if err == nil {
			if err = w.Write(b...); err != nil {
				r.Fail(err)
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

// Add is a Note: it takes one attempt. What comes after Close is not taken.
func (r *Recorder) Add(s *results.Sample, last bool, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	if r.Dir != "" && (r.Thin <= 1 || !s.OK() || s.Seq%r.Thin == 0) {
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
	if s.IntendedNs < r.Begin.UnixNano() {
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
	c.clients.add(s, last)
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
		late := s.SentNs - s.IntendedNs
		put(r.phases[lag], late)
		if late > int64(lateAfter) {
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

// Close writes what is left and closes the files. The window is what was asked for when the run was whole, else what
// passed of it.
func (r *Recorder) Close(whole bool, length time.Duration) (Summary, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	s := r.summary(whole, length)
	if r.Dir == "" {
		return s, nil
	}
	r.rows <- r.batch
	close(r.rows)
	return s, errors.Join(<-r.done, writeHistograms(r.Dir, &s, r.total, r.phases[:]))
}

// writeHistograms writes the logs: one interval, the window.
func writeHistograms(dir string, s *Summary, total *hdrhistogram.Histogram, phases []*hdrhistogram.Histogram) error {
	for _, h := range append([]*hdrhistogram.Histogram{total}, phases...) {
		h.SetStartTimeMs(s.WindowStartNs / 1e6)
		h.SetEndTimeMs(s.WindowEndNs / 1e6)
	}
	return errors.Join(
		results.WriteHistogram(filepath.Join(dir, results.HistogramFile), total),
		results.WritePhases(filepath.Join(dir, results.PhasesFile), phases...))
}
