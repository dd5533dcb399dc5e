// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/dnsingress/dnsingress/internal/results"
)

// h3 is a connection that speaks HTTP/3, on a UDP socket of its own.
type h3 struct {
	conn *http3.ClientConn
	quic *quic.Conn
	end  func()
}

// connected is a UDP socket that is connected, so that it has a port of its own towards the server
// and hears of ports that nobody listens on. quic-go would send with addresses on it.
type connected struct{ *net.UDPConn }

func (c connected) WriteTo(b []byte, _ net.Addr) (int, error) { return c.Write(b) }

func (c connected) WriteMsgUDP(b, oob []byte, _ *net.UDPAddr) (n, oobn int, err error) {
	return c.UDPConn.WriteMsgUDP(b, oob, nil)
}

// DialQUIC makes a QUIC connection to one address by the deadline, on a socket of its own, which
// the returned function closes with it. The error is of class connect-refused, connect-timeout,
// connect-other, tls or other.
func dialQUIC(ctx context.Context, to netip.AddrPort, from origin, conf *tls.Config, config *quic.Config, deadline time.Time) (*quic.Conn, func(), error) {
	udp, err := openUDP(to, from)
	if err != nil {
		return nil, nil, dialFailure(fmt.Errorf("connecting to %s: %w", to, err))
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	transport := &quic.Transport{Conn: connected{udp}}
	conn, err := transport.Dial(ctx, net.UDPAddrFromAddrPort(to), conf, config)
	if err != nil {
		_ = transport.Close()
		_ = udp.Close()
		return nil, nil, handshakeFailure(fmt.Errorf("connecting to %s: %w", to, err))
	}
	return conn, func() {
		_ = conn.CloseWithError(0, "")
		_ = transport.Close()
		_ = udp.Close()
	}, nil
}

func dialH3(ctx context.Context, to netip.AddrPort, from origin, conf *tls.Config, deadline time.Time) (*h3, error) {
	config := &quic.Config{
		// The attempt's deadline ends a handshake, not the library's own.
		HandshakeIdleTimeout: time.Until(deadline) + time.Second,
		MaxIdleTimeout:       idleQUIC,
	}
	conn, end, err := dialQUIC(ctx, to, from, configure(conf, HTTP3), config, deadline)
	if err != nil {
		return nil, err
	}
	t := &http3.Transport{DisableCompression: true, MaxResponseHeaderBytes: maxHeader}
	return &h3{t.NewClientConn(conn), conn, end}, nil
}

// idleQUIC is offered as the time after which an idle connection ends: longer than servers offer.
const idleQUIC = 10 * time.Minute

func (h *h3) stale() bool { return h.quic.Context().Err() != nil }
func (h *h3) close()      { h.end() }

// room is always true: what exceeds the server's limit of streams waits for it, within its deadline.
func (h *h3) room() bool { return true }

func (h *h3) exchange(t *Target, deadline time.Time, maxBody int64, s *results.Sample) (bool, error) {
	s.Protocol = string(HTTP3)
	return ride(http.RoundTripper(h.conn), t, deadline, maxBody, s)
}
