// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// RateLimit bounds the replies that one network gets over UDP, where anybody can ask in another's name: response
// rate limiting as BIND, Knot and NSD have it. Zero values stand for the defaults, but
// for PerSecond, where it is no limit, and for Slip.
type RateLimit struct {
	// PerSecond is how many replies of one class a network may get: answers, answers without data, denials of
	// a name, referrals and errors are a class each, and each zone has its own.
	PerSecond int
	// Burst is how many of them may come at once; 15 times PerSecond, as many as BIND and Knot give at most.
	Burst int
	// Slip makes every so manieth reply beyond the limit an empty one with TC set, so that who is not forged
	// can ask over TCP: 1 all, 2 every other, 0 none. The others are left out.
	Slip int
	// Prefix4 and Prefix6 are what one network is; 24 and 56 bits.
	Prefix4, Prefix6 int
	// Networks is how many can be told apart at once, each for 8 octets of memory; 131072. When there are more,
	// those that are the farthest from their limit are forgotten.
	Networks int
}

func (l RateLimit) orDefaults() RateLimit {
	orElse(&l.Burst, 15*l.PerSecond)
	orElse(&l.Prefix4, 24)
	orElse(&l.Prefix6, 56)
	orElse(&l.Networks, 1<<17)
	return l
}

func orElse(v *int, value int) {
	if *v == 0 {
		*v = value
	}
}

// verdict is what becomes of a reply.
type verdict uint8

const (
	sent    verdict = iota
	slipped         // an empty one with TC in its place
	dropped
	verdicts
)

func (v verdict) String() string { return [...]string{"send", "slip", "drop"}[v] }

// limiter has one bucket for each network and class, shared by all workers. A bucket is one word, so that it is
// read and changed without a lock: tagBits that tell whose it is, and the time at which it is empty again, the
// theoretical arrival time of the generic cell rate algorithm (ITU-T I.371), which is a token bucket that nobody
// needs to fill. A network has ways places to be in, one cache line.
type limiter struct {
	RateLimit
	seed    maphash.Seed
	begin   time.Time
	each    uint64 // ticks that one reply costs
	most    uint64 // ticks that a bucket may be ahead of the time
	sets    uint64
	buckets []atomic.Uint64
}

const (
	ways     = 8
	tagBits  = 16
	timeBits = 64 - tagBits
	timeMask = 1<<timeBits - 1
	// ticks are how many a second has: 48 bits of them last for eight years.
	ticks = 1 << 20
)

// newLimiter returns nil where there is no limit.
func newLimiter(l RateLimit) *limiter {
	if l.PerSecond <= 0 {
		return nil
	}
	l = l.orDefaults()
	sets := uint64(max(l.Networks/ways, 1))
	each := max(ticks/uint64(l.PerSecond), 1)
	return &limiter{
		RateLimit: l, seed: maphash.MakeSeed(), begin: time.Now(), each: each, most: each * uint64(max(l.Burst, 1)),
		sets: sets, buckets: make([]atomic.Uint64, sets*ways),
	}
}

// at is the time in ticks, from 1 on.
func (l *limiter) at(now time.Time) uint64 {
	d := uint64(now.Sub(l.begin))
	// Not in one product, which would be too large for a word after five hours.
	return (d/uint64(time.Second)*ticks+d%uint64(time.Second)*ticks/uint64(time.Second))&timeMask + 1
}

// allow takes one reply from a bucket and tells whether it had one.
func (l *limiter) allow(hash, now uint64) bool {
	tag := hash >> timeBits << timeBits
	set := l.buckets[hash%l.sets*ways:][:ways]
	for {
		b, old := l.bucket(set, tag, now)
		empty := max(old&timeMask, now)
		if old&^timeMask != tag {
			empty = now
		}
		if empty += l.each; empty > now+l.most {
			return false
		}
		if b.CompareAndSwap(old, tag|empty&timeMask) {
			return true
		}
	}
}

// bucket returns the bucket with a tag and what it holds, or the one to be given up for it: which has been full
// for the longest time, or is the fullest.
func (l *limiter) bucket(set []atomic.Uint64, tag, now uint64) (b *atomic.Uint64, held uint64) {
	least := uint64(timeMask)
	for i := range set {
		v := set[i].Load()
		if v&^timeMask == tag && v&timeMask > now { // one that is full again is as good as none
			return &set[i], v
		}
		if at := v & timeMask; at < least || b == nil {
			least, b, held = at, &set[i], v
		}
	}
	return b, held
}

// replyClass tells replies apart that a forger would make a server send.
type replyClass byte

const (
	classAnswer replyClass = iota
	classNoData
	classDenial
	classReferral
	classError
)

func classOf(reply []byte) replyClass {
	switch {
	case reply[3]&0xF == dns.RcodeNameError:
		return classDenial
	case reply[3]&0xF != dns.RcodeSuccess:
		return classError
	case reply[6]|reply[7] != 0:
		return classAnswer
	case reply[2]&0x04 == 0:
		return classReferral
	}
	return classNoData
}

// key hashes what shares a bucket.
func (l *limiter) key(from netip.Addr, slot int, c replyClass) uint64 {
	var b [16]byte
	var net uint64
	if from = from.Unmap(); from.Is4() {
		a := from.As4()
		net = uint64(binary.BigEndian.Uint32(a[:])) >> (32 - l.Prefix4) << 1
	} else {
		a := from.As16()
		net = binary.BigEndian.Uint64(a[:])>>(64-l.Prefix6)<<1 | 1
	}
	binary.LittleEndian.PutUint64(b[:], net)
	binary.LittleEndian.PutUint32(b[8:], uint32(slot))
	b[12] = byte(c)
	return maphash.Bytes(l.seed, b[:13])
}
