// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/results"
)

// witness is a server that keeps its own record: the n-th request is answered with n+1 bytes, so
// that each of the generator's samples can be held against what the server did.
type witness struct {
	url    string
	freeze func(time.Time) time.Time // until when a request that comes then has to wait

	mu        sync.Mutex
	came      []time.Time
	answered  []time.Time
	requested chan struct{} // one token a request
}

func newWitness(t *testing.T, freeze func(time.Time) time.Time) *witness {
	t.Helper()
	w := &witness{freeze: freeze, requested: make(chan struct{}, 1<<16)}
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: w}}
	srv.Start()
	t.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, _ *http.Request) {
	now := time.Now()
	w.mu.Lock()
	w.came, w.answered = append(w.came, now), append(w.answered, time.Time{})
	n := len(w.came)
	w.mu.Unlock()
	w.requested <- struct{}{}
	time.Sleep(time.Until(w.freeze(now)))
	body := bytes.Repeat([]byte("x"), n)
	w.mu.Lock()
	w.answered[n-1] = time.Now()
	w.mu.Unlock()
	_, _ = rw.Write(body)
}

// generator is a loadgen process.
type generator struct {
	*exec.Cmd
	dir            string
	stdout, stderr bytes.Buffer
}

func generate(t *testing.T, url string, args ...string) *generator {
	t.Helper()
	g := &generator{dir: filepath.Join(t.TempDir(), "out")}
	g.Cmd = exec.Command("loadgen", append([]string{"http", url, "--out", g.dir, "-o", "json", "-q", "--max-lag", "0", "--max-cpu", "0"}, args...)...)
	g.Stdout, g.Stderr = &g.stdout, &g.stderr
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Process.Kill() })
	return g
}

// finish waits for the process and returns what it left, samples by intended send.
func (g *generator) finish(t *testing.T) (s record.Summary, samples []results.Sample, err error) {
	t.Helper()
	err = g.Wait()
	if e := json.Unmarshal(g.stdout.Bytes(), &s); e != nil {
		t.Fatalf("%v: %s%s", e, g.stdout.String(), g.stderr.String())
	}
	if e := results.ReadRows(filepath.Join(g.dir, results.SamplesFile), func(rows []results.Sample) error {
		samples = append(samples, rows...)
		return nil
	}); e != nil {
		t.Fatal(e)
	}
	slices.SortFunc(samples, func(a, b results.Sample) int { return int(a.IntendedNs - b.IntendedNs) })
	return s, samples, err
}

// gapless fails the test unless the samples are one attempt each of an unbroken schedule.
func gapless(t *testing.T, samples []results.Sample, gap time.Duration) {
	t.Helper()
	for i := 1; i < len(samples); i++ {
		if d := samples[i].IntendedNs - samples[i-1].IntendedNs; d != int64(gap) || samples[i].Seq != samples[i-1].Seq+1 {
			t.Fatalf("sample %d (seq %d) is due %v after the one before (seq %d), want %v", i, samples[i].Seq, time.Duration(d), samples[i-1].Seq, gap)
		}
	}
}

// quantile of sorted values, by the rank that HdrHistogram uses.
func quantile(sorted []int64, q float64) int64 {
	return sorted[min(max(int(q/100*float64(len(sorted))+0.5), 1), len(sorted))-1]
}

