// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
)

// guard is a Responder whose panics cost one SERVFAIL each and not the server.
type guard struct {
	*Responder
	panics *panics
}

// panics counts what was caught. The first is logged with its stack, the others are the same or can be found
// by their count: an attacker who finds one must not fill the disk.
type panics struct {
	log   *slog.Logger
	count atomic.Uint64
}

func (g *guard) respond(buf, query []byte, peer Peer, cut bool) (reply []byte, seen outcome) {
	defer func() {
		if cause := recover(); cause != nil {
			g.panics.caught(cause, query, debug.Stack())
			reply, seen = g.headerOnly(buf, query, rcodeServFail), g.seen
		}
	}()
	if cut && len(query) >= headerLen && query[2]&0x80 == 0 {
		g.seen = outcome{slot: -1}
		return g.headerOnly(buf, query, rcodeFormErr), g.seen
	}
	return g.Respond(buf, query, peer), g.seen
}

// caught counts a panic and logs the first.
func (p *panics) caught(cause any, query, stack []byte) {
	if p.count.Add(1) == 1 {
		p.log.Error("caught a panic in an answer", "cause", fmt.Sprint(cause), "query", fmt.Sprintf("%x", query), "stack", string(stack))
	}
}
