// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
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
	// Reply sends one message. Over TCP it waits for the client to take it, for as long as a client may take;
	// an error means that the connection is gone. It is safe for concurrent use.
	Reply func(message []byte) error
}

// handedMost bounds the messages that a Handler works on at once: over UDP all, over TCP those of one connection.
const handedMost = 64

// office hands messages to a Handler, of one socket or of one connection.
type office struct {
	handler Handler
	guards  *sync.Pool // of *guard that hand nothing over
	panics  *panics
	tally   *tally
	idle    func() // told when nothing is in work; nil: nobody to tell
	open    atomic.Int32
	all     sync.WaitGroup
}

// take hands a message over and returns at once. It is false where too many are in work already.
func (o *office) take(ctx context.Context, x *Exchange, seen outcome) bool {
	if o.open.Add(1) > handedMost {
		o.open.Add(-1)
		return false
	}
	o.all.Go(func() {
		o.handle(ctx, x, seen)
		if o.open.Add(-1) == 0 && o.idle != nil {
			o.idle()
		}
	})
	return true
}

func (o *office) handle(ctx context.Context, x *Exchange, seen outcome) {
	begin, asked := time.Now(), len(x.Query)
	seen.ignored = answered
	var first sync.Once
	send := x.Reply
	size := 0
	x.Reply = func(message []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		first.Do(func() {
			if len(message) >= headerLen {
				seen.rcode = int(message[3] & 0xF)
			}
			size = len(message)
		})
		return send(message)
	}
	x.Answer = func(query []byte, limit int) []byte {
		g := o.guards.Get().(*guard)
		defer o.guards.Put(g)
		reply, _ := g.respond(make([]byte, limit), query, x.Peer, false)
		return reply
	}
	query := append([]byte(nil), x.Query[:headerLen]...)
	defer func() {
		if cause := recover(); cause != nil {
			o.panics.caught(cause, query, debug.Stack())
			first.Do(func() {
				seen.rcode, size = dns.RcodeServerFailure, headerLen
				_ = send(headerOnly(make([]byte, headerLen), query, dns.RcodeServerFailure)) // its client may be gone
			})
		}
		first.Do(func() { seen.ignored = unanswered })
		o.tally.add([]event{{outcome: seen, family: familyOf(x.Peer.Addr), asked: asked, replied: size}}, time.Since(begin))
	}()
	o.handler.Handle(ctx, x)
}
