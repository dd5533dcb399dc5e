// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/promql"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/steer"
)

const (
	scaleVariable    = "DNSINGRESS_SCALE"    // for how long each case of TestScale is measured
	exporterVariable = "DNSINGRESS_EXPORTER" // this process is the one that serves the pods' metrics there
	scalePools       = 1000
	scaleMembers     = 100
)

// TestScale measures what 1,000 policies over 100,000 pods at an interval of 5 s cost, of this process and of a real
// Prometheus that scrapes and serves those pods' series: make bench-steer.
func TestScale(t *testing.T) {
	if address := os.Getenv(exporterVariable); address != "" {
		export(t, address)
		return
	}
	if os.Getenv(scaleVariable) == "" {
		t.Skip("not asked for (hint: make bench-steer)")
	}
	length, err := time.ParseDuration(os.Getenv(scaleVariable))
	if err != nil {
		t.Fatalf("reading %s: %v (hint: 60s)", scaleVariable, err)
	}
	p := startScraping(t, length)
	t.Logf("%d policies of %d pods each, every %v; each case measured for %v; %d CPUs, %s", scalePools, scaleMembers, interval, length, runtime.NumCPU(), runtime.Version())
	for _, c := range []struct {
		name    string
		expr    func(pool int) string
		weights bool
	}{
		{"one query for all", func(int) string { return "load" }, false},
		{"one aggregating query for all", func(int) string { return "sum by (namespace, pod) (load)" }, false},
		{"one query for all, weights", func(int) string { return "load" }, true},
		{"a query for each", func(i int) string { return fmt.Sprintf(`load{namespace="team-%d"}`, i) }, false},
	} {
		t.Run(c.name, func(t *testing.T) { p.measure(t, length, c.expr, c.weights) })
	}
}

func podName(i int) string { return fmt.Sprintf("service-%d-7d9f8c6b5d-%05d", i/scaleMembers, i) }

// export serves the metrics of all pods. Values wander, so that all change and some pods leave and return.
func export(t *testing.T, address string) {
	names := make([]string, scalePools*scaleMembers)
	for i := range names {
		names[i] = fmt.Sprintf(`load{namespace="team-%d",pod=%q} `, i/scaleMembers, podName(i))
	}
	err := http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		step := uint64(time.Now().Unix() / 5)
		var out bytes.Buffer
		for i, name := range names {
			h := (uint64(i)<<20 + step/12) * 0x9e3779b97f4a7c15 // a pod is busy for a minute, then calm
			value := float64(h>>40%100)/25 + 4
			if h>>32%200 == 0 {
				value *= 3
			}
			h = (h + step) * 0xbf58476d1ce4e5b9
			out.WriteString(name)
			out.Write(strconv.AppendFloat(nil, value+float64(h>>50)/16384, 'f', 4, 64))
			out.WriteByte('\n')
		}
		_, _ = w.Write(out.Bytes())
	}))
	t.Fatal(err)
}

// scraping is a real Prometheus with the metrics of all pods.
type scraping struct {
	url   string
	pid   int
	alone float64 // share of a core that it needs when nobody asks
}

