// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
)

// What is counted is of the window: the warm-up's requests never stand beside its successes.
func TestProgressLine(t *testing.T) {
	for _, tc := range []struct {
		progress record.Progress
		passed   time.Duration
		bar      bool
		want     string
	}{
		{record.Progress{}, -3 * time.Second, false, "starting in 3s"},
		{record.Progress{Warmup: 200}, time.Second, false, "1/10s  warming up, 200 done"},
		{
			record.Progress{Warmup: 400, Requests: 600, Succeeded: 590, Failed: 10, Dropped: 4, P50: 1e6, P99: 2e6, LagP99: 1e5},
			5 * time.Second, true,
			"[==========          ] 5/10s  600 done, 590 ok, 10 failed (4 dropped)  p50 1 ms p99 2 ms  lag p99 100 µs",
		},
		{record.Progress{Requests: 1, Failed: 1}, time.Minute, false, "10/10s  1 done, 0 ok, 1 failed"},
	} {
		if got := progressLine(tc.progress, tc.passed, 10*time.Second, tc.bar); got != tc.want {
			t.Errorf("%+v after %v: %q, want %q", tc.progress, tc.passed, got, tc.want)
		}
	}
}
