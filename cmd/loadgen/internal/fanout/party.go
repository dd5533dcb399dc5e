// SPDX-License-Identifier: Apache-2.0

package fanout

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/openloop"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/user"
	"github.com/dnsingress/dnsingress/internal/results"
)

// The kinds of rows, in the column request.
const (
	rowObject    = "object"
	rowSubscribe = "subscribe"
	rowSession   = "session"
	rowPublish   = "publish"
)

// Settings of a Party.
type Settings struct {
	Client   string // name of the node, for the samples
	Track    string
	Delivery Delivery
	Size     int           // of an object
	Timeout  time.Duration // of a handshake; and how long after the last object deliveries are waited for
	Idle     time.Duration // after which a silent relay is gone
	Again    time.Duration // between a session's end and the next
	Stay     time.Duration // after which a subscriber leaves and comes again; 0 is never
}

// Party is a source, or none, and subscribers of one track.
type Party struct {
	Settings
	source      *user.User // nil: another process publishes
	subscribers []*subscriber

	ctx    context.Context
	cancel func()
	all    sync.WaitGroup
	sender *publisher

	mu      sync.Mutex
	note    record.Note   // nil between runs
	waiting []noted       // rows of sessions that were begun before a run
	run     uint64        // number of the run; 0 is that of whoever publishes
	sent    []object      // by seq, of this run
	left    int           // deliveries that are still awaited
	arrived chan struct{} // closed when none is
}

// noted is a row that waits for a run.
type noted struct {
	sample results.Sample
	cause  error
}

// Join begins the sessions of a source, which may be nil, and of subscribers, which then last until
// Leave, and are begun anew when they end. It waits until each was begun or has failed once.
func Join(ctx context.Context, s Settings, source *user.User, subscribers []*user.User) (*Party, error) {
	p := &Party{Settings: s, source: source}
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, p.cancel) // a signal while sessions are being begun
	defer stop()
	var first sync.WaitGroup
	for _, u := range subscribers {
		sub := &subscriber{party: p, user: u}
		p.subscribers = append(p.subscribers, sub)
	}
	slots := make(chan struct{}, 64) // handshakes at a time
	for _, sub := range p.subscribers {
		first.Add(1)
		p.all.Go(func() { sub.stay(slots, sync.OnceFunc(first.Done)) })
	}
	if source != nil {
		if err := p.publish(); err != nil {
			p.cancel()
			first.Wait()
			p.Leave()
			return nil, err
		}
	}
	first.Wait()
	if err := ctx.Err(); err != nil {
		p.Leave()
		return nil, err
	}
	return p, nil
}

// publish begins the source's session.
func (p *Party) publish() error {
	var s results.Sample
	session, err := open(p.ctx, p.source, p.Timeout, p.Idle, 0, fmt.Sprintf("PUBLISH %s %s", p.Track, p.Delivery), &s)
	if err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	p.sender = &publisher{session: session, sender: sender{conn: session.conn, delivery: p.Delivery}}
	return nil
}

// Leave ends all sessions.
func (p *Party) Leave() {
	p.cancel()
	if p.sender != nil {
		p.sender.session.end()
	}
	p.all.Wait()
}

// Flow publishes what the plan says, or with no source waits for its end, and notes what comes of
// it, until Settle.
func (p *Party) Flow(ctx context.Context, plan openloop.Plan, note record.Note) error {
	p.mu.Lock()
	p.note, p.sent, p.left, p.arrived = note, nil, 0, nil
	if p.run = 0; p.source != nil {
		p.run = rand.Uint64() | 1
	}
	for _, w := range p.waiting {
		note(&w.sample, true, w.cause)
	}
	p.waiting = nil
	for _, s := range p.subscribers {
		s.begin()
	}
	p.mu.Unlock()
	do := p.send
	if p.source == nil { // the plan says when the run ends
		do, plan.Drop = func(openloop.Hit) {}, func(openloop.Hit) {}
	}
	return (&openloop.Loop{Plan: plan, Do: do}).Run(ctx)
}

// send publishes one object.
func (p *Party) send(h openloop.Hit) {
	o := object{run: p.run, seq: h.Seq, intended: h.Intended.UnixNano()}
	err := p.sender.publish(&o, h.Intended, p.Size, func() { p.expect(o) })
	if err == nil {
		return
	}
	s := results.Sample{
		Client: p.Client, User: -1, Seq: o.seq, Request: rowPublish, Protocol: ALPN, IntendedNs: o.intended, SentNs: o.sent,
		TotalNs: int64(time.Since(h.Intended)), Error: user.Class(err),
	}
	p.add(&s, err)
}

// expect takes note of an object that is about to be sent: every subscriber is to get it.
func (p *Party) expect(o object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for uint64(len(p.sent)) <= o.seq {
		p.sent = append(p.sent, object{})
	}
	p.sent[o.seq] = o
	p.left += len(p.subscribers)
}

// Settle waits until every subscriber has every object that was sent, but not longer than Timeout,
// notes those that are missing, and ends the run.
func (p *Party) Settle() {
	p.mu.Lock()
	p.arrived = make(chan struct{})
	if p.left == 0 {
		close(p.arrived)
	}
	arrived := p.arrived
	p.mu.Unlock()
	timer := time.NewTimer(p.Timeout)
	defer timer.Stop()
	if p.source != nil {
		select {
		case <-arrived:
		case <-timer.C:
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.note == nil {
		return
	}
	for _, s := range p.subscribers {
		for seq, o := range p.sent {
			if o.run == 0 || s.has(uint64(seq)) {
				continue
			}
			row := results.Sample{
				Client: p.Client, User: s.user.ID(), Seq: o.seq, Request: rowObject, Protocol: ALPN,
				IntendedNs: o.intended, SentNs: o.sent, TotalNs: time.Now().UnixNano() - o.intended, Error: results.ErrLost, Reused: true,
			}
			p.note(&row, true, errLost)
		}
	}
	p.note = nil
}

// add notes a row, or keeps it for the next run.
func (p *Party) add(s *results.Sample, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.note == nil {
		p.waiting = append(p.waiting, noted{*s, cause})
		return
	}
	p.note(s, true, cause)
}

// came takes an object that a subscriber got whole at an instant.
func (p *Party) came(s *subscriber, b []byte, at time.Time, peer string) {
	o, err := readObject(b)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.note == nil:
		return
	case p.run == 0:
		p.run = o.run // of whoever publishes
	case o.run != p.run:
		return // a straggler of the run before
	}
	if o.seq > maxSeq || !s.take(o.seq) {
		return // twice
	}
	if p.source == nil { // others may miss it
		for uint64(len(p.sent)) <= o.seq {
			p.sent = append(p.sent, object{})
		}
		p.sent[o.seq] = o
	} else if p.left--; p.left == 0 && p.arrived != nil {
		close(p.arrived)
	}
	row := results.Sample{
		Client: p.Client, User: s.user.ID(), Seq: o.seq, Request: rowObject, Protocol: ALPN,
		IntendedNs: o.intended, SentNs: o.sent, TotalNs: at.UnixNano() - o.intended, Bytes: int64(len(b)), Peer: peer, Reused: true,
	}
	row.FirstByteNs = max(row.TotalNs-(o.sent-o.intended), 1)
	p.note(&row, true, nil)
}
