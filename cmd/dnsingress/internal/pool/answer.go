// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// mostAnswers is how many addresses one answer has at most: of 28 octets a record, 65,535 octets hold no more than
// 2,340, and a set whose answer does not fit would be refused together with all that changes with it.
const mostAnswers = 2000

// answer is what a name is answered with. Empty is no data, not no such name.
type answer struct {
	ttl        uint32
	negative   uint32 // TTL of no data; 0: the zone's
	maxAnswers int
	selection  zone.Selection
	addresses  []netip.Addr // in order, those of a group together
	weights    []uint32     // parallel to addresses; nil: equal
	locations  []string     // parallel to addresses; nil: they do not matter
	groups     []zone.Group // of the addresses; nil: they are one
	sets       []set        // of other types, and addresses that are no members
}

// set is one of the record sets of an answer.
type set struct {
	model.RecordSet     // with its TTL
	maxAnswers      int // 0: all of an option
}

func (a answer) equal(b answer) bool {
	return a.ttl == b.ttl && a.negative == b.negative && a.maxAnswers == b.maxAnswers && a.selection == b.selection &&
		slices.Equal(a.addresses, b.addresses) && slices.Equal(a.weights, b.weights) && slices.Equal(a.locations, b.locations) &&
		slices.Equal(a.groups, b.groups) && slices.EqualFunc(a.sets, b.sets, set.equal)
}

func (s set) equal(o set) bool {
	return s.maxAnswers == o.maxAnswers && s.RecordSet.Equal(o.RecordSet)
}

// answerFor returns what the name's owner answers with, if it has one.
func (e *Engine) answerFor(name string, z *served) (answer, bool) {
	owner, ok := e.claims.Owner(name)
	if !ok {
		return answer{}, false
	}
	s := e.pools[owner]
	if s.cut != "" && !e.has(s.Ref, s.cut) {
		return answer{}, false // without the delegation its glue would be somebody's addresses
	}
	if host, made := s.made[name]; made {
		return e.portAnswer(s, name, host, z)
	}
	a := answer{ttl: e.ttlOf(s, z)}
	if slices.Contains(s.hosts, name) {
		a = e.poolAnswer(s, z)
		e.merge(&a, s, name)
		for _, r := range e.portSets(s, z)[name] {
			a.sets = append(a.sets, a.made(r))
		}
	}
	for _, i := range s.setsAt[name] {
		given := &s.sets[i]
		x, ok := e.published(given, z)
		if !ok {
			continue
		}
		// What an object says itself counts more than what is made of its ports.
		a.sets = append(slices.DeleteFunc(a.sets, func(o set) bool { return o.Type == x.Type }), x)
	}
	return a, true
}

// ttlOf is the TTL of a pool's answers in a zone, rules apart.
func (e *Engine) ttlOf(s *state, z *served) uint32 {
	if s.TTL != nil {
		return *s.TTL
	}
	return record.Seconds(z.own.TTL)
}

// portAnswer is the answer for a name that was made for a port of one of the pool's hosts.
func (e *Engine) portAnswer(s *state, name, host string, z *served) (answer, bool) {
	if owner, ok := e.claims.Owner(host); !ok || owner != s.Ref {
		return answer{}, false
	}
	a := e.poolAnswer(s, z)
	a.addresses, a.weights, a.locations, a.groups = nil, nil, nil, nil
	for _, r := range e.portSets(s, z)[name] {
		a.sets = append(a.sets, a.made(r))
	}
	return a, len(a.sets) > 0 || strings.HasPrefix(name, "_") // a service without anybody is no data, a target is gone
}

// made is a set that follows from the pool's ports, in an answer of the pool.
func (a *answer) made(r model.RecordSet) set {
	r.TTL = &a.ttl
	most := a.maxAnswers
	if most == 0 || most > record.MostTargets {
		most = record.MostTargets
	}
	return set{r, most}
}

