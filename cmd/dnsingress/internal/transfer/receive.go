// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// mostOctets bounds one transfer that comes in: a primary that never ends must not take all memory.
const mostOctets = 4 << 30

// mostEdited is how many records a name may have that a difference changes: they are gone through one by one. A whole
// transfer has no such limit.
const mostEdited = 4096

// receiver takes a transfer in record by record, and makes the zone of it when it is whole. What it was given
// to start from stays as it is.
type receiver struct {
	origin string
	have   *zone.Zone // nil: the query was AXFR

	first   *dns.SOA // what the transfer leads to
	second  bool     // the record after the first has been seen
	done    bool
	edit    *edit // of a difference; nil: the whole zone comes
	builder *zone.Builder
	foreign int // records that are not the zone's
}

// edit applies differences to what a zone holds, name by name.
type edit struct {
	from  *zone.Zone
	at    uint32 // serial that the sequences have led to
	to    uint32 // serial that the current one leads to
	adds  bool   // its second half
	soa   *dns.SOA
	names map[string][]dns.RR // of the names that change, what they hold, by canonical name
}

// errDifference says that a difference does not fit what we have: the whole zone may.
var errDifference = errors.New("the difference does not fit the zone here")

// receive takes a transfer to its end. The zone is nil where there is nothing newer than what we have.
func (s *stream) receive(origin string, have *zone.Zone) (newZone *zone.Zone, whole bool, foreign int, err error) {
	r := &receiver{origin: origin, have: have}
	for messages := 0; ; messages++ {
		m, err := s.next()
		if err != nil {
			return nil, false, 0, err
		}
		if m.Rcode != dns.RcodeSuccess {
			return nil, false, 0, fmt.Errorf("the primary says %s", dns.RcodeToString[m.Rcode])
		}
		if messages == 0 && len(m.Answer) == 0 {
			return nil, false, 0, errors.New("a reply without records")
		}
		if s.octets > mostOctets {
			return nil, false, 0, fmt.Errorf("more than %d octets in one transfer", int64(mostOctets))
		}
		for _, rr := range m.Answer {
			if err := r.take(rr); err != nil {
				return nil, false, 0, err
			}
		}
		if messages == 0 && r.current() {
			r.done = true
		}
		if r.done {
			break
		}
	}
	if s.session != nil {
		if err := s.session.finish(); err != nil {
			return nil, false, 0, err
		}
	}
	newZone, err = r.zone()
	return newZone, r.edit == nil, r.foreign, err
}

// current tells, after the first message, whether the reply says that there is nothing newer: RFC 1995 §2. An
// older serial is no news either.
func (r *receiver) current() bool {
	return r.have != nil && !r.second && !newer(r.first.Serial, r.have.Serial())
}

// take takes the next record.
func (r *receiver) take(rr dns.RR) error {
	if r.done {
		return errors.New("records behind the last SOA")
	}
	soa, isSOA := rr.(*dns.SOA)
	if err := sound(rr); err != nil {
		return fmt.Errorf("%s %s: %w", rr.Header().Name, dns.Type(rr.Header().Rrtype), err)
	}
	if isSOA && dns.CanonicalName(soa.Hdr.Name) != r.origin {
		return fmt.Errorf("a SOA of %s in a transfer of %s", soa.Hdr.Name, r.origin)
	}
	switch {
	case r.first == nil:
		if !isSOA {
			return errors.New("the first record is no SOA")
		}
		r.first = soa
		return nil
	case !r.second:
		r.second = true
		if isSOA && r.have != nil && soa.Serial == r.have.Serial() && soa.Serial != r.first.Serial {
			r.edit = &edit{from: r.have, at: soa.Serial, to: soa.Serial, names: map[string][]dns.RR{}}
			return nil
		}
		var err error
		if r.builder, err = zone.NewBuilder(r.origin); err != nil {
			return err
		}
	}
	if r.edit != nil {
		return r.change(rr, soa)
	}
	if isSOA { // RFC 5936 §2.2: it is the first again
		if soa.Serial != r.first.Serial {
			return fmt.Errorf("the transfer begins with serial %d and ends with %d", r.first.Serial, soa.Serial)
		}
		r.done = true
	}
	return r.add(rr)
}