func startScraping(t *testing.T, length time.Duration) *scraping {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatalf("no Prometheus to measure with: %v (hint: tools/bootstrap test)", err)
	}
	free := func() string {
		l, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	exporter, server := free(), free()
	run := func(c *exec.Cmd) *exec.Cmd {
		var output bytes.Buffer
		c.Stdout, c.Stderr = &output, &output
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = c.Process.Kill()
			_ = c.Wait()
			if t.Failed() {
				t.Log(output.String())
			}
		})
		return c
	}
	pods := exec.Command(os.Args[0], "-test.run=^TestScale$", "-test.timeout=0")
	pods.Env = append(os.Environ(), exporterVariable+"="+exporter)
	run(pods)
	dir := t.TempDir()
	text := fmt.Sprintf("global: {scrape_interval: 5s, scrape_timeout: 4s}\nscrape_configs:\n  - {job_name: pods, static_configs: [{targets: [%q]}]}\n", exporter)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := run(exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+server))
	p := &scraping{url: "http://" + server, pid: c.Process.Pid}
	client, err := promql.NewClient(config.Prometheus{URLs: []string{p.url}, Timeout: 10 * time.Second}, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	count := promql.Query{Expr: `label_replace(count(load), "pod", "all", "", "")`, Interval: interval}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Second) { // nobody tells of a scrape
		s, err := client.Instant(t.Context(), count, time.Now(), promql.Samples{})
		if n, _ := s.Value("", "all", netip.Addr{}); err == nil && n == scalePools*scaleMembers {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("Prometheus does not have the metrics: %v", err)
		}
	}
	before := cpuOf(t, p.pid)
	time.Sleep(min(length, 30*time.Second))
	p.alone = (cpuOf(t, p.pid) - before).Seconds() / min(length, 30*time.Second).Seconds()
	return p
}