// portSets are the records that the pool's ports have now, by name.
func (e *Engine) portSets(s *state, z *served) map[string][]model.RecordSet {
	if len(s.Ports) == 0 || s.portSets != nil {
		return s.portSets
	}
	in := e.answering(s, z)
	s.portSets = map[string][]model.RecordSet{}
	for _, host := range s.hosts {
		for _, r := range record.Ports(&s.Pool, host, in) {
			s.portSets[r.Name] = append(s.portSets[r.Name], r)
		}
	}
	return s.portSets
}

// answering is who of the pool is answered with, as package record sees it.
func (e *Engine) answering(s *state, z *served) record.Answer {
	in := record.Answer{Members: s.in()}
	var a answer
	e.choose(&a, s)
	switch a.selection.Kind {
	case zone.Weighted:
		in.Weights = s.decision.Weights()
	case zone.Sticky, zone.Near, zone.TwoChoices, zone.Subsetting:
		in.NoHints = true
	}
	if len(s.Groups) > 0 {
		kept := 0
		for i, m := range in.Members {
			if s.Groups[s.Members[m].Group].Weight == 0 {
				continue
			}
			in.Members[kept] = m
			if in.Weights != nil {
				in.Weights[kept] = in.Weights[i]
			}
			kept++
		}
		in.Members, in.Weights = in.Members[:kept], in.Weights[:min(kept, len(in.Weights))]
	}
	in.Most = e.mostOf(s, z)
	return in
}

// mostOf is how many addresses an answer of the pool has; 0: all.
func (e *Engine) mostOf(s *state, z *served) int {
	most := s.MaxAnswers
	if s.Policy != nil {
		most = cmp.Or(s.Policy.Steer.Selection.MaxAnswers, most)
	}
	switch {
	case most > 0:
		return most
	case most < 0:
		return 0
	}
	return z.own.MaxAnswers
}

// in are the indices of the members that are in.
func (s *state) in() []int {
	var in []int
	verdicts := s.decision.Members
	for i := range s.Members {
		for len(verdicts) > 0 && verdicts[0].Address.Less(s.Members[i].Address) {
			verdicts = verdicts[1:]
		}
		if len(verdicts) > 0 && verdicts[0].In && verdicts[0].Address == s.Members[i].Address {
			in = append(in, i)
		}
	}
	return in
}

// poolAnswer is the answer for the pool's hosts, as far as it is of addresses.
func (e *Engine) poolAnswer(s *state, z *served) answer {
	ttl := time.Duration(e.ttlOf(s, z)) * time.Second
	a := answer{addresses: s.decision.In()}
	if s.Policy != nil {
		ttl = decided(&s.Policy.Steer.TTL, s.decision.TTL, s.decision.TTLRule, ttl)
		own := z.own.NegativeTTL
		if negative := decided(&s.Policy.Steer.NegativeTTL, s.decision.NegativeTTL, s.decision.NegativeTTLRule, own); negative != own {
			a.negative = record.Seconds(negative)
		}
		e.choose(&a, s)
	}
	a.ttl = record.Seconds(ttl)
	if len(s.Groups) > 0 {
		a.divide(s)
	}
	a.maxAnswers = e.mostOf(s, z)
	a.bound()
	return a
}

// bound has no more addresses in one answer than a message can hold.
func (a *answer) bound() {
	if len(a.addresses) > mostAnswers && (a.maxAnswers == 0 || a.maxAnswers > mostAnswers || a.selection.Kind == zone.All) {
		a.maxAnswers = mostAnswers
		if a.selection.Kind == zone.All {
			a.selection = zone.Selection{}
		}
	}
}

// divide puts the addresses of a group together and leaves out those of groups without weight.
func (a *answer) divide(s *state) {
	order := make([]int, 0, len(a.addresses))
	groups := make([]int, len(a.addresses))
	for i, address := range a.addresses {
		groups[i] = s.member(address).Group
		if s.Groups[groups[i]].Weight > 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(groups[x], groups[y]) })
	a.addresses, a.weights, a.locations = ordered(a.addresses, order), ordered(a.weights, order), ordered(a.locations, order)
	last := -1
	for _, i := range order {
		if groups[i] != last {
			last = groups[i]
			a.groups = append(a.groups, zone.Group{Weight: s.Groups[last].Weight, Name: s.Groups[last].Name})
		}
		a.groups[len(a.groups)-1].Records++
	}
	if len(a.groups) == 1 {
		a.groups = nil
	}
}

