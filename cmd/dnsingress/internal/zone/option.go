// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/miekg/dns"
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
	best := 0
	for i := range n {
		text, from, to := p.region(i)
		if rank := reach(location, text); rank > best {
			best, first, end = rank, from, to
		}
	}
	if best == 0 {
		return 0, p.options()
	}
	return first, end
}

// reach ranks how well a place fits a location: 0 is not at all, 1 and 2 are those that fit all, and what
// names the location is beyond, the farther down the higher, and then the longer.
func reach(location, place string) int {
	switch place {
	case "":
		return 1
	case Anywhere:
		return 2
	}
	rank := 0
	for at := 0; at+len(place) <= len(location); {
		end := at + len(place)
		if location[at:end] == place && (end == len(location) || location[end] == '/') {
			rank = end<<16 | len(place)
		}
		step := strings.IndexByte(location[at:], '/')
		if step < 0 {
			break
		}
		at += step + 1
	}
	return rank
}

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

// checkGroups gives what is wrong with the options of a set.
func (s *RRset) checkGroups() error {
	if len(s.Groups) == 0 {
		return nil
	}
	var errs []error
	switch s.Type {
	case dns.TypeSOA, dns.TypeNS, dns.TypeDS, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY:
		errs = append(errs, fmt.Errorf("no options to choose from: what %s records say of a zone is for all clients alike", dns.Type(s.Type)))
	}
	sum := 0
	for i, g := range s.Groups {
		if g.Records < 0 {
			errs = append(errs, fmt.Errorf("option %d of %d records", i, g.Records))
		}
		if len(g.Location) > math.MaxUint8 {
			errs = append(errs, fmt.Errorf("location %.20q… has more than 255 octets", g.Location))
		}
		if len(g.Name) > math.MaxUint16 {
			errs = append(errs, fmt.Errorf("option %.20q… has a name of more than 65535 octets", g.Name))
		}
		sum += g.Records
	}
	if sum != len(s.Records) {
		errs = append(errs, fmt.Errorf("options of %d records together, of %d", sum, len(s.Records)))
	}
	if len(s.Groups) > math.MaxUint16 {
		errs = append(errs, fmt.Errorf("%d options exceed 65535", len(s.Groups)))
	}
	return errors.Join(errs...)
}

// part is the options i of a set with their records, as a set of its own.
func (s RRset) part(from, count int) RRset {
	o := RRset{Select: s.Select}
	if len(s.Weights) > 0 {
		o.Weights = s.Weights[from : from+count]
	}
	if len(s.Locations) > 0 {
		o.Locations = s.Locations[from : from+count]
	}
	return o
}

// prospect is an option on its way into a set.
type prospect struct {
	Group
	records []string
	plan    plan
	id      uint64
}

// newOptions makes the plan of a checked set with groups whose records are compiled, and the records in the order of the
// plan, without those that are twice in one option. A set of one option gets the plan of one without.
func newOptions(s RRset, records []string, most int) (plan, []string) {
	var all []prospect
	for from, i := 0, 0; i < len(s.Groups); i++ {
		g := s.Groups[i]
		if g.Records == 0 {
			continue
		}
		o := prospect{Group: g, records: slices.Clip(records[from : from+g.Records])}
		if s.Select.Kind != Window {
			o.plan, o.records = newPlan(s.part(from, g.Records), o.records, most)
		} else {
			o.records = tidy(compiled{records: slices.Clone(o.records)}).records
		}
		if o.id = hash(0, g.Name); g.Name == "" {
			o.id = hash(1, folded(slices.Min(o.records))[recordHead:])
		}
		all = append(all, o)
		from += g.Records
	}
	if len(all) == 1 {
		return all[0].plan, all[0].records
	}
	slices.SortStableFunc(all, func(a, b prospect) int { return comparePlaces(a.Location, b.Location) })
	var regions []int // where each ends
	for first := 0; first < len(all); {
		end := first + 1
		for end < len(all) && all[end].Location == all[first].Location {
			end++
		}
		settleShares(all[first:end])
		regions, first = append(regions, end), end
	}
	return encodeOptions(s, all, regions)
}

// comparePlaces orders places as a plan has them: those for whom no other is at the end.
func comparePlaces(a, b string) int {
	rank := func(place string) int { return min(reach(place, place), 3) }
	return cmp.Or(cmp.Compare(rank(b), rank(a)), cmp.Compare(a, b))
}

// settleShares gives the options of one place weights that leave somebody, and identities that differ.
func settleShares(options []prospect) {
	weightless := !slices.ContainsFunc(options, func(o prospect) bool { return o.Weight > 0 })
	seen := map[uint64]bool{}
	for i := range options {
		o := &options[i]
		if weightless {
			o.Weight = 1
		}
		for seen[o.id] {
			o.id = mix(o.id^0x8EBC6AF09C88C6E3, 0x589965CC75374CC3)
		}
		seen[o.id] = true
	}
}

