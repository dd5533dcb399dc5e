// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"cmp"
	"math/bits"
	"math/rand/v2"
	"strings"
)

// Group is one option of a set: an answer holds records of one option alone. Which one is decided by where the client
// is, and among those that are left by weight: at random, or for Sticky by weighted rendezvous hashing of client subnet and
// option, as that of records is.
type Group struct {
	// Records is how many of the set's records the option has, behind those of the groups before it. One without is as
	// if it was not there.
	Records int
	// Weight is how much of the answers the option shall have against the others for the same clients. 0: none, unless all of
	// these have 0.
	Weight uint32
	// Location is whom the option is for: clients in whose location it is an element, or several that follow one
	// another, as "IE", "GEO-EU" and "GEO-EU/IE" are in "GEO-EU/IE/IE-L". Of several that fit, those that reach
	// farthest down are taken, and of these the longest. "*" is for clients whom no other fits, "" for those whom
	// there is no "*" for either. A client for whom nothing is left gets any option: far is better than none.
	Location string
	// Name is what Sticky knows the option by, so that clients stay with it while its records change. "": its first record.
	Name string
}

// Anywhere is the Location of an option for clients whom no other fits.
const Anywhere = "*"

// divided is the kind of the plan of a set with options. It has, numbers little-endian:
//
//	size     4 octets: of the plan
//	kind     1 octet
//	bits4    1 octet
//	bits6    1 octet
//	has      1 octet: planSticky
//	least    2 octets
//	within   1 octet: the kind by which an option's records are chosen
//	         1 octet of nothing
//	places   2 octets: how many
//	options  2 octets: how many
//
// of each place, "*" and "" the last, where they are
//
//	text     4 octets: its offset in the plan
//	length   2 octets: of the text
//	end      2 octets: how many options there are up to its last
//
// of each option, those of one place together
//
//	shares   8 octets: the weights of all options up to this one
//	identity 8 octets: of what Sticky knows it by
//	wire     4 octets: the offset of its records among the set's
//	count    2 octets: of records
//	size     2 octets: of each record; 0: they differ
//	plan     4 octets: the offset of its own plan; 0: it has none
//	name     4 octets: the offset
//	length   2 octets: of the name
//
// and then texts, names and plans.
const (
	divided     = kinds
	planSticky  = 1
	dividedHead = 16
	placeSize   = 8
	optionSize  = 34
)

func (p plan) divided() bool { return p != "" && p.kind() == divided }

func (p plan) within() Kind { return Kind(p[10]) }
func (p plan) sticky() bool { return p[7]&planSticky != 0 }
func (p plan) regions() int { return int(le16(string(p), 12)) }
func (p plan) options() int { return int(le16(string(p), 14)) }

// region returns the text of a place, and which options are for it.
func (p plan) region(i int) (text string, first, end int) {
	at := dividedHead + i*placeSize
	if i > 0 {
		first = int(le16(string(p), at-2))
	}
	from := int(le32(string(p), at))
	return string(p[from : from+int(le16(string(p), at+4))]), first, int(le16(string(p), at+6))
}

func (p plan) optionAt(i int) int { return dividedHead + p.regions()*placeSize + i*optionSize }

// shares returns the weights of the first n options.
func (p plan) shares(n int) uint64 {
	if n == 0 {
		return 0
	}
	return le64(string(p), p.optionAt(n-1))
}

// option returns one of the options of a divided set, as a set.
func (s set) option(i int) set {
	p := s.plan
	at := p.optionAt(i)
	from, end := int(le32(string(p), at+16)), len(s.wire)
	if i+1 < p.options() {
		end = int(le32(string(p), at+optionSize+16))
	}
	o := set{rtype: s.rtype, count: le16(string(p), at+20), most: s.most, size: le16(string(p), at+22), wire: s.wire[from:end]}
	if o.count > 1 { // else there is nothing to choose
		o.plan = p.own(i)
	}
	return o
}

// each calls visit with the records of every set that an answer is one of, and with how they are chosen.
func (c compiled) each(visit func(records []string, p plan)) {
	if !c.plan.divided() {
		visit(c.records, c.plan)
		return
	}
	left := c.records
	for i := range c.plan.options() {
		n := int(le16(string(c.plan), c.plan.optionAt(i)+20))
		visit(left[:n], c.plan.own(i))
		left = left[n:]
	}
}

