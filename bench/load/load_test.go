// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"
	"time"
)

// What the server's own record says of a load: a request that came late, and one that was answered late, took that long from
// the instant at which it was due, however many others waited with it.
func TestBehind(t *testing.T) {
	const ms = time.Millisecond
	var a arrivals
	begin := time.Unix(1000, 0)
	for i := range 1000 { // one a millisecond
		due := begin.Add(time.Duration(i) * ms)
		came := due
		if i >= 500 && i < 600 { // the generator was stopped
			came = begin.Add(600 * ms)
		}
		n := a.come(came)
		answered := came
		if i < 100 { // the server was frozen
			answered = begin.Add(100 * ms)
		}
		a.answer(n, answered)
	}
	s := a.behind(1000)
	// Two hundred of a thousand took evenly up to 100 ms.
	want := []time.Duration{0, 50 * ms, 95 * ms, 100 * ms}
	for i, w := range want {
		if d := s.Took[i] - w; d < -ms || d > ms {
			t.Errorf("p%g is %v, want %v", quantiles[i], s.Took[i], w)
		}
	}
	if s.Requests != 1000 || s.LagP99 < 89*ms || s.LagP99 > 91*ms {
		t.Errorf("%+v", s)
	}
}

func TestCorrected(t *testing.T) {
	const ms = time.Millisecond
	got := corrected([]time.Duration{ms, 50 * ms, 9 * ms}, 10*ms)
	slices.Sort(got)
	if want := []time.Duration{ms, 9 * ms, 10 * ms, 20 * ms, 30 * ms, 40 * ms, 50 * ms}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
