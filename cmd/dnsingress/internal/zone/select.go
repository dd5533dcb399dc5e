// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Kind says how the records of one answer are chosen among those of a set. RRset.MaxAnswers says how many
// they are; where that is 0 or not less than the records, every kind answers all that have a weight.
//
// Subsets steer, order does not: resolvers reorder, and clients sort the addresses that they get by the longest
// prefix shared with their own (RFC 6724 §6 rule 9). So MaxAnswers decides how strong a kind is: of a set that
// is answered whole, each client takes the record that it likes best, whatever was put first.
type Kind uint8

const (
	// Window is a run of neighbouring records, from a random place for every answer.
	Window Kind = iota
	// All is every record, from a random place on, whatever MaxAnswers says.
	All
	// Random is a random subset: every subset of the size is as likely as any other.
	Random
	// Weighted is a random subset in which every record is with a probability of exactly
	// MaxAnswers × its weight / all weights; one for which that is 1 or more is in every answer, and the
	// rest share what remains. It is systematic sampling in a random order (Madow 1949; Tillé, "Sampling
	// Algorithms", §7.1), with exact integers. Drawing one by one without replacement, which is more usual,
	// gives the heavy too little.
	Weighted
	// Rotate is Window in turn: every answer begins where the one before it ended. Each Reply has its own turn.
	Rotate
	// Sticky gives the same records to the same client subnet: weighted rendezvous hashing (Thaler and
	// Ravishankar 1998; Schindelhauer and Schomaker 2005) of subnet and RDATA. A record that comes or goes
	// moves only the subnets that it gains or loses. The choice depends on no process and no order, so that
	// every replica gives the same.
	Sticky
	// Near is the records that share most of the client's location, and others as far as there are less
	// than Selection.Least; random by weight among the equally near. A location is a path from the largest to the
	// smallest, such as "zone-a/node-7".
	Near
	// TwoChoices takes for each place in the answer the heavier of two random records (Mitzenmacher 2001):
	// with weights that fall with load it avoids the most loaded without sending everybody to the least
	// loaded, and needs no more than the order of the weights to be right.
	TwoChoices
	// Subsetting gives each client subnet one of ⌊records/MaxAnswers⌋ disjoint subsets, by its number, of a
	// shuffle that changes as often as all subsets were given once ("Site Reliability Engineering", chapter
	// 20). Subnets whose numbers follow one another fill all records evenly. It is the same on every replica.
	Subsetting
	kinds // how many there are
)

var kindNames = [kinds]string{"window", "all", "random", "weighted", "rotate", "sticky", "near", "two-choices", "subsetting"}

func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// ParseKind reads what String gives.
func ParseKind(s string) (Kind, error) {
	if i := slices.Index(kindNames[:], s); i >= 0 {
		return Kind(i), nil
	}
	return 0, fmt.Errorf("selection %q is unknown (hint: one of %s)", s, strings.Join(kindNames[:], ", "))
}

// Selection says which of a set's records one answer holds. The zero Selection is a random window.
type Selection struct {
	Kind Kind
	// Bits4 and Bits6 are the prefix lengths of what counts as one client for Sticky and Subsetting.
	// 0: 24 and 56 (RFC 7871 §11.1).
	Bits4, Bits6 int
	// Least is for Near: how many records an answer holds at least, if need be from farther away. 0: 1.
	Least int
}

const (
	defaultBits4 = 24
	defaultBits6 = 56
)

// planned in the answers that a set's header states says that a plan precedes its records. A message has no
// room for so many records that the bit would be missed.
const (
	planned  = 1 << 15
	mostMask = planned - 1
)

// plan is how a set's answer is chosen, where that is not a window; compiled, and in front of the records. In
// order, numbers little-endian:
//
//	size       4 octets: of the plan
//	kind       1 octet
//	bits4      1 octet
//	bits6      1 octet
//	has        1 octet: planWeights, planLocations
//	least      2 octets
//	draws      2 octets, for Weighted: how many records are left to draw after the certain
//	certain    4 octets, for Weighted: records of at least this weight are in every answer; 0: none is
//	total      8 octets, for Weighted: the weights of all others
//	weights    4 octets a record, with planWeights
//	places     1 octet a record, with planLocations: which of the locations
//	locations  with planLocations, 1 octet: how many; for each 1 octet of length and the text
type plan string

const (
	planHead      = 24
	planWeights   = 1
	planLocations = 2
)

func (p plan) kind() Kind      { return Kind(p[4]) }
func (p plan) weighted() bool  { return p[7]&planWeights != 0 }
func (p plan) located() bool   { return p[7]&planLocations != 0 }
func (p plan) least() int      { return int(le16(string(p), 8)) }
func (p plan) draws() int      { return int(le16(string(p), 10)) }
func (p plan) certain() uint32 { return le32(string(p), 12) }
func (p plan) total() uint64 {
	return uint64(le32(string(p), 16)) | uint64(le32(string(p), 20))<<32
}

// weight returns the weight of record i; 1 where there are no weights.
func (p plan) weight(i int) uint32 {
	if !p.weighted() {
		return 1
	}
	return le32(string(p), planHead+4*i)
}

// places returns, for a set of count records, which location each has, and the locations.
func (p plan) places(count int) (each, locations string) {
	if !p.located() {
		return "", ""
	}
	at := planHead
	if p.weighted() {
		at += 4 * count
	}
	return string(p[at : at+count]), string(p[at+count:])
}

// prefix masks a client's address to what counts as one client for the plan, and returns how many bits that is.
func (p plan) prefix(client address) (address, int) {
	length := int(p[6])
	if client.is4() {
		length = 96 + int(p[5])
	}
	return address{client.hi &^ tail(length), client.lo &^ tail(length-64)}, length
}

