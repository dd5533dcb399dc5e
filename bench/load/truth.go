// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// testServer is this program as a server, on the first core.
type testServer struct {
	*process
	url string
}

func newServer(args ...string) (*testServer, error) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	p, err := start(0, append(append([]string{os.Args[0], "serve"}, args...), addr)...)
	if err != nil {
		return nil, err
	}
	s := &testServer{p, "http://" + addr + "/"}
	for range 200 {
		if _, err = s.seen(1); err == nil {
			return s, nil
		}
		time.Sleep(20 * time.Millisecond) // it tells nobody that it listens
	}
	return nil, errors.Join(err, s.stop())
}

func (s *testServer) stop() error {
	_ = s.Process.Kill()
	_ = s.Wait()
	return nil
}

// seen returns what the server saw since it was last asked.
func (s *testServer) seen(rate float64) (out seen, err error) {
	reply, err := http.Get(fmt.Sprintf("%sseen?rate=%g", s.url, rate))
	if err != nil {
		return out, err
	}
	defer reply.Body.Close()
	return out, json.NewDecoder(reply.Body).Decode(&out)
}

// trial is one generator once.
type trial struct {
	Name      string          `json:"name"`
	Round     int             `json:"round"`
	Stopped   bool            `json:"stopped"` // the generator was stopped too
	Rate      float64         `json:"rate_per_second"`
	Report    report          `json:"report"`
	Must      []time.Duration `json:"must_ns"` // what its percentiles must be
	Seen      seen            `json:"seen"`
	CPU       time.Duration   `json:"cpu_ns"`
	Elapsed   time.Duration   `json:"elapsed_ns"`
	Others    float64         `json:"others"` // share of the processors' time that was neither the generator's nor the server's
	Generator string          `json:"-"`
}

// truth compares what generators report with what must come out. The server notes when each request came and when it was
// answered, so that a generator that chases its schedule is held to what the server itself did to it, also where the machine
// was busy: from the instant at which the request was due, by the rate, to the answer. One that leaves requests out, because it
// waits for replies, is held to what is known of the server and the stops alone: for a request that was due at an instant,
// the end of the stop of the generator in which it falls, if any, and from then on the end of the freeze of the server. The
// server freezes 100 ms at the full second; this process stops the generator around the half second, and notes when.
func (s *settings) truth() error {
	server, err := newServer("-freeze")
	if err != nil {
		return err
	}
	defer server.stop()
	all := present(generators())
	var trials []trial
	for round := range s.rounds {
		for _, stopped := range []bool{false, true} {
			for _, g := range all {
				t, err := s.once(g, server, round, stopped)
				if err != nil {
					fmt.Fprintf(os.Stderr, "round %d: %s: %v\n", round+1, g.name, err)
					continue
				}
				fmt.Fprintf(os.Stderr, "round %d, stopped %v: %s: %v, must be %v\n", round+1, stopped, g.name, t.Report.Latencies, t.Must)
				if err := s.keep(t); err != nil {
					return err
				}
				trials = append(trials, t)
			}
		}
	}
	for _, stopped := range []bool{false, true} {
		if stopped {
			fmt.Printf("\nThe server freezes as before, and the generator itself is stopped 100 ms each second (SIGSTOP):\n\n")
		} else {
			fmt.Printf("The server freezes 100 ms each second, %g requests a second (wrk: as many as it can), %s, %d rounds:\n\n", s.rate, s.duration, s.rounds)
		}
		table(all, trials, stopped)
	}
	return nil
}

// once tries a generator while the machine is its own.
func (s *settings) once(g generator, server *testServer, round int, stopped bool) (t trial, err error) {
	share, err := s.wait.undisturbed(func() (own time.Duration, err error) {
		before, err := server.used()
		if err != nil {
			return 0, err
		}
		if t, err = s.try(g, server, round, stopped); err != nil {
			return 0, err
		}
		after, err := server.used()
		return t.CPU + after - before, err
	})
	t.Others = share
	return t, err
}

