// SPDX-License-Identifier: Apache-2.0

// Package clock measures how far clocks of machines that load together are apart: by what chrony says of this machine's, and
// by round trips of its own between generators (the four timestamps of NTP, RFC 5905 §8, over a connection that stays).
//
// The true offset is within half the round trip of the measured one; of several exchanges the one with the shortest round
// trip is kept, because it bounds the offset closest.
package clock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// exchanges of one measurement; the first also opens the connection.
const exchanges = 16

// stamps is what a peer answers: when the question came and when the answer left, by its clock.
type stamps struct {
	Received int64 `json:"received_unix_ns"`
	Sent     int64 `json:"sent_unix_ns"`
}

// Answer answers a peer that measures.
func Answer(w http.ResponseWriter, _ *http.Request) {
	came := time.Now().UnixNano()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(stamps{came, time.Now().UnixNano()})
}

// Reading is a peer's clock against this machine's.
type Reading struct {
	Peer     string `json:"peer"`
	OffsetNs int64  `json:"offset_ns"` // the peer's minus this machine's
	RTTNs    int64  `json:"rtt_ns"`    // the true offset is within half of this of OffsetNs
	Error    string `json:"error,omitempty"`
}

// Bound returns the most that the clocks can differ by.
func (r Reading) Bound() time.Duration {
	return time.Duration(r.OffsetNs).Abs() + time.Duration(r.RTTNs/2)
}

// Ask measures the clock of the peer that answers at url.
func Ask(ctx context.Context, url, peer string) (Reading, error) {
	best := Reading{Peer: peer, RTTNs: -1}
	client := http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for range exchanges {
		r, err := exchange(ctx, &client, url)
		if err != nil {
			return Reading{Peer: peer, Error: err.Error()}, fmt.Errorf("asking %s for its clock: %w", peer, err)
		}
		if best.RTTNs < 0 || r.RTTNs < best.RTTNs {
			best.OffsetNs, best.RTTNs = r.OffsetNs, r.RTTNs
		}
	}
	return best, nil
}

func exchange(ctx context.Context, client *http.Client, url string) (Reading, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Reading{}, err
	}
	asked := time.Now()
	reply, err := client.Do(req)
	if err != nil {
		return Reading{}, err
	}
	defer reply.Body.Close()
	b, err := io.ReadAll(io.LimitReader(reply.Body, 1<<10))
	passed := time.Since(asked) // by the monotonic clock: a step of the other between shows in the offset alone
	if err != nil {
		return Reading{}, err
	}
	var s stamps
	if reply.StatusCode != http.StatusOK || json.Unmarshal(b, &s) != nil {
		return Reading{}, fmt.Errorf("%s: %q is no answer of a generator (hint: is it a loadgen with --metrics?)", reply.Status, b)
	}
	return between(asked.UnixNano(), s, asked.UnixNano()+int64(passed)), nil
}

// between reads four timestamps (RFC 5905 §8): offset ((T2-T1)+(T3-T4))/2, delay (T4-T1)-(T3-T2).
func between(asked int64, s stamps, answered int64) Reading {
	return Reading{
		OffsetNs: ((s.Received - asked) + (s.Sent - answered)) / 2,
		RTTNs:    (answered - asked) - (s.Sent - s.Received),
	}
}

// Tracking is what chrony says of this machine's clock.
type Tracking struct {
	Reference string `json:"reference"`
	Stratum   int    `json:"stratum"`
	OffsetNs  int64  `json:"offset_ns"` // of the system's clock from what chrony takes for true time
	// BoundNs is the most that the clock can be off: the offset, half the root delay and the root dispersion.
	BoundNs int64  `json:"bound_ns"`
	Leap    string `json:"leap_status"` // "Normal", or "Not synchronised"
}

// ErrNoChrony marks a machine on which no chrony runs.
var ErrNoChrony = errors.New("clock: no chrony here")

// Chrony asks the chrony daemon of this machine.
func Chrony(ctx context.Context) (Tracking, error) {
	path, err := exec.LookPath("chronyc")
	if err != nil {
		return Tracking{}, ErrNoChrony
	}
	out, err := exec.CommandContext(ctx, path, "-n", "-c", "tracking").Output()
	if err != nil {
		return Tracking{}, fmt.Errorf("%w: chronyc tracking: %w", ErrNoChrony, err)
	}
	return parseTracking(string(out))
}

// parseTracking reads a line of "chronyc -c tracking".
func parseTracking(line string) (Tracking, error) {
	f := strings.Split(strings.TrimSpace(line), ",")
	if len(f) != 14 {
		return Tracking{}, fmt.Errorf("reading chronyc tracking: %d fields in %q, want 14", len(f), line)
	}
	t := Tracking{Reference: f[1], Leap: f[13]}
	var err error
	if t.Stratum, err = strconv.Atoi(f[2]); err != nil {
		return Tracking{}, fmt.Errorf("reading chronyc tracking: stratum %q: %w", f[2], err)
	}
	var seconds [3]float64
	for i, field := range []int{4, 10, 11} { // system time, root delay, root dispersion
		if seconds[i], err = strconv.ParseFloat(f[field], 64); err != nil {
			return Tracking{}, fmt.Errorf("reading chronyc tracking: field %d %q: %w", field+1, f[field], err)
		}
	}
	t.OffsetNs = int64(seconds[0] * 1e9)
	t.BoundNs = int64((max(seconds[0], -seconds[0]) + seconds[1]/2 + seconds[2]) * 1e9)
	return t, nil
}

// Look is what is known of the clocks at an instant.
type Look struct {
	UnixNs int64     `json:"unix_ns"`
	Chrony *Tracking `json:"chrony"` // null: no chrony runs here
	Peers  []Reading `json:"peers"`
}

// Account is what is known of the clocks before and after a run.
type Account struct {
	Before Look `json:"before"`
	After  Look `json:"after"`
}

// Judge says which clocks may differ by more than bound, or could not be asked.
func (a *Account) Judge(bound time.Duration) (reasons []string) {
	if bound == 0 {
		return nil
	}
	for _, l := range []struct {
		when string
		look Look
	}{{"before", a.Before}, {"after", a.After}} {
		for _, r := range l.look.Peers {
			switch {
			case r.Error != "":
				reasons = append(reasons, fmt.Sprintf("the clock of %s could not be asked %s the run: %s", r.Peer, l.when, r.Error))
			case r.Bound() > bound:
				reasons = append(reasons, fmt.Sprintf("%s the run the clock of %s was off by %s (±%s), bound %s", l.when, r.Peer,
					time.Duration(r.OffsetNs).Round(time.Microsecond), time.Duration(r.RTTNs/2).Round(time.Microsecond), bound))
			}
		}
	}
	return reasons
}
