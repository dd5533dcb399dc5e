// SPDX-License-Identifier: Apache-2.0

package record

import (
	"maps"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Progress is where a run stands: all that is recorded of the window so far, and of the warm-up the number of requests.
type Progress struct {
	Warmup, Requests, Succeeded, Attempts, Dropped, Late uint64
	Errors                                               map[string]uint64 // attempts by class
	Total, Lag                                           *hdrhistogram.Histogram
	CPU                                                  time.Duration // of the process, since it began
}

// Failed returns the attempts that failed.
func (p *Progress) Failed() uint64 {
	sum := uint64(0)
	for _, n := range p.Errors {
		sum += n
	}
	return sum
}

// Progress returns what is recorded so far. The histograms are copies.
func (r *Recorder) Progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.counts
	return Progress{
		Warmup: c.warmup, Requests: c.requests, Succeeded: c.succeeded, Attempts: c.attempts, Dropped: c.dropped, Late: c.late,
		Errors: maps.Clone(c.errors),
		Total:  r.total.Clone(),
		Lag:    r.phases[lag].Clone(),
		CPU:    cpuTime(),
	}
}

// Since returns what came after an earlier Progress of the same run.
func (p *Progress) Since(earlier *Progress) Progress {
	d := Progress{
		Warmup: p.Warmup - earlier.Warmup, Requests: p.Requests - earlier.Requests, Succeeded: p.Succeeded - earlier.Succeeded,
		Attempts: p.Attempts - earlier.Attempts, Dropped: p.Dropped - earlier.Dropped, Late: p.Late - earlier.Late,
		Errors: map[string]uint64{}, Total: minus(p.Total, earlier.Total), Lag: minus(p.Lag, earlier.Lag), CPU: p.CPU - earlier.CPU,
	}
	for class, n := range p.Errors {
		if n -= earlier.Errors[class]; n > 0 {
			d.Errors[class] = n
		}
	}
	return d
}

// minus returns the values of h that earlier, a histogram of the same bounds, does not hold.
func minus(h, earlier *hdrhistogram.Histogram) *hdrhistogram.Histogram {
	d, e := h.Export(), earlier.Export()
	for i, n := range e.Counts {
		d.Counts[i] -= n
	}
	return hdrhistogram.Import(d)
}

// NewProgress returns one of nothing, to merge others into.
func NewProgress() Progress {
	return Progress{Errors: map[string]uint64{}, Total: newHistogram(), Lag: newHistogram()}
}

// Merge adds what another generator has recorded.
func (p *Progress) Merge(o *Progress) {
	p.Warmup, p.Requests, p.Succeeded = p.Warmup+o.Warmup, p.Requests+o.Requests, p.Succeeded+o.Succeeded
	p.Attempts, p.Dropped, p.Late, p.CPU = p.Attempts+o.Attempts, p.Dropped+o.Dropped, p.Late+o.Late, p.CPU+o.CPU
	for class, n := range o.Errors {
		p.Errors[class] += n
	}
	p.Total.Merge(o.Total)
	p.Lag.Merge(o.Lag)
}
