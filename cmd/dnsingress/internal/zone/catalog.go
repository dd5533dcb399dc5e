// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"
)

// Catalog is the set of zones that a server answers for. The zero value is empty and ready. Reads take no
// lock: a change publishes a new snapshot.
type Catalog struct {
	writing   sync.Mutex
	snapshot  atomic.Pointer[snapshot]
	followers []func(before, after *Zone)
}

// Entry is a zone in a catalog. Slot is a small number that stays the origin's own while the catalog lives,
// also through withdrawal, for counters in arrays.
type Entry struct {
	*Zone
	Slot int
}

type snapshot struct {
	zones map[string]Entry
	slots map[string]int // of every origin ever published
	// depths has a bit for each number of labels that an origin in zones has: only these are looked up.
	depths [2]uint64
	// few are the zones, the deepest first, where there are at most fewZones: comparing is quicker than hashing.
	few []Entry
	// large tells whether a zone is worth looking ahead in.
	large bool
}

const fewZones = 4

// Follow has f called with every zone that is published from now on and the one that it takes the place of, or
// nil for none, in order and before Publish and Withdraw return; after is nil for a zone that is withdrawn. f
// must not change the catalog.
func (c *Catalog) Follow(f func(before, after *Zone)) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.followers = append(c.followers, f)
}

// Publish makes z the zone that is answered from for its origin.
func (c *Catalog) Publish(z *Zone) {
	c.update(z.origin, func(s *snapshot) {
		slot, known := s.slots[z.origin]
		if !known {
			slot = len(s.slots)
			s.slots = maps.Clone(s.slots)
			s.slots[z.origin] = slot
		}
		s.zones[z.origin] = Entry{z, slot}
	})
}

// Withdraw makes the catalog stop answering for an origin; no zone of it is no error.
func (c *Catalog) Withdraw(origin string) {
	wire, err := pack(origin)
	if err != nil {
		return
	}
	c.update(wire, func(s *snapshot) { delete(s.zones, wire) })
}

func (c *Catalog) update(origin string, change func(*snapshot)) {
	c.writing.Lock()
	defer c.writing.Unlock()
	next := &snapshot{zones: map[string]Entry{}, slots: map[string]int{}}
	if now := c.snapshot.Load(); now != nil {
		next.zones, next.slots = maps.Clone(now.zones), now.slots
	}
	before := next.zones[origin].Zone
	change(next)
	for _, z := range next.zones {
		next.large = next.large || z.names >= aheadNames
		next.depths[z.labels/64] |= 1 << (z.labels % 64)
	}
	if len(next.zones) <= fewZones {
		next.few = slices.SortedFunc(maps.Values(next.zones), func(a, b Entry) int { return b.labels - a.labels })
	}
	c.snapshot.Store(next)
	if after := next.zones[origin].Zone; before != after {
		for _, f := range c.followers {
			f(before, after)
		}
	}
}

// Zone returns the zone with an origin, or nil.
func (c *Catalog) Zone(origin string) *Zone {
	s := c.snapshot.Load()
	if wire, err := pack(origin); err == nil && s != nil {
		return s.zones[wire].Zone
	}
	return nil
}

// Zones returns all zones with their slots, ordered by origin.
func (c *Catalog) Zones() []Entry {
	s := c.snapshot.Load()
	if s == nil {
		return nil
	}
	entries := make([]Entry, 0, len(s.zones))
	for _, origin := range slices.Sorted(maps.Keys(s.zones)) {
		entries = append(entries, s.zones[origin])
	}
	return entries
}

// Find returns the zone that a question is for: the one with the longest origin above its name. A DS at an
// origin is its parent's to answer, where the catalog has the parent (RFC 4035 §3.1.4.1).
func (c *Catalog) Find(q *Question) (Entry, bool) {
	s := c.snapshot.Load()
	if s == nil {
		return Entry{}, false
	}
	var own Entry
	for k := range s.few {
		e := &s.few[k]
		i := q.name.labels - e.labels
		if i < 0 || string(q.name.suffix(i)) != e.origin {
			continue
		}
		if q.Type != dns.TypeDS || i > 0 {
			return *e, true
		}
		own = *e
	}
	if s.few != nil {
		return own, own.Zone != nil
	}
	for i := 0; i <= q.name.labels; i++ {
		depth := q.name.labels - i
		if s.depths[depth/64]&(1<<(depth%64)) == 0 {
			continue
		}
		e, ok := s.zones[string(q.name.suffix(i))]
		if !ok {
			continue
		}
		if q.Type != dns.TypeDS || i > 0 {
			return e, true
		}
		own = e
	}
	return own, own.Zone != nil
}

// Origins returns the origin of every slot, also of zones that have been withdrawn.
func (c *Catalog) Origins() []string {
	s := c.snapshot.Load()
	if s == nil {
		return nil
	}
	origins := make([]string, len(s.slots))
	for wire, slot := range s.slots {
		origins[slot] = unpack(wire)
	}
	return origins
}