// try runs a generator, stops it each second if asked to, and computes what must come out.
func (s *settings) try(g generator, server *testServer, round int, stopped bool) (t trial, err error) {
	t = trial{Name: g.name, Round: round, Stopped: stopped, Rate: s.rate}
	if _, err := server.seen(s.rate); err != nil {
		return t, err
	}
	begun := time.Now()
	p, err := start(1, g.args(server.url, s.rate, s.duration)...)
	if err != nil {
		return t, err
	}
	over := make(chan struct{})
	var stops []stop
	stopping := make(chan struct{})
	go func() {
		defer close(stopping)
		if stopped {
			stops = halt(p.Process.Pid, over)
		}
	}()
	t.CPU, err = p.end()
	t.Elapsed = time.Since(begun)
	close(over)
	<-stopping
	if err != nil {
		return t, err
	}
	if t.Seen, err = server.seen(s.rate); err != nil {
		return t, err
	}
	if t.Report, err = g.read(p.stdout.Bytes()); err != nil {
		return t, err
	}
	if g.correct {
		t.Report.Latencies = of(corrected(t.Report.all, time.Duration(connections/s.rate*float64(time.Second))))
	}
	t.Must = must(begun, s.duration, stops)
	if g.chases {
		t.Must = t.Seen.Took
	}
	return t, nil
}

// stop is when a process was stopped.
type stop struct{ from, to time.Time }

// halt stops a process 100 ms at each half second until over.
func halt(pid int, over <-chan struct{}) (stops []stop) {
	for {
		next := time.Now().Truncate(period).Add(period / 2)
		if time.Until(next) < 0 {
			next = next.Add(period)
		}
		select {
		case <-over:
			return stops
		case <-time.After(time.Until(next)):
		}
		from := time.Now()
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		time.Sleep(frozen)
		_ = syscall.Kill(pid, syscall.SIGCONT)
		stops = append(stops, stop{from, time.Now()})
	}
}

// must returns the percentiles of requests that are due evenly in the window, on a server that answers in no time when it
// is not frozen.
func must(begun time.Time, length time.Duration, stops []stop) []time.Duration {
	const each = 100 * time.Microsecond
	var all []time.Duration
	for at := begun; at.Before(begun.Add(length)); at = at.Add(each) {
		came := at
		for _, s := range stops {
			if !came.Before(s.from) && came.Before(s.to) {
				came = s.to
			}
		}
		if into := time.Duration(came.UnixNano()) % period; into < frozen {
			came = came.Add(frozen - into)
		}
		all = append(all, came.Sub(at))
	}
	return of(all)
}

// table prints for each generator the medians over rounds, and how far they are off.
func table(all []generator, trials []trial, stopped bool) {
	low, high := 2, 3
	if stopped { // a fifth of the requests waits; of a tenth, the 90th percentile is the edge, which tells nothing
		low, high = 1, 2
	}
	fmt.Printf("| generator | requests | p50 | p90 | p99 | p99.9 | must be: p%[1]g | p%[2]g | p%[1]g is off by (spread) | p%[2]g is off by (spread) |\n", quantiles[low], quantiles[high])
	fmt.Println("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	cells := func(by ...[]time.Duration) string {
		var out []string
		for _, v := range by {
			if len(v) == 0 || median(v) < 0 {
				out = append(out, "–")
			} else {
				out = append(out, fmt.Sprintf("%.1f ms", median(v).Seconds()*1e3))
			}
		}
		return strings.Join(out, " | ")
	}
	for _, g := range all {
		var by, musts [4][]time.Duration
		var requests []int
		var off [4][]float64
		for _, t := range trials {
			if t.Name != g.name || t.Stopped != stopped {
				continue
			}
			requests = append(requests, t.Report.Requests)
			for i, v := range t.Report.Latencies {
				by[i], musts[i] = append(by[i], v), append(musts[i], t.Must[i])
				if v >= 0 && t.Must[i] > 0 {
					off[i] = append(off[i], 100*(float64(v)/float64(t.Must[i])-1))
				}
			}
		}
		if len(requests) == 0 {
			continue
		}
		fmt.Printf("| %s | %d | %s | %s | %s | %s |\n", g.name, median(requests), cells(by[:]...), cells(musts[low:high+1]...), spread(off[low]), spread(off[high]))
	}
}

func spread(v []float64) string {
	if len(v) == 0 {
		return "–"
	}
	slices.Sort(v)
	return fmt.Sprintf("%+.1f %% (%+.1f … %+.1f)", v[len(v)/2], v[0], v[len(v)-1])
}

func median[T ~int | ~int64 | ~float64](v []T) T {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
