// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// quantiles that are compared, in per cent.
var quantiles = []float64{50, 90, 99, 99.9}

// report is what a generator says.
type report struct {
	Requests  int             `json:"requests"`
	Latencies []time.Duration `json:"latencies_ns"` // by quantiles; negative: not told
	all       []time.Duration // where the generator tells every one
}

// generator is a program that loads a URL at a rate over kept connections.
type generator struct {
	name    string
	program string // that must be there
	args    func(url string, rate float64, d time.Duration) []string
	read    func(stdout []byte) (report, error)
	closed  bool // it knows no rate: the next request waits for the reply to the last
	chases  bool // it sends what fell due as soon as it can: the n-th that it sends is the n-th that was due
	correct bool // what it reports is corrected for what it did not send
}

const connections = 8

func generators() []generator {
	seconds := func(d time.Duration) string { return fmt.Sprintf("%gs", d.Seconds()) }
	rps := func(r float64) string { return strconv.FormatFloat(r, 'f', -1, 64) }
	fortio := func(url string, rate float64, d time.Duration, more ...string) []string {
		return append(append([]string{"fortio", "load", "-qps", rps(rate), "-t", seconds(d), "-c", strconv.Itoa(connections), "-p", "50,90,99,99.9", "-r", "0.0001", "-json", "-", "-loglevel", "Error", "-quiet"}, more...), url)
	}
	return []generator{
		{name: "loadgen", program: "loadgen", args: func(url string, rate float64, d time.Duration) []string {
			return []string{"loadgen", "http", url, "--rate", rps(rate), "--duration", d.String(), "--connection", "keepalive", "--clients", "50", "-q", "-o", "json", "--max-lag", "0", "--max-cpu", "0"}
		}, read: readLoadgen, chases: true},
		{name: "vegeta", program: "load", args: func(url string, rate float64, d time.Duration) []string {
			return []string{os.Args[0], "vegeta", "-rate", rps(rate), "-duration", d.String(), url}
		}, read: readReport, chases: true},
		{name: "fortio", program: "fortio", args: func(url string, rate float64, d time.Duration) []string { return fortio(url, rate, d) }, read: readFortio, chases: true},
		{name: "fortio -nocatchup -uniform", program: "fortio", args: func(url string, rate float64, d time.Duration) []string {
			return fortio(url, rate, d, "-nocatchup", "-uniform")
		}, read: readFortio},
		{name: "hey", program: "hey", args: func(url string, rate float64, d time.Duration) []string {
			// Its -q is of each worker.
			return []string{"hey", "-z", seconds(d), "-c", strconv.Itoa(connections), "-q", rps(rate / connections), "-o", "csv", url}
		}, read: readHey},
		{name: "hey, corrected", program: "hey", args: func(url string, rate float64, d time.Duration) []string {
			return []string{"hey", "-z", seconds(d), "-c", strconv.Itoa(connections), "-q", rps(rate / connections), "-o", "csv", url}
		}, read: readHey, correct: true},
		{name: "wrk", program: "wrk", closed: true, args: func(url string, _ float64, d time.Duration) []string {
			return []string{"wrk", "-t1", "-c" + strconv.Itoa(connections), "-d" + seconds(d), "--latency", url}
		}, read: readWrk},
	}
}

// present returns those generators whose programs are there, and says which are not.
func present(all []generator) (out []generator) {
	for _, g := range all {
		if _, err := exec.LookPath(g.program); err != nil && g.program != "load" {
			fmt.Fprintf(os.Stderr, "not compared, for it is not there: %s\n", g.name)
			continue
		}
		out = append(out, g)
	}
	return out
}

func readLoadgen(b []byte) (report, error) {
	var s struct {
		Requests int `json:"requests"`
		Latency  struct {
			Total struct {
				P50  int64 `json:"p50_ns"`
				P90  int64 `json:"p90_ns"`
				P99  int64 `json:"p99_ns"`
				P999 int64 `json:"p999_ns"`
			} `json:"total"`
		} `json:"latency"`
	}
	err := json.Unmarshal(b, &s)
	t := s.Latency.Total
	return report{Requests: s.Requests, Latencies: []time.Duration{time.Duration(t.P50), time.Duration(t.P90), time.Duration(t.P99), time.Duration(t.P999)}}, err
}

func readReport(b []byte) (r report, err error) { return r, json.Unmarshal(b, &r) }