// encodeOptions writes the plan of options that are in its order.
func encodeOptions(s RRset, all []prospect, regions []int) (plan, []string) {
	le := binary.LittleEndian
	head := dividedHead + len(regions)*placeSize + len(all)*optionSize
	p := make([]byte, head)
	p[4], p[5], p[6] = byte(divided), byte(cmp.Or(s.Select.Bits4, defaultBits4)), byte(cmp.Or(s.Select.Bits6, defaultBits6))
	if s.Select.Kind == Sticky {
		p[7] = planSticky
	}
	le.PutUint16(p[8:], uint16(max(s.Select.Least, 1)))
	p[10] = byte(s.Select.Kind)
	le.PutUint16(p[12:], uint16(len(regions)))
	le.PutUint16(p[14:], uint16(len(all)))
	text := func(s string) uint32 {
		p = append(p, s...)
		return uint32(len(p) - len(s))
	}
	at := dividedHead
	for _, end := range regions {
		place := all[end-1].Location
		from := text(place)
		le.PutUint32(p[at:], from)
		le.PutUint16(p[at+4:], uint16(len(place)))
		le.PutUint16(p[at+6:], uint16(end))
		at += placeSize
	}
	var records []string
	shares, wire := uint64(0), 0
	for _, o := range all {
		shares += uint64(o.Weight)
		name, own := text(o.Name), uint32(0)
		if o.plan != "" {
			own = text(string(o.plan))
		}
		same := len(o.records[0])
		le.PutUint32(p[at+16:], uint32(wire))
		for _, r := range o.records {
			wire += len(r)
			if len(r) != same {
				same = 0
			}
		}
		le.PutUint64(p[at:], shares)
		le.PutUint64(p[at+8:], o.id)
		le.PutUint16(p[at+20:], uint16(len(o.records)))
		le.PutUint16(p[at+22:], uint16(same))
		le.PutUint32(p[at+24:], own)
		le.PutUint32(p[at+28:], name)
		le.PutUint16(p[at+32:], uint16(len(o.Name)))
		at += optionSize
		records = append(records, o.records...)
	}
	le.PutUint32(p, uint32(len(p)))
	return plan(p), records
}

// groups turns the plan of a divided set back into what it was made of: the RRset has nothing else.
func (s set) groups() (out RRset) {
	p := s.plan
	out.Select = Selection{Kind: p.within(), Bits4: int(p[5]), Bits6: int(p[6]), Least: p.least()}
	if p.within() == Window { // which takes note of none of them
		out.Select = Selection{}
	}
	for region := range p.regions() {
		place, first, end := p.region(region)
		for i := first; i < end; i++ {
			o, at := s.option(i), p.optionAt(i)
			name := int(le32(string(p), at+28))
			out.Groups = append(out.Groups, Group{
				Records: int(o.count), Weight: uint32(p.shares(i+1) - p.shares(i)), Location: place,
				Name: string(p[name : name+int(le16(string(p), at+32))]),
			})
			if own := p.own(i); own != "" {
				_, weights, locations := own.selection(int(o.count))
				out.Weights, out.Locations = append(out.Weights, weights...), append(out.Locations, locations...)
			}
		}
	}
	return out
}

// flat is a set as plain DNS can say it: of a divided one the records of all options, each once; of a CNAME or DNAME,
// of which there can be one, that of the heaviest of the options for anybody, of several the first by its data. Options for
// anybody are those for "*", else those for no place, else all.
func (s set) flat() set {
	if !s.plan.divided() {
		return s
	}
	if s.rtype == dns.TypeCNAME || s.rtype == dns.TypeDNAME {
		return s.foremost()
	}
	out := set{rtype: s.rtype, size: s.size}
	seen := map[string]bool{}
	var b strings.Builder
	for at := 0; at < len(s.wire); {
		var record string
		record, at = s.record(at)
		if key := folded(record); !seen[key] {
			seen[key] = true
			out.count++
			b.WriteString(record)
		}
	}
	out.wire = b.String()
	return out
}

func (s set) foremost() set {
	p := s.plan
	first, end := 0, p.options()
	best := 0
	for i := range p.regions() {
		if place, from, to := p.region(i); reach("", place) > best {
			best, first, end = reach("", place), from, to
		}
	}
	found, heaviest := s.option(first), uint64(0)
	for i := first; i < end; i++ {
		o, weight := s.option(i), p.shares(i+1)-p.shares(i)
		if weight > heaviest || weight == heaviest && o.wire < found.wire {
			found, heaviest = o, weight
		}
	}
	return found
}
