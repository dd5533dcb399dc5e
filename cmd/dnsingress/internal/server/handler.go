// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Handler answers what needs more than a lookup: AXFR over TCP, IXFR, NOTIFY, and every query that is signed
// with TSIG.
type Handler interface {
	// Handle answers one message with none, one or, over TCP, a stream of messages, and returns when the last
	// is written. It runs in a goroutine of its own: other queries of the same connection are answered
	// meanwhile. ctx ends when the connection breaks and when the server ends. A panic costs a SERVFAIL.
	Handle(ctx context.Context, x *Exchange)
}

// Forwarder is the Handler of questions that no zone of the server covers, from clients that want recursion.
type Forwarder interface {
	Handler
	// Forwards tells whether questions of a client for a name, in lower-case wire form, are for the Forwarder. It must
	// neither wait nor keep the name.
	Forwards(name []byte, from netip.Addr) bool
}

// Exchange is one message that a Handler answers. Its query is well-formed: one question, and every record
// whole to the end of the message.
type Exchange struct {
	// Query is the message in wire form, the Handler's own to keep and to change.
	Query []byte
	Peer  Peer
	// Limit is how many octets one reply may have: 65535 over TCP, over UDP what the client takes.
	Limit int
	// Answer gives the server's own reply to a query of the same peer, such as Query without its signature, in
	// at most limit octets. The reply is the Handler's own.
	Answer func(query []byte, limit int) []byte
	// Complete makes a reply to the query out of one that has its question and no OPT record: with that record, as the
	// server's own replies have it, and an extended error (RFC 8914; 0: none). What does not fit is truncated. It may
	// change the reply.
	Complete func(reply []byte, extended uint16) []byte
	// Reply sends one message. Over TCP it waits for the client to take it, for as long as a client may take;
	// an error means that the connection is gone. It is safe for concurrent use.
	Reply func(message []byte) error
}

// What bounds the messages that a Handler, and the Forwarder, work on at once: over UDP all of a socket, over TCP those of
// one connection.
const (
	handedMost    = 64
	forwardedMost = 1024
)

// office hands messages to a Handler or a Forwarder, of one socket or of one connection.
type office struct {
	handler Handler
	forward Handler
	guards  *sync.Pool // of *guard that hand nothing over
	panics  *panics
	tally   *tally
	idle    func()           // told when nothing is in work; nil: nobody to tell
	reserve func(n int) bool // of the limit on memory; nil: none
	open    atomic.Int32     // in work
	// of them for the Handler, and for the Forwarder
	handling, forwarding atomic.Int32
	over                 atomic.Int32 // replies beyond the limit on their rate
	all                  sync.WaitGroup
}

// job is one message in an office.
type job struct {
	x     *Exchange
	seen  outcome // and whose it is
	begin time.Time
	judge func(reply []byte) verdict // nil: every reply is sent
	taps  []*feed                    // that get query and first reply
	copy  sample
}

// tap has those of the taps that want this message get it when it is answered.
func (j *job) tap(taps []*tap, query []byte, from, to netip.AddrPort, proto string) {
	for _, t := range taps {
		if t.wants() {
			j.taps = append(j.taps, t.feed)
		}
	}
	if len(j.taps) > 0 {
		j.copy = sample{from: from, to: to, proto: proto, query: bytes.Clone(query)}
	}
}

// enter makes room for a message of n octets. It is false where there is none, for the memory or since too many are in
// work already.
func (o *office) enter(n int, whose reason) bool {
	busy, most := o.bound(whose)
	if busy.Add(1) > most || o.reserve != nil && !o.reserve(n) {
		busy.Add(-1)
		return false
	}
	o.open.Add(1)
	return true
}

// leave takes back what enter made room for, and tells whether nothing is in work any more.
func (o *office) leave(whose reason) (empty bool) {
	busy, _ := o.bound(whose)
	busy.Add(-1)
	return o.open.Add(-1) == 0
}

// bound is how many messages are in work for the one whose a message is, and how many may be.
func (o *office) bound(whose reason) (busy *atomic.Int32, most int32) {
	if whose == forwarded {
		return &o.forwarding, forwardedMost
	}
	return &o.handling, handedMost
}

// work hands over a message that has entered and returns at once.
func (o *office) work(ctx context.Context, j *job) {
	n := len(j.x.Query)
	o.all.Go(func() {
		whose := j.seen.ignored
		o.handle(ctx, j)
		if o.reserve != nil {
			o.reserve(-n)
		}
		if o.leave(whose) && o.idle != nil {
			o.idle()
		}
	})
}

// judge is udpWorker.judge for a reply of the Handler to a client that has shown nothing.
func (o *office) judge(rates *limiter, peer Peer, seen outcome, reply []byte) verdict {
	if len(reply) < headerLen || rates.allow(rates.key(peer.Addr, seen.slot, classOf(reply)), rates.at(time.Now())) {
		return sent
	}
	if n := int(o.over.Add(1)); rates.Slip > 0 && n%rates.Slip == 0 {
		return slipped
	}
	return dropped
}

// emptied is the reply to a query that sends its client to TCP.
func emptied(query []byte) []byte {
	end := headerLen
	for query[end] != 0 { // it was parsed: no name is compressed
		end += 1 + int(query[end])
	}
	end += 1 + 4
	b := make([]byte, end)
	copy(headerOnly(b, query, dns.RcodeSuccess)[headerLen:end], query[headerLen:end])
	b[2] |= 0x02
	b[5] = 1
	return b
}

func (o *office) handle(ctx context.Context, j *job) {
	x, seen := j.x, j.seen
	handler := o.handler
	if seen.ignored == forwarded {
		handler = o.forward
	}
	asked := len(x.Query)
	query := bytes.Clone(x.Query)
	done := event{family: familyOf(x.Peer.Addr), asked: asked}
	seen.ignored = answered
	var first sync.Once
	send := x.Reply
	x.Reply = func(message []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		v := sent
		if j.judge != nil {
			v = j.judge(message)
		}
		if v == slipped {
			message = emptied(query)
		}
		first.Do(func() {
			if done.verdict = v; v == dropped {
				return
			}
			if len(message) >= headerLen {
				seen.rcode = int(message[3] & 0xF)
			}
			done.replied = len(message)
			if len(j.taps) > 0 {
				j.copy.reply = bytes.Clone(message)
			}
		})
		if v == dropped {
			return nil
		}
		return send(message)
	}
	x.Answer = func(query []byte, limit int) []byte {
		g := o.guards.Get().(*guard)
		defer o.guards.Put(g)
		reply, _ := g.respond(make([]byte, limit), query, x.Peer, false)
		return reply
	}
	x.Complete = func(reply []byte, extended uint16) []byte {
		g := o.guards.Get().(*guard)
		defer o.guards.Put(g)
		return g.complete(reply, query, extended, x.Peer, x.Limit)
	}
	defer func() {
		if cause := recover(); cause != nil {
			o.panics.caught(cause, query, debug.Stack())
			first.Do(func() {
				seen.rcode, done.replied = dns.RcodeServerFailure, headerLen
				j.copy.reply = headerOnly(make([]byte, headerLen), query, dns.RcodeServerFailure)
				_ = send(j.copy.reply) // its client may be gone
			})
		}
		first.Do(func() { seen.ignored = unanswered })
		done.outcome = seen
		o.tally.add([]event{done}, time.Since(j.begin))
		for _, f := range j.taps {
			f.take(j.begin, j.copy.from, j.copy.to, j.copy.proto, j.copy.query, j.copy.reply)
		}
	}()
	handler.Handle(ctx, x)
}
