// SPDX-License-Identifier: Apache-2.0

package fanout

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	backlog    = 256 // objects that wait for a slow subscriber
	maxLine    = 256 // bytes of a client's first line
	maxStreams = 1 << 16
	hello      = 10 * time.Second // within which a client says what it wants
)

// Codes with which connections end.
const (
	codeDone quic.ApplicationErrorCode = iota
	codeBad                            // the client said something that is no request
)

// Config returns the QUIC configuration of both sides. A peer that is silent for idle is gone.
func Config(idle time.Duration) *quic.Config {
	return &quic.Config{
		EnableDatagrams: true, MaxIdleTimeout: idle, KeepAlivePeriod: idle / 3,
		MaxIncomingUniStreams: maxStreams, MaxIncomingStreams: 4,
	}
}

// Relay passes objects from sources to subscribers.
type Relay struct {
	TLS  *tls.Config // its NextProtos are set here
	Idle time.Duration
	Log  *slog.Logger

	mu     sync.Mutex
	tracks map[string]map[*subscription]struct{}
	counts counts
}

type counts struct {
	sources, subscribers                   atomic.Uint64
	objects, bytes, passed, dropped, large atomic.Uint64
}

// Counts are what a relay did so far.
type Counts struct {
	Sources     uint64 `json:"sources"` // sessions
	Subscribers uint64 `json:"subscribers"`
	Objects     uint64 `json:"objects"` // that came
	Bytes       uint64 `json:"bytes"`
	Passed      uint64 `json:"passed"`    // objects given to QUIC, over all subscribers
	Dropped     uint64 `json:"dropped"`   // because a subscriber was slow
	TooLarge    uint64 `json:"too_large"` // for a datagram
}

// Counts returns what the relay did so far.
func (r *Relay) Counts() Counts {
	c := &r.counts
	return Counts{c.sources.Load(), c.subscribers.Load(), c.objects.Load(), c.bytes.Load(), c.passed.Load(), c.dropped.Load(), c.large.Load()}
}

// subscription is a subscriber that is connected.
type subscription struct {
	sender
	queue chan []byte
}

// Serve passes objects on until ctx ends, which ends all sessions.
func (r *Relay) Serve(ctx context.Context, on net.PacketConn) error {
	r.tracks = map[string]map[*subscription]struct{}{}
	conf := r.TLS.Clone()
	conf.NextProtos = []string{ALPN}
	transport := &quic.Transport{Conn: on}
	defer transport.Close()
	l, err := transport.Listen(conf, Config(r.Idle))
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	defer l.Close()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	for {
		conn, err := l.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accepting: %w", err)
		}
		sessions.Go(func() {
			defer context.AfterFunc(ctx, func() { _ = conn.CloseWithError(codeDone, "the relay ends") })()
			if err := r.serve(conn); err != nil {
				r.Log.Info("ending session", "peer", conn.RemoteAddr(), "error", err)
				_ = conn.CloseWithError(codeBad, err.Error())
			}
		})
	}
}

// serve serves one session to its end. Its error is the client's fault.
func (r *Relay) serve(conn *quic.Conn) error {
	ctx, cancel := context.WithTimeout(conn.Context(), hello)
	defer cancel()
	control, err := conn.AcceptStream(ctx)
	if err != nil {
		if ctx.Err() != nil && conn.Context().Err() == nil {
			return errors.New("the client did not say what it wants")
		}
		return nil
	}
	_ = control.SetReadDeadline(time.Now().Add(hello))
	line, err := bufio.NewReader(io.LimitReader(control, maxLine)).ReadString('\n')
	if err != nil {
		return fmt.Errorf("reading request: %w", err)
	}
	words := strings.Fields(line)
	if len(words) != 3 {
		return refuse(control, fmt.Errorf("unknown request %q", line))
	}
	delivery, err := ParseDelivery(words[2])
	if err != nil {
		return refuse(control, err)
	}
	switch words[0] {
	case "PUBLISH":
		return r.source(conn, control, words[1], delivery)
	case "SUBSCRIBE":
		if delivery == Datagrams && !conn.ConnectionState().SupportsDatagrams.Remote {
			return refuse(control, errors.New("the client takes no datagrams"))
		}
		return r.subscriber(conn, control, words[1], delivery)
	}
	return refuse(control, fmt.Errorf("unknown request %q", line))
}

func refuse(control *quic.Stream, why error) error {
	_, _ = fmt.Fprintf(control, "NO %s\n", why)
	_ = control.Close()
	return why
}

// source takes a source's objects until it is gone.
func (r *Relay) source(conn *quic.Conn, control *quic.Stream, track string, delivery Delivery) error {
	r.counts.sources.Add(1)
	if _, err := io.WriteString(control, "OK\n"); err != nil {
		return nil
	}
	take := func(b []byte) {
		if _, err := readObject(b); err == nil {
			r.publish(track, b)
		}
	}
	_ = receive(conn, delivery, take)
	return nil
}

// publish gives an object to a track's subscribers. What is slow does not hold up the others.
func (r *Relay) publish(track string, b []byte) {
	r.counts.objects.Add(1)
	r.counts.bytes.Add(uint64(len(b)))
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.tracks[track] {
		select {
		case s.queue <- b:
		default:
			r.counts.dropped.Add(1)
		}
	}
}

// subscriber passes objects to a subscriber until it is gone.
func (r *Relay) subscriber(conn *quic.Conn, control *quic.Stream, track string, delivery Delivery) error {
	r.counts.subscribers.Add(1)
	s := &subscription{sender{conn: conn, delivery: delivery}, make(chan []byte, backlog)}
	r.mu.Lock()
	if r.tracks[track] == nil {
		r.tracks[track] = map[*subscription]struct{}{}
	}
	r.tracks[track][s] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.tracks[track], s)
		if len(r.tracks[track]) == 0 {
			delete(r.tracks, track)
		}
	}()
	// Whoever reads OK misses nothing that is published from then on.
	if _, err := io.WriteString(control, "OK\n"); err != nil {
		return nil
	}
	for {
		select {
		case b := <-s.queue:
			err := s.send(b)
			if large := (*quic.DatagramTooLargeError)(nil); errors.As(err, &large) {
				r.counts.large.Add(1)
				continue
			}
			if err != nil {
				return nil
			}
			r.counts.passed.Add(1)
		case <-conn.Context().Done():
			return nil
		}
	}
}
