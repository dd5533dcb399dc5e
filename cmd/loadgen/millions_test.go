// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/results"
)

// echo answers each DNS query over UDP with one address, as fast as it can.
func echo(t *testing.T) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[::1]:0")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	_ = pc.SetReadBuffer(8 << 20)
	for range 2 {
		go func() {
			var b [512]byte
			for {
				n, from, err := pc.ReadFromUDPAddrPort(b[:])
				if err != nil {
					return
				}
				end := bytes.IndexByte(b[12:n], 0) + 12 + 5
				copy(b[2:], []byte{0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0})
				reply := append(b[:end], 0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 5, 0, 16)
				reply = append(reply, net.IPv6loopback...)
				_, _ = pc.WriteToUDPAddrPort(reply, from)
			}
		}()
	}
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

// resident returns the process's memory in KiB.
func resident(t *testing.T, pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0 // it has ended
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	n, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return n
}

// However many requests, memory stays flat, the file of samples is whole, and the summary is exactly what the samples say.
// LOADGEN_REQUESTS=24000000 is the long form (make load-millions); LOADGEN_RATE is its rate.
func TestMillions(t *testing.T) {
	n, rate := 100_000, 20_000
	for name, v := range map[string]*int{"LOADGEN_REQUESTS": &n, "LOADGEN_RATE": &rate} {
		if s := os.Getenv(name); s != "" {
			var err error
			if *v, err = strconv.Atoi(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	length := time.Duration(float64(n) / float64(rate) * float64(time.Second))
	dir := filepath.Join(t.TempDir(), "out")
	cmd := exec.Command("loadgen", "dns", echo(t).String(), "--name", "*.apps.test", "--rate", fmt.Sprint(rate), "--duration", length.String(),
		"--timeout", "1s", "--out", dir, "-o", "json", "-q", "--max-lag", "0", "--max-cpu", "0")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	early, most := 0, 0
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var err error
	for running := true; running; {
		select {
		case err = <-over:
			running = false
		case <-tick.C:
			is := resident(t, cmd.Process.Pid)
			if most = max(most, is); time.Since(begun) < length/4 {
				early = max(early, is)
			}
		}
	}
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var s record.Summary
	if err := json.Unmarshal(stdout.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	totals := make([]int64, 0, n)
	rows, next := 0, map[uint64]bool{}
	if err := results.ReadRows(filepath.Join(dir, results.SamplesFile), func(batch []results.Sample) error {
		for i := range batch {
			if rows++; batch[i].OK() {
				totals = append(totals, batch[i].TotalNs)
			}
			if rows <= 100_000 {
				next[batch[i].Seq] = true
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n-rows > 1 || uint64(rows) != s.Requests || uint64(len(totals)) != s.Succeeded || s.Latency.Total.Count != int64(len(totals)) || len(next) != min(rows, 100_000) {
		t.Errorf("%d asked for, %d rows, %d of them succeeded, %d different of the first; %+v", n, rows, len(totals), len(next), s.Generator)
	}
	slices.Sort(totals)
	for _, p := range []struct {
		q float64
		v int64
	}{{50, s.Latency.Total.P50}, {90, s.Latency.Total.P90}, {99, s.Latency.Total.P99}, {99.9, s.Latency.Total.P999}, {100, s.Latency.Total.Max}} {
		if want := quantile(totals, p.q); float64(p.v) < 0.999*float64(want) || float64(p.v) > 1.001*float64(want) {
			t.Errorf("p%g is %d, the samples say %d", p.q, p.v, want)
		}
	}
	if most > 300<<10 || length > time.Minute && most > early+early/4 {
		t.Errorf("%d MiB at most, %d MiB in the first quarter", most>>10, early>>10)
	}
	t.Logf("%d requests in %s: %d MiB at most, %d MiB in the first quarter; %s CPU a request; %d dropped, %d late, lag p99 %s, p99 %s",
		s.Requests, length, most>>10, early>>10, time.Duration(s.CPUNs/int64(max(s.Requests, 1))), s.Dropped, s.Late, time.Duration(s.LagP99Ns), time.Duration(s.Latency.Total.P99))
}
