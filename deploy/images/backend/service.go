// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Bounds of what a request may ask for.
const (
	maxSize  = 1 << 30
	maxDelay = time.Minute
)

// block is the unit in which a body is written.
const block = 32 << 10

// service answers every path with size bytes after delay.
type service struct {
	size  int64
	delay time.Duration
	name  string    // of who answers; empty: it is not said
	slow  *slowness // nil: never
}

// handler returns the service with its metrics registered at r:
// backend_inflight_requests, backend_request_duration_seconds and backend_requests_total by code.
func (s service) handler(r prometheus.Registerer) http.Handler {
	f := promauto.With(r)
	inFlight := f.NewGauge(prometheus.GaugeOpts{
		Name: "backend_inflight_requests", Help: "Requests being answered now.",
	})
	duration := f.NewHistogram(prometheus.HistogramOpts{
		Name: "backend_request_duration_seconds", Help: "Time from a request's header read to its body handed to the kernel.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 18),
	})
	total := f.NewCounterVec(prometheus.CounterOpts{
		Name: "backend_requests_total", Help: "Requests answered, by status code.",
	}, []string{"code"})
	body := make([]byte, block)
	for i := range body {
		body[i] = 'a' + byte(i%26)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		inFlight.Inc()
		defer inFlight.Dec()
		begin := time.Now()
		code := s.answer(w, req, body)
		duration.Observe(time.Since(begin).Seconds())
		total.WithLabelValues(strconv.Itoa(code)).Inc()
	})
}

// statusGone counts requests whose client left before the answer; it is never sent.
const statusGone = 499

func (s service) answer(w http.ResponseWriter, req *http.Request, body []byte) int {
	asked, err := s.with(req.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return http.StatusBadRequest
	}
	if delay := asked.delay + s.slow.delay(); delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-req.Context().Done():
			return statusGone
		}
	}
	if s.name != "" {
		w.Header().Set("X-Backend", s.name)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(asked.size, 10))
	for left := asked.size; left > 0; left -= block {
		if _, err := w.Write(body[:min(left, block)]); err != nil {
			return statusGone
		}
	}
	return http.StatusOK
}

// with returns the service as a request's query parameters size and delay change it.
func (s service) with(q url.Values) (service, error) {
	if v := q.Get("size"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 || n > maxSize {
			return s, fmt.Errorf("size %q (hint: 0 to %d bytes)", v, int64(maxSize))
		}
		s.size = n
	}
	if v := q.Get("delay"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d < 0 || d > maxDelay {
			return s, fmt.Errorf("delay %q (hint: a duration from 0s to %s, such as 5ms)", v, maxDelay)
		}
		s.delay = d
	}
	return s, nil
}

// slowness is how much longer every request takes. A PUT with the parameter delay sets it.
type slowness struct{ ns atomic.Int64 }

func (s *slowness) delay() time.Duration {
	if s == nil {
		return 0
	}
	return time.Duration(s.ns.Load())
}

func (s *slowness) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	v := req.URL.Query().Get("delay")
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 || d > maxDelay {
		http.Error(w, fmt.Sprintf("delay %q (hint: a duration from 0s to %s, such as 300ms)", v, maxDelay), http.StatusBadRequest)
		return
	}
	s.ns.Store(int64(d))
	fmt.Fprintln(w, d)
}

// readiness answers a readiness probe: 200 once set, else 503.
type readiness struct{ ready atomic.Bool }

func (r *readiness) set(v bool) { r.ready.Store(v) }

func (r *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if !r.ready.Load() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}
