// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/miekg/dns"
)

// rates of the comparison of cost, in requests a second: each generator is tried at all, and the highest at which its
// requests come in time is its highest rate.
var rates = []float64{1000, 2000, 4000, 6000, 8000, 12000}

// inTime is the p99 of the send lag, as the server sees it, below which a generator keeps its rate.
const inTime = time.Millisecond

// cost measures what a request costs: CPU time of the generator on a core of its own.
func (s *settings) cost() error {
	server, err := newServer()
	if err != nil {
		return err
	}
	defer server.stop()
	all := present(generators())
	var trials []trial
	for round := range s.rounds {
		for _, rate := range rates {
			for _, g := range all {
				if g.closed && rate != rates[0] {
					continue
				}
				at := *s
				at.rate = rate
				t, err := at.once(g, server, round, false)
				if err != nil {
					fmt.Fprintf(os.Stderr, "round %d: %s: %v\n", round+1, g.name, err)
					continue
				}
				if g.closed {
					t.Rate, t.Seen.LagP99 = 0, 0
				}
				fmt.Fprintf(os.Stderr, "round %d, %g/s: %s: %s a request, lag p99 %s, %d of %d requests\n", round+1, rate, g.name,
					perRequest(t), t.Seen.LagP99, t.Report.Requests, int(rate*s.duration.Seconds()))
				if err := s.keep(t); err != nil {
					return err
				}
				trials = append(trials, t)
			}
		}
	}
	worst := 0.0
	for _, t := range trials {
		worst = max(worst, t.Others)
	}
	fmt.Printf("%s, %d rounds, medians; the server on one core, the generator on another. Others took at most %.0f %% of a measurement's time:\n\n| generator |", s.duration, s.rounds, 100*worst)
	for _, r := range rates {
		fmt.Printf(" CPU a request at %g/s; send lag p99 |", r)
	}
	fmt.Print(" requests/s a core, lag p99 < 1 ms |\n|---|")
	for range rates {
		fmt.Print("--:|")
	}
	fmt.Println("--:|")
	for _, g := range all {
		fmt.Printf("| %s |", g.name)
		best := 0.0
		for _, rate := range rates {
			if g.closed {
				rate = 0
			}
			var cpu, lag []time.Duration
			for _, t := range trials {
				if t.Name == g.name && t.Rate == rate {
					cpu, lag = append(cpu, perRequest(t)), append(lag, t.Seen.LagP99)
				}
			}
			if len(cpu) == 0 {
				fmt.Print(" – |")
				continue
			}
			if g.closed {
				fmt.Printf(" %s (closed loop) |", median(cpu).Round(100*time.Nanosecond))
			} else {
				fmt.Printf(" %s; %s |", median(cpu).Round(100*time.Nanosecond), median(lag).Round(10*time.Microsecond))
				if median(lag) < inTime {
					best = max(best, float64(time.Second)/float64(median(cpu)))
				}
			}
		}
		if best > 0 {
			fmt.Printf(" %.0f |\n", best)
		} else {
			fmt.Println(" – |")
		}
	}
	return nil
}

func perRequest(t trial) time.Duration { return t.CPU / time.Duration(max(t.Seen.Requests, 1)) }

// dnsRates of the comparison with dnsperf, in queries a second.
var dnsRates = []float64{1000, 5000, 20000, 50000}

var dnsperfSent = regexp.MustCompile(`(?m)^ +Queries (sent|completed): +([0-9]+)`)

