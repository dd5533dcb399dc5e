// SPDX-License-Identifier: Apache-2.0

package dnssec

import (
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// entry is the signatures of one set. It is immutable, but for round.
type entry struct {
	hash    uint64
	set     string // zone.Signable
	records string // the RRSIGs, compiled
	due     int64  // seconds: when they are to be made again
	next    *entry // in a table, another with the same place
	round   uint32 // of a table, the last in which the set was in the zone; its lock guards it
}

func (e *entry) is(hash uint64, set []byte) bool { return e.hash == hash && e.set == string(set) }

// kept holds what is lasting, in shards, so that writers hold up each other seldom and shortly, and readers never.
type kept struct {
	shards [64]shard
}

// shard is a hash table whose readers take no lock: chains are immutable, and a change makes new ones.
type shard struct {
	mu    sync.Mutex // writers
	table atomic.Pointer[[]atomic.Pointer[entry]]
	count int
}

func (k *kept) shard(hash uint64) *shard { return &k.shards[hash>>58] }

func (k *kept) get(hash uint64, set []byte) *entry {
	table := k.shard(hash).table.Load()
	if table == nil {
		return nil
	}
	for e := (*table)[hash&uint64(len(*table)-1)].Load(); e != nil; e = e.next {
		if e.is(hash, set) {
			return e
		}
	}
	return nil
}

// put keeps an entry in the place of any for the same set.
func (k *kept) put(e *entry) {
	s := k.shard(e.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(e)
}

// offer is put unless that would have to wait, and tells whether it was.
func (k *kept) offer(e *entry) bool {
	s := k.shard(e.hash)
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	s.put(e)
	return true
}

func (s *shard) put(e *entry) {
	table := s.table.Load()
	if table == nil || s.count >= len(*table) {
		size := 16
		if table != nil {
			size = 2 * len(*table)
		}
		table = s.rebuild(size, func(*entry) bool { return true })
	}
	place := &(*table)[e.hash&uint64(len(*table)-1)]
	s.count++
	chain := e
	for old := place.Load(); old != nil; old = old.next {
		if old.is(e.hash, []byte(e.set)) {
			s.count--
			continue
		}
		c := *old
		c.next, chain = chain, &c
	}
	// The new one is at the end by now, and the chain backwards: both do not matter.
	place.Store(chain)
}

// rebuild makes a table of another size with the entries that stay.
func (s *shard) rebuild(size int, stay func(*entry) bool) *[]atomic.Pointer[entry] {
	fresh := make([]atomic.Pointer[entry], size)
	s.count = 0
	if old := s.table.Load(); old != nil {
		for i := range *old {
			for e := (*old)[i].Load(); e != nil; e = e.next {
				if !stay(e) {
					continue
				}
				c := *e
				place := &fresh[c.hash&uint64(size-1)]
				c.next = place.Load()
				place.Store(&c)
				s.count++
			}
		}
	}
	s.table.Store(&fresh)
	return &fresh
}

// mark notes that a set was in the zone in a round, and returns its entry, if there is one.
func (k *kept) mark(hash uint64, set []byte, round uint32) *entry {
	s := k.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := k.get(hash, set)
	if e != nil {
		e.round = round
	}
	return e
}

// sweep forgets what was not in the zone in a round or since, and returns how many entries are left.
func (k *kept) sweep(round uint32) int {
	left := 0
	for i := range k.shards {
		s := &k.shards[i]
		s.mu.Lock()
		stays := func(e *entry) bool { return int32(e.round-round) >= 0 }
		n := 0
		if table := s.table.Load(); table != nil {
			for i := range *table {
				for e := (*table)[i].Load(); e != nil; e = e.next {
					if stays(e) {
						n++
					}
				}
			}
			if n < s.count {
				s.rebuild(max(16, 1<<bits.Len(uint(n))), stays)
			}
		}
		left += n
		s.mu.Unlock()
	}
	return left
}

// len returns how many entries there are.
func (k *kept) len() int {
	n := 0
	for i := range k.shards {
		s := &k.shards[i]
		s.mu.Lock()
		n += s.count
		s.mu.Unlock()
	}
	return n
}

// made holds a bounded number of entries, of sets of a bounded size, in groups of ways for each place; nobody waits.
type made struct {
	slots []atomic.Pointer[entry]
}

const (
	ways = 4
	// largest is how many octets a set has at most that is remembered: names at random below a wildcard with large
	// sets would fill the memory with copies of them.
	largest = 1024
)

func (m *made) init(capacity int) {
	if capacity <= 0 {
		capacity = DefaultCapacity
	}
	m.slots = make([]atomic.Pointer[entry], max(ways, 1<<bits.Len(uint(capacity-1))))
}

func (m *made) group(hash uint64) []atomic.Pointer[entry] {
	at := hash & uint64(len(m.slots)-1) &^ (ways - 1)
	return m.slots[at : at+ways]
}

func (m *made) get(hash uint64, set []byte) *entry {
	group := m.group(hash)
	for i := range group {
		if e := group[i].Load(); e != nil && e.is(hash, set) {
			return e
		}
	}
	return nil
}

// put keeps an entry in the place of that for the same set, of none, or of any, unless it is too large.
func (m *made) put(e *entry) {
	if len(e.set) > largest {
		return
	}
	group := m.group(e.hash)
	victim := rand.IntN(ways)
	for i := range group {
		old := group[i].Load()
		if old != nil && old.is(e.hash, []byte(e.set)) {
			victim = i
			break
		}
		if old == nil {
			victim = i
		}
	}
	group[victim].Store(e)
}