// measure runs an engine with all that is behind it but Kubernetes and DNS queries.
func (p *scraping) measure(t *testing.T, length time.Duration, expr func(pool int) string, weights bool) {
	text := fmt.Sprintf("zones: [{origin: apps.test, nameservers: [{name: ns1.apps.test, addresses: [\"fd00::53\"]}]}]\nprometheus: {urls: [%q], timeout: 4s, firstPass: 30s}\n", p.url)
	c, err := config.Parse("scale.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	registry, log := prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	catalog := new(zone.Catalog)
	e, err := New(Options{Config: c, Catalog: catalog, Registerer: registry, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	client, err := promql.NewClient(c.Prometheus, registry, log)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var took []time.Duration
	var failed int
	evaluator, err := promql.New(promql.Options{Client: client, Patience: c.Prometheus.FirstPass, Registerer: registry, Log: log, Deliver: func(r promql.Result) {
		mu.Lock()
		took = append(took, r.Took)
		if r.Err != nil {
			failed++
		}
		mu.Unlock()
		e.Deliver(r)
	}})
	if err != nil {
		t.Fatal(err)
	}
	e.Connect(evaluator, nobody{})
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { _ = e.Run(ctx) })
	defer func() { stop(); wait.Wait(); evaluator.Wait() }()

	began, used := time.Now(), cpuOf(t, os.Getpid())
	var updates []model.Update
	for i := range scalePools {
		one := pool(fmt.Sprintf("service-%d", i), fmt.Sprintf("s%d.apps.test.", i), i*scaleMembers, (i+1)*scaleMembers-1)
		one.Ref.Namespace = fmt.Sprintf("team-%d", i)
		for n := range one.Members {
			one.Members[n].Pod = podName(i*scaleMembers + n)
		}
		one.Policy = scalePolicy(t, expr(i), weights)
		updates = append(updates, model.Update{Ref: one.Ref, Pool: one, Received: time.Now()})
	}
	e.Apply(updates)
	e.Synced()
	select {
	case <-e.Ready():
	case <-time.After(2 * time.Minute):
		t.Fatal("no values")
	}
	t.Logf("start, with the past of %d evaluations: %v, %v of CPU", e.replayed(), time.Since(began).Round(time.Millisecond), (cpuOf(t, os.Getpid()) - used).Round(time.Millisecond))
	time.Sleep(2 * interval) // the start is not what is measured
	runtime.GC()
	debug.FreeOSMemory()

	serial := catalog.Zone("apps.test.").Serial()
	stepsBefore, stepTimeBefore := histogram(t, registry, "dnsingress_pool_evaluation_duration_seconds")
	bytesBefore := counter(t, registry, "dnsingress_promql_response_bytes_total")
	samplesBefore := counter(t, registry, "dnsingress_promql_samples_total")
	mu.Lock()
	took, failed = nil, 0
	mu.Unlock()
	server, self := cpuOf(t, p.pid), cpuOf(t, os.Getpid())
	began = time.Now()
	time.Sleep(length)
	elapsed := time.Since(began).Seconds()
	server, self = cpuOf(t, p.pid)-server, cpuOf(t, os.Getpid())-self
	mu.Lock()
	defer mu.Unlock()
	if 20*failed >= len(took) {
		t.Fatalf("%d evaluations, %d failed", len(took), failed)
	}
	slices.Sort(took)
	steps, stepTime := histogram(t, registry, "dnsingress_pool_evaluation_duration_seconds")
	samples := counter(t, registry, "dnsingress_promql_samples_total") - samplesBefore
	t.Logf("dnsingress: %.2f %% of a core, resident memory %d MiB", 100*self.Seconds()/elapsed, residentOf(t, os.Getpid())>>20)
	t.Logf("queries: %.2f a second, %.0f samples and %.2f MB a second; %d evaluations, took p50 %v, p99 %v, most %v", float64(len(took))/elapsed,
		samples/elapsed, (counter(t, registry, "dnsingress_promql_response_bytes_total")-bytesBefore)/elapsed/1e6,
		len(took), took[len(took)/2].Round(10*time.Microsecond), took[len(took)*99/100].Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond))
	t.Logf("deciding and publishing: %d steps, %.2f ms each; %d changes of the zone; %.0f evaluations missed, %d failed", steps-stepsBefore, 1000*(stepTime-stepTimeBefore)/float64(steps-stepsBefore),
		catalog.Zone("apps.test.").Serial()-serial, counter(t, registry, "dnsingress_promql_evaluations_total", "missed"), failed)
	t.Logf("Prometheus: %.2f %% of a core, of which %.2f %% without being asked; resident memory %d MiB", 100*server.Seconds()/elapsed, 100*p.alone, residentOf(t, p.pid)>>20)
	if want := float64(scalePools*scaleMembers) / interval.Seconds(); samples/elapsed < 0.7*want || samples/elapsed > 1.3*want {
		t.Errorf("%.0f samples a second, want %.0f", samples/elapsed, want)
	}
}

func scalePolicy(t *testing.T, expr string, weights bool) *model.Policy {
	p := policy(t, "< 2 * median")
	p.Signals[0] = model.Signal{Name: "load", Query: expr}
	guards := steer.Defaults().Guards
	p.Steer.Guards, p.Steer.Rules[0].Signal = guards, "load"
	var err error
	if p.Steer.Rules[0].Readmit, err = steer.ParseBound("< 1.7 * median"); err != nil {
		t.Fatal(err)
	}
	if weights {
		p.Steer.Weight = steer.Weight{By: steer.WeightInverse, Signal: "load"}
		p.Steer.Selection = steer.Selection{Kind: steer.SelectWeighted, MaxAnswers: 4}
	}
	return p
}

type nobody struct{}

func (nobody) Report(model.Ref, []model.Problem) {}
func (nobody) Tell(model.Ref, model.Problem)     {}

// replayed is for how many instants the first pool has been decided before it was shown.
func (e *Engine) replayed() int {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, s := range e.pools {
		for _, v := range s.decision.Members {
			if v.Memory.Cast > 0 {
				return v.Memory.Cast
			}
		}
	}
	return 0
}

// cpuOf is the processor time of a process so far.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime, proc_pid_stat(5), in hundredths of a second
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// residentOf is a process's resident memory in bytes.
func residentOf(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func family(t *testing.T, r *prometheus.Registry, name string) []*dto.Metric {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()
		}
	}
	t.Fatalf("no metric %s", name)
	return nil
}

func histogram(t *testing.T, r *prometheus.Registry, name string) (count uint64, sum float64) {
	h := family(t, r, name)[0].GetHistogram()
	return h.GetSampleCount(), h.GetSampleSum()
}

// counter sums those that have all the label values.
func counter(t *testing.T, r *prometheus.Registry, name string, values ...string) float64 {
	sum := 0.0
	for _, m := range family(t, r, name) {
		if slices.ContainsFunc(values, func(v string) bool {
			return !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == v })
		}) {
			continue
		}
		sum += m.GetCounter().GetValue()
	}
	return sum
}
