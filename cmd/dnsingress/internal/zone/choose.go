// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"math/bits"
	"slices"
	"unsafe"
)

// chooser chooses the records of an answer. It is a part of a Reply and keeps its memory from answer to answer.
type chooser struct {
	state  uint64      // of the random numbers for this answer
	picked []uint16    // the records chosen, by number
	race   []contender // in Sticky and Near, the best so far
	levels []uint8     // in Near, how much of the client's location each of the locations shares
	turns  [256]uint16 // in Rotate, where the next answer begins
}

// uint64 returns the next random number, of as many as follow from the state (Steele et al., "Fast splittable
// pseudorandom number generators", 2014).
func (c *chooser) uint64() uint64 {
	c.state += 0x9E3779B97F4A7C15
	z := c.state
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// below returns a random number of [0, n).
func (c *chooser) below(n int) int { return part(c.uint64(), n) }

// part maps a number evenly to [0, n).
func part(u uint64, n int) int {
	hi, _ := bits.Mul64(u, uint64(n))
	return int(hi)
}

// shuffle leaves n of the picked, in random order.
func (c *chooser) shuffle(n int) {
	for i := range n {
		k := i + c.below(len(c.picked)-i)
		c.picked[i], c.picked[k] = c.picked[k], c.picked[i]
	}
	c.picked = c.picked[:n]
}

// choose picks the records for an answer from a set with a plan. Where the answer is a window instead, it
// returns where that begins and how many records it has.
func (r *Reply) choose(s *set) (first, count int, window bool) {
	c, p := &r.chooser, s.plan
	seed, n, k := r.draw(s), int(s.count), s.answers()
	c.state = seed * 0xD1342543DE82EF95 // seeds that are steps of uint64 apart shall not give one sequence
	switch p.kind() {
	case All:
		return part(seed, n), n, true
	case Rotate:
		if r.signer != nil { // windows that every process knows
			return part(seed, n), k, true
		}
		return c.turn(s, k), k, true
	}
	c.picked = c.picked[:0]
	equal := p.kind() == Random || p.kind() == Subsetting
	for i := range n {
		if equal || p.weight(i) > 0 {
			c.picked = append(c.picked, uint16(i))
		}
	}
	var client address
	if r.asked != nil {
		client = newAddress(&r.asked.Client)
	}
	scope := 0
	switch k = min(k, len(c.picked)); {
	case p.kind() == Near && p.located():
		var location string
		location, scope = r.location()
		c.near(s, location, k)
	case k == n:
		return part(seed, n), n, true
	case k == len(c.picked):
		c.shuffle(k)
	case p.kind() == Weighted:
		c.weighted(p)
	case p.kind() == Sticky:
		client, scope = p.prefix(client)
		c.sticky(s, client, k)
	case p.kind() == Near:
		c.near(s, "", k)
	case p.kind() == TwoChoices:
		c.twoChoices(p, k)
	case p.kind() == Subsetting:
		_, scope = p.prefix(client)
		c.subset(client.number(scope), k)
	default:
		c.shuffle(k)
	}
	r.Scope = max(r.Scope, scope)
	return 0, 0, false
}

// location returns where the client is, and of how many leading bits of its address that is true.
func (r *Reply) location() (path string, scope int) {
	if !r.located {
		r.located, r.where, r.whereScope = true, "", 0
		if r.asked != nil {
			r.where, r.whereScope = r.asked.Locations.find(newAddress(&r.asked.Client))
		}
	}
	return r.where, r.whereScope
}

// turn returns where the next window of a set begins. A set stays where it is in memory as long as it is the same.
func (c *chooser) turn(s *set, k int) int {
	at := uint64(uintptr(unsafe.Pointer(unsafe.StringData(s.wire))))
	next := &c.turns[at*0x9E3779B97F4A7C15>>56]
	first := int(*next) % int(s.count)
	*next = uint16((first + k) % int(s.count))
	return first
}

// number returns the lower 64 bits of the number that an address's leading bits are.
func (a address) number(length int) uint64 {
	switch {
	case length == 0:
		return 0
	case length <= 64:
		return a.hi >> (64 - length)
	}
	return a.lo>>(128-length) | a.hi<<(length-64)
}

// weighted leaves the picked that a systematic sample has.
func (c *chooser) weighted(p plan) {
	c.shuffle(len(c.picked))
	draws, certain, total := uint64(p.draws()), p.certain(), p.total()
	// Each takes a part of its weight × draws on a line of length total × draws; the sample is what stands at
	// one random place in the first total and then every total on. No part is longer than that.
	next, _ := bits.Mul64(c.uint64(), total)
	end, kept := uint64(0), c.picked[:0]
	for _, i := range c.picked {
		w := p.weight(int(i))
		if certain != 0 && w >= certain {
			kept = append(kept, i)
			continue
		}
		if end += uint64(w) * draws; end > next {
			kept = append(kept, i)
			next += total
		}
	}
	c.picked = kept
	c.shuffle(len(kept)) // the certain are no more often in front than the rest
}

// twoChoices leaves k of the picked: for each place the heavier of two.
func (c *chooser) twoChoices(p plan, k int) {
	for at := range k {
		left := len(c.picked) - at
		best := at + c.below(left)
		if left > 1 {
			other := at + c.below(left-1)
			if other >= best {
				other++
			}
			if p.weight(int(c.picked[other])) > p.weight(int(c.picked[best])) {
				best = other
			}
		}
		c.picked[at], c.picked[best] = c.picked[best], c.picked[at]
	}
	c.picked = c.picked[:k]
}

// subset leaves the k of the picked that are a client's.
func (c *chooser) subset(client uint64, k int) {
	subsets := uint64(len(c.picked) / k)
	round, id := client/subsets, client%subsets
	state := round
	for i := len(c.picked) - 1; i > 0; i-- {
		state += 0x9E3779B97F4A7C15
		hi, _ := bits.Mul64(mix(state, state^0xD6E8FEB86659FD93), uint64(i+1))
		c.picked[i], c.picked[hi] = c.picked[hi], c.picked[i]
	}
	c.picked = append(c.picked[:0], c.picked[int(id)*k:int(id+1)*k]...)
}

// contender is a record in a race that the lowest time/weight wins, among those of the highest level. With
// times -log u of uniform u the winner is each with a probability proportional to its weight.
type contender struct {
	time   uint64
	weight uint32
	record uint16
	level  uint8
}

func (a contender) before(b contender) bool {
	if a.level != b.level {
		return a.level > b.level
	}
	ahi, alo := bits.Mul64(a.time, uint64(b.weight)) // exact, and so the same on every machine
	bhi, blo := bits.Mul64(b.time, uint64(a.weight))
	return ahi < bhi || ahi == bhi && alo < blo
}

// enter keeps a contender if it is among the k best so far, which stay in order.
func (c *chooser) enter(a contender, k int) {
	if len(c.race) == k {
		if !a.before(c.race[k-1]) {
			return
		}
		c.race = c.race[:k-1]
	}
	at, _ := slices.BinarySearchFunc(c.race, a, func(b, a contender) int {
		if a.before(b) {
			return 1
		}
		return -1
	})
	c.race = slices.Insert(c.race, at, a)
}

// finishRace picks those that are left in the race.
func (c *chooser) finishRace() {
	c.picked = c.picked[:0]
	for _, a := range c.race {
		c.picked = append(c.picked, a.record)
	}
}

// seed is what rendezvous hashing mixes with everything that a client could get.
func (a address) seed() uint64 { return mix(a.hi^0x9E3779B97F4A7C15, a.lo^0xC2B2AE3D27D4EB4F) }

// sticky leaves the k of the picked that come first by the hash of client and RDATA.
func (c *chooser) sticky(s *set, client address, k int) {
	seed := client.seed()
	c.race = c.race[:0]
	at, passed := 0, 0
	for _, i := range c.picked {
		var record string
		for ; passed <= int(i); passed++ {
			record, at = s.record(at)
		}
		c.enter(contender{minusLog2(hash(seed, record[recordHead:])), s.plan.weight(int(i)), i, 0}, k)
	}
	c.finishRace()
}

// near leaves up to k of the picked: all that are nearest to a location, and others as far as the plan's least
// demands.
func (c *chooser) near(s *set, location string, k int) {
	each, texts := s.plan.places(int(s.count))
	c.levels = c.levels[:0]
	for at := 1; at < len(texts); at += 1 + int(texts[at]) {
		c.levels = append(c.levels, commonPath(location, texts[at+1:at+1+int(texts[at])]))
	}
	level := func(i uint16) uint8 {
		if each == "" {
			return 0
		}
		return c.levels[each[i]]
	}
	nearest, best := 0, uint8(0)
	for _, i := range c.picked {
		switch l := level(i); {
		case l > best:
			nearest, best = 1, l
		case l == best:
			nearest++
		}
	}
	k = min(k, max(nearest, s.plan.least()))
	c.race = c.race[:0]
	for _, i := range c.picked {
		c.enter(contender{minusLog2(c.uint64()), s.plan.weight(int(i)), i, level(i)}, k)
	}
	c.finishRace()
}

// commonPath returns how many leading elements two paths have in common.
func commonPath(a, b string) (level uint8) {
	for i := 0; ; i++ {
		aEnds, bEnds := i == len(a) || a[i] == '/', i == len(b) || b[i] == '/'
		if aEnds != bEnds || !aEnds && a[i] != b[i] || i == 0 && aEnds {
			return level
		}
		if aEnds {
			level++
			if i == len(a) || i == len(b) {
				return level
			}
		}
	}
}

// addPicked is add for the records that choose picked.
func (r *Reply) addPicked(to section, s *set, owner int, wire []byte) bool {
	picked := r.chooser.picked
	r.counts[to] += uint16(len(picked))
	at, passed := 0, 0
	for _, i := range picked {
		var record string
		if s.size > 0 {
			record = s.wire[int(i)*int(s.size) : (int(i)+1)*int(s.size)]
		} else {
			if int(i) < passed { // records of different sizes have to be passed one by one
				at, passed = 0, 0
			}
			for ; passed <= int(i); passed++ {
				record, at = s.record(at)
			}
		}
		if !r.record(record, owner, wire) {
			return false
		}
	}
	return true
}

// mix is a multiplication whose halves are folded, as in wyhash.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// hash mixes data into a number.
func hash(seed uint64, data string) uint64 {
	h := seed ^ uint64(len(data))
	for ; len(data) > 0; data = data[min(8, len(data)):] {
		var word uint64
		for i := range min(8, len(data)) {
			word |= uint64(data[i]) << (8 * i)
		}
		h = mix(h^0xA0761D6478BD642F, word^0xE7037ED1A0B428DB)
	}
	return mix(h^0x8EBC6AF09C88C6E3, h^0x589965CC75374CC3)
}

// minusLog2 returns -log2(u/2⁶⁴) with 32 bits behind the point, within 10⁻⁴ of its value: by integers alone,
// because floating point may be fused on one replica's processor and not on another's.
func minusLog2(u uint64) uint64 {
	u |= 1
	zeros := bits.LeadingZeros64(u)
	// u = 2^(63-zeros) × (1+x), and log2(1+x) = x + x(1-x)p(x), exact at both ends; p is through Chebyshev's nodes.
	x := int64(u << zeros << 1 >> 32)
	p := int64(110343133)
	for _, a := range [...]int64{-417478697, 790707039, -1187856971, 1901184765} {
		p = p*x>>32 + a
	}
	const one = 1 << 32
	log := x + mulShift(mulShift(x, one-x), p)
	return uint64(int64(zeros+1)*one - log)
}

// mulShift multiplies two numbers of [0, 1] with 32 bits behind the point.
func mulShift(a, b int64) int64 { return int64(uint64(a) * uint64(b) >> 32) }
