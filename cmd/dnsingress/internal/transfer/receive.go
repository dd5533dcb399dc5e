// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"errors"
	"fmt"

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
	origin string     // wire form
	have   *zone.Zone // nil: the query was AXFR

	begun   bool   // first is known
	first   uint32 // serial that the transfer leads to
	second  bool   // the record after the first has been seen
	done    bool
	edit    *edit // of a difference; nil: the whole zone comes
	builder *zone.Builder
	foreign int // records that are not the zone's
	pace    pace
}

// edit applies differences to what a zone holds, name by name.
type edit struct {
	patch *zone.Patch
	at    uint32 // serial that the sequences have led to
	to    uint32 // serial that the current one leads to
	adds  bool   // its second half
	ttl   uint32 // of the SOA that ends it all, and its data
	soa   []byte
}

// errDifference says that a difference does not fit what we have: the whole zone may.
var errDifference = errors.New("the difference does not fit the zone here")

// receive takes a transfer to its end. The zone is nil where there is nothing newer than what we have.
func (s *stream) receive(origin string, have *zone.Zone, giveWay func()) (newZone *zone.Zone, whole bool, foreign int, err error) {
	r := &receiver{origin: wireName(origin), have: have, pace: pace{giveWay: giveWay}}
	var a answers
	for messages := 0; ; messages++ {
		msg, err := s.read()
		if err != nil {
			return nil, false, 0, err
		}
		if err := a.begin(msg, s.query); err != nil {
			return nil, false, 0, err
		}
		if rcode := int(msg[3] & 0xF); rcode != dns.RcodeSuccess {
			return nil, false, 0, fmt.Errorf("the primary says %s", dns.RcodeToString[rcode])
		}
		if a.left == 0 {
			return nil, false, 0, errors.New("a reply without records")
		}
		if s.octets > mostOctets {
			return nil, false, 0, fmt.Errorf("more than %d octets in one transfer", int64(mostOctets))
		}
		for {
			more, err := a.take()
			if err != nil {
				return nil, false, 0, err
			}
			if !more {
				break
			}
			if err := r.take(&a.record); err != nil {
				return nil, false, 0, err
			}
			r.pace.between()
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
	s.offered = r.first
	newZone, err = r.zone()
	return newZone, r.edit == nil, r.foreign, err
}

// current tells, after the first message, whether the reply says that there is nothing newer: RFC 1995 §2. An
// older serial is no news either.
func (r *receiver) current() bool {
	return r.have != nil && !r.second && !newer(r.first, r.have.Serial())
}

// take takes the next record.
func (r *receiver) take(rr *record) error {
	if r.done {
		return errors.New("records behind the last SOA")
	}
	if rr.class != dns.ClassINET {
		return fmt.Errorf("%s: class %s is not IN", rr, dns.Class(rr.class))
	}
	isSOA := rr.rtype == dns.TypeSOA
	if isSOA && string(rr.owner) != r.origin {
		return fmt.Errorf("a SOA of %s in a transfer of %s", presentation(rr.owner), presentation([]byte(r.origin)))
	}
	switch {
	case !r.begun:
		if !isSOA {
			return errors.New("the first record is no SOA")
		}
		r.begun, r.first = true, rr.serial()
		return nil
	case !r.second:
		r.second = true
		if isSOA && r.have != nil && rr.serial() == r.have.Serial() && rr.serial() != r.first {
			r.edit = &edit{patch: r.have.Patch(), at: rr.serial(), to: rr.serial()}
			return nil
		}
		var err error
		if r.builder, err = zone.NewBuilder(presentation([]byte(r.origin))); err != nil {
			return err
		}
	}
	if r.edit != nil {
		return r.change(rr)
	}
	if isSOA { // RFC 5936 §2.2: it is the first again
		if rr.serial() != r.first {
			return fmt.Errorf("the transfer begins with serial %d and ends with %d", r.first, rr.serial())
		}
		r.done = true
	}
	return r.add(rr)
}

// add takes a record of a whole zone.
func (r *receiver) add(rr *record) error {
	inside, err := r.builder.Owner(rr.owner)
	if err != nil {
		return fmt.Errorf("taking a record: %w", err)
	}
	if !inside {
		r.foreign++
		return nil
	}
	if err := zone.CheckType(rr.rtype); err != nil {
		return fmt.Errorf("taking a record: %s: %w", presentation(rr.owner), err)
	}
	r.builder.AddWire(rr.rtype, rr.ttl, rr.data)
	return nil
}

// change takes a record of a difference, RFC 1995 §4.
func (r *receiver) change(rr *record) error {
	e := r.edit
	if rr.rtype == dns.TypeSOA {
		return r.turn(rr)
	}
	if !e.patch.Owner(rr.owner) {
		r.foreign++
		return nil
	}
	if !e.adds {
		if !e.patch.Remove(rr.rtype, rr.data) {
			return fmt.Errorf("%w: it removes %s, which is not there", errDifference, rr)
		}
		return nil
	}
	if err := zone.CheckType(rr.rtype); err != nil {
		return fmt.Errorf("%w: %s: %w", errDifference, presentation(rr.owner), err)
	}
	if !e.patch.Add(rr.rtype, rr.ttl, rr.data) {
		return fmt.Errorf("%w: it adds %s, which is there", errDifference, rr)
	}
	if e.patch.Len() > mostEdited {
		return fmt.Errorf("%w: %s has more than %d records", errDifference, presentation(rr.owner), mostEdited)
	}
	return nil
}

// turn takes a SOA of a difference: each begins a half of a sequence, or ends the last one.
func (r *receiver) turn(rr *record) error {
	e, serial := r.edit, rr.serial()
	if !e.adds { // the second half begins
		if !newer(serial, e.at) {
			return fmt.Errorf("a difference from serial %d to %d", e.at, serial)
		}
		e.adds, e.to = true, serial
		return nil
	}
	e.at = e.to
	if serial != e.at {
		return fmt.Errorf("after the difference to serial %d comes one from %d", e.at, serial)
	}
	if serial == r.first {
		r.done, e.ttl, e.soa = true, rr.ttl, bytes.Clone(rr.data)
		return nil
	}
	e.adds = false
	return nil
}

// zone makes the zone, or nil where there is nothing newer.
func (r *receiver) zone() (*zone.Zone, error) {
	switch {
	case r.edit != nil:
		z, err := r.edit.patch.Zone(r.edit.ttl, r.edit.soa, r.pace.between)
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
