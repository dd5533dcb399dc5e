// SPDX-License-Identifier: Apache-2.0

package record

import (
	"fmt"
	"maps"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/results"
)

// Bounds beyond which a generator's figures are not to be used. A bound of 0 is none.
type Bounds struct {
	LagP99 time.Duration // of the send lag
	CPU    float64       // of those that the generator may use
}

// Summary is the outcome of a run over its measured window.
type Summary struct {
	results.Generator
	WindowStartNs int64 `json:"window_start_unix_ns"`
	WindowEndNs   int64 `json:"window_end_unix_ns"`

	Interrupted bool   `json:"interrupted"`
	Succeeded   uint64 `json:"succeeded"` // requests
	InTime      uint64 `json:"in_time"`   // requests sent within the bound of the lag, or within 1 ms where there is none
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
	Clients

	// CPUs are those that the generator may use; CPUShare is what it used of them in the window.
	CPUs     int     `json:"cpus"`
	CPUShare float64 `json:"cpu_share"`
	Thinning string  `json:"thinning,omitempty"` // what is left out of samples.parquet
	Version  string  `json:"version"`            // of the generator

	// Verdict is invalid when the generator itself bent these figures beyond its Bounds: they are not to be used.
	Verdict results.Verdict `json:"verdict"`
	// Warnings say what else to know before these figures are used; empty is good.
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

// Account is what generator.json holds.
type Account struct {
	results.Generator
	WindowStartNs int64           `json:"window_start_unix_ns"`
	WindowEndNs   int64           `json:"window_end_unix_ns"`
	Interrupted   bool            `json:"interrupted"`
	CPUs          int             `json:"cpus"`
	Thinning      string          `json:"thinning,omitempty"`
	Version       string          `json:"version"`
	Verdict       results.Verdict `json:"verdict"`
	Warnings      []string        `json:"warnings"`
}

// Account returns what generator.json is to hold.
func (s *Summary) Account() Account {
	return Account{s.Generator, s.WindowStartNs, s.WindowEndNs, s.Interrupted, s.CPUs, s.Thinning, s.Version, s.Verdict, s.Warnings}
}

// summary is called with the lock held.
func (r *Recorder) summary(whole bool, length time.Duration) Summary {
	c := &r.counts
	begin, end := r.Begin.UnixNano(), r.Begin.Add(length).UnixNano()
	if !whole {
		end = max(begin, begin+int64(r.closed.at.Sub(r.Begin)))
	}
	var cpu, elapsed time.Duration
	if !r.opened.at.IsZero() {
		cpu, elapsed = r.closed.cpu-r.opened.cpu, r.closed.at.Sub(r.opened.at)
	}
	late := percentiles(r.phases[lag])
	s := Summary{
		Generator: results.Generator{
			Requests: c.requests, Dropped: c.dropped, Late: c.late,
			LagP50Ns: late.P50, LagP99Ns: late.P99, LagMaxNs: late.Max,
			CPUNs: int64(cpu), ElapsedNs: int64(elapsed),
		},
		WindowStartNs: begin, WindowEndNs: end,
		Interrupted: !whole, Succeeded: c.succeeded, Attempts: c.attempts, Warmup: c.warmup, Bytes: c.bytes,
		Latency: Latency{
			Total: percentiles(r.total), DNS: percentiles(r.phases[0]), Connect: percentiles(r.phases[1]),
			TLS: percentiles(r.phases[2]), FirstByte: percentiles(r.phases[3]),
		},
		Lag: late, Errors: maps.Clone(c.errors), Causes: maps.Clone(c.examples), Statuses: maps.Clone(c.statuses),
		Peers: maps.Clone(c.peers), DNSCached: c.dnsCached, Reused: c.reused,
		Clients: c.clients.clone(),
		CPUs:    r.CPUs, Version: cli.Version(), Warnings: []string{},
	}
	if elapsed > 0 && s.CPUs > 0 {
		s.CPUShare = cpu.Seconds() / elapsed.Seconds() / float64(s.CPUs)
	}
	if r.Thin > 1 {
		s.Thinning = fmt.Sprintf("of samples.parquet, every failure and the successes whose seq %d divides; histograms and counts are whole", r.Thin)
	}
	inTime := r.Bounds.LagP99
	if inTime == 0 {
		inTime = lateAfter
	}
	for _, b := range r.phases[lag].Distribution() {
		if b.From <= int64(inTime) {
			s.InTime += uint64(b.Count)
		}
	}
	s.rate()
	s.Judge(r.Bounds)
	return s
}

func (s *Summary) rate() {
	if window := time.Duration(s.WindowEndNs - s.WindowStartNs).Seconds(); window > 0 {
		s.Rate = Rate{
			Intended:  float64(s.Requests) / window,
			Sent:      float64(s.Requests-s.Dropped) / window,
			Succeeded: float64(s.Succeeded) / window,
		}
	}
}

// Judge reaches the verdict, and says what else there is to know.
func (s *Summary) Judge(b Bounds) {
	s.Verdict, s.Warnings = results.Verdict{Reasons: []string{}}, []string{}
	bad := func(format string, a ...any) {
		s.Verdict.Reasons = append(s.Verdict.Reasons, fmt.Sprintf(format, a...))
	}
	if late := time.Duration(s.LagP99Ns); b.LagP99 > 0 && late > b.LagP99 {
		bad("the generator was late: p99 of its send lag is %s, bound %s", late.Round(time.Microsecond), b.LagP99)
	}
	if b.CPU > 0 && s.CPUShare > b.CPU {
		bad("the generator used %.0f %% of its %d CPUs, bound %.0f %%", 100*s.CPUShare, s.CPUs, 100*b.CPU)
	}
	if s.Dropped > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the generator dropped %d requests because all workers were busy (hint: --max-in-flight)", s.Dropped))
	}
	if s.Causes[results.ErrOther] != "" {
		s.Warnings = append(s.Warnings, "the generator's own machine failed some requests: "+s.Causes[results.ErrOther])
	}
	s.Verdict.Valid = len(s.Verdict.Reasons) == 0
}
