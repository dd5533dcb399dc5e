// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestThreads(t *testing.T) {
	for _, test := range []struct {
		job        job
		rate       float64
		cpus, want int
	}{
		{job{}, 100, 8, 1},
		{job{}, 1000, 8, 1},
		{job{}, 10_000, 8, 3},
		{job{}, 100_000, 8, 8},
		{job{weight: 10}, 1000, 8, 3},
		{job{lone: true}, 1000, 8, 2}, // one would have to be taken from the thread that waits
		{job{lone: true}, 1000, 1, 2},
		{job{lone: true}, 100_000, 8, 8},
	} {
		if got := test.job.threads(test.rate, test.cpus); got != test.want {
			t.Errorf("%+v at %g/s on %d CPUs: %d threads, want %d", test.job, test.rate, test.cpus, got, test.want)
		}
	}
	if got := (&job{lone: true}).cpus(); got != 1 {
		t.Errorf("a lone thread may use %d CPUs, want 1", got)
	}
}
