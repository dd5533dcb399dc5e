// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"sort"
	"strings"
	"sync"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

// journalSize bounds what a journal holds, in octets; it forgets the oldest steps. At a thousand changed names a
// second that is about a minute.
const journalSize = 16 << 20

// journal is what one zone's latest changes were, in memory. It is safe for concurrent use.
type journal struct {
	mu      sync.Mutex
	limit   int // octets
	current *zone.Zone
	steps   []step // each begins where the one before ended
	size    int
}

// step is the difference between two successive states of a zone.
type step struct {
	serial         uint32      // before
	soa            zone.Record // before
	removed, added []zone.Record
	size           int
}

// delta is the difference between a state of a zone and the current one.
type delta struct {
	from           zone.Record // SOA
	removed, added []zone.Record
}

// publish takes note of the next state of the zone.
func (j *journal) publish(z *zone.Zone) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := j.current
	j.current = z
	if before == nil || !before.Available() || !z.Available() || !newer(z.Serial(), before.Serial()) {
		j.steps, j.size = nil, 0 // what came before has no way to here
		return
	}
	s := step{serial: before.Serial(), soa: alone(before.SOA()), size: 256}
	s.removed, s.added = z.Diff(before)
	for _, records := range [][]zone.Record{s.removed, s.added} {
		for i, r := range records {
			records[i] = alone(r)
			s.size += 64 + len(r.Owner) + len(r.Data)
		}
	}
	j.steps = append(j.steps, s)
	for j.size += s.size; j.size > j.limit; j.steps = j.steps[1:] {
		j.size -= j.steps[0].size
	}
}

// alone returns the record without keeping in memory all that stood beside it.
func alone(r zone.Record) zone.Record {
	return zone.Record{Owner: r.Owner, Data: strings.Clone(r.Data)}
}

// since returns the current zone and what has changed since a serial, as one difference (RFC 1995 §5); known is
// false where the journal does not reach back to that, or only by more than so many records and steps.
func (j *journal) since(serial uint32, most int) (z *zone.Zone, d delta, known bool) {
	j.mu.Lock()
	z, steps := j.current, j.steps
	j.mu.Unlock()
	first := sort.Search(len(steps), func(i int) bool { return !newer(serial, steps[i].serial) })
	if first == len(steps) || steps[first].serial != serial {
		return z, delta{}, false
	}
	steps = steps[first:]
	for _, s := range steps {
		if most -= 1 + len(s.removed) + len(s.added); most < 0 {
			return z, delta{}, false
		}
	}
	d.from = steps[0].soa
	if len(steps) == 1 {
		d.removed, d.added = steps[0].removed, steps[0].added
		return z, d, true
	}
	net := map[zone.Record]int{}
	var order []zone.Record
	count := func(r zone.Record, n int) {
		if _, met := net[r]; !met {
			order = append(order, r)
		}
		net[r] += n
	}
	for _, s := range steps {
		for _, r := range s.removed {
			count(r, -1)
		}
		for _, r := range s.added {
			count(r, 1)
		}
	}
	for _, r := range order {
		switch n := net[r]; {
		case n < 0:
			d.removed = append(d.removed, r)
		case n > 0:
			d.added = append(d.added, r)
		}
	}
	return z, d, true
}

// newer tells whether serial a comes after b, RFC 1982 §3.2.
func newer(a, b uint32) bool { return int32(a-b) > 0 }
