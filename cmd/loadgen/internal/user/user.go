// SPDX-License-Identifier: Apache-2.0

package user

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/dnsclient"
	"github.com/dnsingress/dnsingress/internal/results"
)

// User is one simulated client. It is safe for concurrent use: the load is open loop, so a user
// may have several requests in flight.
type User struct {
	id     int32
	habits *Habits
	dns    *dnsclient.Client
	from   origin
	routes *routes
	seed   uint64 // of what the user draws
	memory memory
	budget budget
	conns  pool
	shared shared

	pending sync.WaitGroup // samples that are noted when it is known whether an answer comes late
}

// Do makes one request that was due at intended, and notes every attempt. Of a mix it makes the one
// that is drawn, and those that follow it, until end.
func (u *User) Do(seq uint64, intended, end time.Time, note record.Note) {
	if u.habits.Mix == nil {
		u.request(u.habits.Target, "", seq, intended, note)
		return
	}
	rng := rand.New(rand.NewPCG(u.seed, ^seq))
	for i, step := range u.habits.Mix.draw(rng) {
		if i > 0 {
			// A request that follows is due when its user has thought, so that its latency, too, counts
			// from an instant that does not depend on how late it is sent.
			intended = time.Now().Add(step.Think.draw(rng))
			if !u.habits.think(intended, end) {
				return
			}
		}
		if !u.request(step.Target, step.Name, seq|uint64(i)<<stepShift, intended, note) {
			return // nobody goes on from a page that did not come
		}
	}
}

// stepShift is where the number of a step stands in the number of its request, whose lower bits are the first's.
const stepShift = 48

// request makes one request, and reports whether it succeeded.
func (u *User) request(t *Target, name string, seq uint64, intended time.Time, note record.Note) bool {
	h := u.habits
	u.budget.earn()
	var tried []netip.Addr
	for n := 0; ; n++ {
		sent := time.Now()
		s := results.Sample{
			Client: h.Client, User: u.id, Seq: seq, Attempt: int32(n), Request: name,
			IntendedNs: intended.UnixNano(),
			SentNs:     intended.UnixNano() + int64(sent.Sub(intended)), // by the monotonic clock
		}
		c, keep, err := u.attempt(t, sent, n, &tried, &s)
		s.TotalNs = int64(time.Since(intended))
		s.Error = class(err)
		last := err == nil || n+1 >= h.Attempts
		if !last && !u.budget.spend() {
			last, s.RetryDenied = true, true
		}
		u.note(note, &s, last, err)
		if c != nil {
			u.release(c, keep && h.KeepAlive)
		}
		if last {
			return err == nil
		}
		if d := wait(h.RetryWait, n+1, rand.New(rand.NewPCG(u.seed, seq+uint64(n)))); d > 0 && !h.pause(d) {
			return false
		}
	}
}

// note notes an attempt: at once, or of a lookup that got no answer in time when its fate is known.
func (u *User) note(note record.Note, s *results.Sample, last bool, err error) {
	if f := (*failure)(nil); s.Error == results.ErrDNSTimeout && errors.As(err, &f) && f.lookup != nil && u.habits.DNS.Linger > 0 {
		own := *s
		u.pending.Go(func() {
			own.DNSLateNs = int64(f.lookup.late(u.habits.DNS.Linger))
			note(&own, last, err)
		})
		return
	}
	note(s, last, err)
}

// Close closes the connections, and waits for what is not noted yet.
func (u *User) Close() {
	u.conns.close()
	u.shared.close()
	u.pending.Wait()
}

// attempt makes one attempt, and returns the connection that it used, if there was one.
func (u *User) attempt(t *Target, sent time.Time, n int, tried *[]netip.Addr, s *results.Sample) (c *conn, keep bool, err error) {
	deadline := sent.Add(u.habits.Timeout)
	if c, err = u.connection(sent, deadline, n, tried, s); err != nil {
		return nil, false, err
	}
	keep, err = c.exchange(t, deadline, u.habits.MaxBody, s)
	return c, keep, err
}

// connection returns one for a request: a standing one, or a new one.
func (u *User) connection(now, deadline time.Time, n int, tried *[]netip.Addr, s *results.Sample) (*conn, error) {
	switch {
	case !u.habits.KeepAlive:
		return u.dialOne(deadline, n, tried, s)
	case u.habits.protocol() != HTTP1:
		return u.shared.take(deadline, s, func() (*conn, error) { return u.dial(deadline, n, tried, s) })
	}
	if c := u.conns.take(now); c != nil {
		s.Reused, s.Peer = true, c.peer
		return c, nil
	}
	return u.dialOne(deadline, n, tried, s)
}

// dialOne connects for one request at a time.
func (u *User) dialOne(deadline time.Time, n int, tried *[]netip.Addr, s *results.Sample) (*conn, error) {
	c, err := u.dial(deadline, n, tried, s)
	if err == nil {
		c.requests++
	}
	return c, err
}

func (u *User) release(c *conn, keep bool) {
	if u.habits.KeepAlive && u.habits.protocol() != HTTP1 {
		u.shared.release(c, keep)
		return
	}
	u.conns.release(c, keep)
}
