// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// The server is frozen for the first frozen of every period of its clock: a request that comes then waits for the end.
const (
	period = time.Second
	frozen = 100 * time.Millisecond
)

// arrivals is what the server knows of the load, in the order in which requests came.
type arrivals struct {
	mu       sync.Mutex
	at       []int64 // Unix nanoseconds
	answered []int64
}

// come takes note of a request and returns its number.
func (a *arrivals) come(at time.Time) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at, a.answered = append(a.at, at.UnixNano()), append(a.answered, 0)
	return len(a.at) - 1
}

// answer takes note of when a request is answered.
func (a *arrivals) answer(n int, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n < len(a.answered) { // else the load that it was of has been asked for
		a.answered[n] = at.UnixNano()
	}
}

// seen is what the server says of a load that is over.
type seen struct {
	Requests int `json:"requests"`
	// LagP99 is by how much the arrivals fell behind an even schedule of the rate: their p99, with the earliest as its
	// beginning. What the generator and the way to the server add is in it.
	LagP99 time.Duration `json:"lag_p99_ns"`
	// Took are the quantiles of how long requests took from the instant at which they were due by that schedule until the
	// server answered them: what this load met, on this machine as busy as it was. They mean nothing of a generator
	// that leaves requests out.
	Took []time.Duration `json:"took_ns"`
}

// serve answers on an address until it is killed. With -freeze it freezes.
func serve(args []string) error {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	freeze := fs.Bool("freeze", false, "freeze 100 ms each second")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var a arrivals
	body := make([]byte, 128)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now()
		n := a.come(now)
		if into := time.Duration(now.UnixNano()) % period; *freeze && into < frozen {
			time.Sleep(frozen - into)
		}
		a.answer(n, time.Now())
		_, _ = w.Write(body)
	})
	mux.HandleFunc("/seen", func(w http.ResponseWriter, r *http.Request) {
		var rate float64
		_, _ = fmt.Sscan(r.FormValue("rate"), &rate)
		a.mu.Lock()
		defer a.mu.Unlock()
		_ = json.NewEncoder(w).Encode(a.behind(rate))
		a.at, a.answered = a.at[:0], a.answered[:0]
	})
	l, err := net.Listen("tcp", fs.Arg(0))
	if err != nil {
		return err
	}
	return http.Serve(l, mux)
}

// behind holds what came to an even schedule of the rate that begins so that the earliest request was on time: the n-th that
// came is the n-th that was due. Replies are taken in the same order: percentiles do not tell two requests from each other.
func (a *arrivals) behind(rate float64) seen {
	s := seen{Requests: len(a.at)}
	if len(a.at) == 0 || rate <= 0 {
		return s
	}
	came, answered := slices.Sorted(slices.Values(a.at)), slices.Sorted(slices.Values(a.answered))
	lag, took := make([]int64, len(came)), make([]time.Duration, len(came))
	for i, at := range came {
		due := int64(float64(i) / rate * 1e9)
		if answered[i] == 0 { // not yet, and nobody waits any more
			answered[i] = at
		}
		lag[i], took[i] = at-due, time.Duration(answered[i]-due)
	}
	begin := slices.Min(lag)
	for i := range lag {
		lag[i] -= begin
		took[i] -= time.Duration(begin)
	}
	slices.Sort(lag)
	s.LagP99, s.Took = time.Duration(lag[len(lag)*99/100]), of(took)
	return s
}
