// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"time"

	"github.com/dnsingress/dnsingress/internal/results"
)

// maxHeader bounds the status lines and headers of one reply, interim ones included.
const maxHeader = 256 << 10

// A backend of the test bed says who it is, through whatever proxy. No pod's name is longer (RFC 1123).
const (
	backendHeader = "X-Backend"
	maxBackend    = 253
)

var errTooLong = errors.New("the reply is longer than allowed")

// link is what a protocol makes of a connection.
type link interface {
	// exchange sends the request and reads the reply to its end, and reports whether the connection
	// can carry another. The phases are noted in s, also when it fails.
	exchange(t *Target, deadline time.Time, maxBody int64, s *results.Sample) (keep bool, err error)
	// stale reports whether an idle connection must not be used again.
	stale() bool
	// close ends the connection. It must be called once.
	close()
}

// conn is one connection to a server.
type conn struct {
	link
	peer     string
	born     time.Time
	idle     time.Time // since when it waits for a request
	requests int       // given to it
	riders   int       // requests under way on it; of HTTP/1.1 at most one
	doomed   bool      // takes no more requests
}

// dial connects for one attempt of a user, as its habits are. The phases are noted in s, also when
// it fails; tried gets the addresses that were.
func (u *User) dial(deadline time.Time, n int, tried *[]netip.Addr, s *results.Sample) (*conn, error) {
	f, err := u.find(deadline, s)
	if err != nil {
		return nil, &failure{lookupClass(err), err, f}
	}
	begin := time.Now()
	var l link
	if u.races() && (len(f.addrs) > 1 || f.more != nil) {
		l, err = u.race(f, deadline, tried, s)
	} else {
		addrs := u.arrange(f.addrs, s.Seq)
		to := untried(addrs, *tried, n)
		*tried = append(*tried, to)
		s.Peer, s.Connects = to.String(), 1
		l, err = u.connect(context.Background(), to, deadline)
	}
	s.ConnectNs = int64(time.Since(begin))
	if err != nil {
		return nil, err
	}
	if t, ok := l.(*h1); ok && u.habits.Target.TLS {
		begin = time.Now()
		err = t.secure(u.habits.TLS, u.habits.protocol(), deadline)
		s.TLSNs = int64(time.Since(begin))
	}
	if t, ok := l.(*h1); ok && err == nil && u.habits.protocol() == HTTP2 {
		l, err = upgrade(t, deadline)
	}
	if err != nil {
		return nil, err
	}
	return &conn{link: l, peer: s.Peer, born: time.Now()}, nil
}

// connect connects once to one address: by TCP, or by QUIC with its handshake.
func (u *User) connect(ctx context.Context, to netip.Addr, deadline time.Time) (l link, err error) {
	at := netip.AddrPortFrom(to, u.habits.Target.Port)
	if u.habits.protocol() == HTTP3 {
		l, err = dialH3(ctx, at, u.from, u.habits.TLS, deadline)
	} else {
		var tcp *socket
		if tcp, err = connect(ctx, at, u.from, deadline); err == nil {
			l = newH1(tcp, tcp)
		} else {
			err = dialFailure(err)
		}
	}
	switch {
	case err == nil:
		if u.habits.FailedFor > 0 {
			u.memory.forgive(to)
		}
	case ctx.Err() == nil && class(err) != results.ErrOther:
		u.memory.fail(to, time.Now(), u.habits.FailedFor)
	}
	return l, err
}

func (h *Habits) protocol() Protocol {
	if h.Protocol == "" {
		return HTTP1
	}
	return h.Protocol
}

// Configure returns the TLS configuration of a protocol.
func configure(conf *tls.Config, p Protocol) *tls.Config {
	if len(conf.NextProtos) == 1 && conf.NextProtos[0] == string(p) {
		return conf
	}
	conf = conf.Clone()
	conf.NextProtos = []string{string(p)}
	return conf
}