// own returns the plan of an option.
func (p plan) own(i int) plan {
	from := int(le32(string(p), p.optionAt(i)+24))
	if from == 0 {
		return ""
	}
	return p[from : from+int(le32(string(p), from))]
}

// each calls yield with every set that an answer is one of, itself where it is not divided, until it returns false, and
// tells whether it never did.
func (s set) each(yield func(set) bool) bool {
	if !s.plan.divided() {
		return yield(s)
	}
	for i := range s.plan.options() {
		if !yield(s.option(i)) {
			return false
		}
	}
	return true
}

// option chooses what an answer is made of: the set itself where it is not divided.
func (r *Reply) option(s set) set {
	if s.plan.divided() {
		return r.oneOf(s)
	}
	return s
}

// oneOf chooses an option of a divided set.
func (r *Reply) oneOf(s set) set {
	p := s.plan
	first, end := r.candidates(p)
	if end-first == 1 {
		return s.option(first)
	}
	if p.sticky() {
		return s.option(r.rendezvous(p, first, end))
	}
	before := p.shares(first)
	drawn, _ := bits.Mul64(r.lot(), p.shares(end)-before)
	drawn += before
	for first < end-1 { // the first whose share ends behind what was drawn
		if middle := int(uint(first+end-1) >> 1); p.shares(middle+1) > drawn {
			end = middle + 1
		} else {
			first = middle + 1
		}
	}
	return s.option(first)
}

// lot returns a random number that says nothing of those that records are chosen with. Options have signatures of their
// own, so that in signed zones too it is any.
func (r *Reply) lot() uint64 {
	if r.seeded {
		return mix(r.seed^0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93)
	}
	return rand.Uint64()
}

// candidates returns which options are for the client.
func (r *Reply) candidates(p plan) (first, end int) {
	n := p.regions()
	if n == 1 {
		return 0, p.options()
	}
	location, scope := r.location()
	r.Scope = max(r.Scope, scope)
	// Every run of elements, those that end the farthest down first, and of these the longest.
	for to := len(location); to > 0; to = strings.LastIndexByte(location[:to], '/') {
		for from := 0; from < to; {
			if i, found := p.search(location[from:to]); found {
				_, first, end = p.region(i)
				return first, end
			}
			step := strings.IndexByte(location[from:to], '/')
			if step < 0 {
				break
			}
			from += step + 1
		}
	}
	return p.anybody()
}

// search returns where a place is among a plan's.
func (p plan) search(place string) (i int, found bool) {
	low, high := 0, p.regions()
	for low < high {
		middle := int(uint(low+high) >> 1)
		switch text, _, _ := p.region(middle); comparePlaces(text, place) {
		case 0:
			return middle, true
		case -1:
			low = middle + 1
		default:
			high = middle
		}
	}
	return 0, false
}

// anybody returns the options for those whom no other fits: those for "*", else for no place, else all.
func (p plan) anybody() (first, end int) {
	n := p.regions()
	for i := max(0, n-2); i < n; i++ {
		if text, from, to := p.region(i); text == Anywhere || text == "" {
			return from, to
		}
	}
	return 0, p.options()
}

// comparePlaces orders places as a plan has them: "*" and "" are the last.
func comparePlaces(a, b string) int {
	if named(a) && named(b) {
		return strings.Compare(a, b)
	}
	return cmp.Or(cmp.Compare(count(!named(a)), count(!named(b))), strings.Compare(b, a))
}

func named(place string) bool { return place != "" && place != Anywhere }

// rendezvous returns the option that is a client's, of those from first up to end.
func (r *Reply) rendezvous(p plan, first, end int) int {
	var client address
	if r.asked != nil {
		client = newAddress(&r.asked.Client)
	}
	client, scope := p.prefix(client)
	r.Scope = max(r.Scope, scope)
	seed := client.seed()
	var best contender
	before := p.shares(first)
	for i := first; i < end; i++ {
		weight := uint32(p.shares(i+1) - before)
		before += uint64(weight)
		if weight == 0 {
			continue
		}
		c := contender{minusLog2(mix(seed^0xA0761D6478BD642F, le64(string(p), p.optionAt(i)+8)^0xE7037ED1A0B428DB)), weight, uint16(i), 0}
		if best.weight == 0 || c.before(best) {
			best = c
		}
	}
	return int(best.record)
}