// The server freezes for 100 ms each second. The percentiles that loadgen reports must be those of
// its samples (0.1 %, the histogram's resolution), and no sample may be kinder than what the server
// knows it did: from the instant the request was due to the instant the server answered. The other
// side is bounded where the machine disturbed least, by 20 ms: what a busy machine adds between the
// server's answer and the generator's last byte is no lie of either. (Idle, its median is 0.2 ms.)
//
// "stopped" is the same while the generator itself is stopped 100 ms each second: what fell due meanwhile shows the wait.
//
// LOADGEN_STRICT=1, for a quiet machine, holds percentiles in the tail to within 1 % of what the server knows (make load-truth).
func TestReportsWhatTheServerDid(t *testing.T) {
	strict := os.Getenv("LOADGEN_STRICT") != ""
	trace := filepath.Join(t.TempDir(), "trace")
	var instants strings.Builder
	for i := range 500 { // bursts of five
		fmt.Fprintf(&instants, "%d.%03d\n", i/5*30/1000, i/5*30%1000)
	}
	if err := os.WriteFile(trace, []byte(instants.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	pacings := map[string][]string{
		"constant": {"--rate", "200"},
		"poisson":  {"--rate", "200", "--pacing", "poisson"},
		"steps":    {"--profile", "steps:100@1s,300@1s,200"},
		"ramp":     {"--profile", "ramp:100..300@3s"},
		"sine":     {"--profile", "sine:200~100@1500ms", "--pacing", "poisson"},
		"spike":    {"--profile", "spike:100..500@1s+500ms"},
		"trace":    {"--trace", trace},
	}
	for _, mode := range []string{"new", "keepalive", "stopped"} {
		for pacing, due := range pacings {
			if mode == "new" && pacing != "constant" && pacing != "poisson" {
				continue // a schedule knows nothing of connections
			}
			t.Run(mode+"/"+pacing, func(t *testing.T) {
				if !strict {
					t.Parallel()
				}
				begin := time.Now()
				const frozen = 100 * time.Millisecond
				w := newWitness(t, func(now time.Time) time.Time {
					return begin.Add(now.Sub(begin).Truncate(time.Second) + frozen)
				})
				connection := mode
				if mode == "stopped" {
					connection = "keepalive"
				}
				g := generate(t, w.url, append([]string{"--duration", "3s", "--connection", connection, "--timeout", "1m"}, due...)...)
				var stops []stretch
				if mode == "stopped" {
					stops = stopEachSecond(t, g.Process.Pid, begin.Add(500*time.Millisecond), 3)
				}
				s, samples, err := g.finish(t)
				if err != nil {
					t.Fatal(err, g.stderr.String())
				}
				if pacing == "constant" {
					gapless(t, samples, 5*time.Millisecond)
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				if n := uint64(len(samples)); n != s.Requests || n != s.Succeeded || int(n) != len(w.came) {
					t.Fatalf("%d samples, %d requests, %d succeeded, the server saw %d", n, s.Requests, s.Succeeded, len(w.came))
				}

				var reported, truth, added []int64
				waited, held := 0, 0
				for _, r := range samples {
					for _, stop := range stops {
						if r.IntendedNs <= stop.from.UnixNano() || r.IntendedNs >= stop.to.UnixNano() {
							continue
						}
						held++
						if left := stop.to.UnixNano() - r.IntendedNs; r.SentNs < stop.to.UnixNano() || r.TotalNs < left {
							t.Errorf("request %d was due %v before the generator went on: sent %v after it was due, total %v",
								r.Seq, time.Duration(left), time.Duration(r.SentNs-r.IntendedNs), time.Duration(r.TotalNs))
						}
					}
					known := w.answered[r.Bytes-1].UnixNano() - r.IntendedNs
					if r.TotalNs < known {
						t.Errorf("request %d: total %v, but the server answered %v after it was due", r.Seq, time.Duration(r.TotalNs), time.Duration(known))
					}
					if left := frozen - w.came[r.Bytes-1].Sub(begin)%time.Second; left > 0 {
						waited++
						if r.TotalNs < int64(left) {
							t.Errorf("request %d came with %v of the freeze left, total %v", r.Seq, left, time.Duration(r.TotalNs))
						}
					}
					reported, truth, added = append(reported, r.TotalNs), append(truth, known), append(added, r.TotalNs-known)
				}
				if waited == 0 || held == 0 && len(stops) > 0 {
					t.Errorf("%d requests met a freeze, %d a stop: the test shows nothing", waited, held)
				}
				if s.Late+1 < uint64(held) { // the one that was due in the last millisecond of a stop may not be
					t.Errorf("%d requests fell due in stops, %d are told to be late", held, s.Late)
				}
				slices.Sort(reported)
				slices.Sort(truth)
				slices.Sort(added)
				for _, p := range []struct {
					q float64
					v int64
				}{{50, s.Latency.Total.P50}, {90, s.Latency.Total.P90}, {99, s.Latency.Total.P99}, {99.9, s.Latency.Total.P999}} {
					if want := quantile(reported, p.q); float64(p.v) < 0.999*float64(want) || float64(p.v) > 1.001*float64(want) {
						t.Errorf("p%g is reported as %d, the samples say %d", p.q, p.v, want)
					}
					known := quantile(truth, p.q)
					if p.v < known {
						t.Errorf("p%g is reported as %d, the server knows of %d", p.q, p.v, known)
					}
					if strict && p.q > 90 && float64(p.v) > 1.01*float64(known) {
						t.Errorf("p%g is reported as %d, the server knows of %d: more than 1 %% off", p.q, p.v, known)
					}
				}
				if added[0] > int64(20*time.Millisecond) {
					t.Errorf("each of the generator's totals exceeds the server's by %v or more", time.Duration(added[0]))
				}
				t.Logf("p50 %s p90 %s p99 %s; server: p50 %s p90 %s p99 %s; %d met the freeze",
					span(time.Duration(s.Latency.Total.P50)), span(time.Duration(s.Latency.Total.P90)), span(time.Duration(s.Latency.Total.P99)),
					span(time.Duration(quantile(truth, 50))), span(time.Duration(quantile(truth, 90))), span(time.Duration(quantile(truth, 99))), waited)
			})
		}
	}
}

// stretch is from one instant to another.
type stretch struct{ from, to time.Time }

// stopEachSecond stops a process n times for 100 ms, a second apart.
func stopEachSecond(t *testing.T, pid int, first time.Time, n int) (stops []stretch) {
	t.Helper()
	for i := range n {
		time.Sleep(time.Until(first.Add(time.Duration(i) * time.Second))) // the instants are the stimulus
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		for state(t, pid) != "T" {
			time.Sleep(time.Millisecond)
		}
		from := time.Now()
		time.Sleep(100 * time.Millisecond)
		to := time.Now()
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		stops = append(stops, stretch{from, to})
	}
	return stops
}

// state returns the process's state letter from /proc, for example T when it is stopped.
func state(t *testing.T, pid int) string {
	t.Helper()
	out, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(out), ") ")
	return rest[:1]
}

// A generator that was stopped itself cannot have sent on time. It must say so: the schedule has no
// gap, and every request that fell due meanwhile shows the wait, as lag and in its latency.
func TestOwnStopIsNotHidden(t *testing.T) {
	w := newWitness(t, func(now time.Time) time.Time { return now })
	g := generate(t, w.url, "--rate", "200", "--duration", "1h", "--timeout", "1m", "--max-lag", "10ms") // ended below, however slow the machine
	for range 50 {
		<-w.requested
	}
	if err := g.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for state(t, g.Process.Pid) != "T" {
		time.Sleep(time.Millisecond)
	}
	stopped := time.Now()
	time.Sleep(300 * time.Millisecond) // the length of the stop is the stimulus
	resumed := time.Now()
	if err := g.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for range 200 { // those that fell due in the stop, and more
		<-w.requested
	}
	if err := g.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s, samples, _ := g.finish(t)
	gapless(t, samples, 5*time.Millisecond)
	if n := uint64(len(samples)); n < 250 || s.Requests != n || s.Dropped != 0 {
		t.Errorf("%d samples, %+v; want 250 or more, as many requests, none dropped", n, s.Generator)
	}
	missed := uint64(0)
	for _, r := range samples {
		if r.IntendedNs <= stopped.UnixNano() || r.IntendedNs >= resumed.UnixNano() {
			continue
		}
		missed++
		if left := resumed.UnixNano() - r.IntendedNs; r.SentNs < resumed.UnixNano() || r.TotalNs < left {
			t.Errorf("request %d was due %v before the end of the stop: sent %v after it was due, total %v",
				r.Seq, time.Duration(left), time.Duration(r.SentNs-r.IntendedNs), time.Duration(r.TotalNs))
		}
	}
	if missed < 50 {
		t.Fatalf("%d requests fell due in a stop of %v: the test shows nothing", missed, resumed.Sub(stopped))
	}
	if s.Late < missed-1 || s.LagMaxNs < int64(290*time.Millisecond) || s.LagP99Ns < int64(100*time.Millisecond) || s.Latency.Total.P99 < int64(100*time.Millisecond) {
		t.Errorf("%d requests were missed, but %+v, p99 %v", missed, s.Generator, time.Duration(s.Latency.Total.P99))
	}
	if s.Verdict.Valid {
		t.Error("the verdict is valid")
	}
}

// SIGTERM and SIGINT end the run early: exit 1, and files that are whole.
func TestSignalsLeaveWholeFiles(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			w := newWitness(t, func(now time.Time) time.Time { return now })
			g := generate(t, w.url, "--rate", "200", "--duration", "1h", "--warmup", "100ms", "--timeout", "1m")
			for range 60 {
				<-w.requested
			}
			if err := g.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			s, samples, err := g.finish(t)
			if g.ProcessState.ExitCode() != 1 || !strings.Contains(g.stderr.String(), "interrupted") {
				t.Errorf("%v, stderr %q; want exit code 1, interrupted", err, g.stderr.String())
			}
			gapless(t, samples, 5*time.Millisecond)
			w.mu.Lock()
			defer w.mu.Unlock()
			if n := len(samples); n < 60 || n != len(w.came) || uint64(n) != s.Requests+s.Warmup || !s.Interrupted {
				t.Errorf("%d samples, the server saw %d, summary %+v", n, len(w.came), s)
			}
			f, err := os.ReadFile(filepath.Join(g.dir, results.HistogramFile))
			if err != nil {
				t.Fatal(err)
			}
			h, err := hdrhistogram.NewHistogramLogReader(bytes.NewReader(f)).NextIntervalHistogram()
			if err != nil || uint64(h.TotalCount()) != s.Succeeded {
				t.Errorf("histogram.hlog: %v, %v; want %d values", h, err, s.Succeeded)
			}
			var account struct {
				results.Generator
				Interrupted bool `json:"interrupted"`
			}
			b, err := os.ReadFile(filepath.Join(g.dir, record.GeneratorFile))
			if err != nil || json.Unmarshal(b, &account) != nil || account.Generator != s.Generator || !account.Interrupted {
				t.Errorf("%s: %s, %v", record.GeneratorFile, b, err)
			}
		})
	}
}