// sound tells whether a record's data are whole. The library takes some that end early for shorter ones, which it
// then packs into what it cannot read again.
func sound(rr dns.RR) error {
	errShort := errors.New("data that end early")
	whole := true
	switch rr := rr.(type) {
	case *dns.A:
		whole = rr.Hdr.Rdlength == net.IPv4len
	case *dns.AAAA:
		whole = rr.Hdr.Rdlength == net.IPv6len
	case *dns.NS:
		whole = rr.Ns != ""
	case *dns.CNAME:
		whole = rr.Target != ""
	case *dns.PTR:
		whole = rr.Ptr != ""
	case *dns.MX:
		whole = rr.Mx != ""
	case *dns.RFC3597: // whatever octets
	default:
		if rr.Header().Rdlength == 0 && rr.Header().Rrtype != dns.TypeNULL && rr.Header().Rrtype != dns.TypeAPL {
			return errShort
		}
		once := make([]byte, dns.Len(rr)+256)
		n, err := dns.PackRR(rr, once, 0, nil, false)
		if err != nil {
			return err
		}
		again, _, err := dns.UnpackRR(once[:n], 0)
		if err != nil {
			return errShort
		}
		twice := make([]byte, dns.Len(again)+256)
		m, err := dns.PackRR(again, twice, 0, nil, false)
		whole = err == nil && bytes.Equal(once[:n], twice[:m])
	}
	if !whole {
		return errShort
	}
	return nil
}

// add takes a record of a whole zone.
func (r *receiver) add(rr dns.RR) error {
	if !dns.IsSubDomain(r.origin, dns.CanonicalName(rr.Header().Name)) {
		r.foreign++
		return nil
	}
	if err := r.builder.Add(rr); err != nil {
		return fmt.Errorf("taking a record: %w", err)
	}
	return nil
}

// change takes a record of a difference, RFC 1995 §4.
func (r *receiver) change(rr dns.RR, soa *dns.SOA) error {
	e := r.edit
	switch {
	case soa != nil && !e.adds: // the second half begins
		if !newer(soa.Serial, e.at) {
			return fmt.Errorf("a difference from serial %d to %d", e.at, soa.Serial)
		}
		e.adds, e.to, e.soa = true, soa.Serial, soa
		return nil
	case soa != nil: // the sequence ends
		e.at = e.to
		if soa.Serial != e.at {
			return fmt.Errorf("after the difference to serial %d comes one from %d", e.at, soa.Serial)
		}
		if soa.Serial == r.first.Serial {
			r.done, e.soa = true, soa
			return nil
		}
		e.adds = false
		return nil
	}
	name := dns.CanonicalName(rr.Header().Name)
	if !dns.IsSubDomain(r.origin, name) {
		r.foreign++
		return nil
	}
	var err error
	if e.adds {
		err = e.add(name, rr)
	} else {
		err = e.remove(name, rr)
	}
	if err == nil && len(e.names[name]) > mostEdited {
		err = fmt.Errorf("%w: %s has more than %d records", errDifference, name, mostEdited)
	}
	return err
}

// records returns what a name holds so far.
func (e *edit) records(name string) []dns.RR {
	rrs, met := e.names[name]
	if met {
		return rrs
	}
	sets, _ := e.from.RRsets(name)
	for _, s := range sets {
		if s.Type != dns.TypeSOA {
			rrs = append(rrs, s.Records...)
		}
	}
	return rrs
}

func (e *edit) remove(name string, rr dns.RR) error {
	rrs := e.records(name)
	for i, have := range rrs {
		if dns.IsDuplicate(have, rr) {
			e.names[name] = append(rrs[:i:i], rrs[i+1:]...)
			return nil
		}
	}
	return fmt.Errorf("%w: it removes %s %s, which is not there", errDifference, name, dns.Type(rr.Header().Rrtype))
}

func (e *edit) add(name string, rr dns.RR) error {
	rrs := e.records(name)
	for _, have := range rrs {
		if dns.IsDuplicate(have, rr) {
			return fmt.Errorf("%w: it adds %s %s, which is there", errDifference, name, dns.Type(rr.Header().Rrtype))
		}
	}
	e.names[name] = append(rrs[:len(rrs):len(rrs)], rr)
	return nil
}

// zone makes the zone, or nil where there is nothing newer.
func (r *receiver) zone() (*zone.Zone, error) {
	switch {
	case r.edit != nil:
		z, err := r.edit.from.With(r.edit.changes(r.origin)...)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errDifference, err)
		}
		return z, nil
	case r.builder != nil:
		return r.builder.Zone()
	default:
		return nil, nil
	}
}

// changes are the edit as a zone takes it in.
func (e *edit) changes(origin string) []zone.Change {
	if _, met := e.names[origin]; !met {
		e.names[origin] = e.records(origin)
	}
	var changes []zone.Change
	for name, rrs := range e.names {
		c := zone.Change{Owner: name, Remove: len(rrs) == 0}
		if name == origin {
			rrs = append(rrs[:len(rrs):len(rrs)], e.soa)
			c.Remove = false
		}
		for _, rr := range rrs {
			h := rr.Header()
			i := 0
			for i < len(c.RRsets) && c.RRsets[i].Type != h.Rrtype {
				i++
			}
			if i == len(c.RRsets) {
				c.RRsets = append(c.RRsets, zone.RRset{Type: h.Rrtype})
			}
			c.RRsets[i].TTL = h.Ttl // that of the last to come: a set has one (RFC 2181 §5.2)
			c.RRsets[i].Records = append(c.RRsets[i].Records, rr)
		}
		changes = append(changes, c)
	}
	return changes
}
