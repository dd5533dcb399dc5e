// SPDX-License-Identifier: Apache-2.0

package record

import (
	"fmt"
	"maps"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/dnsingress/dnsingress/internal/results"
)

// Bounds beyond which a generator's figures are not to be trusted.
const (
	maxLagP99 = 10 * time.Millisecond
	maxCPU    = 0.7 // of the CPUs that the process may use
)

// Summary is the outcome of a run over its measured window.
type Summary struct {
	results.Generator
	WindowStartNs int64 `json:"window_start_unix_ns"`
	WindowEndNs   int64 `json:"window_end_unix_ns"`

	Interrupted bool   `json:"interrupted"`
	Succeeded   uint64 `json:"succeeded"` // requests
	Attempts    uint64 `json:"attempts"`
	Warmup      uint64 `json:"warmup_requests"` // before the window, in no other figure
	Bytes       int64  `json:"bytes"`

	Rate    Rate              `json:"rate"`
	Latency Latency           `json:"latency"`
	Lag     Percentiles       `json:"lag"`
	Errors  map[string]uint64 `json:"errors"` // attempts by class
	// Causes has the first error of each class, as text.
	Causes    map[string]string `json:"causes,omitempty"`
	Statuses  map[int32]uint64  `json:"statuses"`
	Peers     map[string]uint64 `json:"peers"` // attempts by address that they chose
	DNSCached uint64            `json:"dns_cached"`
	Reused    uint64            `json:"reused"`

	// Warnings say why the generator itself may have bent these figures; empty is good.
	Warnings []string `json:"warnings"`
}

// Rate is in requests a second over the window.
type Rate struct {
	Intended  float64 `json:"intended_per_second"`
	Sent      float64 `json:"sent_per_second"`
	Succeeded float64 `json:"succeeded_per_second"`
}

// Latency is of requests that succeeded: Total from the intended send to the last byte, the phases
// where they happened (Count says how often).
type Latency struct {
	Total     Percentiles `json:"total"`
	DNS       Percentiles `json:"dns"`
	Connect   Percentiles `json:"connect"`
	TLS       Percentiles `json:"tls"`
	FirstByte Percentiles `json:"first_byte"`
}

// Percentiles of a histogram, in nanoseconds; all 0 when Count is.
type Percentiles struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_ns"`
	P50   int64   `json:"p50_ns"`
	P90   int64   `json:"p90_ns"`
	P99   int64   `json:"p99_ns"`
	P999  int64   `json:"p999_ns"`
	Max   int64   `json:"max_ns"`
}

func percentiles(h *hdrhistogram.Histogram) Percentiles {
	v := h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9})
	return Percentiles{Count: h.TotalCount(), Mean: h.Mean(), P50: v[0], P90: v[1], P99: v[2], P999: v[3], Max: h.Max()}
}

// account is what generator.json holds.
func (s *Summary) account() any {
	return struct {
		results.Generator
		WindowStartNs int64    `json:"window_start_unix_ns"`
		WindowEndNs   int64    `json:"window_end_unix_ns"`
		Interrupted   bool     `json:"interrupted"`
		Warnings      []string `json:"warnings"`
	}{s.Generator, s.WindowStartNs, s.WindowEndNs, s.Interrupted, s.Warnings}
}

// summary is called with the lock held.
func (r *Recorder) summary(whole bool, length time.Duration) Summary {
	c := &r.counts
	begin, end := r.begin.UnixNano(), r.begin.Add(length).UnixNano()
	if !whole {
		end = max(begin, begin+int64(r.closed.at.Sub(r.begin)))
	}
	var cpu, elapsed time.Duration
	if !r.opened.at.IsZero() {
		cpu, elapsed = r.closed.cpu-r.opened.cpu, r.closed.at.Sub(r.opened.at)
	}
	lag := percentiles(r.lag)
	s := Summary{
		Generator: results.Generator{
			Requests: c.requests, Dropped: c.dropped, Late: c.late,
			LagP50Ns: lag.P50, LagP99Ns: lag.P99, LagMaxNs: lag.Max,
			CPUNs: int64(cpu), ElapsedNs: int64(elapsed),
		},
		WindowStartNs: begin, WindowEndNs: end,
		Interrupted: !whole, Succeeded: c.succeeded, Attempts: c.attempts, Warmup: c.warmup, Bytes: c.bytes,
		Latency: Latency{
			Total: percentiles(r.total), DNS: percentiles(r.phases[0]), Connect: percentiles(r.phases[1]),
			TLS: percentiles(r.phases[2]), FirstByte: percentiles(r.phases[3]),
		},
		Lag: lag, Errors: maps.Clone(c.errors), Causes: maps.Clone(c.examples), Statuses: maps.Clone(c.statuses),
		Peers: maps.Clone(c.peers), DNSCached: c.dnsCached, Reused: c.reused,
		Warnings: []string{},
	}
	if window := time.Duration(end - begin).Seconds(); window > 0 {
		s.Rate = Rate{
			Intended:  float64(c.requests) / window,
			Sent:      float64(c.requests-c.dropped) / window,
			Succeeded: float64(c.succeeded) / window,
		}
	}
	s.warn()
	return s
}

func (s *Summary) warn() {
	if lag := time.Duration(s.LagP99Ns); lag > maxLagP99 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the generator was late: p99 of its send lag is %s, above %s", lag.Round(time.Microsecond), maxLagP99))
	}
	if s.Dropped > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the generator dropped %d requests because all workers were busy (hint: --max-in-flight)", s.Dropped))
	}
	if n := runtime.GOMAXPROCS(0); float64(s.CPUNs) > maxCPU*float64(n)*float64(s.ElapsedNs) {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the generator used more than %.0f %% of its %d CPUs", 100*maxCPU, n))
	}
	if s.Causes[results.ErrOther] != "" {
		s.Warnings = append(s.Warnings, "the generator's own machine failed some requests: "+s.Causes[results.ErrOther])
	}
}

// Progress is where a run stands: what is recorded of the window so far, and of the warm-up the number of requests.
type Progress struct {
	Warmup, Requests, Succeeded, Failed, Dropped uint64
	P50, P99, LagP99                             time.Duration
}

// Progress returns what is recorded so far.
func (r *Recorder) Progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.counts
	p := Progress{
		Warmup: c.warmup, Requests: c.requests, Succeeded: c.succeeded, Dropped: c.dropped,
		P50:    time.Duration(r.total.ValueAtPercentile(50)),
		P99:    time.Duration(r.total.ValueAtPercentile(99)),
		LagP99: time.Duration(r.lag.ValueAtPercentile(99)),
	}
	for _, n := range c.errors {
		p.Failed += n
	}
	return p
}
