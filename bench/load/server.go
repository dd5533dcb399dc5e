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

// arrivals is what the server knows of the load.
type arrivals struct {
	mu sync.Mutex
	at []int64 // Unix nanoseconds
}

// seen is what the server says of a load that is over.
type seen struct {
	Requests int `json:"requests"`
	// LagP99 is by how much the arrivals fell behind an even schedule of the rate: their p99, with the earliest as its
	// beginning. What the generator and the way to the server add is in it.
	LagP99 time.Duration `json:"lag_p99_ns"`
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
		a.mu.Lock()
		a.at = append(a.at, now.UnixNano())
		a.mu.Unlock()
		if into := time.Duration(now.UnixNano()) % period; *freeze && into < frozen {
			time.Sleep(frozen - into)
		}
		_, _ = w.Write(body)
	})
	mux.HandleFunc("/seen", func(w http.ResponseWriter, r *http.Request) {
		var rate float64
		_, _ = fmt.Sscan(r.FormValue("rate"), &rate)
		a.mu.Lock()
		defer a.mu.Unlock()
		_ = json.NewEncoder(w).Encode(a.behind(rate))
		a.at = a.at[:0]
	})
	l, err := net.Listen("tcp", fs.Arg(0))
	if err != nil {
		return err
	}
	return http.Serve(l, mux)
}

func (a *arrivals) behind(rate float64) seen {
	s := seen{Requests: len(a.at)}
	if len(a.at) == 0 || rate <= 0 {
		return s
	}
	slices.Sort(a.at)
	lag := make([]int64, len(a.at))
	for i, at := range a.at {
		lag[i] = at - a.at[0] - int64(float64(i)/rate*1e9)
	}
	slices.Sort(lag)
	s.LagP99 = time.Duration(lag[len(lag)*99/100] - lag[0])
	return s
}