// selection turns a plan for count records back into what it was made of.
func (p plan) selection(count int) (s Selection, weights []uint32, locations []string) {
	s = Selection{Kind: p.kind(), Bits4: int(p[5]), Bits6: int(p[6]), Least: p.least()}
	if p.weighted() {
		for i := range count {
			weights = append(weights, p.weight(i))
		}
	}
	if p.located() {
		each, texts := p.places(count)
		var names []string
		for at := 1; at < len(texts); at += 1 + int(texts[at]) {
			names = append(names, texts[at+1:at+1+int(texts[at])])
		}
		for i := range count {
			locations = append(locations, names[each[i]])
		}
	}
	return s, weights, locations
}

// checkSelection gives what is wrong with how the set is chosen from.
func (s *RRset) checkSelection() error {
	var errs []error
	sel := s.Select
	if sel.Kind >= kinds {
		errs = append(errs, fmt.Errorf("selection %v is unknown", sel.Kind))
	}
	if sel.Bits4 < 0 || sel.Bits4 > 32 {
		errs = append(errs, fmt.Errorf("selection by %d bits of an IPv4 address (hint: 1 to 32)", sel.Bits4))
	}
	if sel.Bits6 < 0 || sel.Bits6 > 128 {
		errs = append(errs, fmt.Errorf("selection by %d bits of an IPv6 address (hint: 1 to 128)", sel.Bits6))
	}
	if sel.Least < 0 || sel.Least > mostMask {
		errs = append(errs, fmt.Errorf("selection of at least %d records", sel.Least))
	}
	if n := len(s.Weights); n != 0 && n != len(s.Records) {
		errs = append(errs, fmt.Errorf("%d weights for %d records", n, len(s.Records)))
	}
	if n := len(s.Locations); n != 0 && n != len(s.Records) {
		errs = append(errs, fmt.Errorf("%d locations for %d records", n, len(s.Records)))
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(s.Locations))); len(distinct) > math.MaxUint8 {
		errs = append(errs, fmt.Errorf("%d different locations exceed 255", len(distinct)))
	}
	for _, l := range s.Locations {
		if len(l) > math.MaxUint8 {
			errs = append(errs, fmt.Errorf("location %.20q… has more than 255 octets", l))
		}
	}
	return errors.Join(errs...)
}

// choice is one record on its way into a set with a plan.
type choice struct {
	record   string
	weight   uint32
	location string
}

// newPlan makes the plan of a checked set whose records are compiled, and the records without duplicates in the
// order of the plan: the same for the same records, in whatever order they came.
func newPlan(s RRset, records []string, most int) (plan, []string) {
	choices := make([]choice, 0, len(records))
	seen := make(map[string]bool, len(records))
	for i, r := range records {
		if key := folded(r); !seen[key] {
			seen[key] = true
			c := choice{record: r, weight: 1}
			if len(s.Weights) > 0 {
				c.weight = s.Weights[i]
			}
			if len(s.Locations) > 0 {
				c.location = s.Locations[i]
			}
			choices = append(choices, c)
		}
	}
	slices.SortFunc(choices, func(a, b choice) int { return cmp.Compare(a.record, b.record) })
	var has byte
	if len(s.Weights) > 0 {
		has |= planWeights
	}
	if !slices.ContainsFunc(choices, func(c choice) bool { return c.weight > 0 }) {
		for i := range choices { // nobody would be left: as equals, all of them
			choices[i].weight = 1
		}
	}
	if len(s.Locations) > 0 {
		has |= planLocations
	}
	sel := s.Select
	p := make([]byte, planHead, planHead+6*len(choices))
	p[4], p[5], p[6], p[7] = byte(sel.Kind), byte(cmp.Or(sel.Bits4, defaultBits4)), byte(cmp.Or(sel.Bits6, defaultBits6)), has
	binary.LittleEndian.PutUint16(p[8:], uint16(max(sel.Least, 1)))
	if sel.Kind == Weighted {
		draws, certain, total := shares(choices, most)
		binary.LittleEndian.PutUint16(p[10:], uint16(draws))
		binary.LittleEndian.PutUint32(p[12:], certain)
		binary.LittleEndian.PutUint64(p[16:], total)
	}
	out := make([]string, len(choices))
	for i, c := range choices {
		out[i] = c.record
		if has&planWeights != 0 {
			p = binary.LittleEndian.AppendUint32(p, c.weight)
		}
	}
	if has&planLocations != 0 {
		names := slices.Compact(slices.Sorted(slices.Values(s.Locations)))
		for _, c := range choices {
			p = append(p, byte(slices.Index(names, c.location)))
		}
		p = append(p, byte(len(names)))
		for _, name := range names {
			p = append(append(p, byte(len(name))), name...)
		}
	}
	binary.LittleEndian.PutUint32(p, uint32(len(p)))
	return plan(p), out
}

// shares divides an answer of most records: those of at least the weight certain are in each, and draws are
// drawn from the others, whose weights sum to total.
func shares(choices []choice, most int) (draws int, certain uint32, total uint64) {
	weights := make([]uint32, 0, len(choices))
	for _, c := range choices {
		if c.weight > 0 {
			weights = append(weights, c.weight)
			total += uint64(c.weight)
		}
	}
	slices.SortFunc(weights, func(a, b uint32) int { return cmp.Compare(b, a) })
	draws = len(weights)
	if most > 0 {
		draws = min(most, draws)
	}
	for _, w := range weights {
		if draws == 0 || uint64(draws)*uint64(w) < total {
			break
		}
		draws, certain, total = draws-1, w, total-uint64(w)
	}
	return draws, certain, total
}