func readFortio(b []byte) (report, error) {
	var s struct {
		DurationHistogram struct {
			Count       int
			Percentiles []struct{ Percentile, Value float64 }
		}
	}
	err := json.Unmarshal(b, &s)
	r := report{Requests: s.DurationHistogram.Count}
	for _, p := range s.DurationHistogram.Percentiles {
		r.Latencies = append(r.Latencies, time.Duration(p.Value*1e9))
	}
	return r, err
}

// readHey computes percentiles from its list of response times: it prints none beyond the 99th.
func readHey(b []byte) (report, error) {
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil || len(rows) < 2 {
		return report{}, fmt.Errorf("reading hey's list of %d rows: %w", len(rows), errors.Join(err))
	}
	var all []time.Duration
	for _, row := range rows[1:] {
		s, err := strconv.ParseFloat(row[0], 64)
		if err != nil {
			return report{}, err
		}
		all = append(all, time.Duration(s*1e9))
	}
	return report{len(all), of(all), all}, nil
}

// corrected adds the requests that a worker which waits for replies did not send meanwhile, one an interval, as HdrHistogram
// does (recordValueWithExpectedInterval): what wrk2's author proposes where the intended sends are not known.
func corrected(all []time.Duration, interval time.Duration) []time.Duration {
	out := slices.Clone(all)
	for _, took := range all {
		for missed := took - interval; missed >= interval; missed -= interval {
			out = append(out, missed)
		}
	}
	return out
}

// of returns the quantiles of durations.
func of(all []time.Duration) (out []time.Duration) {
	slices.Sort(all)
	for _, q := range quantiles {
		out = append(out, all[min(max(int(q/100*float64(len(all))+0.5), 1), len(all))-1])
	}
	return out
}

var (
	wrkLine     = regexp.MustCompile(`^ +([0-9.]+)% +([0-9.]+)(us|ms|s)$`)
	wrkRequests = regexp.MustCompile(`^ +([0-9]+) requests in`)
)

func readWrk(b []byte) (report, error) {
	r := report{Latencies: []time.Duration{-1, -1, -1, -1}}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if m := wrkRequests.FindStringSubmatch(lines.Text()); m != nil {
			r.Requests, _ = strconv.Atoi(m[1])
		}
		if m := wrkLine.FindStringSubmatch(lines.Text()); m != nil {
			q, _ := strconv.ParseFloat(m[1], 64)
			v, _ := time.ParseDuration(m[2] + m[3])
			if i := slices.Index(quantiles, q); i >= 0 {
				r.Latencies[i] = v
			}
		}
	}
	if r.Requests == 0 {
		return r, errors.New("wrk says nothing of requests")
	}
	return r, nil
}

// attack is vegeta's attack by its library, because its command does not build as a module: with its defaults, as its
// command has them, and the percentiles of its own Metrics.
func attack(args []string) error {
	fs := flag.NewFlagSet("vegeta", flag.ContinueOnError)
	rate := fs.Float64("rate", 100, "")
	duration := fs.Duration("duration", time.Second, "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	target := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodGet, URL: fs.Arg(0)})
	pacer := vegeta.ConstantPacer{Freq: int(*rate), Per: time.Second}
	var m vegeta.Metrics
	for r := range vegeta.NewAttacker().Attack(target, pacer, *duration, "") {
		m.Add(r)
	}
	m.Close()
	out := report{Requests: int(m.Requests)}
	for _, q := range quantiles {
		out.Latencies = append(out.Latencies, m.Latencies.Quantile(q/100))
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// process is a program under way.
type process struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

// start runs a program on one core.
func start(core int, args ...string) (*process, error) {
	p := &process{Cmd: exec.Command("taskset", append([]string{"-c", strconv.Itoa(core)}, args...)...)}
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	if err := p.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", args[0], err)
	}
	return p, nil
}

// end waits for it and returns the CPU time that it used.
func (p *process) end() (cpu time.Duration, err error) {
	if err := p.Wait(); err != nil {
		return 0, fmt.Errorf("%v: %w: %s", p.Args, err, p.stderr.String())
	}
	return p.cpu(), nil
}

// kill ends it and returns the CPU time that it used.
func (p *process) kill() time.Duration {
	_ = p.Process.Kill()
	_ = p.Wait() // it says that it was killed
	return p.cpu()
}

// cpu is the time that it used until its end.
func (p *process) cpu() time.Duration {
	u := p.ProcessState.SysUsage().(*syscall.Rusage)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
