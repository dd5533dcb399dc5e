// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// freeAddr returns an address of loopback that was free just now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Two generators begin at one instant, measure each other's clocks before and after, are watched as one, and are merged
// exactly.
func TestSeveralGenerators(t *testing.T) {
	t.Parallel()
	w := newWitness(t, func(now time.Time) time.Time { return now })
	addrs := []string{freeAddr(t), freeAddr(t)}
	at := time.Now().Add(3 * time.Second)
	dir := t.TempDir()
	var cmds []*exec.Cmd
	var outs []*bytes.Buffer
	for i := range addrs {
		// A machine that is busy for seconds starts a process late: the bound of clocks is that of a round trip then.
		cmd := exec.Command("loadgen", "http", w.url, "--rate", "100", "--duration", "2s", "--start-at", at.UTC().Format(time.RFC3339Nano), "--client", fmt.Sprintf("c%d", i),
			"--metrics", addrs[i], "--peers", addrs[1-i], "--max-clock", "10s", "--out", fmt.Sprintf("%s/c%d", dir, i), "-o", "json", "-q", "--max-lag", "0", "--max-cpu", "0")
		out := new(bytes.Buffer)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds, outs = append(cmds, cmd), append(outs, out)
	}
	<-w.requested // the load has begun: both serve
	watched := make(chan string)
	go func() {
		out, err := exec.Command("loadgen", "watch", addrs[0], addrs[1]).CombinedOutput()
		watched <- fmt.Sprintf("%s%v", out, err)
	}()
	reply, err := http.Get("http://" + addrs[0] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(reply.Body)
	reply.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"loadgen_requests_total ", "loadgen_latency_seconds_bucket{le=\"0.001\"}", "loadgen_send_lag_seconds_count ", "loadgen_cpu_seconds_total "} {
		if !strings.Contains(string(metrics), want) {
			t.Errorf("/metrics has no %s:\n%s", want, metrics)
		}
	}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %s", err, outs[i])
		}
		var o outcome
		if err := json.Unmarshal(outs[i].Bytes(), &o); err != nil {
			t.Fatalf("%v: %s", err, outs[i])
		}
		if o.Clocks == nil || len(o.Clocks.Before.Peers) != 1 || len(o.Clocks.After.Peers) != 1 {
			t.Fatalf("%+v", o.Clocks)
		}
		for _, r := range append(o.Clocks.Before.Peers, o.Clocks.After.Peers...) {
			// It is one clock.
			if r.Error != "" || r.RTTNs <= 0 || time.Duration(r.OffsetNs).Abs() > time.Duration(r.RTTNs/2+1) {
				t.Errorf("%+v", r)
			}
		}
		if o.WindowStartNs != at.UnixNano() || !o.Verdict.Valid {
			t.Errorf("window from %d, not %d; %+v", o.WindowStartNs, at.UnixNano(), o.Verdict)
		}
	}
	if got := <-watched; !strings.Contains(got, "400 done, 400 ok, 0 failed") || !strings.HasSuffix(got, "<nil>") {
		t.Errorf("watch: %s", got)
	}
	out, err := exec.Command("loadgen", "merge", dir+"/c0", dir+"/c1", "-o", "json").Output()
	var o outcome
	if err != nil || json.Unmarshal(out, &o) != nil || o.Requests != 400 || o.Latency.Total.Count != 400 || o.Lag.Count != 400 {
		t.Errorf("merge: %v, %s", err, out)
	}
}
