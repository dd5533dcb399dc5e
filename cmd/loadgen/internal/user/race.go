// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/dnsingress/dnsingress/internal/dnsclient"
	"github.com/dnsingress/dnsingress/internal/results"
)

// raceDelay is how long one connection may take before the next begins (RFC 8305 §5).
const raceDelay = 250 * time.Millisecond

func (u *User) races() bool { return u.habits.Order == dnsclient.OrderHappyEyeballs }

// race connects to the addresses one after the other, each begun a delay after the one before or
// when that has failed; the first that stands wins, the others are given up (RFC 8305 §5). Addresses
// whose answer comes meanwhile join in. When all fail, the error is that of the address tried first.
// What an attempt before tried comes last.
func (u *User) race(f *found, deadline time.Time, tried *[]netip.Addr, s *results.Sample) (link, error) {
	type end struct {
		link
		err error
		n   int
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	delay := u.habits.RaceDelay
	if delay == 0 {
		delay = raceDelay
	}
	before, addrs, more := *tried, f.addrs, f.more
	var order []netip.Addr // begun, and behind them those to come
	begun, ended := 0, 0
	arrange := func() {
		arranged := u.arrange(slices.Clone(addrs), s.Seq)
		order = order[:begun]
		for len(order) < len(addrs) {
			order = append(order, untried(arranged, slices.Concat(before, order), len(order)))
		}
	}
	arrange()
	ends := make(chan end)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	next := func() {
		n, to := begun, order[begun]
		begun++
		timer.Reset(delay)
		go func() {
			l, err := u.connect(ctx, to, deadline)
			ends <- end{l, err, n}
		}()
	}
	defer func() {
		*tried = append(*tried, order[:begun]...)
		s.Connects = int32(begun)
		if more != nil {
			s.DNSQueries++ // it has been sent
		}
		if late := begun - ended; late > 0 {
			go func() { // connections that stood while they were being given up
				for range late {
					if e := <-ends; e.err == nil {
						e.close()
					}
				}
			}()
		}
	}()
	next()
	var first error
	for waited := false; ; { // waited: the delay has passed since the last one was begun
		select {
		case <-timer.C:
			waited = true
		case p := <-more:
			more = nil
			addrs = append(addrs[:len(addrs):len(addrs)], p.Addrs...)
			s.DNSQueries += int32(len(p.Queries))
			arrange()
		case e := <-ends:
			ended++
			if e.err == nil {
				s.Peer = order[e.n].String()
				return e.link, nil
			}
			if e.n == 0 {
				first, s.Peer = e.err, order[0].String()
			}
		}
		switch {
		case begun < len(order) && (waited || ended == begun):
			waited = false
			next()
		case ended == len(order) && more == nil:
			return nil, first
		}
	}
}
