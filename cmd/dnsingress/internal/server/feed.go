// SPDX-License-Identifier: Apache-2.0

package server

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"
)

// feed takes copies of queries and their replies from the workers to what writes them somewhere. A worker never
// waits for it: when all samples are in use, the next is lost and counted.
type feed struct {
	name  string
	every int          // a copy of one query in so many, at random
	free  chan *sample // to be filled
	full  chan *sample // to be written
	taken atomic.Uint64
	lost  atomic.Uint64
}

// sample is one query with its reply, which is empty where there was none.
type sample struct {
	at           time.Time
	from, to     netip.AddrPort
	proto        string
	query, reply []byte
}

// sampleMost is the size up to which a sample keeps its buffers.
const sampleMost = 4096

func newFeed(name string, every, samples int) *feed {
	f := &feed{name: name, every: max(every, 1), free: make(chan *sample, samples), full: make(chan *sample, samples)}
	for range samples {
		f.free <- &sample{query: make([]byte, 0, 512), reply: make([]byte, 0, ednsUDP)}
	}
	return f
}

// done gives a sample back.
func (f *feed) done(s *sample) {
	if cap(s.query) > sampleMost {
		s.query = nil
	}
	if cap(s.reply) > sampleMost {
		s.reply = nil
	}
	f.free <- s
}

// tap is one worker's end of a feed.
type tap struct {
	*feed
	left int // queries until the next copy
}

func (f *feed) tap() *tap { return &tap{feed: f, left: 1 + rand.IntN(f.every)} }

// wants tells whether the next query is one to copy. The distance between two is random, so that no pattern in the
// queries meets one in the sample.
func (t *tap) wants() bool {
	if t.left--; t.left > 0 {
		return false
	}
	t.left = 1 + rand.IntN(2*t.every-1)
	return true
}

func (f *feed) take(at time.Time, from, to netip.AddrPort, proto string, query, reply []byte) {
	select {
	case s := <-f.free:
		s.at, s.from, s.to, s.proto = at, from, to, proto
		s.query, s.reply = append(s.query[:0], query...), append(s.reply[:0], reply...)
		f.full <- s // there are as many places as samples
	default:
		f.lost.Add(1)
	}
}
