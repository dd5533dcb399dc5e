// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

// AheadMost is how many questions an Ahead takes at a time.
const AheadMost = 32

// aheadNames is how many names a zone has at least that is worth it: the others stay in the processor's caches.
const aheadNames = 50_000

// Ahead brings into the processor's caches what the answers to several questions need. Among a million names a lookup
// waits for memory a few times, each time for where to look next; a processor waits for many places at once if they do not
// depend on one another, as those of different questions do not. So everything is looked at in steps, each for all
// questions, and nothing in a step depends on what it loads. It is safe for one goroutine.
type Ahead struct {
	question Question
	n        int
	steps    [AheadMost]aheadStep
	sum      uint64 // of what was loaded, which has to be used for something
}

type aheadStep struct {
	trie *inner
	hash uint64
	leaf *leaf
	node node
}

// Worthwhile tells whether a catalog has zones so large that looking ahead pays.
func (c *Catalog) Worthwhile() bool {
	s := c.snapshot.Load()
	return s != nil && s.large
}

// Add takes the question of a message, which may be anything, unless there are AheadMost already.
func (a *Ahead) Add(c *Catalog, msg []byte) {
	if a.n == len(a.steps) || len(msg) < headerLen {
		return
	}
	q := &a.question
	if _, err := q.Parse(msg); err != nil {
		return
	}
	e, ok := c.Find(q)
	if !ok || e.names < aheadNames {
		return
	}
	key := q.name.wire[:q.name.size-len(e.origin)]
	s := &a.steps[a.n]
	s.trie, s.hash = e.trie, maphash.Bytes(e.seed, key)
	a.n++
}

// Fetch loads what the questions added need.
func (a *Ahead) Fetch() {
	steps := a.steps[:a.n]
	a.n = 0
	for i := range steps {
		s := &steps[i]
		s.leaf = s.trie.leaf(s.hash)
	}
	sum := uint64(0)
	for i := range steps {
		if l := steps[i].leaf; l != nil {
			sum += uint64(len(l.nodes)) + uint64(l.tags[leafSize-1])
		}
	}
	for i := range steps {
		s := &steps[i]
		s.node = s.leaf.likely(uint8(s.hash >> tagShift))
	}
	for i := range steps {
		if n := steps[i].node; n != "" {
			sum += uint64(n[0]) + uint64(n[len(n)-1])
		}
	}
	a.sum += sum
}

// leaf returns the leaf where a name with a hash would be, or nil.
func (t *inner) leaf(hash uint64) *leaf {
	for bits := hash; ; bits >>= fanBits {
		switch branch := t.branches[bits%fan].(type) {
		case *inner:
			t = branch
		case *leaf:
			return branch
		default:
			return nil
		}
	}
}

// likely returns the first node with a tag, or "".
func (l *leaf) likely(tag uint8) node {
	const ones = 0x0101010101010101
	if l == nil {
		return ""
	}
	for at := 0; at < len(l.nodes); at += 8 {
		differ := binary.LittleEndian.Uint64(l.tags[at:at+8]) ^ uint64(tag)*ones
		if equal := (differ - ones) &^ differ & (0x80 * ones); equal != 0 {
			if k := at + bits.TrailingZeros64(equal)/8; k < len(l.nodes) {
				return l.nodes[k]
			}
		}
	}
	return ""
}
