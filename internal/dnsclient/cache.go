// SPDX-License-Identifier: Apache-2.0

package dnsclient

import "time"

// sweepFrom is the number of entries from which a cache looks for dead ones to drop.
const sweepFrom = 1024

// Cache is the memory of one client. The zero value is empty and honours TTLs.
// It is not safe for concurrent use. Time must not run backwards between calls.
type Cache struct {
	TTL TTL

	entries map[question]entry
	sweepAt int
}

type question struct {
	name  string
	qtype uint16 // 0 for an NXDOMAIN, which holds for every type (RFC 2308 §5)
}

type entry struct {
	answer  Answer
	expires time.Time // zero for never
}

func (e entry) alive(now time.Time) bool { return e.expires.IsZero() || now.Before(e.expires) }

// Get returns the answer kept for the canonical name, if it still lives at now.
func (c *Cache) Get(now time.Time, name string, qtype uint16) (Answer, bool) {
	if e, ok := c.entries[question{name, qtype}]; ok && e.alive(now) {
		return e.answer, true
	}
	if e, ok := c.entries[question{name, 0}]; ok && e.alive(now) {
		return e.answer, true
	}
	return Answer{}, false
}

// Put keeps an answer that arrived at now, for as long as the answer and the TTL model allow.
func (c *Cache) Put(now time.Time, name string, qtype uint16, a Answer) {
	q, life := question{name, qtype}, a.TTL
	switch {
	case a.Err == nil:
		life = c.TTL.Lifetime(a.TTL)
	case a.Err.Kind == NXDomain:
		q.qtype = 0
	}
	// The newest answer replaces what was known, also when it may not be kept itself.
	delete(c.entries, question{name, qtype})
	delete(c.entries, question{name, 0})
	if life <= 0 {
		return
	}
	e := entry{answer: a}
	if life != Forever {
		e.expires = now.Add(life)
	}
	if c.entries == nil {
		c.entries = map[question]entry{}
	}
	c.entries[q] = e
	if c.sweepAt = max(c.sweepAt, sweepFrom); len(c.entries) >= c.sweepAt {
		c.sweep(now)
	}
}

// Len returns the number of answers kept, dead ones included.
func (c *Cache) Len() int { return len(c.entries) }

// sweep drops the dead entries. The next sweep waits until the cache has doubled: amortised O(1).
func (c *Cache) sweep(now time.Time) {
	for q, e := range c.entries {
		if !e.alive(now) {
			delete(c.entries, q)
		}
	}
	c.sweepAt = 2 * len(c.entries)
}
