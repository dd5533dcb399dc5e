// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/dnsingress/dnsingress/internal/results"
)

// ID returns the user's number in its population.
func (u *User) ID() int32 { return u.id }

// DialQUIC makes a QUIC connection to the target's host as this user would: it looks the name up,
// takes one address, and handshakes once, within the habits' Timeout. The phases are noted in s,
// also when it fails. The n-th attempt at the same thing goes to the n-th address. The returned
// function ends the connection.
func (u *User) DialQUIC(ctx context.Context, alpn string, config *quic.Config, n int, s *results.Sample) (*quic.Conn, func(), error) {
	deadline := time.Now().Add(u.habits.Timeout)
	f, err := u.find(deadline, s)
	if err != nil {
		return nil, nil, &failure{lookupClass(err), err, nil}
	}
	addrs := u.arrange(f.addrs, s.Seq)
	to := addrs[0] // of what did not fail lately
	if u.habits.FailedFor == 0 {
		to = addrs[n%len(addrs)]
	}
	s.Peer, s.Connects = to.String(), 1
	begin := time.Now()
	conn, end, err := dialQUIC(ctx, netip.AddrPortFrom(to, u.habits.Target.Port), u.from, configure(u.habits.TLS, Protocol(alpn)), config, deadline)
	s.ConnectNs = int64(time.Since(begin))
	switch {
	case err == nil:
		u.memory.forgive(to)
	case ctx.Err() == nil && class(err) != results.ErrOther:
		u.memory.fail(to, time.Now(), u.habits.FailedFor)
	}
	return conn, end, err
}

// Class returns the class of package results that an error of a dial is of, or of what came over a
// connection of HTTP/2, HTTP/3 or QUIC.
func Class(err error) string {
	if f, ok := err.(*failure); ok {
		return f.class
	}
	return class(streamFailure(err, true))
}
