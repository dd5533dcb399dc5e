// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// State is what is held of a server.
type State string

// The states.
const (
	Up   State = "up"   // asked; so is one of which nothing is known yet
	Down State = "down" // asked when no other is up
	Loop State = "loop" // what it is sent comes back here: not asked
)

var errSilent = errors.New("no answer in time")

// leastPatience is the least time after which the next server is asked too.
const leastPatience = 10 * time.Millisecond

// upstream is a server of a zone.
type upstream struct {
	zone    string
	to      netip.AddrPort
	mark    mark
	streams *streams
	health  Health
	timeout time.Duration
	log     *slog.Logger
	// wake has it probed now; recovered is told when it is up again.
	wake      chan struct{}
	recovered func()

	asked, failed, loops, strangers atomic.Uint64

	mu       sync.Mutex
	state    State
	reason   string // why it is not up
	since    time.Time
	failures int // in a row
	// Smoothed round-trip time and its variation, as of RFC 6298 §2; 0: none yet.
	srtt, rttvar time.Duration
}

// patience is how long it usually takes at most: the retransmission time-out of RFC 6298, and half the time-out while
// nothing is known.
func (u *upstream) patience() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.srtt == 0 {
		return u.timeout / 2
	}
	return min(max(u.srtt+4*u.rttvar, leastPatience), u.timeout/2)
}

// held is the server's state.
func (u *upstream) held() State {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state
}

// ask asks the server one question and takes note of how it did.
func (u *upstream) ask(ctx context.Context, q question, path []mark) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	u.asked.Add(1)
	begin := time.Now()
	m, err := u.exchange(ctx, q, append(path[:len(path):len(path)], u.mark))
	if errors.Is(err, errSilent) && ctx.Err() == context.Canceled {
		return nil, err // not its fault
	}
	if err != nil {
		u.failed.Add(1)
	}
	if err == nil || said(err) {
		u.timed(time.Since(begin))
	}
	return m, err
}

// timed takes a round-trip time into account.
func (u *upstream) timed(took time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.srtt == 0 {
		u.srtt, u.rttvar = took, took/2
		return
	}
	u.rttvar += ((took - u.srtt).Abs() - u.rttvar) / 4
	u.srtt += (took - u.srtt) / 8
}

// good notes an answer that could be handed on. Of one that was a loop only a probe can be good: nothing else is asked.
func (u *upstream) good() {
	u.mu.Lock()
	u.failures = 0
	was := u.state
	u.turn(Up, "")
	u.mu.Unlock()
	if was != Up {
		u.log.Info("forwarding to a server again", "zone", u.zone, "server", u.to.String(), "was", string(was))
		u.recovered()
	}
}

// bad notes a failure. What a server says of one question counts against it when that was a probe; else it is probed.
func (u *upstream) bad(err error, probe bool) {
	if said(err) && !probe {
		u.rouse()
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.failures++
	switch {
	case u.state == Loop: // a loop that another forwarder has broken fails, too
	case u.state == Down:
		u.reason = err.Error()
	case u.failures >= u.health.Failures:
		u.turn(Down, err.Error())
		u.log.Warn("a server to forward to is down", "zone", u.zone, "server", u.to.String(), "error", err.Error())
	}
}

// looped notes that something which was sent to the server came back here.
func (u *upstream) looped(what string) {
	u.loops.Add(1)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.state == Loop {
		return
	}
	u.turn(Loop, what+" came back")
	u.log.Error("a loop of forwarders: nothing more is asked of a server until a probe is answered and does not come back",
		"zone", u.zone, "server", u.to.String(), "because", u.reason)
}

// turn sets the state, with the lock held.
func (u *upstream) turn(to State, reason string) {
	if u.reason = reason; u.state != to {
		u.state, u.since = to, time.Now()
	}
}

// rouse has the server probed now.
func (u *upstream) rouse() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}
