// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"net/netip"
	"time"

	"github.com/dnsingress/dnsingress/internal/dnsclient"
	"github.com/dnsingress/dnsingress/internal/results"
)

// raceDelay is how long one connection may take before the next begins (RFC 8305 §5).
const raceDelay = 250 * time.Millisecond

func (u *User) races() bool { return u.habits.Order == dnsclient.OrderHappyEyeballs }

// race connects to the addresses one after the other, each begun a delay after the one before or
// when that has failed; the first that stands wins, the others are given up (RFC 8305 §5). When all
// fail, the error is that of the address tried first. What an attempt before tried comes last.
func (u *User) race(addrs []netip.Addr, deadline time.Time, tried *[]netip.Addr, s *results.Sample) (link, error) {
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
	order := make([]netip.Addr, 0, len(addrs))
	before := *tried
	for range addrs {
		order = append(order, untried(addrs, append(before, order...), len(order)))
	}
	ends := make(chan end, len(order))
	begun, ended := 0, 0
	next := func() {
		n := begun
		begun++
		go func() {
			l, err := u.connect(ctx, order[n], deadline)
			ends <- end{l, err, n}
		}()
	}
	defer func() {
		*tried = append(*tried, order[:begun]...)
		s.Connects = int32(begun)
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
	timer := time.NewTimer(delay)
	defer timer.Stop()
	next()
	var first error
	for {
		select {
		case <-timer.C:
		case e := <-ends:
			ended++
			if e.err == nil {
				s.Peer = order[e.n].String()
				return e.link, nil
			}
			if e.n == 0 {
				first, s.Peer = e.err, order[0].String()
			}
			if ended == len(order) {
				return nil, first
			}
			if begun == len(order) || ended < begun {
				continue // others are under way; a timer is set for the next
			}
		}
		if begun < len(order) {
			next()
			timer.Reset(delay)
		}
	}
}
