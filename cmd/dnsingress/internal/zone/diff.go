// SPDX-License-Identifier: Apache-2.0

package zone

import "unsafe"

// Diff returns what must be removed from before and then added to get z, SOAs apart. Where z was made from
// before by With it costs what changed; else it costs what both hold.
func (z *Zone) Diff(before *Zone) (removed, added []Record) {
	d := difference{before: before, after: z}
	d.find()
	return d.removed, d.added
}

// find goes over all names that can differ.
func (d *difference) find() {
	before, z := d.before, d.after
	d.nodes(before.apex, z.apex)
	if before.seed == z.seed { // a name has the same place in both
		d.levels(before.trie, z.trie)
	} else {
		d.branches(before.trie, z.trie)
	}
}

// difference collects what differs between two zones with one origin.
type difference struct {
	before, after  *Zone
	removed, added []Record
	visit          func(before, after node) // instead of collecting
}

// levels compares levels that stand at the same place.
func (d *difference) levels(before, after *inner) {
	if before == after {
		return
	}
	for i := range fan {
		b, a := before.branches[i], after.branches[i]
		switch b := b.(type) {
		case *inner:
			if a, ok := a.(*inner); ok {
				d.levels(b, a)
				continue
			}
		case *leaf:
			if a, ok := a.(*leaf); ok {
				d.leaves(b, a)
				continue
			}
		}
		if b != nil || a != nil {
			d.branches(b, a)
		}
	}
}

// leaves compares leaves that stand at the same place. Most nodes do too.
func (d *difference) leaves(before, after *leaf) {
	if before == after {
		return
	}
	for b, a := before, after; b != nil || a != nil; {
		var old, now []node
		if b != nil {
			old, b = b.nodes, b.next
		}
		if a != nil {
			now, a = a.nodes, a.next
		}
		for k := range max(len(old), len(now)) {
			if k < len(old) && k < len(now) && old[k] == now[k] {
				continue
			}
			if k < len(old) {
				d.nodes(old[k], d.after.get(keyOf(old[k])))
			}
			if k < len(now) && d.before.get(keyOf(now[k])) == "" {
				d.nodes("", now[k])
			}
		}
	}
}

// branches compares branches name by name.
func (d *difference) branches(before, after any) {
	eachBelow(before, func(n node) bool {
		d.nodes(n, d.after.get(keyOf(n)))
		return true
	})
	eachBelow(after, func(n node) bool {
		if d.before.get(keyOf(n)) == "" {
			d.nodes("", n)
		}
		return true
	})
}

// eachBelow is inner.each for any branch.
func eachBelow(branch any, yield func(node) bool) {
	(&inner{branches: [fan]any{branch}}).each(yield)
}

// keyOf is the key of a node in the form that lookups take.
func keyOf(n node) []byte {
	key := n.key()
	return unsafe.Slice(unsafe.StringData(key), len(key))
}

// nodes compares what stands at one name.
func (d *difference) nodes(before, after node) {
	if before == after {
		return
	}
	if d.visit != nil {
		d.visit(before, after)
		return
	}
	var old, now []Record
	collect := func(n node) (out []Record) {
		if n != "" {
			n.records(d.after.origin, func(r Record) bool {
				out = append(out, r)
				return true
			})
		}
		return out
	}
	old, now = collect(before), collect(after)
	d.removed = append(d.removed, without(old, now)...)
	d.added = append(d.added, without(now, old)...)
}

// without returns the records that are not among others too.
func without(records, others []Record) []Record {
	var has map[Record]bool
	if len(others) > 8 {
		has = make(map[Record]bool, len(others))
		for _, r := range others {
			has[r] = true
		}
	}
	var out []Record
next:
	for _, r := range records {
		if has[r] {
			continue
		}
		if has == nil {
			for _, o := range others {
				if o == r {
					continue next
				}
			}
		}
		out = append(out, r)
	}
	return out
}
