// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// flight is a lookup under way. Its attempts begin one after the other, each when the one before
// failed or did not answer in time; a reply to any of them ends it, as in platforms' resolvers.
type flight struct {
	client *Client
	q      question
	begun  time.Time // by the process's clock

	landed chan struct{} // closed when result and err stand
	over   chan struct{} // closed when no query waits for a reply any more

	mu       sync.Mutex
	result   Result
	err      error
	down     bool          // landed is closed
	attempts int           // begun
	open     int           // queries that wait for a reply
	answered time.Duration // after begun, when the first answer came; 0: none has
	timer    *time.Timer   // of the last attempt
}

func newFlight(c *Client, q question) *flight {
	return &flight{client: c, q: q, begun: time.Now(), landed: make(chan struct{}), over: make(chan struct{})}
}

// begin starts the first attempt.
func (f *flight) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attempt()
}

// attempt starts one more attempt. It is called with the lock held.
func (f *flight) attempt() {
	n, cfg := f.attempts, &f.client.cfg
	f.attempts++
	f.open++
	patience := cfg.Timeout
	last := time.Now().Add(time.Duration(cfg.Attempts-n) * cfg.Timeout) // when the lookup ends at the latest
	if cfg.Deadline > 0 {
		end := f.begun.Add(cfg.Deadline)
		patience = min(patience, time.Until(end))
		if end.Before(last) {
			last = end
		}
	}
	sent := cfg.Now()
	f.timer = time.AfterFunc(patience, func() { f.expire(n) })
	go f.ask(n, sent, last.Add(cfg.Linger))
}

// expire is called when attempt n got no reply in time.
func (f *flight) expire(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.down && n == f.attempts-1 {
		f.next(&Error{Kind: Timeout, Name: f.q.name, Type: f.q.qtype})
	}
}

// next goes on after the last attempt failed with err: with another, or to an end.
// It is called with the lock held.
func (f *flight) next(err error) {
	cfg := &f.client.cfg
	if f.attempts < cfg.Attempts && (cfg.Deadline == 0 || time.Since(f.begun) < cfg.Deadline) {
		f.attempt()
		return
	}
	f.land(nil, err)
}

// land ends the lookup. It is called with the lock held.
func (f *flight) land(a *Answer, err error) {
	f.timer.Stop()
	now := f.client.cfg.Now()
	for i := range f.result.Queries {
		if q := &f.result.Queries[i]; q.Rcode < 0 && q.Err == nil {
			q.Elapsed, q.Err = now.Sub(q.Sent), os.ErrDeadlineExceeded
		}
	}
	if f.err = err; a != nil {
		f.result.Addrs = a.Addrs
		if a.Err != nil {
			f.err = a.Err
		}
		f.client.keep(f.q, *a)
	}
	f.client.forget(f.q)
	f.down = true
	close(f.landed)
}

// ask sends attempt n over UDP, and over TCP when the reply did not fit (RFC 7766 §5), and waits
// for the reply as long as anybody may want to know of it.
func (f *flight) ask(n int, sent, until time.Time) {
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	m := new(dns.Msg).SetQuestion(f.q.name, f.q.qtype).SetEdns0(udpSize, false)
	for _, network := range []string{"udp", "tcp"} {
		if network == "tcp" {
			sent = f.client.cfg.Now()
		}
		entry, ok := f.sending(network, sent)
		if !ok {
			break // a late reply, and truncated: there is nobody to ask again for
		}
		reply, err := f.client.cfg.Exchanger.Exchange(ctx, network, m)
		if again := f.replied(n, entry, reply, err); !again {
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open--; f.open == 0 && f.down {
		close(f.over)
	}
}

// sending notes a query that is about to be sent and returns its number; false when the lookup has ended.
func (f *flight) sending(network string, at time.Time) (int, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return 0, false
	}
	f.result.Queries = append(f.result.Queries, Query{Network: network, Sent: at, Rcode: -1})
	return len(f.result.Queries) - 1, true
}

// replied takes the end of one query of attempt n, and reports whether it is to be asked over TCP.
func (f *flight) replied(n, entry int, reply *dns.Msg, err error) (again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var answer Answer
	truncated := err == nil && reply.Truncated
	switch {
	case err != nil && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)):
		err = &Error{Kind: Timeout, Name: f.q.name, Type: f.q.qtype}
	case err != nil:
		err = &Error{Kind: Other, Name: f.q.name, Type: f.q.qtype, Err: err}
	case !truncated || f.result.Queries[entry].Network == "tcp":
		truncated = false
		if answer, err = Interpret(f.q.name, f.q.qtype, reply); err == nil {
			if f.answered == 0 {
				f.answered = max(time.Since(f.begun), 1)
			}
		}
	}
	if f.down {
		return false // too late for all but the count
	}
	q := &f.result.Queries[entry]
	q.Elapsed = f.client.cfg.Now().Sub(q.Sent)
	if reply != nil {
		q.Rcode, q.Truncated = reply.Rcode, reply.Truncated
	} else {
		q.Err = err
	}
	switch {
	case truncated:
		return true
	case err == nil:
		f.land(&answer, nil)
	case n == f.attempts-1: // else a later attempt is under way
		f.next(err)
	}
	return false
}
