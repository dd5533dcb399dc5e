// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/fanout"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/results"
)

// The two commands together, as processes: every object comes to every subscriber, is a row, and is
// what the relay says that it passed on; the subscribers alone count the same from another source.
func TestFanout(t *testing.T) {
	relay := exec.Command("loadgen", "relay", "--listen", "[::1]:0")
	out, err := relay.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := relay.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = relay.Process.Kill() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the relay says nothing")
	}
	dir := filepath.Join(t.TempDir(), "out")
	summary, err := exec.Command("loadgen", "fanout", "https://"+lines.Text()+"/live", "--insecure", "--clients", "20", "--rate", "50",
		"--duration", "1s", "--timeout", "1m", "--delivery", "streams", "--size", "5000", "--out", dir, "-o", "json", "-q", "--max-lag", "0", "--max-cpu", "0").Output()
	if err != nil {
		t.Fatal(err, string(summary))
	}
	var s record.Summary
	if err := json.Unmarshal(summary, &s); err != nil {
		t.Fatal(err)
	}
	const deliveries = 20 * 50
	if s.Requests != deliveries || s.Succeeded != deliveries || s.ByRequest["object"].Succeeded != deliveries || s.Bytes != deliveries*5000 || s.Latency.Total.P50 <= 0 {
		t.Errorf("%+v", s)
	}
	rows := map[string]int{}
	if err := results.ReadRows(filepath.Join(dir, results.SamplesFile), func(batch []results.Sample) error {
		for _, r := range batch {
			rows[r.Request+" "+r.Error]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if rows["object "] != deliveries || rows["subscribe "] != 20 || len(rows) != 2 {
		t.Errorf("rows %v", rows)
	}
	if err := relay.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var counts fanout.Counts
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &counts) != nil || counts.Passed != deliveries || counts.Objects != 50 || counts.Subscribers != 20 {
		t.Errorf("the relay says %q", lines.Text())
	}
	if err := relay.Wait(); err != nil {
		t.Error(err)
	}
	// Nobody relays any more: one clear error, and no results.
	b, err := exec.Command("loadgen", "fanout", "https://[::1]:1/live", "--insecure", "--clients", "1", "--duration", "1s", "-q").CombinedOutput()
	if err == nil || !strings.Contains(string(b), "publishing: ") || !strings.Contains(string(b), "refused") {
		t.Errorf("%v: %s", err, b)
	}
}
