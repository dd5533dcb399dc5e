// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// A zone's names are in a persistent hash trie: levels of fan branches, each chosen by the next bits of the
// name's hash, down to leaves of at most leafSize names. One path is copied for a change (about 2 kB), and
// the levels are wide and few because at a million names each step is a wait for memory.
const (
	fanBits = 5
	fan     = 1 << fanBits
	// leafSize makes a leaf 128 octets, aligned: its head and the tags that are usual are one line of memory.
	leafSize = 88
	// lastShift is that of the lowest level; leaves there overflow into others.
	lastShift = 45
	tagShift  = 56 // the bits above choose no branch, they tell names in a leaf apart
)

// inner is a level of the trie. Each branch is a *leaf, an *inner, or nil: which one it is stands beside the
// pointer, so a step down costs one line of memory.
type inner struct {
	owner    *edit
	branches [fan]any
}

type leaf struct {
	owner *edit
	next  *leaf // what did not fit, at lastShift only
	nodes []node
	tags  [leafSize]uint8 // of nodes
}

// edit is the right to change levels and leaves in place while a new zone is being built; it is dropped
// with the editor, and what carries it is immutable from then on.
type edit struct{ _ byte }

// get returns the node with a key, or "".
func (t *inner) get(key []byte, hash uint64) node {
	for bits := hash; ; bits >>= fanBits {
		switch branch := t.branches[bits%fan].(type) {
		case *inner:
			t = branch
		case *leaf:
			return branch.get(key, uint8(hash>>tagShift))
		default:
			return ""
		}
	}
}

// get looks at eight tags at a time. Seldom more than one key is compared.
func (l *leaf) get(key []byte, tag uint8) node {
	const ones = 0x0101010101010101
	for ; l != nil; l = l.next {
		for at := 0; at < len(l.nodes); at += 8 {
			differ := binary.LittleEndian.Uint64(l.tags[at:at+8]) ^ uint64(tag)*ones
			// The top bit of each octet that is 0, and of some above one.
			for equal := (differ - ones) &^ differ & (0x80 * ones); equal != 0; equal &= equal - 1 {
				k := at + bits.TrailingZeros64(equal)/8
				if k >= len(l.nodes) {
					break
				}
				if n := l.nodes[k]; n.key() == string(key) {
					return n
				}
			}
		}
	}
	return ""
}

func (t *inner) writable(e *edit) *inner {
	if t.owner == e {
		return t
	}
	c := *t
	c.owner = e
	return &c
}

func (l *leaf) writable(e *edit) *leaf {
	if l == nil {
		return &leaf{owner: e}
	}
	if l.owner == e {
		return l
	}
	c := *l
	c.owner = e
	c.nodes = append(make([]node, 0, len(l.nodes)+1), l.nodes...)
	return &c
}

// find returns the place of a key in a leaf, or -1.
func (l *leaf) find(key string, tag uint8) int {
	for k, other := range l.tags[:len(l.nodes)] {
		if other == tag && l.nodes[k].key() == key {
			return k
		}
	}
	return -1
}

// holds tells whether a key is in the leaf or in what overflowed from it.
func (l *leaf) holds(key string, tag uint8) bool {
	for ; l != nil; l = l.next {
		if l.find(key, tag) >= 0 {
			return true
		}
	}
	return false
}

// put returns the trie with n in the place of the node with its key. rehash gives the hash of a key.
func (t *inner) put(e *edit, n node, hash uint64, shift int, rehash func(string) uint64) *inner {
	t = t.writable(e)
	branch := &t.branches[hash>>shift%fan]
	tag := uint8(hash >> tagShift)
	switch below := (*branch).(type) {
	case *inner:
		*branch = below.put(e, n, hash, shift+fanBits, rehash)
	case *leaf:
		if shift == lastShift || len(below.nodes) < leafSize || below.find(n.key(), tag) >= 0 {
			*branch = below.put(e, n, tag)
			break
		}
		level := &inner{owner: e}
		for _, o := range below.nodes {
			level.put(e, o, rehash(o.key()), shift+fanBits, rehash)
		}
		*branch = level.put(e, n, hash, shift+fanBits, rehash)
	default:
		*branch = (*leaf)(nil).put(e, n, tag)
	}
	return t
}

func (l *leaf) put(e *edit, n node, tag uint8) *leaf {
	l = l.writable(e)
	if k := l.find(n.key(), tag); k >= 0 {
		l.nodes[k] = n
		return l
	}
	if len(l.nodes) == leafSize || l.next.holds(n.key(), tag) {
		l.next = l.next.put(e, n, tag)
		return l
	}
	l.tags[len(l.nodes)] = tag
	if len(l.nodes) == cap(l.nodes) {
		l.nodes = append(make([]node, 0, room(len(l.nodes))), l.nodes...)
	}
	l.nodes = append(l.nodes, n)
	return l
}

// room is how many nodes a leaf that holds n, and no more, gets room for. It grows in few steps, for each leaves memory
// behind that the large zone being built has no use for; trim takes back what was too much.
func room(n int) int {
	switch {
	case n < 4:
		return 4
	case n < 40:
		return 40
	}
	return leafSize
}

// trim gives back the room in leaves that are less than half full.
func (t *inner) trim() {
	for _, branch := range t.branches {
		switch below := branch.(type) {
		case *inner:
			below.trim()
		case *leaf:
			for ; below != nil; below = below.next {
				if 2*len(below.nodes) < cap(below.nodes) {
					below.nodes = append(make([]node, 0, len(below.nodes)), below.nodes...)
				}
			}
		}
	}
}

// drop returns the trie without a key, which must be there, or nil when nothing is left.
func (t *inner) drop(e *edit, key string, hash uint64, shift int) *inner {
	t = t.writable(e)
	branch := &t.branches[hash>>shift%fan]
	switch below := (*branch).(type) {
	case *inner:
		if rest := below.drop(e, key, hash, shift+fanBits); rest != nil {
			*branch = rest
		} else {
			*branch = nil
		}
	case *leaf:
		if rest := below.drop(e, key, uint8(hash>>tagShift)); rest != nil {
			*branch = rest
		} else {
			*branch = nil
		}
	}
	if t.branches == [fan]any{} {
		return nil
	}
	return t
}

func (l *leaf) drop(e *edit, key string, tag uint8) *leaf {
	l = l.writable(e)
	k := l.find(key, tag)
	if k < 0 {
		l.next = l.next.drop(e, key, tag)
		return l
	}
	last := len(l.nodes) - 1
	l.nodes[k], l.tags[k] = l.nodes[last], l.tags[last]
	l.nodes[last] = "" // for the collector
	l.nodes = l.nodes[:last]
	if last == 0 {
		return l.next
	}
	return l
}

// each calls yield with every node until it returns false, and tells whether it never did.
func (t *inner) each(yield func(node) bool) bool {
	for _, branch := range t.branches {
		switch below := branch.(type) {
		case *inner:
			if !below.each(yield) {
				return false
			}
		case *leaf:
			for ; below != nil; below = below.next {
				if slices.ContainsFunc(below.nodes, func(n node) bool { return !yield(n) }) {
					return false
				}
			}
		}
	}
	return true
}