// dns holds loadgen beside dnsperf on one dnsingress.
func (s *settings) dns() error {
	for _, p := range []string{"dnsperf", "loadgen", "dnsingress"} {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("%s is not in PATH (hint: bench/load/bench-load fetches and builds what is needed)", p)
		}
	}
	dir, err := os.MkdirTemp("", "load-dns-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var zone, list bytes.Buffer
	fmt.Fprintln(&zone, "bench.test. 3600 IN SOA ns.bench.test. h.bench.test. 1 3600 600 86400 5\nbench.test. 3600 IN NS ns.bench.test.\nns.bench.test. 60 IN AAAA ::1")
	for i := range 1000 {
		fmt.Fprintf(&zone, "n%d.bench.test. 60 IN AAAA fd00::%x\n", i, i)
		fmt.Fprintf(&list, "n%d.bench.test AAAA\n", i)
	}
	zonePath, listPath := filepath.Join(dir, "bench.test.zone"), filepath.Join(dir, "list")
	if err := errors.Join(os.WriteFile(zonePath, zone.Bytes(), 0o644), os.WriteFile(listPath, list.Bytes(), 0o644)); err != nil {
		return err
	}
	l, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		return err
	}
	port := strconv.Itoa(l.LocalAddr().(*net.UDPAddr).Port)
	l.Close()
	server, err := start(0, "dnsingress", "serve", "--log-level", "warn", "--zone-file", zonePath, "--listen", "[::1]:"+port)
	if err != nil {
		return err
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	q := new(dns.Msg).SetQuestion("n1.bench.test.", dns.TypeAAAA)
	for range 100 {
		if _, err = dns.Exchange(q, "[::1]:"+port); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond) // it tells nobody that it listens
	}
	if err != nil {
		return fmt.Errorf("waiting for dnsingress: %w: %s", err, server.stderr.String())
	}

	type key struct {
		name string
		rate float64
	}
	cpu, done, lag := map[key][]time.Duration{}, map[key][]float64{}, map[key][]time.Duration{}
	programs := []string{"loadgen --sockets 1", "dnsperf -c 1", "loadgen --sockets 16", "dnsperf -c 16"}
	for round := range s.rounds {
		for _, rate := range dnsRates {
			for _, name := range programs {
				k := key{name, rate}
				n := name[len(name)-2:]
				n = string(bytes.TrimSpace([]byte(n)))
				args := []string{"dnsperf", "-s", "::1", "-p", port, "-d", listPath, "-e", "-c", n, "-q", "10000", "-Q", fmt.Sprint(rate), "-l", fmt.Sprint(s.duration.Seconds())}
				if name[0] == 'l' {
					args = []string{"loadgen", "dns", "[::1]:" + port, "--list", listPath, "--sockets", n, "--rate", fmt.Sprint(rate), "--duration", s.duration.String(), "--timeout", "1s", "-q", "-o", "json", "--max-lag", "0", "--max-cpu", "0"}
				}
				var p *process
				var used time.Duration
				share, err := s.wait.undisturbed(func() (own time.Duration, err error) {
					before, err := server.used()
					if err != nil {
						return 0, err
					}
					if p, err = start(1, args...); err != nil {
						return 0, err
					}
					if used, err = p.end(); err != nil {
						return 0, err
					}
					after, err := server.used()
					return used + after - before, err
				})
				if err != nil {
					return err
				}
				sent, answered, late, err := readDNS(p.stdout.Bytes())
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if err := s.keep(map[string]any{"name": name, "round": round, "rate": rate, "cpu_ns": used, "sent": sent, "answered": answered, "lag_p99_ns": late, "others": share}); err != nil {
					return err
				}
				fmt.Fprintf(os.Stderr, "round %d, %g/s: %s: %s a query, %d sent, %d answered\n", round+1, rate, name, used/time.Duration(max(sent, 1)), sent, answered)
				cpu[k] = append(cpu[k], used/time.Duration(max(sent, 1)))
				done[k] = append(done[k], float64(answered)/max(rate*s.duration.Seconds(), 1))
				lag[k] = append(lag[k], late)
			}
		}
	}
	fmt.Printf("CPU time a query (answered of what was asked for; send lag p99), %s, %d rounds, medians and spread:\n\n| generator |", s.duration, s.rounds)
	for _, r := range dnsRates {
		fmt.Printf(" %g/s |", r)
	}
	fmt.Print("\n|---|")
	for range dnsRates {
		fmt.Print("--:|")
	}
	fmt.Println()
	for _, name := range programs {
		fmt.Printf("| %s |", name)
		for _, r := range dnsRates {
			k := key{name, r}
			c := slices.Sorted(slices.Values(cpu[k]))
			fmt.Printf(" %s (%s … %s), %.1f %%", c[len(c)/2], c[0], c[len(c)-1], 100*median(done[k]))
			if l := median(lag[k]); l >= 0 {
				fmt.Printf(", %s", l)
			}
			fmt.Print(" |")
		}
		fmt.Println()
	}
	return nil
}

// readDNS reads what a generator says: queries sent and answered, and the lag, negative where it is not told.
func readDNS(b []byte) (sent, answered int, lag time.Duration, err error) {
	var s struct {
		Requests  int   `json:"requests"`
		Dropped   int   `json:"dropped"`
		Succeeded int   `json:"succeeded"`
		LagP99Ns  int64 `json:"lag_p99_ns"`
	}
	if json.Unmarshal(b, &s) == nil {
		return s.Requests - s.Dropped, s.Succeeded, time.Duration(s.LagP99Ns), nil
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if m := dnsperfSent.FindStringSubmatch(lines.Text()); m != nil {
			n, _ := strconv.Atoi(m[2])
			if m[1] == "sent" {
				sent = n
			} else {
				answered = n
			}
		}
	}
	if sent == 0 {
		return 0, 0, -1, fmt.Errorf("nothing of queries in %q", b)
	}
	return sent, answered, -1, nil
}
