// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"math/bits"
	"slices"
)

// branch is a persistent hash trie (a CHAMP: Steindorfer and Vinju, OOPSLA 2015) from labels to the
// children of one node. Each level consumes hashBits of the label's 64-bit hash. A nil branch is empty.
type branch struct {
	owner  *edit
	leaves uint64    // places that hold a node
	subs   uint64    // places that hold a branch
	nodes  []*node   // in the order of leaves
	below  []*branch // in the order of subs
}

const (
	hashBits = 6
	// maxShift is where a hash is used up. Branches there hold labels with equal hashes, unordered.
	maxShift = 66
)

func place(hash uint64, shift int) uint64 { return 1 << (hash >> shift & (1<<hashBits - 1)) }

func index(bitmap, bit uint64) int { return bits.OnesCount64(bitmap & (bit - 1)) }

// get returns the child with a label, or nil.
func (b *branch) get(label []byte, hash uint64) *node {
	for shift := 0; b != nil; shift += hashBits {
		if shift >= maxShift {
			for _, n := range b.nodes {
				if n.label() == string(label) {
					return n
				}
			}
			return nil
		}
		bit := place(hash, shift)
		if b.leaves&bit != 0 {
			if n := b.nodes[index(b.leaves, bit)]; n.label() == string(label) {
				return n
			}
			return nil
		}
		if b.subs&bit == 0 {
			return nil
		}
		b = b.below[index(b.subs, bit)]
	}
	return nil
}

// writable returns b itself if e owns it, else a copy that e owns.
func (b *branch) writable(e *edit) *branch {
	if b == nil {
		return &branch{owner: e}
	}
	if b.owner == e {
		return b
	}
	return &branch{owner: e, leaves: b.leaves, subs: b.subs, nodes: slices.Clone(b.nodes), below: slices.Clone(b.below)}
}

// put returns the trie with n added, or in the place of the child with its label. rehash gives the hash of
// a label that is already there.
func (b *branch) put(e *edit, n *node, hash uint64, shift int, rehash func(string) uint64) *branch {
	b = b.writable(e)
	if shift >= maxShift {
		i := slices.IndexFunc(b.nodes, func(o *node) bool { return o.label() == n.label() })
		if i < 0 {
			b.nodes = append(b.nodes, n)
		} else {
			b.nodes[i] = n
		}
		return b
	}
	bit := place(hash, shift)
	switch {
	case b.subs&bit != 0:
		i := index(b.subs, bit)
		b.below[i] = b.below[i].put(e, n, hash, shift+hashBits, rehash)
	case b.leaves&bit == 0:
		b.nodes = slices.Insert(b.nodes, index(b.leaves, bit), n)
		b.leaves |= bit
	default:
		i := index(b.leaves, bit)
		there := b.nodes[i]
		if there.label() == n.label() {
			b.nodes[i] = n
			return b
		}
		sub := (*branch)(nil).put(e, there, rehash(there.label()), shift+hashBits, rehash)
		sub = sub.put(e, n, hash, shift+hashBits, rehash)
		b.nodes = slices.Delete(b.nodes, i, i+1)
		b.leaves &^= bit
		b.below = slices.Insert(b.below, index(b.subs, bit), sub)
		b.subs |= bit
	}
	return b
}

// drop returns the trie without the child that has a label, nil when nothing is left. The child must be there.
func (b *branch) drop(e *edit, label string, hash uint64, shift int) *branch {
	b = b.writable(e)
	if shift >= maxShift {
		b.nodes = slices.DeleteFunc(b.nodes, func(o *node) bool { return o.label() == label })
		if len(b.nodes) == 0 {
			return nil
		}
		return b
	}
	bit := place(hash, shift)
	if b.leaves&bit != 0 {
		i := index(b.leaves, bit)
		b.nodes = slices.Delete(b.nodes, i, i+1)
		b.leaves &^= bit
	} else {
		i := index(b.subs, bit)
		sub := b.below[i].drop(e, label, hash, shift+hashBits)
		switch {
		case sub == nil:
			b.below = slices.Delete(b.below, i, i+1)
			b.subs &^= bit
		case sub.subs == 0 && len(sub.nodes) == 1: // the last of its branch moves up
			b.below = slices.Delete(b.below, i, i+1)
			b.subs &^= bit
			b.nodes = slices.Insert(b.nodes, index(b.leaves, bit), sub.nodes[0])
			b.leaves |= bit
		default:
			b.below[i] = sub
		}
	}
	if len(b.nodes) == 0 && len(b.below) == 0 {
		return nil
	}
	return b
}

// each calls yield with every child until it returns false, and tells whether it never did.
func (b *branch) each(yield func(*node) bool) bool {
	if b == nil {
		return true
	}
	for _, n := range b.nodes {
		if !yield(n) {
			return false
		}
	}
	for _, sub := range b.below {
		if !sub.each(yield) {
			return false
		}
	}
	return true
}
