// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/serial"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

// served is one zone and what its names are answered with.
type served struct {
	origin   string
	config   config.Zone
	reserved map[string]bool // names that the configuration itself gives data to
	zone     *zone.Zone
	serials  *serial.Counter
	unkept   bool              // it has been said that serials are not kept
	answers  map[string]answer // by host
}

// newServed makes the zone with nothing but its own records and the first of its serials.
func newServed(c config.Zone, serials *serial.Counter) (*served, error) {
	s := &served{origin: c.Origin, config: c, serials: serials, reserved: map[string]bool{}, answers: map[string]answer{}}
	head := func(name string, rtype uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: rtype, Class: dns.ClassINET, Ttl: seconds(*c.InfrastructureTTL)}
	}
	rrs := []dns.RR{&dns.SOA{
		Hdr: head(c.Origin, dns.TypeSOA), Ns: c.SOA.Primary, Mbox: c.SOA.Mailbox, Serial: serials.Start(),
		Refresh: seconds(c.SOA.Refresh), Retry: seconds(c.SOA.Retry), Expire: seconds(c.SOA.Expire), Minttl: seconds(*c.NegativeTTL),
	}}
	for _, ns := range c.Nameservers {
		rrs = append(rrs, &dns.NS{Hdr: head(c.Origin, dns.TypeNS), Ns: ns.Name})
		for _, a := range ns.Addresses {
			s.reserved[ns.Name] = true
			rrs = append(rrs, addressRecord(head(ns.Name, 0), a))
		}
	}
	for _, a := range c.Addresses {
		s.reserved[c.Origin] = true
		rrs = append(rrs, addressRecord(head(c.Origin, 0), a))
	}
	var err error
	if s.zone, err = zone.New(c.Origin, rrs); err != nil {
		return nil, fmt.Errorf("making zone %s: %w", c.Origin, err)
	}
	return s, nil
}

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

// addressRecord is the AAAA or A record of an address; the header's type is set to match.
func addressRecord(h dns.RR_Header, a netip.Addr) dns.RR {
	if a.Is4() {
		h.Rrtype = dns.TypeA
		return &dns.A{Hdr: h, A: a.AsSlice()}
	}
	h.Rrtype = dns.TypeAAAA
	return &dns.AAAA{Hdr: h, AAAA: a.AsSlice()}
}

// compile changes the zones where the answers for names are other than before, and returns the changed zones.
func (e *Engine) compile(names map[string]bool) []*served {
	changes := map[*served][]zone.Change{}
	for name := range names {
		z := e.zoneOf(name)
		if z == nil {
			continue
		}
		want, wanted := e.answerFor(name, z)
		have, had := z.answers[name]
		switch {
		case wanted && (!had || !have.equal(want)):
			if had && have.ttl > want.ttl {
				e.shorter(name, have.ttl)
			}
			z.answers[name] = want
			changes[z] = append(changes[z], want.change(name))
		case !wanted && had:
			delete(z.answers, name)
			// The apex exists as long as its zone does.
			changes[z] = append(changes[z], zone.Change{Owner: name, Remove: name != z.origin})
		}
	}
	var changed []*served
	for z, list := range changes {
		slices.SortFunc(list, func(a, b zone.Change) int { return strings.Compare(a.Owner, b.Owner) })
		next := e.change(z, list)
		if next == z.zone {
			continue
		}
		if err := z.serials.Use(next.Serial()); err != nil && !z.unkept {
			z.unkept = true
			e.options.Log.Error("the zone's serial may go back at the next start", "zone", z.origin, "error", err)
		}
		z.zone = next
		changed = append(changed, z)
	}
	return changed
}

// change makes the changes. What has been checked can all be made; should one be refused all the same, the name that it
// is of stays as it was and its owner is told, so that it holds up nobody else.
func (e *Engine) change(z *served, list []zone.Change) *zone.Zone {
	next, err := z.zone.With(list...)
	if err == nil {
		for _, c := range list {
			e.refuse(c.Owner, nil)
		}
		return next
	}
	next = z.zone
	for _, c := range list {
		one, err := next.With(c)
		e.refuse(c.Owner, err)
		if err != nil {
			e.options.Log.Error("changing a name; it stays as it was", "zone", z.origin, "name", c.Owner, "error", err)
			continue
		}
		next = one
	}
	return next
}