func ordered[T any](list []T, order []int) []T {
	if list == nil {
		return nil
	}
	out := make([]T, len(order))
	for i, at := range order {
		out[i] = list[at]
	}
	return out
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
	if s.Policy == nil || s.Policy.Steer.Selection.Kind == "" {
		return
	}
	from := s.Policy.Steer.Selection
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

// change is the zone change that makes name answered with a.
func (a answer) change(name string) zone.Change {
	c := zone.Change{Owner: name, NegativeTTL: a.negative}
	for _, rtype := range [...]uint16{dns.TypeAAAA, dns.TypeA} {
		if s := a.family(name, rtype); len(s.Records) > 0 {
			c.RRsets = append(c.RRsets, s)
		}
	}
	for _, s := range a.sets {
		if r := s.rrset(name); len(r.Records) > 0 {
			c.RRsets = append(c.RRsets, r)
		}
	}
	return c
}

// family is the set of the answer's addresses of one type.
func (a *answer) family(name string, rtype uint16) zone.RRset {
	set := zone.RRset{Type: rtype, TTL: a.ttl, MaxAnswers: a.maxAnswers, Select: a.selection}
	left := 0
	groups := a.groups
	for i, address := range a.addresses {
		for left == 0 && len(groups) > 0 {
			left = groups[0].Records
			set.Groups = append(set.Groups, zone.Group{Weight: groups[0].Weight, Name: groups[0].Name})
			groups = groups[1:]
		}
		left--
		if address.Is4() != (rtype == dns.TypeA) {
			continue
		}
		set.Records = append(set.Records, record.AddressRecord(dns.RR_Header{Name: name, Class: dns.ClassINET, Ttl: a.ttl}, address))
		if a.weights != nil {
			set.Weights = append(set.Weights, a.weights[i])
		}
		if a.locations != nil {
			set.Locations = append(set.Locations, a.locations[i])
		}
		if set.Groups != nil {
			set.Groups[len(set.Groups)-1].Records++
		}
	}
	return set
}

// rrset is the set as the zone has it. What cannot be read is left out: it has been checked.
func (s set) rrset(name string) zone.RRset {
	out := zone.RRset{Type: s.Type, TTL: *s.TTL, MaxAnswers: s.maxAnswers}
	if s.Stable {
		out.Select.Kind = zone.Sticky
	}
	options := record.Options(&s.RecordSet)
	for _, o := range options {
		g := zone.Group{Weight: o.Weight, Location: o.Geo, Name: o.Set}
		for _, r := range o.Records {
			if rr, err := record.Parse(name, s.Type, *s.TTL, r.Data); err == nil {
				out.Records = append(out.Records, rr)
				g.Records++
			}
		}
		if len(options) > 1 {
			out.Groups = append(out.Groups, g)
		}
	}
	return out
}

// published is a set of an object as it is answered; false: there is nothing of it now.
func (e *Engine) published(given *model.RecordSet, z *served) (set, bool) {
	if record.Leads(given.Type) && e.loops[given.Name] != nil {
		return set{}, false
	}
	out := set{RecordSet: *given}
	if out.TTL == nil {
		ttl := record.Seconds(z.own.TTL)
		out.TTL = &ttl
	}
	if slices.ContainsFunc(given.Records, func(r model.Record) bool { return r.Follow != "" }) {
		out.Records = e.followed(given)
	}
	for _, o := range record.Options(&out.RecordSet) {
		if len(o.Records) > record.MostTargets {
			out.maxAnswers = record.MostTargets
		}
	}
	return out, len(out.Records) > 0
}
