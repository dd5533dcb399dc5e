// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnsingress/dnsingress/internal/results"
)

// blocking answers a request for each value received, and all when the channel is closed.
func blocking(release <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })
}

// freePorts returns a range of ports that are free now on ::1, below those that the kernel hands out.
func freePorts(t *testing.T, n int) Ports {
	t.Helper()
	for low := 20000; low < 30000; low += n {
		free := true
		for port := low; port < low+n && free; port++ {
			for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
				fd, err := unix.Socket(unix.AF_INET6, kind|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				free = free && unix.Bind(fd, &unix.SockaddrInet6{Port: port}) == nil
				_ = unix.Close(fd)
			}
		}
		if free {
			return Ports{uint16(low), uint16(low + n - 1)}
		}
	}
	t.Fatal("no port is free")
	return Ports{}
}

func TestThink(t *testing.T) {
	for text, want := range map[string]Think{
		"0s": {}, "2s": {Low: 2 * time.Second, High: 2 * time.Second},
		"1s..3s": {Low: time.Second, High: 3 * time.Second}, "exp:2s": {Mean: 2 * time.Second},
	} {
		if got, err := ParseThink(text); err != nil || got != want {
			t.Errorf("ParseThink(%q) = %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "2", "-1s", "3s..1s", "exp:", "1s..", "exp:-1s"} {
		if got, err := ParseThink(bad); err == nil {
			t.Errorf("ParseThink(%q) = %+v, want an error", bad, got)
		}
	}
}

// pages returns a mix of sessions, each a list of paths at the server.
func pages(t *testing.T, at net.Addr, think Think, sessions map[float64][]string) *Mix {
	t.Helper()
	var all []Session
	for _, weight := range []float64{9, 1} {
		paths, ok := sessions[weight]
		if !ok {
			continue
		}
		s := Session{Weight: weight}
		for i, path := range paths {
			target, err := NewTarget(Request{URL: fmt.Sprintf("http://%s%s", at, path)})
			if err != nil {
				t.Fatal(err)
			}
			step := Step{Name: path, Target: target}
			if i > 0 {
				step.Think = think
			}
			s.Steps = append(s.Steps, step)
		}
		all = append(all, s)
	}
	return NewMix(all)
}

// Requests are drawn by weight, the same for a seed; a session goes on when its user has thought,
// counted from then, and ends at a failure and at the end of the run.
func TestMix(t *testing.T) {
	srv := serveAll(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			http.NotFound(w, r)
		}
	}))
	at := net.TCPAddrFromAddrPort(srv.plain)
	const think = 30 * time.Millisecond
	h := srv.at(t, HTTP1, false, Request{})
	h.KeepAlive = true
	run := func(mix *Mix, seq uint64, end time.Duration) (out []results.Sample) {
		h.Mix = mix
		now := time.Now()
		one(t, h).Do(seq, now, now.Add(end), func(s *results.Sample, _ bool, _ error) { out = append(out, *s) })
		return out
	}
	mix := pages(t, at, Think{}, map[float64][]string{9: {"/a"}, 1: {"/b"}})
	drawn := map[string]int{}
	for seq := range uint64(1000) {
		s := run(mix, seq, time.Hour)
		drawn[s[0].Request]++
	}
	if drawn["/a"] < 860 || drawn["/a"] > 940 || drawn["/a"]+drawn["/b"] != 1000 {
		t.Errorf("drawn %v with weights 9 and 1", drawn)
	}

	session := pages(t, at, Think{Low: think, High: think}, map[float64][]string{1: {"/1", "/2", "/3"}})
	s := run(session, 5, time.Hour)
	if len(s) != 3 {
		t.Fatalf("%d requests, want 3: %+v", len(s), s)
	}
	seen := map[uint64]bool{}
	for i, one := range s {
		if !one.OK() || one.Request != fmt.Sprintf("/%d", i+1) || one.Attempt != 0 || seen[one.Seq] || one.Seq&(1<<stepShift-1) != 5 {
			t.Errorf("request %d: %+v", i, one)
		}
		seen[one.Seq] = true
		if i > 0 {
			before := s[i-1].IntendedNs + s[i-1].TotalNs
			if gap := one.IntendedNs - before; gap < int64(think) || one.SentNs < one.IntendedNs {
				t.Errorf("request %d was due %v after the one before, with %v to think", i, time.Duration(gap), think)
			}
		}
	}
	if s := run(session, 6, think/2); len(s) != 1 {
		t.Errorf("%d requests of a session that the run's end cuts after the first", len(s))
	}
	if s := run(pages(t, at, Think{}, map[float64][]string{1: {"/1", "/missing", "/3"}}), 7, time.Hour); len(s) != 2 || s[1].Error != results.ErrStatus {
		t.Errorf("a session whose second request fails: %+v", s)
	}
	if thinking, n := session.Longest(); thinking != 2*think || n != 3 {
		t.Errorf("longest session: %v, %d requests", thinking, n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.Running = ctx
	if s := run(pages(t, at, Think{Low: time.Hour, High: time.Hour}, map[float64][]string{1: {"/1", "/2"}}), 8, 2*time.Hour); len(s) != 1 {
		t.Errorf("a user thinks on after the run has been ended: %+v", s)
	}
}
