// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"container/list"
	"sync"
	"time"
)

// question is what is looked up and remembered.
type question struct {
	name  string // wire form, lower case
	qtype uint16
	// do and cd are the bits of the same name, on which what a server answers may depend.
	do, cd bool
}

// entry is a remembered answer, or a remembered failure to get one.
type entry struct {
	message message
	failed  uint16        // extended error of a failure; 0: it is an answer
	came    time.Time     // when it was asked for
	life    time.Duration // for which it is fresh
	// Of a stale one: before that, nobody is asked again, unless more servers were up again than by then.
	retry time.Time
	back  uint32
}

// fresh tells whether an entry holds at an instant.
func (e *entry) fresh(now time.Time) bool { return now.Sub(e.came) < e.life }

// entryOverhead is roughly what an entry takes beside its message and its name: key, map, list and slices.
const entryOverhead = 320

// cache remembers answers up to a number of octets, and forgets first what nobody has asked for the longest.
type cache struct {
	limit int           // octets
	stale time.Duration // for which an answer is kept when it is no longer fresh

	mu      sync.Mutex
	entries map[question]*list.Element // of *slot
	order   list.List                  // the one asked for last in front
	size    int
	evicted uint64
}

// slot is an entry in its place.
type slot struct {
	question question
	entry    entry
	size     int
}

func newCache(limit int, stale time.Duration) *cache {
	return &cache{limit: limit, stale: stale, entries: map[question]*list.Element{}}
}

// get returns what is known of a question, fresh or stale.
func (c *cache) get(q question, now time.Time) (entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	place := c.entries[q]
	if place == nil {
		return entry{}, false
	}
	s := place.Value.(*slot)
	if now.Sub(s.entry.came) >= s.entry.life+c.kept(&s.entry) {
		c.drop(place)
		return entry{}, false
	}
	c.order.MoveToFront(place)
	return s.entry, true
}

// kept is for how long an entry is of use when it is no longer fresh.
func (c *cache) kept(e *entry) time.Duration {
	if e.failed != 0 {
		return 0
	}
	return c.stale
}

// put remembers an entry, unless it may not be, in place of the one before.
func (c *cache) put(q question, e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if place := c.entries[q]; place != nil {
		c.drop(place)
	}
	size := entryOverhead + len(q.name) + e.message.size()
	if e.life <= 0 || size > c.limit {
		return
	}
	c.entries[q] = c.order.PushFront(&slot{q, e, size})
	for c.size += size; c.size > c.limit; c.evicted++ {
		c.drop(c.order.Back())
	}
}

// postpone has nobody asked again for a question, whose entry is stale, before an instant, or until a server is back.
func (c *cache) postpone(q question, until time.Time, back uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if place := c.entries[q]; place != nil {
		e := &place.Value.(*slot).entry
		e.retry, e.back = until, back
	}
}

func (c *cache) drop(place *list.Element) {
	s := c.order.Remove(place).(*slot)
	delete(c.entries, s.question)
	c.size -= s.size
}

// CacheStatus is how full a cache is.
type CacheStatus struct {
	Entries int    `json:"entries"`
	Octets  int    `json:"octets"`
	Limit   int    `json:"limit_octets"`
	Evicted uint64 `json:"evicted"`
}

func (c *cache) status() CacheStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return CacheStatus{len(c.entries), c.size, c.limit, c.evicted}
}
