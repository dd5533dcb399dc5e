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

	"github.com/miekg/dns"
)

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

// part is how an option is chosen from, whose records begin at from.
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
func newOptions(owner string, s RRset, records []string, most int) (plan, []string) {
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
		// With the owner in it, which option a client has says nothing of that at the next name of a chain.
		if o.id = hash(hash(0, owner), g.Name); g.Name == "" {
			o.id = hash(hash(1, owner), folded(slices.Min(o.records))[recordHead:])
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
	first, end := p.anybody()
	found, heaviest := s.option(first), uint64(0)
	for i := first; i < end; i++ {
		o, weight := s.option(i), p.shares(i+1)-p.shares(i)
		if weight > heaviest || weight == heaviest && o.wire < found.wire {
			found, heaviest = o, weight
		}
	}
	return found
}
