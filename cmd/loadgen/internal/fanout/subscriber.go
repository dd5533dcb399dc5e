// SPDX-License-Identifier: Apache-2.0

package fanout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/openloop"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/user"
	"github.com/dnsingress/dnsingress/internal/results"
)

// maxSeq bounds the objects of a run that are kept account of.
const maxSeq = 1 << 30

var errLost = errors.New("the object did not come")

// publisher sends the source's objects, one after the other.
type publisher struct {
	mu      sync.Mutex
	session *session
	sender  sender
}

// publish sends an object of size bytes. About is called when it is about to be sent.
func (p *publisher) publish(o *object, intended time.Time, size int, about func()) error {
	b := make([]byte, size)
	p.mu.Lock()
	defer p.mu.Unlock()
	o.sent = o.intended + int64(time.Since(intended)) // by the monotonic clock
	o.write(b)
	about()
	if err := p.sender.send(b); err != nil {
		return cause(p.sender.conn, err)
	}
	return nil
}

// subscriber is one subscriber; what it got of the run is guarded by its party's lock.
type subscriber struct {
	party *Party
	user  *user.User
	got   []uint64 // a bit an object
}

func (s *subscriber) begin() { s.got = s.got[:0] }

func (s *subscriber) has(seq uint64) bool {
	return seq/64 < uint64(len(s.got)) && s.got[seq/64]&(1<<(seq%64)) != 0
}

// take notes an object; false when it was there already.
func (s *subscriber) take(seq uint64) bool {
	if s.has(seq) {
		return false
	}
	for uint64(len(s.got)) <= seq/64 {
		s.got = append(s.got, 0)
	}
	s.got[seq/64] |= 1 << (seq % 64)
	return true
}

// stay keeps the subscriber in a session until its party ends. Tried is called when the first was
// begun or has failed; slots bound how many are begun at a time.
func (s *subscriber) stay(slots chan struct{}, tried func()) {
	defer tried()
	for failed := 0; ; {
		select {
		case slots <- struct{}{}:
		case <-s.party.ctx.Done():
			return
		}
		session, peer, err := s.subscribe(failed)
		<-slots
		tried()
		if s.party.ctx.Err() != nil {
			if err == nil {
				session.end()
			}
			return
		}
		if failed++; err == nil {
			failed = 0
			s.listen(session, peer)
		}
		select {
		case <-time.After(s.party.Again):
		case <-s.party.ctx.Done():
			return
		}
	}
}

// subscribe begins a session, and notes that.
func (s *subscriber) subscribe(failed int) (*session, string, error) {
	p := s.party
	begin := openloop.At(time.Now())
	row := results.Sample{
		Client: p.Client, User: s.user.ID(), Request: rowSubscribe,
		IntendedNs: begin.UnixNano(), SentNs: begin.UnixNano(),
	}
	session, err := open(p.ctx, s.user, p.Timeout, p.Idle, failed, fmt.Sprintf("SUBSCRIBE %s %s", p.Track, p.Delivery), &row)
	if err != nil && p.ctx.Err() != nil {
		return nil, "", err
	}
	if row.TotalNs = int64(time.Since(begin)); err != nil {
		row.Error = user.Class(err)
	}
	p.add(&row, err)
	return session, row.Peer, err
}

// listen takes objects until the session ends, and notes an end that should not be.
func (s *subscriber) listen(session *session, peer string) {
	p := s.party
	ctx, cancel := p.ctx, func() {}
	if p.Stay > 0 {
		ctx, cancel = context.WithTimeout(ctx, p.Stay)
	}
	defer cancel()
	defer context.AfterFunc(ctx, session.end)()
	err := receive(session.conn, p.Delivery, func(b []byte) { p.came(s, b, time.Now(), peer) })
	if ctx.Err() != nil {
		return
	}
	now := time.Now().UnixNano()
	row := results.Sample{
		Client: p.Client, User: s.user.ID(), Request: rowSession, Protocol: ALPN, Peer: peer, Reused: true,
		IntendedNs: now, SentNs: now, TotalNs: 1, Error: user.Class(err),
	}
	p.add(&row, err)
	session.end()
}
