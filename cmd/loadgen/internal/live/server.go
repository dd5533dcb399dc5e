// SPDX-License-Identifier: Apache-2.0

package live

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/clock"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
)

// Paths of a generator's address, besides /metrics.
const (
	clockPath    = "/clock"    // clock.Answer
	progressPath = "/progress" // state as JSON
)

// state is a generator's progress on the wire. Histograms are in HdrHistogram's V2 encoding, compressed and in base64.
type state struct {
	Client   string `json:"client"`
	Title    string `json:"title"`
	StartNs  int64  `json:"start_unix_ns"` // of the schedule
	LengthNs int64  `json:"length_ns"`
	Ended    bool   `json:"ended"` // and has asked its peers for their clocks: it may be left

	Warmup    uint64            `json:"warmup"`
	Requests  uint64            `json:"requests"`
	Succeeded uint64            `json:"succeeded"`
	Attempts  uint64            `json:"attempts"`
	Dropped   uint64            `json:"dropped"`
	Late      uint64            `json:"late"`
	Errors    map[string]uint64 `json:"errors"`
	CPUNs     int64             `json:"cpu_ns"`
	Total     string            `json:"total"`
	Lag       string            `json:"lag"`
}

func (s *state) pack(p *record.Progress) error {
	s.Warmup, s.Requests, s.Succeeded, s.Attempts, s.Dropped, s.Late = p.Warmup, p.Requests, p.Succeeded, p.Attempts, p.Dropped, p.Late
	s.Errors, s.CPUNs = p.Errors, int64(p.CPU)
	for _, h := range []struct {
		from *hdrhistogram.Histogram
		to   *string
	}{{p.Total, &s.Total}, {p.Lag, &s.Lag}} {
		b, err := h.from.EncodeV2()
		if err != nil {
			return fmt.Errorf("encoding a histogram: %w", err)
		}
		*h.to = string(b)
	}
	return nil
}

func (s *state) unpack() (record.Progress, error) {
	p := record.Progress{
		Warmup: s.Warmup, Requests: s.Requests, Succeeded: s.Succeeded, Attempts: s.Attempts, Dropped: s.Dropped, Late: s.Late,
		Errors: s.Errors, CPU: time.Duration(s.CPUNs),
	}
	var err error
	if p.Total, err = hdrhistogram.Decode([]byte(s.Total)); err != nil {
		return p, fmt.Errorf("decoding latencies: %w", err)
	}
	if p.Lag, err = hdrhistogram.Decode([]byte(s.Lag)); err != nil {
		return p, fmt.Errorf("decoding lags: %w", err)
	}
	return p, nil
}

// Server shows the run of this process to Prometheus, to watchers and to its peers.
type Server struct {
	Addr net.Addr

	http     *http.Server
	run      atomic.Pointer[Run]
	ended    atomic.Bool
	watchers watchers
}

// Run is what a Server shows.
type Run struct {
	Client, Title string
	Start         time.Time
	Length        time.Duration
	Look          func() record.Progress
}

// Serve begins to serve on addr. Until Show is called, nothing is shown but the clock.
func Serve(addr string) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serving metrics: %w", err)
	}
	s := &Server{Addr: l.Addr(), watchers: watchers{asked: map[string]time.Time{}, told: make(chan struct{}, 1)}}
	s.run.Store(&Run{Start: time.Now(), Look: record.NewProgress})
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(func() record.Progress { return s.run.Load().Look() }))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET "+clockPath, clock.Answer)
	mux.HandleFunc("GET "+progressPath, s.progress)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.http.Serve(l) }()
	return s, nil
}

// Show makes r the run that is shown.
func (s *Server) Show(r Run) { s.run.Store(&r) }

func (s *Server) progress(w http.ResponseWriter, q *http.Request) {
	r := s.run.Load()
	p := r.Look()
	out := state{Client: r.Client, Title: r.Title, StartNs: r.Start.UnixNano(), LengthNs: int64(r.Length), Ended: s.ended.Load()}
	if err := out.pack(&p); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
	if id := q.FormValue(watcherKey); id != "" {
		s.watchers.note(id, out.Ended)
	}
}

// linger bounds how long a generator that has ended stays for its peers and watchers.
const linger = 5 * time.Second

// Leave closes the server when every peer has asked for this clock: when it says that it has ended, or is gone; and when every
// watcher has heard that the run has ended, with its last figures.
func (s *Server) Leave(ctx context.Context, peers []string) {
	s.ended.Store(true)
	ctx, cancel := context.WithTimeout(ctx, linger)
	defer cancel()
	for _, p := range peers {
		for ctx.Err() == nil {
			st, err := ask(ctx, p, "")
			if err != nil || st.Ended {
				break
			}
			select {
			case <-time.After(50 * time.Millisecond): // a peer tells nobody; it is asked
			case <-ctx.Done():
			}
		}
	}
	s.watchers.wait(ctx)
	_ = s.http.Shutdown(ctx) // with the replies under way
	_ = s.http.Close()
}

// Clocks looks at the clocks of the peers and at what chrony says of this machine's. A peer that does not answer is asked
// again for as long as within allows: generators do not start in one instant.
func Clocks(ctx context.Context, peers []string, within time.Duration) clock.Look {
	l := clock.Look{UnixNs: time.Now().UnixNano(), Peers: []clock.Reading{}}
	if t, err := clock.Chrony(ctx); err == nil {
		l.Chrony = &t
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for _, p := range peers {
		for {
			r, err := clock.Ask(ctx, "http://"+p+clockPath, p)
			if err == nil || ctx.Err() != nil {
				l.Peers = append(l.Peers, r)
				break
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	return l
}
