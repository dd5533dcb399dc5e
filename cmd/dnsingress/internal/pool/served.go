// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/serial"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/steer"
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

// mostAnswers is how many addresses one answer has at most: of 28 octets a record, 65,535 octets hold no more than
// 2,340, and a set whose answer does not fit would be refused together with all that changes with it.
const mostAnswers = 2000

// answer is what a name is answered with. Empty is no data, not no such name.
type answer struct {
	ttl        uint32
	negative   uint32 // TTL of no data; 0: the zone's
	maxAnswers int
	selection  zone.Selection
	addresses  []netip.Addr // in order
	weights    []uint32     // parallel to addresses; nil: equal
	locations  []string     // parallel to addresses; nil: they do not matter
}

func (a answer) equal(b answer) bool {
	return a.ttl == b.ttl && a.negative == b.negative && a.maxAnswers == b.maxAnswers && a.selection == b.selection &&
		slices.Equal(a.addresses, b.addresses) && slices.Equal(a.weights, b.weights) && slices.Equal(a.locations, b.locations)
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

// compile changes the zones where the answers for hosts are other than before, and returns the changed zones.
func (e *Engine) compile(hosts map[string]bool) []*served {
	changes := map[*served][]zone.Change{}
	for h := range hosts {
		z := e.zoneOf(h)
		if z == nil {
			continue
		}
		want, wanted := e.answerFor(h, z)
		have, had := z.answers[h]
		switch {
		case wanted && (!had || !have.equal(want)):
			z.answers[h] = want
			changes[z] = append(changes[z], want.change(h))
		case !wanted && had:
			delete(z.answers, h)
			// The apex exists as long as its zone does.
			changes[z] = append(changes[z], zone.Change{Owner: h, Remove: h != z.origin})
		}
	}
	var changed []*served
	for z, list := range changes {
		slices.SortFunc(list, func(a, b zone.Change) int { return strings.Compare(a.Owner, b.Owner) })
		next, err := z.zone.With(list...)
		if err != nil {
			// Names and addresses have been checked: only a mistake of ours can end here. The last zone stays.
			e.options.Log.Error("changing a zone; its last state stays", "zone", z.origin, "error", err)
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

// answerFor returns what the host's owner answers with, if it has one.
func (e *Engine) answerFor(host string, z *served) (answer, bool) {
	owner, ok := e.claims.Owner(host)
	if !ok {
		return answer{}, false
	}
	s := e.pools[owner]
	ttl := *z.config.TTL
	if s.TTL != nil {
		ttl = time.Duration(*s.TTL) * time.Second
	}
	a := answer{maxAnswers: *z.config.MaxAnswers, addresses: s.decision.In()}
	most := s.MaxAnswers
	if s.Policy != nil {
		ttl = decided(&s.Policy.Steer.TTL, s.decision.TTL, s.decision.TTLRule, ttl)
		own := *z.config.NegativeTTL
		if negative := decided(&s.Policy.Steer.NegativeTTL, s.decision.NegativeTTL, s.decision.NegativeTTLRule, own); negative != own {
			a.negative = seconds(negative)
		}
		most = cmp.Or(s.Policy.Steer.Selection.MaxAnswers, most)
		e.choose(&a, s)
	}
	a.ttl = seconds(ttl)
	switch {
	case most > 0:
		a.maxAnswers = most
	case most < 0:
		a.maxAnswers = 0
	}
	if len(a.addresses) > mostAnswers && (a.maxAnswers == 0 || a.maxAnswers > mostAnswers || a.selection.Kind == zone.All) {
		a.maxAnswers = mostAnswers
		if a.selection.Kind == zone.All {
			a.selection = zone.Selection{}
		}
	}
	return a, true
}

// decided is the TTL that a decision comes to in one zone: where no rule spoke, that is the zone's own, within the bounds.
func decided(t *steer.TTL, ttl time.Duration, rule string, own time.Duration) time.Duration {
	if len(t.Rules) > 0 && rule != "pool" {
		return ttl
	}
	own = max(own, t.Floor)
	if t.Ceiling > 0 {
		own = min(own, max(t.Ceiling, t.Floor))
	}
	return own
}

// choose has answers chosen as the pool's policy says.
func (e *Engine) choose(a *answer, s *state) {
	from := s.Policy.Steer.Selection
	if from.Kind == "" {
		return
	}
	kind, err := zone.ParseKind(string(from.Kind))
	if err != nil {
		e.options.Log.Error("a policy's selection; a window is answered with", "object", s.Ref.String(), "error", err)
		return
	}
	a.selection = zone.Selection{Kind: kind, Bits4: from.Bits4, Bits6: from.Bits6, Least: from.Least}
	switch kind { // weights that mean nothing would only change the zone
	case zone.Weighted, zone.Sticky, zone.TwoChoices:
		a.weights = s.decision.Weights()
	case zone.Near:
		a.weights = s.decision.Weights()
		for _, address := range a.addresses {
			a.locations = append(a.locations, s.member(address).Location())
		}
	}
}

// change is the zone change that makes host answered with a.
func (a answer) change(host string) zone.Change {
	c := zone.Change{Owner: host, NegativeTTL: a.negative}
	for _, family := range []struct {
		rtype uint16
		is4   bool
	}{{dns.TypeA, true}, {dns.TypeAAAA, false}} {
		set := zone.RRset{Type: family.rtype, TTL: a.ttl, MaxAnswers: a.maxAnswers, Select: a.selection}
		for i, address := range a.addresses {
			if address.Is4() != family.is4 {
				continue
			}
			set.Records = append(set.Records, addressRecord(dns.RR_Header{Name: host, Class: dns.ClassINET, Ttl: a.ttl}, address))
			if a.weights != nil {
				set.Weights = append(set.Weights, a.weights[i])
			}
			if a.locations != nil {
				set.Locations = append(set.Locations, a.locations[i])
			}
		}
		if len(set.Records) > 0 {
			c.RRsets = append(c.RRsets, set)
		}
	}
	return c
}

func (e *Engine) origins() string {
	names := make([]string, len(e.zones))
	for i, z := range e.zones {
		names[i] = z.origin
	}
	return strings.Join(names, ", ")
}
